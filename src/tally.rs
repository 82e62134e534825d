//! What is counted over all cells: for the status, and for what an update may do.

use crate::cell::{Counts, Standing};

/// Counts of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) desired: usize,
    pub(crate) current: usize,
    pub(crate) misscheduled: usize,
    pub(crate) ready: usize,
    pub(crate) available: usize,
    pub(crate) updated: usize,

    pub(crate) crowded: usize,
    pub(crate) vacant: usize,
    pub(crate) new_available: usize,
    pub(crate) new_unavailable: usize,
    pub(crate) old_unavailable: usize,
    pub(crate) pairs: usize,
    pub(crate) pairs_with_new_unavailable: usize,
    pub(crate) pairs_with_old_available: usize,
}

/// A cell as far as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) counts: Counts,
    pub(crate) standing: Standing,
}

impl Tally {
    pub(crate) fn add(&mut self, cell: Counted) {
        self.change(cell, |count| *count += 1);
    }

    /// Takes back what was added.
    pub(crate) fn subtract(&mut self, cell: Counted) {
        self.change(cell, |count| *count = count.saturating_sub(1));
    }

    fn change(&mut self, Counted { counts, standing }: Counted, by_one: impl Fn(&mut usize)) {
        let Counts { desired, scheduled, ready, available, updated } = counts;
        let when = |condition, count: &mut usize| {
            if condition {
                by_one(count);
            }
        };
        when(desired, &mut self.desired);
        when(desired && scheduled, &mut self.current);
        when(!desired && scheduled, &mut self.misscheduled);
        when(ready, &mut self.ready);
        when(available, &mut self.available);
        when(updated, &mut self.updated);
        match standing {
            Standing::Bystander | Standing::Old { available: true, .. } => {}
            Standing::Vacant => by_one(&mut self.vacant),
            Standing::Crowded => by_one(&mut self.crowded),
            Standing::New { available: true } => by_one(&mut self.new_available),
            Standing::New { available: false } => by_one(&mut self.new_unavailable),
            Standing::Old { available: false, .. } => by_one(&mut self.old_unavailable),
            Standing::Both { old_available, new_available, .. } => {
                by_one(&mut self.pairs);
                when(!new_available, &mut self.pairs_with_new_unavailable);
                when(old_available, &mut self.pairs_with_old_available);
            }
        }
    }

    /// How many nodes are without an available pod as an update counts them that does not surge.
    pub(crate) fn unavailable(&self) -> usize {
        self.at_work() + self.old_unavailable
    }

    /// How many of those are so by the update itself.
    pub(crate) fn at_work(&self) -> usize {
        self.crowded + self.vacant + self.pairs + self.new_unavailable
    }

    /// How many nodes an update is at work on that surges.
    pub(crate) fn surging(&self) -> usize {
        self.crowded + self.pairs_with_new_unavailable
    }
}

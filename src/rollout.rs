//! The rolling update: how many nodes may be without an available pod, or run two, and whose turn it is.
//!
//! Candidates take their turn in the order of their nodes' names, so that an update can be foretold.

use std::collections::BTreeMap;

use crate::{
    cell::{PodIndex, Standing},
    model::{Text, UpdateStrategy},
    reason::{Creation, Deletion},
    tally::Tally,
};

/// The nodes whose turn may come in a rolling update. Those whose pods are deleted anyhow, the node being gone, are not
/// among them.
#[derive(Debug, Default)]
pub(crate) struct Rollout {
    /// Old and available.
    old: Candidates,
    /// Old and not available.
    broken: Candidates,
    /// Old pods whose new ones are available, by node.
    finished: BTreeMap<Text, PodIndex>,
}

/// Old pods by node.
#[derive(Debug, Default)]
struct Candidates {
    desired: BTreeMap<Text, PodIndex>,
    /// Those on nodes that should not run one.
    unwanted: BTreeMap<Text, PodIndex>,
}

/// What an update asks for.
#[derive(Debug, Default)]
pub(crate) struct Steps<'a> {
    pub(crate) create: Wanted<(&'a Text, Creation)>,
    pub(crate) delete: Wanted<(PodIndex, Deletion)>,
}

/// As many as a plan may ask for, and how many there are.
#[derive(Debug)]
pub(crate) struct Wanted<T> {
    pub(crate) first: Vec<T>,
    pub(crate) count: usize,
}

impl<T> Default for Wanted<T> {
    fn default() -> Self {
        Self { first: Vec::new(), count: 0 }
    }
}

impl<T> Wanted<T> {
    /// Adds `count` more, of which the first `burst` are enough: all are in the order of their nodes' names.
    pub(crate) fn extend(&mut self, all: impl Iterator<Item = T>, count: usize, burst: usize) {
        self.first.extend(all.take(count.min(burst)));
        self.count += count;
    }

    /// Keeps the first `burst` and gives the number of the others.
    pub(crate) fn take(&mut self, burst: usize) -> usize {
        self.first.truncate(burst);
        self.count.saturating_sub(burst)
    }
}

/// On how many nodes an update may be at work at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Whether new pods come before old ones go: a percentage of few nodes may be none.
    pub(crate) surges: bool,
    /// How many nodes may be without an available pod, or surge.
    pub(crate) limit: usize,
    /// How many are.
    used: usize,
}

impl Budget {
    /// What a strategy allows; `None` if it never updates by itself.
    pub(crate) fn of(strategy: UpdateStrategy, tally: &Tally) -> Option<Self> {
        let UpdateStrategy::RollingUpdate { max_unavailable, max_surge } = strategy else { return None };
        let desired = tally.desired;
        Some(match (max_surge.of(desired), max_unavailable.of(desired)) {
            // Both 0 is not allowed: then it is one at a time.
            (0, unavailable) => {
                let limit = unavailable.max(usize::from(desired > 0));
                Self { surges: false, limit, used: tally.unavailable() }
            }
            (limit, _) => Self { surges: true, limit, used: tally.crowded + tally.pairs_with_new_unavailable },
        })
    }

    fn left(self) -> usize {
        self.limit.saturating_sub(self.used)
    }
}

impl Rollout {
    /// Adds one node.
    pub(crate) fn add(&mut self, node: &Text, standing: Standing, desired: bool) {
        if let Some((list, pod)) = self.list(standing, desired) {
            list.insert(node.clone(), pod);
        }
    }

    /// Takes one node out, as it was added.
    pub(crate) fn remove(&mut self, node: &Text, standing: Standing, desired: bool) {
        if let Some((list, _)) = self.list(standing, desired) {
            list.remove(node);
        }
    }

    fn list(&mut self, standing: Standing, desired: bool) -> Option<(&mut BTreeMap<Text, PodIndex>, PodIndex)> {
        match standing {
            Standing::Old { pod, available } => {
                let candidates = if available { &mut self.old } else { &mut self.broken };
                Some((if desired { &mut candidates.desired } else { &mut candidates.unwanted }, pod))
            }
            Standing::Both { old, new_available: true, .. } => Some((&mut self.finished, old)),
            _ => None,
        }
    }

    /// What the update does next, within `burst`.
    pub(crate) fn steps(&self, strategy: UpdateStrategy, tally: &Tally, burst: usize) -> Steps<'_> {
        match Budget::of(strategy, tally) {
            None => Steps::default(),
            Some(budget) if budget.surges => self.with_surge(budget, tally, burst),
            Some(budget) => self.without_surge(budget, burst),
        }
    }

    fn without_surge(&self, budget: Budget, burst: usize) -> Steps<'_> {
        let mut steps = Steps::default();
        for broken in [&self.broken.desired, &self.broken.unwanted] {
            let all = broken.values().map(|pod| (*pod, Deletion::OutdatedUnavailable));
            steps.delete.extend(all, broken.len(), burst);
        }
        let turns = budget.left().min(self.old.len());
        let [desired, unwanted] = [&self.old.desired, &self.old.unwanted].map(|old| old.iter().take(turns.min(burst)));
        let mut next: Vec<_> = desired.chain(unwanted).collect();
        next.sort_unstable();
        let next = next.into_iter().map(|(_, pod)| (*pod, Deletion::Outdated));
        steps.delete.extend(next, turns, burst);
        steps
    }

    fn with_surge(&self, budget: Budget, tally: &Tally, burst: usize) -> Steps<'_> {
        let mut steps = Steps::default();
        let mut delete = |old: &BTreeMap<Text, PodIndex>, count, reason: Deletion| {
            steps.delete.extend(old.values().map(|pod| (*pod, reason.clone())), count, burst);
        };
        delete(&self.finished, self.finished.len(), Deletion::SurgeFinished);
        delete(&self.broken.unwanted, self.broken.unwanted.len(), Deletion::OutdatedUnavailable);
        let available = tally.new_available + self.old.len() + tally.pairs_with_old_available;
        let spare = available.saturating_sub(tally.desired).min(self.old.unwanted.len());
        delete(&self.old.unwanted, spare, Deletion::NotWanted);

        let replaced = self.broken.desired.keys().map(|node| (node, Creation::ReplacesUnavailable));
        steps.create.extend(replaced, self.broken.desired.len(), burst);
        let surging = self.old.desired.keys().map(|node| (node, Creation::Surge));
        steps.create.extend(surging, budget.left().min(self.old.desired.len()), burst);
        steps
    }
}

impl Candidates {
    fn len(&self) -> usize {
        self.desired.len() + self.unwanted.len()
    }
}

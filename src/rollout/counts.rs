//! Counts over all nodes, for the status and for the budget of an update.

use crate::node::decision::{CountedNode, NodeStatus, NodeUpdateState};

/// Counts of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeCounts {
    pub(crate) desired: usize,
    pub(crate) current: usize,
    pub(crate) misscheduled: usize,
    pub(crate) ready: usize,
    pub(crate) available: usize,
    pub(crate) updated: usize,

    pub(crate) several_pods: usize,
    pub(crate) no_pod: usize,
    pub(crate) new_available: usize,
    pub(crate) new_unavailable: usize,
    pub(crate) old_unavailable: usize,
    pub(crate) pairs: usize,
    pub(crate) pairs_with_new_unavailable: usize,
    pub(crate) pairs_with_old_available: usize,
}

impl NodeCounts {
    pub(crate) fn add(&mut self, node: CountedNode) {
        self.change(node, |count| *count += 1);
    }

    /// Reverts [`NodeCounts::add`].
    pub(crate) fn subtract(&mut self, node: CountedNode) {
        self.change(node, |count| *count = count.saturating_sub(1));
    }

    fn change(&mut self, CountedNode { status, update }: CountedNode, by_one: impl Fn(&mut usize)) {
        let NodeStatus { desired, scheduled, ready, available, updated } = status;
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
        match update {
            NodeUpdateState::Uninvolved | NodeUpdateState::Outdated { available: true, .. } => {}
            NodeUpdateState::NoPod => by_one(&mut self.no_pod),
            NodeUpdateState::SeveralPods => by_one(&mut self.several_pods),
            NodeUpdateState::Updated { available: true } => by_one(&mut self.new_available),
            NodeUpdateState::Updated { available: false } => by_one(&mut self.new_unavailable),
            NodeUpdateState::Outdated { available: false, .. } => by_one(&mut self.old_unavailable),
            NodeUpdateState::Both { old_available, new_available, .. } => {
                by_one(&mut self.pairs);
                when(!new_available, &mut self.pairs_with_new_unavailable);
                when(old_available, &mut self.pairs_with_old_available);
            }
        }
    }

    /// The nodes without an available pod, as an update that does not surge counts them.
    pub(crate) fn unavailable(&self) -> usize {
        self.in_progress() + self.old_unavailable
    }

    /// The nodes that the update itself made unavailable.
    pub(crate) fn in_progress(&self) -> usize {
        self.several_pods + self.no_pod + self.pairs + self.new_unavailable
    }

    /// The nodes that surge, as an update that surges counts them.
    pub(crate) fn surging(&self) -> usize {
        self.several_pods + self.pairs_with_new_unavailable
    }
}

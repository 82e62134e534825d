//! Counts over all nodes, for the status and for the budget of an update.

use crate::node::{
    claimed_pod::Availability,
    decision::{CountedNode, NodeStatus, NodeUpdateState},
};

/// Counts of nodes. What is not known to be available counts as unavailable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeCounts {
    pub(crate) desired: usize,
    pub(crate) current: usize,
    pub(crate) misscheduled: usize,
    pub(crate) ready: usize,
    pub(crate) available: usize,
    /// Nodes that should run a pod and whose pod is ready, but without a clock not known to be available.
    pub(crate) unknown: usize,
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

    /// Reverts [`NodeCounts::add`], and is called once for each call of it, so that no count falls below zero.
    pub(crate) fn subtract(&mut self, node: CountedNode) {
        self.change(node, |count| *count -= 1);
    }

    fn change(&mut self, CountedNode { status, update }: CountedNode, by_one: impl Fn(&mut usize)) {
        let when = |condition, count: &mut usize| {
            if condition {
                by_one(count);
            }
        };
        when(status.is_desired(), &mut self.desired);
        match status {
            NodeStatus::Unwanted | NodeStatus::Missing => {}
            NodeStatus::Misscheduled => by_one(&mut self.misscheduled),
            NodeStatus::Scheduled { availability, updated } => {
                by_one(&mut self.current);
                when(availability.is_ready(), &mut self.ready);
                when(availability.is_available(), &mut self.available);
                when(availability == Availability::Unknown, &mut self.unknown);
                when(updated, &mut self.updated);
            }
        }
        match update {
            NodeUpdateState::Uninvolved => {}
            NodeUpdateState::NoPod => by_one(&mut self.no_pod),
            NodeUpdateState::SeveralPods => by_one(&mut self.several_pods),
            NodeUpdateState::Updated { new } if new.is_available() => by_one(&mut self.new_available),
            NodeUpdateState::Updated { .. } => by_one(&mut self.new_unavailable),
            NodeUpdateState::Outdated { old, .. } => when(!old.is_available(), &mut self.old_unavailable),
            NodeUpdateState::Both { old, new, .. } => {
                by_one(&mut self.pairs);
                when(!new.is_available(), &mut self.pairs_with_new_unavailable);
                when(old.is_available(), &mut self.pairs_with_old_available);
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

    /// The nodes that surge, as an update that surges counts them. With a policy (`is_guided`), a node whose outdated pod is
    /// gone counts until the updated one is available: it may have lost it to the update.
    pub(crate) fn surging(&self, is_guided: bool) -> usize {
        let lost = if is_guided { self.new_unavailable + self.no_pod } else { 0 };
        self.several_pods + self.pairs_with_new_unavailable + lost
    }
}

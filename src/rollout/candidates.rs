//! The nodes that a rolling update may replace pods on, in their order: by name, or as a [policy](crate::policy) says.
//! The order is deterministic, so that an update can be forecast.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::counts::NodeCounts;
use crate::{
    model::Text,
    node::{
        claimed_pod::{Availability, PodIndex},
        decision::{CountedNode, NodeStatus, NodeUpdateState},
        policy::{GroupKey, NewPod, NodePolicy},
    },
};

/// The nodes that a rolling update may replace pods on. Missing nodes, whose pods are collected, and excluded nodes are
/// left out.
#[derive(Debug, Default)]
pub(crate) struct Rollout {
    groups: BTreeMap<GroupKey, NodeGroup>,
    /// The last group. Without a policy it holds all nodes.
    rest: NodeGroup,
    /// Outdated pods whose replacements are available, by node.
    pub(crate) finished: BTreeMap<Text, PodIndex>,
    /// The number of nodes with an available outdated pod and no updated one.
    pub(crate) old_available: usize,
    /// What policies depend on; empty without a policy.
    pub(crate) progress: Progress,
}

/// The progress of the update, as policies need it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The hashes of outdated pods.
    pub(crate) old: BTreeMap<Text, HashUsage>,
    /// The number of nodes with an outdated pod.
    pub(crate) old_nodes: usize,
    /// The number of nodes that should run a pod and have an updated one.
    pub(crate) updated: usize,
    /// The nodes where the new template fails.
    pub(crate) failing: BTreeSet<Text>,
    /// Since when updated pods have been available, on canaries by label and on the other selected nodes.
    pub(crate) canaries: BTreeSet<(Timestamp, Text)>,
    pub(crate) available: BTreeSet<(Timestamp, Text)>,
    /// The number of excluded nodes that lack an available pod.
    pub(crate) unavailable_excluded: usize,
}

/// The number of nodes with an outdated pod of one hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HashUsage {
    pub(crate) available: usize,
    pub(crate) all: usize,
}

/// A group of nodes. Without a policy, one group holds all nodes.
#[derive(Debug, Default)]
pub(crate) struct NodeGroup {
    /// Outdated and available.
    pub(crate) old: Candidates,
    /// Outdated and not available.
    pub(crate) broken: Candidates,
    /// Nodes that should run a pod and have none; only with a policy.
    pub(crate) no_pod: BTreeSet<QueueKey>,
    /// The counts of this group's nodes; only with a policy.
    pub(crate) counts: NodeCounts,
    /// The number of selected nodes that should run a pod, and of unfinished ones; only with a policy.
    pub(crate) members: usize,
    pub(crate) unfinished: usize,
}

/// A node's position in its group: by rank, then by name.
pub(crate) type QueueKey = (i64, Text);

/// Outdated pods by node.
pub(crate) type Queue = BTreeMap<QueueKey, PodIndex>;

/// Outdated pods, by whether their node should run one.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    pub(crate) desired: Queue,
    /// On nodes that should not run a pod.
    pub(crate) unwanted: Queue,
}

impl Rollout {
    /// Adds one node.
    #[inline]
    pub(crate) fn add(&mut self, node: &Text, counted: CountedNode, policy: Option<&NodePolicy>) {
        if policy.is_some() || counted.update.has_outdated() {
            self.add_one(node, counted, policy);
        }
    }

    /// Reverts [`Rollout::add`], and is called once for each call of it with the same arguments.
    #[inline]
    pub(crate) fn remove(&mut self, node: &Text, counted: CountedNode, policy: Option<&NodePolicy>) {
        if policy.is_some() || counted.update.has_outdated() {
            self.remove_one(node, counted, policy);
        }
    }

    fn add_one(&mut self, node: &Text, counted: CountedNode, policy: Option<&NodePolicy>) {
        match counted.update {
            NodeUpdateState::Both { pod, new, .. } if new.is_available() => {
                self.finished.insert(node.clone(), pod);
            }
            NodeUpdateState::Outdated { pod, old } => {
                self.old_available += usize::from(old.is_available());
                if let Some((queue, rank)) = self.queue(old, counted.status, policy) {
                    queue.insert((rank, node.clone()), pod);
                }
            }
            _ => {}
        }
        if let Some(policy) = policy {
            let group = self.group_mut(policy.group.clone());
            if lacks_pod(counted, policy) {
                group.no_pod.insert((policy.rank, node.clone()));
            }
            group.counts.add(counted);
            group.count(counted, policy, |count| *count += 1);
            self.progress.add(node, counted, policy);
        }
    }

    fn remove_one(&mut self, node: &Text, counted: CountedNode, policy: Option<&NodePolicy>) {
        match counted.update {
            NodeUpdateState::Both { new, .. } if new.is_available() => drop(self.finished.remove(node)),
            NodeUpdateState::Outdated { old, .. } => {
                self.old_available -= usize::from(old.is_available());
                if let Some((queue, rank)) = self.queue(old, counted.status, policy) {
                    queue.remove(&(rank, node.clone()));
                }
            }
            _ => {}
        }
        if let Some(policy) = policy {
            let group = self.group_mut(policy.group.clone());
            if lacks_pod(counted, policy) {
                group.no_pod.remove(&(policy.rank, node.clone()));
            }
            group.counts.subtract(counted);
            group.count(counted, policy, |count| *count -= 1);
            self.progress.remove(node, counted, policy);
        }
    }

    /// All groups in the order of updates.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&GroupKey, &NodeGroup)> {
        self.groups.iter().chain([(&GroupKey::Rest, &self.rest)])
    }

    fn group_mut(&mut self, key: GroupKey) -> &mut NodeGroup {
        if key == GroupKey::Rest { &mut self.rest } else { self.groups.entry(key).or_default() }
    }

    /// The queue for a node with an outdated pod; `None` if the policy does not select the node, or if it
    /// is unknown whether the pod is available.
    fn queue(
        &mut self,
        availability: Availability,
        status: NodeStatus,
        policy: Option<&NodePolicy>,
    ) -> Option<(&mut Queue, i64)> {
        if availability == Availability::Unknown {
            return None;
        }
        let (group, rank) = match policy {
            None => (GroupKey::Rest, 0),
            Some(policy) if policy.is_selected => (policy.group.clone(), policy.rank),
            Some(_) => return None,
        };
        let group = self.group_mut(group);
        let candidates = if availability.is_available() { &mut group.old } else { &mut group.broken };
        Some((if status.is_desired() { &mut candidates.desired } else { &mut candidates.unwanted }, rank))
    }
}

fn lacks_pod(counted: CountedNode, policy: &NodePolicy) -> bool {
    counted.update == NodeUpdateState::NoPod && counted.status.is_desired() && policy.is_selected
}

impl NodeGroup {
    /// Whether no pod of the group can be replaced.
    pub(crate) fn has_no_candidates(&self) -> bool {
        [&self.old, &self.broken]
            .iter()
            .all(|candidates| candidates.desired.is_empty() && candidates.unwanted.is_empty())
    }

    fn count(&mut self, CountedNode { status, update }: CountedNode, policy: &NodePolicy, by_one: impl Fn(&mut usize)) {
        if policy.is_selected && !policy.is_excluded {
            if status.is_desired() {
                by_one(&mut self.members);
            }
            let finished = NodeUpdateState::Updated { new: Availability::Available };
            if update != NodeUpdateState::Uninvolved && update != finished {
                by_one(&mut self.unfinished);
            }
        }
    }
}

impl Progress {
    fn available(&mut self, policy: &NodePolicy) -> &mut BTreeSet<(Timestamp, Text)> {
        if policy.group == GroupKey::Canaries { &mut self.canaries } else { &mut self.available }
    }

    fn add(&mut self, node: &Text, counted: CountedNode, policy: &NodePolicy) {
        if policy.is_excluded {
            self.unavailable_excluded += usize::from(counted.status.is_unavailable());
        } else {
            self.updated += usize::from(policy.new != NewPod::Absent && counted.status.is_desired());
            if policy.new == NewPod::Failing {
                self.failing.insert(node.clone());
            }
            let since = policy.available_since.filter(|_| is_proof(counted, policy));
            self.available(policy).extend(since.map(|since| (since, node.clone())));
        }
        if let Some((hash, available)) = &policy.old {
            let in_use = self.old.entry(hash.clone()).or_default();
            in_use.all += 1;
            in_use.available += usize::from(*available);
            self.old_nodes += 1;
        }
    }

    fn remove(&mut self, node: &Text, counted: CountedNode, policy: &NodePolicy) {
        if policy.is_excluded {
            self.unavailable_excluded -= usize::from(counted.status.is_unavailable());
        } else {
            self.updated -= usize::from(policy.new != NewPod::Absent && counted.status.is_desired());
            self.failing.remove(node);
            let since = policy.available_since.filter(|_| is_proof(counted, policy));
            since.map(|since| self.available(policy).remove(&(since, node.clone())));
        }
        if let Some((hash, available)) = &policy.old
            && let Some(in_use) = self.old.get_mut(hash)
        {
            in_use.all -= 1;
            in_use.available -= usize::from(*available);
            self.old_nodes -= 1;
            if in_use.all == 0 {
                self.old.remove(hash);
            }
        }
    }
}

/// Whether an available updated pod proves the new template: only on nodes that the policy selects.
fn is_proof(CountedNode { status, update }: CountedNode, policy: &NodePolicy) -> bool {
    let is_new = matches!(
        update,
        NodeUpdateState::Updated { new: Availability::Available }
            | NodeUpdateState::Both { new: Availability::Available, .. }
    );
    is_new && status.is_desired() && policy.is_selected
}

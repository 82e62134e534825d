//! The nodes that a rolling update may replace pods on, in their order: by name, or as a [policy](crate::policy) says.
//! The order is deterministic, so that an update can be forecast.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::counts::NodeCounts;
use crate::{
    model::{IntOrPercent, Text},
    node::{
        claimed_pod::{Availability, PodIndex},
        decision::{CountedNode, NodeStatus, NodeUpdateState},
        policy::{Exclusion, GroupKey, NodePolicy, OldPod},
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
    /// The number of nodes with an outdated pod, and of those among them that are not excluded, that the policy does not
    /// select, and that it does select though they are excluded.
    pub(crate) old_nodes: usize,
    pub(crate) old_here: usize,
    pub(crate) old_not_selected: usize,
    pub(crate) old_away: usize,
    /// The number of nodes with a pod that is not being deleted or with an outdated one.
    pub(crate) with_pods: usize,
    /// The number of nodes that should run a pod and have an updated one, and of those that may have lost it.
    pub(crate) updated: usize,
    pub(crate) vanished: usize,
    /// When the update reached nodes, by name.
    pub(crate) reached: BTreeSet<(Timestamp, Text)>,
    /// The nodes where the new template fails, and why.
    pub(crate) failing: BTreeMap<Text, Text>,
    /// The nodes where it is doubtful whether the new template works, and why.
    pub(crate) in_doubt: BTreeMap<Text, Text>,
    /// The nodes that lack an available pod or have several, and are not excluded.
    pub(crate) lacking: BTreeSet<Text>,
    /// The updated pods of canaries by label, and of the other nodes.
    pub(crate) canaries: UpdatedPods,
    pub(crate) others: UpdatedPods,
    /// The number of nodes that should run a pod if they reported.
    pub(crate) lost: usize,
    /// The number of excluded nodes that lack an available pod.
    pub(crate) unavailable_excluded: usize,
    /// Those among them whose updated pod cannot be scheduled.
    pub(crate) unschedulable_updated: usize,
}

/// Updated pods of nodes that should run one and are not excluded, in the order of time.
#[derive(Debug, Default)]
pub(crate) struct UpdatedPods {
    /// Since when they have been available.
    pub(crate) available: BTreeSet<(Timestamp, Text)>,
    /// When they were created; only if canaries have a limited time.
    pub(crate) created: BTreeSet<(Timestamp, Text)>,
}

/// The number of nodes with an outdated pod of one hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HashUsage {
    pub(crate) available: usize,
    /// Those whose pod does not start.
    pub(crate) broken: usize,
    pub(crate) all: usize,
}

/// A group of nodes. Without a policy, one group holds all nodes.
#[derive(Debug, Default)]
pub(crate) struct NodeGroup {
    /// Outdated and available.
    pub(crate) old: Candidates,
    /// Outdated and not available.
    pub(crate) broken: Candidates,
    /// Those of them that are stuck, on nodes that should run a pod once they report; only with a policy.
    pub(crate) stuck: Candidates,
    /// Nodes that should run a pod and have none; only with a policy.
    pub(crate) no_pod: BTreeSet<QueueKey>,
    /// The counts of this group's nodes; only with a policy.
    pub(crate) counts: NodeCounts,
    /// The number of nodes that should run a pod and are selected or updated, and that of selected ones that are not
    /// finished; only with a policy.
    pub(crate) members: usize,
    pub(crate) unfinished: usize,
    /// The number of those that only flap: their updated pod has been available before; only with a policy.
    pub(crate) flapping: usize,
    /// The number of nodes in progress that are not stuck; only with a policy.
    pub(crate) moving: usize,
    /// The number of nodes that should run a pod and are not excluded, and of those that are; only with a policy.
    pub(crate) present: usize,
    pub(crate) excluded: usize,
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
                if let Some(policy) = policy.filter(|policy| waits_stuck(policy)) {
                    let stuck = &mut self.group_mut(policy.group.clone()).stuck;
                    stuck.queue(counted.status).insert((policy.rank, node.clone()), pod);
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
                if let Some(policy) = policy.filter(|policy| waits_stuck(policy)) {
                    let stuck = &mut self.group_mut(policy.group.clone()).stuck;
                    stuck.queue(counted.status).remove(&(policy.rank, node.clone()));
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
        Some((candidates.queue(status), rank))
    }
}

/// Whether the node has an outdated pod that need not wait for its turn.
fn waits_stuck(policy: &NodePolicy) -> bool {
    policy.is_stuck && policy.is_selected && policy.is_wanted
}

impl Candidates {
    /// The queue for nodes with this status.
    fn queue(&mut self, status: NodeStatus) -> &mut Queue {
        if status.is_desired() { &mut self.desired } else { &mut self.unwanted }
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

    fn count(&mut self, CountedNode { update, .. }: CountedNode, policy: &NodePolicy, by_one: impl Fn(&mut usize)) {
        if policy.is_wanted && !policy.is_excluded() {
            by_one(&mut self.present);
            if policy.is_selected || policy.new.is_some() {
                by_one(&mut self.members);
            }
        } else if policy.is_wanted {
            by_one(&mut self.excluded);
        }
        if update.is_in_progress() && !policy.is_stuck {
            by_one(&mut self.moving);
        }
        if policy.is_selected && !policy.is_excluded() {
            let finished = NodeUpdateState::Updated { new: Availability::Available };
            if update != NodeUpdateState::Uninvolved && update != finished {
                by_one(&mut self.unfinished);
                if policy.is_flapping && matches!(update, NodeUpdateState::Updated { .. }) {
                    by_one(&mut self.flapping);
                }
            }
        }
    }
}

impl Progress {
    /// How many of the excluded nodes use the budget nevertheless, as no more may be excused.
    pub(crate) fn not_excused(&self, max_away: Option<IntOrPercent>, desired: usize) -> usize {
        match max_away {
            Some(most) => self.unavailable_excluded.saturating_sub(most.of(desired)),
            // It need not be known how many nodes may be away for other reasons than the update.
            None => self.unschedulable_updated.saturating_sub(IntOrPercent::Percent(10).of(desired)),
        }
    }

    /// Since when updated pods have been available, on any node.
    pub(crate) fn available(&self) -> impl Iterator<Item = Timestamp> {
        self.canaries.available.iter().chain(&self.others.available).map(|(since, _)| *since)
    }

    fn updated_pods(&mut self, policy: &NodePolicy) -> &mut UpdatedPods {
        if policy.group == GroupKey::Canaries { &mut self.canaries } else { &mut self.others }
    }

    fn add(&mut self, node: &Text, counted: CountedNode, policy: &NodePolicy) {
        self.count(counted, policy, |count| *count += 1);
        self.reached.extend(policy.reached_at.map(|at| (at, node.clone())));
        // A pod that cannot be scheduled is judged, though its node is excused.
        if policy.exclusion != Exclusion::Untouched {
            self.failing.extend(policy.failure().map(|reason| (node.clone(), reason.clone())));
            self.in_doubt.extend(policy.doubt().map(|reason| (node.clone(), reason.clone())));
        }
        if !policy.is_excluded() {
            if counted.update.lacks_available() {
                self.lacking.insert(node.clone());
            }
            let since = policy.available_since.filter(|_| is_proof(counted, policy));
            self.updated_pods(policy).available.extend(since.map(|since| (since, node.clone())));
        }
        // The time of a pod that cannot be scheduled runs, too.
        if policy.exclusion != Exclusion::Untouched {
            self.updated_pods(policy).created.extend(policy.created.map(|created| (created, node.clone())));
        }
        if let Some(OldPod { hash, is_available, is_broken }) = &policy.old {
            let in_use = self.old.entry(hash.clone()).or_default();
            in_use.all += 1;
            in_use.available += usize::from(*is_available);
            in_use.broken += usize::from(*is_broken);
        }
    }

    fn remove(&mut self, node: &Text, counted: CountedNode, policy: &NodePolicy) {
        self.count(counted, policy, |count| *count -= 1);
        policy.reached_at.map(|at| self.reached.remove(&(at, node.clone())));
        self.failing.remove(node);
        self.in_doubt.remove(node);
        if !policy.is_excluded() {
            self.lacking.remove(node);
            let since = policy.available_since.filter(|_| is_proof(counted, policy));
            since.map(|since| self.updated_pods(policy).available.remove(&(since, node.clone())));
        }
        if policy.exclusion != Exclusion::Untouched {
            policy.created.map(|created| self.updated_pods(policy).created.remove(&(created, node.clone())));
        }
        if let Some(OldPod { hash, is_available, is_broken }) = &policy.old
            && let Some(in_use) = self.old.get_mut(hash)
        {
            in_use.all -= 1;
            in_use.available -= usize::from(*is_available);
            in_use.broken -= usize::from(*is_broken);
            if in_use.all == 0 {
                self.old.remove(hash);
            }
        }
    }

    fn count(&mut self, counted: CountedNode, policy: &NodePolicy, by_one: impl Fn(&mut usize)) {
        if policy.is_wanted && !counted.status.is_desired() {
            by_one(&mut self.lost);
        }
        if policy.is_excluded() && policy.is_wanted && policy.is_lacking {
            by_one(&mut self.unavailable_excluded);
            if policy.exclusion == Exclusion::Updated {
                by_one(&mut self.unschedulable_updated);
            }
        }
        if policy.new.is_some() && policy.is_wanted {
            by_one(&mut self.updated);
        }
        if policy.has_vanished {
            by_one(&mut self.vanished);
        }
        if policy.new.is_some() || policy.old.is_some() {
            by_one(&mut self.with_pods);
        }
        if policy.old.is_some() {
            by_one(&mut self.old_nodes);
            if !policy.is_selected {
                by_one(&mut self.old_not_selected);
            } else if policy.is_excluded() {
                by_one(&mut self.old_away);
            }
            if !policy.is_excluded() {
                by_one(&mut self.old_here);
            }
        }
    }
}

/// Whether an available updated pod proves the new template: on nodes that should run one.
fn is_proof(CountedNode { update, .. }: CountedNode, policy: &NodePolicy) -> bool {
    let is_new = matches!(
        update,
        NodeUpdateState::Updated { new: Availability::Available }
            | NodeUpdateState::Both { new: Availability::Available, .. }
    );
    is_new && policy.is_wanted
}

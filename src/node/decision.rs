//! The decision for one node, computed from the node and the claimed pods on it and from nothing else. The
//! [totals](crate::planner::totals) over all nodes make the plan.

use jiff::Timestamp;

use super::{
    claimed_pod::{Availability, ClaimedPod, Lifecycle, PodIndex, live, sort},
    policy::NodePolicy,
};
use crate::{
    adoption::revision_match::RevisionMatch,
    backoff::{Backoff, BackoffKey, Wait},
    context::DaemonSetContext,
    model::{Node, Pod, PodPhase, Text},
    placement::Verdict,
    plan::{CreateReason, DeleteReason},
};

/// The decision for one node. A node that needs nothing owns no memory.
#[derive(Debug)]
pub(crate) struct NodeDecision {
    pub(crate) counted: CountedNode,
    /// Whether the node is missing and its bound pods are garbage-collected.
    pub(crate) collects: bool,
    /// When a pod of the node becomes available.
    pub(crate) available_at: Option<Timestamp>,
    /// How the rollout policy treats the node, if the DaemonSet has a policy.
    pub(crate) policy: Option<Box<NodePolicy>>,
    pub(crate) work: Option<Box<NodeWork>>,
}

/// What a node adds to the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CountedNode {
    pub(crate) status: NodeStatus,
    pub(crate) update: NodeUpdateState,
}

/// What a node adds to the DaemonSet's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NodeStatus {
    /// No pod should run here and none does.
    #[default]
    Unwanted,
    /// A pod runs here but should not.
    Misscheduled,
    /// A pod should run here and none does.
    Missing,
    /// A pod should run here and does.
    Scheduled { availability: Availability, updated: bool },
}

/// What a node means to a rolling update, by its pods that are not being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeUpdateState {
    /// No pod should run here and none does.
    Uninvolved,
    /// No pod runs here.
    NoPod,
    /// Several outdated or several updated pods.
    SeveralPods,
    /// One updated pod.
    Updated { new: Availability },
    /// One outdated pod.
    Outdated { pod: PodIndex, old: Availability },
    /// One outdated and one updated pod.
    Both { pod: PodIndex, old: Availability, new: Availability },
}

/// The pods to create and to delete on a node, and the waits that delay it.
#[derive(Debug, Default)]
pub(crate) struct NodeWork {
    pub(crate) create: Option<CreateReason>,
    /// By the pods' names.
    pub(crate) delete: Vec<(PodIndex, DeleteReason)>,
    /// Pods to be garbage-collected, by name.
    pub(crate) collect: Vec<PodIndex>,
    /// How long a Failed pod has to wait.
    pub(crate) wait: Option<Wait>,
    /// When time alone changes the back-off of this node.
    pub(crate) backoff_changes_at: Option<Timestamp>,
}

impl NodeUpdateState {
    /// Whether the node has an outdated pod that an update may replace.
    pub(crate) fn has_outdated(self) -> bool {
        matches!(self, Self::Outdated { .. } | Self::Both { .. })
    }

    /// Whether the update itself keeps the node from having one available pod.
    pub(crate) fn is_in_progress(self) -> bool {
        match self {
            Self::Uninvolved | Self::Outdated { .. } => false,
            Self::Updated { new } => !new.is_available(),
            Self::NoPod | Self::SeveralPods | Self::Both { .. } => true,
        }
    }

    /// Whether the node lacks one available pod.
    pub(crate) fn lacks_available(self) -> bool {
        self.is_in_progress() || matches!(self, Self::Outdated { old, .. } if !old.is_available())
    }

    fn of(pods: &[ClaimedPod<'_>]) -> Self {
        let (mut old, mut new) = (None, None);
        for claimed in live(pods) {
            let slot = if claimed.is_updated() { &mut new } else { &mut old };
            if slot.replace(claimed).is_some() {
                return Self::SeveralPods;
            }
        }
        match (old, new) {
            (None, None) => Self::NoPod,
            (None, Some(new)) => Self::Updated { new: new.availability },
            (Some(old), None) => Self::Outdated { pod: old.index, old: old.availability },
            (Some(old), Some(new)) => Self::Both { pod: old.index, old: old.availability, new: new.availability },
        }
    }
}

impl NodeStatus {
    /// The status of a node is that of its first pod.
    fn of(verdict: Verdict, pods: &[ClaimedPod<'_>]) -> Self {
        match (verdict.should_run(), pods.first()) {
            (true, Some(first)) => Self::Scheduled { availability: first.availability, updated: first.is_updated() },
            (true, None) => Self::Missing,
            (false, Some(_)) => Self::Misscheduled,
            (false, None) => Self::Unwanted,
        }
    }

    /// Whether a pod should run here.
    pub(crate) fn is_desired(self) -> bool {
        matches!(self, Self::Missing | Self::Scheduled { .. })
    }
}

impl DaemonSetContext<'_> {
    /// Decides for `node` and its claimed pods, which are sorted.
    pub(crate) fn decide(&self, node: &Node, verdict: Verdict, pods: &mut Vec<ClaimedPod<'_>>) -> NodeDecision {
        sort(pods);
        let update = match NodeUpdateState::of(pods) {
            NodeUpdateState::NoPod if pods.is_empty() && !verdict.should_run() => NodeUpdateState::Uninvolved,
            update => update,
        };
        NodeDecision {
            counted: CountedNode { status: NodeStatus::of(verdict, pods), update },
            collects: false,
            available_at: self.next_available_at(pods),
            policy: self.node_policy(&node.name, Some((node, verdict)), pods),
            work: self.work(node, verdict, pods),
        }
    }

    /// Decides for a missing node that claimed pods refer to.
    pub(crate) fn decide_missing(&self, name: &Text, pods: &mut Vec<ClaimedPod<'_>>) -> NodeDecision {
        sort(pods);
        let (bound, mut unbound): (Vec<ClaimedPod<'_>>, Vec<_>) =
            pods.iter().partition(|claimed| claimed.pod.node.is_bound());
        let mut bound: Vec<_> =
            if self.settings.collect_pods_on_missing_nodes { live(&bound).collect() } else { Vec::new() };
        for pods in [&mut unbound, &mut bound] {
            pods.sort_by_key(|claimed| &claimed.pod.name);
        }
        let delete: Vec<_> = unbound.iter().map(|claimed| (claimed.index, DeleteReason::NodeGone)).collect();
        let collect: Vec<_> = bound.iter().map(|claimed| claimed.index).collect();
        NodeDecision {
            counted: CountedNode { status: NodeStatus::default(), update: NodeUpdateState::of(pods) },
            collects: !collect.is_empty(),
            available_at: self.next_available_at(pods),
            policy: self.node_policy(name, None, pods),
            work: (!delete.is_empty() || !collect.is_empty())
                .then(|| Box::new(NodeWork { delete, collect, ..NodeWork::default() })),
        }
    }

    #[inline]
    fn node_policy(
        &self,
        name: &Text,
        node: Option<(&Node, Verdict)>,
        pods: &[ClaimedPod<'_>],
    ) -> Option<Box<NodePolicy>> {
        let policy = &self.rules.policy;
        policy.guides_updates.then(|| Box::new(NodePolicy::new(self, name, node, pods)))
    }

    fn work(&self, node: &Node, verdict: Verdict, pods: &[ClaimedPod<'_>]) -> Option<Box<NodeWork>> {
        let mut work = None;
        match verdict {
            Verdict::Run if pods.is_empty() => match self.refused_creation(&node.name) {
                Some((wait, changes_at)) => {
                    (some(&mut work).wait, some(&mut work).backoff_changes_at) = (Some(wait), changes_at);
                }
                None => some(&mut work).create = Some(CreateReason::NoPod),
            },
            Verdict::Refuse => {
                for claimed in live(pods) {
                    let placement = self.rules.placement.reason(node);
                    some(&mut work).delete.push((claimed.index, DeleteReason::NotPlaced { placement }));
                }
            }
            // A single running pod stays.
            _ if matches!(pods, [only] if only.lifecycle == Lifecycle::Running) => {}
            Verdict::Run | Verdict::Keep => {
                self.remove_terminal(node, pods, &mut work);
                let mut running = live(pods).filter(|claimed| !claimed.is_terminal());
                if !self.surges() {
                    keep_one(running.next(), running, &mut work);
                } else if let Some(first) = running.next() {
                    keep_pair(first, running, &mut work);
                } else if verdict.should_run() && !self.awaits_end_of_backoff(work.as_deref()) {
                    some(&mut work).create = Some(CreateReason::NoLivePod);
                }
            }
        }
        if let Some(work) = &mut work {
            let name = |index| pods.iter().find(|claimed| claimed.index == index).map(|claimed| &claimed.pod.name);
            work.delete.sort_by_key(|(index, _)| name(*index));
        }
        work
    }

    /// Deletes terminal pods: every Succeeded pod, and one Failed pod unless it is in back-off.
    fn remove_terminal(&self, node: &Node, pods: &[ClaimedPod<'_>], work: &mut Option<Box<NodeWork>>) {
        for succeeded in live(pods).filter(|claimed| claimed.pod.phase == PodPhase::Succeeded) {
            some(work).delete.push((succeeded.index, DeleteReason::Succeeded));
        }
        let failed = live(pods).filter(|claimed| claimed.pod.phase == PodPhase::Failed);
        let mut deleted = None;
        for (claimed, key) in failed.map(|claimed| (claimed, self.backoff_key(&node.name, claimed.pod))) {
            let work = some(work);
            let mut wait = self.backoff.wait(&key, self.now);
            work.backoff_changes_at =
                work.backoff_changes_at.into_iter().chain(self.backoff.changes_at(&key, self.now)).min();
            if deleted.as_ref() == Some(&key) {
                // The deletion of the first pod starts the back-off that applies to this one.
                wait = Some(Wait::For(self.backoff.next_delay(&key, self.now)));
            } else if wait.is_none() && deleted.is_none() {
                work.delete.push((claimed.index, DeleteReason::Failed));
                deleted = Some(key);
            }
            work.wait = work.wait.into_iter().chain(wait).min_by_key(|wait| wait.at(self.now));
        }
    }

    /// The key of the back-off that applies to a Failed pod.
    pub(crate) fn backoff_key(&self, node: &Text, pod: &Pod) -> BackoffKey {
        self.rules.policy.backoff_key(self.daemonset, node, pod)
    }

    /// Whether a failed pod in back-off keeps the next one from being created. An update that surges does not wait for
    /// it otherwise, and creates a pod a second (kubernetes/kubernetes#124388).
    fn awaits_end_of_backoff(&self, work: Option<&NodeWork>) -> bool {
        self.rules.policy.rollout.backoff_by_reason && work.is_some_and(|work| work.wait.is_some())
    }

    /// How long no pod is created on a node because the API server refused one, and when that changes.
    fn refused_creation(&self, node: &Text) -> Option<(Wait, Option<Timestamp>)> {
        if !self.rules.policy.rollout.backoff_by_reason {
            return None;
        }
        let key = Backoff::key(self.daemonset, node).because(BackoffKey::REFUSED);
        Some((self.backoff.wait(&key, self.now)?, self.backoff.changes_at(&key, self.now)))
    }

    /// Whether updates surge: `maxSurge` of 1 node is more than 0.
    fn surges(&self) -> bool {
        self.daemonset.update_strategy.surges()
    }
}

fn some(work: &mut Option<Box<NodeWork>>) -> &mut NodeWork {
    work.get_or_insert_default()
}

/// Without surge, one running pod stays.
fn keep_one<'p>(
    kept: Option<ClaimedPod<'p>>,
    others: impl Iterator<Item = ClaimedPod<'p>>,
    work: &mut Option<Box<NodeWork>>,
) {
    let Some(kept) = kept else { return };
    for other in others {
        some(work).delete.push((other.index, DeleteReason::Duplicate { kept: kept.pod.name.clone() }));
    }
}

/// With surge, one pod of the current and one of another hash stay, until the old one is no longer needed.
fn keep_pair<'p>(
    first: ClaimedPod<'p>,
    others: impl Iterator<Item = ClaimedPod<'p>>,
    work: &mut Option<Box<NodeWork>>,
) {
    let (mut old, mut new) = (None::<ClaimedPod<'_>>, None::<ClaimedPod<'_>>);
    for claimed in std::iter::once(first).chain(others) {
        match if claimed.revision == RevisionMatch::Hash { &mut new } else { &mut old } {
            Some(kept) => {
                some(work).delete.push((claimed.index, DeleteReason::Duplicate { kept: kept.pod.name.clone() }));
            }
            slot => *slot = Some(claimed),
        }
    }
    if let (Some(old), Some(new)) = (old, new) {
        if !old.availability.is_ready() {
            some(work).delete.push((old.index, DeleteReason::SurgeOldNotReady));
        } else if new.is_available() {
            some(work).delete.push((old.index, DeleteReason::SurgeFinished));
        }
    }
}

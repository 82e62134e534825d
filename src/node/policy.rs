//! How a rollout policy treats one node: its group, its rank in the order, and whether it counts.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    claimed_pod::{ClaimedPod, live},
    health::{Clock, PodHealth, Since, is_broken, is_stuck, was_ready_until},
};
use crate::{
    context::{DaemonSetContext, Direction},
    model::{
        Node, Text,
        well_known::{NOT_READY_TAINT, UNREACHABLE_TAINT, UNSCHEDULABLE_TAINT},
    },
    placement::Verdict,
    policy::{Canary, CanaryNodes, FailurePolicy, Order, RolloutPolicy},
    util::fnv::Fnv,
};

/// How a rollout policy treats one node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub(crate) struct NodePolicy {
    /// Whether a pod should run here, or would if the node reported: Kubernetes taints a node that does not so that no pod
    /// should run there, and the node is still part of the update.
    pub(crate) is_wanted: bool,
    /// Whether the node has no available pod.
    pub(crate) is_lacking: bool,
    /// Whether the node does not report.
    pub(crate) is_silent: bool,
    /// Whether the node no longer reports and has no pod: it may have lost it to an update.
    pub(crate) is_cut_off: bool,
    /// Whether that was when the template was current already: the update may have come here.
    pub(crate) has_vanished: bool,
    pub(crate) group: GroupKey,
    /// Nodes with a lower rank are updated first.
    pub(crate) rank: i64,
    /// Whether the policy updates the node at all.
    pub(crate) is_selected: bool,
    pub(crate) exclusion: Exclusion,
    /// The updated pod; `None` if there is none.
    pub(crate) new: Option<PodHealth>,
    /// When the first updated pod was created, on a node that reports and should run one; only if canaries have a limited
    /// time.
    pub(crate) created: Option<Timestamp>,
    /// Since when the updated pod has been available, if it is.
    pub(crate) available_since: Option<Timestamp>,
    /// When the last updated pod was created, unless the node was new then: the update may have come here at that time. It is
    /// not computed where failures do not matter.
    pub(crate) reached_at: Option<Timestamp>,
    /// The outdated pod, which may be being deleted.
    pub(crate) old: Option<OldPod>,
    /// Whether the pods of the node are broken, or have not been ready for long. It is not computed where no group waits
    /// for another.
    pub(crate) is_stuck: bool,
    /// Whether the node reports and an updated pod that is not available, and not stuck, has run for so long that it must have
    /// been ready before. It is not computed where no group waits for another.
    pub(crate) is_flapping: bool,
    /// When time alone changes any of these.
    pub(crate) changes_at: Option<Timestamp>,
}

/// Whether a node is left out of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exclusion {
    None,
    /// It is away, or its outdated pod cannot be scheduled.
    Untouched,
    /// Its updated pod cannot be scheduled.
    Updated,
}

/// The outdated pod of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OldPod {
    pub(crate) hash: Text,
    /// Whether it is available, and not being deleted.
    pub(crate) is_available: bool,
    /// Whether it does not start.
    pub(crate) is_broken: bool,
}

/// A group of nodes, in the order of updates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GroupKey {
    /// Nodes that are canaries by their labels.
    Canaries,
    /// A group that the policy names, by its index there.
    Listed(usize),
    /// A group by the value of its label.
    Named(Text),
    /// Nodes without the label, or all nodes if the policy has no groups.
    Rest,
}

impl NodePolicy {
    /// Evaluates the policy for a node with these claimed pods; `placed` is `None` if the node is missing.
    #[inline(never)] // most DaemonSets have no policy
    pub(crate) fn new(
        context: &DaemonSetContext<'_>,
        name: &Text,
        placed: Option<(&Node, Verdict)>,
        pods: &[ClaimedPod<'_>],
    ) -> Self {
        let node = placed.map(|(node, _)| node);
        let policy = &context.rules.policy.rollout;
        let direction = context.rules.direction;
        let mut clock = Clock { now: context.now, next_change: None };
        let olds = || pods.iter().filter(|claimed| !claimed.is_updated());
        let old = olds().find(|claimed| claimed.is_live()).or_else(|| olds().next());
        let silent = node.and_then(lost_since);
        let exclusion = exclusion(context, node, silent, pods, &mut clock);
        let lost = silent.filter(|_| exclusion == Exclusion::None);
        let mut new = None;
        for claimed in live(pods).filter(ClaimedPod::is_updated) {
            // Every pod is judged, since each may change at a time of its own.
            let health = match &policy.failure {
                Some(failure) => PodHealth::of(failure, policy, &claimed, lost, &mut clock),
                None => PodHealth::Well,
            };
            new = new.max(Some(health));
        }
        let available = live(pods).find(|claimed| claimed.is_updated() && claimed.is_available());
        let available_since =
            available.and_then(|claimed| claimed.pod.ready_since()?.checked_add(context.min_ready()).ok());
        let has_limit = policy.canary.as_ref().is_some_and(|canary| canary.timeout.is_some());
        let failure = policy.failure.as_ref();
        let is_lacking = live(pods).all(|claimed| !claimed.is_available());
        let is_stuck = policy.updates_in_turns() && are_stuck(pods, failure, &mut clock);
        let is_flapping = policy.updates_in_turns()
            && !is_stuck
            && silent.is_none()
            && live(pods).any(|claimed| {
                let start = FailurePolicy::RECOVERY.saturating_add(context.min_ready().try_into().unwrap_or_default());
                let is_old = |created| clock.has_passed(created, start);
                claimed.is_updated() && !claimed.is_available() && claimed.pod.created.is_some_and(is_old)
            });
        let is_wanted = placed.is_some_and(|(node, verdict)| is_wanted(context, node, verdict, silent));
        let had_pod = || live(pods).next().is_none() && node.is_some_and(|node| may_have_had(context, node, lost));
        let is_cut_off = is_wanted && had_pod();
        let template_since = context.rules.history.created().filter(|_| !direction.is_back());
        Self {
            is_wanted,
            is_lacking,
            is_silent: silent.is_some(),
            is_cut_off,
            has_vanished: is_cut_off && template_since.is_some_and(|since| silent >= Some(Since::At(since))),
            group: node.map_or(GroupKey::Rest, |node| GroupKey::of(policy, node)),
            rank: rank(&policy.order, name, node, old),
            is_selected: node.is_some_and(|node| direction.is_back() || selects(policy, node)),
            exclusion,
            new,
            created: if has_limit && is_wanted && lost.is_none() {
                live(pods).filter(ClaimedPod::is_updated).filter_map(|claimed| claimed.pod.created).min()
            } else {
                None
            },
            available_since,
            reached_at: failure.and_then(|_| reached_at(node?, pods)),
            old: old.map(|claimed| OldPod {
                hash: claimed.hash(),
                is_available: claimed.is_live() && claimed.is_available(),
                is_broken: is_broken(claimed, failure),
            }),
            is_stuck,
            is_flapping,
            changes_at: clock.next_change,
        }
    }

    pub(crate) fn is_excluded(&self) -> bool {
        self.exclusion != Exclusion::None
    }

    /// Why the new template fails here.
    pub(crate) fn failure(&self) -> Option<&Text> {
        match &self.new {
            Some(PodHealth::Failing(reason)) => Some(reason),
            _ => None,
        }
    }

    /// Why it is doubtful whether the new template works here.
    pub(crate) fn doubt(&self) -> Option<&Text> {
        match &self.new {
            Some(PodHealth::InDoubt(reason)) => Some(reason),
            _ => None,
        }
    }
}

impl GroupKey {
    fn of(policy: &RolloutPolicy, node: &Node) -> Self {
        if let Some(Canary { nodes: CanaryNodes::Matching(selector), .. }) = &policy.canary
            && selector.matches(&node.labels)
        {
            return Self::Canaries;
        }
        let Some(groups) = &policy.groups else { return Self::Rest };
        let Some(name) = node.labels.get_text(&groups.label) else { return Self::Rest };
        let listed = groups.first.iter().position(|first| first == name);
        listed.map_or_else(|| Self::Named(name.clone()), Self::Listed)
    }
}

/// When the last updated pod was created on a node that was not new then.
fn reached_at(node: &Node, pods: &[ClaimedPod<'_>]) -> Option<Timestamp> {
    /// How long a node is new.
    const NEW: Duration = Duration::from_secs(10 * 60);
    let old_since = node.created.and_then(|created| created.checked_add(NEW).ok());
    let created = live(pods).filter(ClaimedPod::is_updated).filter_map(|claimed| claimed.pod.created).max();
    created.filter(|created| old_since.is_none_or(|since| *created > since))
}

/// Whether the node has pods, all of them stuck.
fn are_stuck(pods: &[ClaimedPod<'_>], failure: Option<&FailurePolicy>, clock: &mut Clock) -> bool {
    let mut are_stuck = live(pods).next().is_some();
    for claimed in live(pods) {
        // Every pod is looked at, since each may change at a time of its own.
        are_stuck &= is_stuck(&claimed, failure, clock);
    }
    are_stuck
}

fn rank(order: &Order, name: &Text, node: Option<&Node>, pod: Option<&ClaimedPod<'_>>) -> i64 {
    match order {
        Order::Name => 0,
        Order::OldestPod => pod.and_then(|claimed| claimed.pod.created).map_or(i64::MIN, Timestamp::as_second),
        Order::Priority { label } => {
            let priority = node.and_then(|node| node.labels.get_text(label)?.parse::<i64>().ok());
            priority.map_or(i64::MAX, i64::saturating_neg)
        }
        Order::Random { seed } => {
            let mut fnv = Fnv::new();
            fnv.write(&seed.to_le_bytes());
            fnv.write(name.as_bytes());
            fnv.finish().cast_signed()
        }
    }
}

fn selects(policy: &RolloutPolicy, node: &Node) -> bool {
    policy.update_nodes.as_ref().is_none_or(|selector| selector.matches(&node.labels))
}

fn exclusion(
    context: &DaemonSetContext<'_>,
    node: Option<&Node>,
    silent: Option<Since>,
    pods: &[ClaimedPod<'_>],
    clock: &mut Clock,
) -> Exclusion {
    let away = context.rules.policy.rollout.away;
    let Some(node) = node else {
        return if away.deleted.is_some() { Exclusion::Untouched } else { Exclusion::None };
    };
    let mut is_over = |after: Duration, since: Since| after.is_zero() || clock.is_over(since, after);
    let states = [
        away.not_ready.zip(taint_since(node, NOT_READY_TAINT)),
        away.unreachable.zip(taint_since(node, UNREACHABLE_TAINT)),
        away.cordoned.zip(taint_since(node, UNSCHEDULABLE_TAINT)),
        away.deleted.zip(node.deleted.map(Since::At)),
    ];
    let mut is_away = false;
    for (after, since) in states.into_iter().flatten() {
        is_away |= is_over(after, since);
    }
    if let Some(after) = away.unschedulable {
        let mut refused = live(pods).filter_map(|claimed| Some((claimed, refused_since(&claimed)?)));
        if let Some((claimed, since)) = refused.next()
            && is_over(after, since)
        {
            return if claimed.is_updated() { Exclusion::Updated } else { Exclusion::Untouched };
        }
    }
    if is_away && (never_reported(node, silent) || !is_touched(silent, pods, context.rules.direction)) {
        Exclusion::Untouched
    } else {
        Exclusion::None
    }
}

/// Whether the update has reached the node, so that the node may be away because of the update: it has an updated pod, or
/// none any more. A roll-back to a template whose update was done has not reached what the failed one left, nor pods that
/// are older and were ready until their node went away.
fn is_touched(silent: Option<Since>, pods: &[ClaimedPod<'_>], direction: Direction) -> bool {
    let mut updated = pods.iter().filter(|claimed| claimed.is_updated());
    let Direction::RollBack(Some(at)) = direction else {
        return updated.next().is_some() || live(pods).next().is_none();
    };
    let was_ready = |claimed: &ClaimedPod<'_>| {
        claimed.pod.is_ready() || silent.is_some_and(|since| was_ready_until(claimed.pod, since))
    };
    updated.any(|claimed| claimed.pod.created.is_none_or(|created| created >= at) || !was_ready(claimed))
}

/// Since when a node has had this taint, if it has.
fn taint_since(node: &Node, key: &str) -> Option<Since> {
    node.taints.iter().filter(|taint| taint.key == key).map(|taint| taint.added.into()).min()
}

/// Since when the node has not reported, if it does not.
fn lost_since(node: &Node) -> Option<Since> {
    node.taints.iter().filter(|taint| taint.stops_pods()).map(|taint| taint.added.into()).min()
}

/// Whether a pod should run on the node, once it reports again if it does not.
fn is_wanted(context: &DaemonSetContext<'_>, node: &Node, verdict: Verdict, silent: Option<Since>) -> bool {
    if verdict == Verdict::Run || silent.is_none() {
        return verdict == Verdict::Run;
    }
    let mut reporting = node.clone();
    reporting.taints.retain(|taint| !taint.stops_pods());
    context.rules.placement.verdict(&reporting) == Verdict::Run
}

/// Whether the node has not reported since it was created: no pod can be the reason.
fn never_reported(node: &Node, silent: Option<Since>) -> bool {
    /// How much later than the node the taint may appear.
    const REGISTRATION: Duration = Duration::from_secs(60);
    let end = node.created.and_then(|created| created.checked_add(REGISTRATION).ok());
    matches!((silent, end), (Some(Since::At(since)), Some(end)) if since <= end)
}

/// Whether a node that does not report since `lost` did so before, when the DaemonSet was there: it had a pod. Without a time
/// that is not known.
fn may_have_had(context: &DaemonSetContext<'_>, node: &Node, lost: Option<Since>) -> bool {
    let was_there = |since| context.daemonset.created.is_none_or(|created| created <= since);
    matches!(lost, Some(Since::At(since)) if was_there(since)) && !never_reported(node, lost)
}

/// Since when the scheduler has refused a pod, if it does.
fn refused_since(claimed: &ClaimedPod<'_>) -> Option<Since> {
    let problem = claimed.pod.problem.as_ref().filter(|_| !claimed.pod.node.is_bound())?;
    let is_refused = !problem.unschedulable.is_empty() || !problem.unschedulable_reason.is_empty();
    (is_refused || problem.unschedulable_since.is_some()).then(|| problem.unschedulable_since.into())
}

//! How a rollout policy treats one node: its group, its rank in the order, and whether it counts.

use std::time::Duration;

use jiff::Timestamp;

use super::claimed_pod::{ClaimedPod, live};
use crate::{
    context::DaemonSetContext,
    model::{
        Node, PodPhase, Text,
        well_known::{NOT_READY_TAINT, UNREACHABLE_TAINT, UNSCHEDULABLE_TAINT},
    },
    policy::{Canary, CanaryNodes, ExcludedNodes, FailurePolicy, Order, RolloutPolicy},
    util::fnv::Fnv,
};

/// How a rollout policy treats one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodePolicy {
    pub(crate) group: GroupKey,
    /// Nodes with a lower rank are updated first.
    pub(crate) rank: i64,
    /// Whether the policy updates the node at all.
    pub(crate) is_selected: bool,
    /// Whether the node is away and therefore left out.
    pub(crate) is_excluded: bool,
    pub(crate) new: NewPod,
    /// Since when the updated pod has been available, if it is.
    pub(crate) available_since: Option<Timestamp>,
    /// The hash of the outdated pod, which may be being deleted, and whether the pod is available.
    pub(crate) old: Option<(Text, bool)>,
    /// When time alone changes any of these.
    pub(crate) changes_at: Option<Timestamp>,
}

/// Whether a node has an updated pod, and whether the new template fails in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewPod {
    Absent,
    Present,
    Failing,
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
    /// Evaluates the policy for a node with these claimed pods; `node` is `None` if the node is missing.
    pub(crate) fn new(
        context: &DaemonSetContext<'_>,
        name: &Text,
        node: Option<&Node>,
        pods: &[ClaimedPod<'_>],
    ) -> Self {
        let policy = &context.rules.policy.rollout;
        let mut clock = Clock { now: context.now, next_change: None };
        let new = || live(pods).filter(ClaimedPod::is_updated);
        let available = new().find(ClaimedPod::is_available);
        let olds = || pods.iter().filter(|claimed| !claimed.is_updated());
        let old = olds().find(|claimed| claimed.is_live()).or_else(|| olds().next());
        let mut new_pod = NewPod::Absent;
        for claimed in new() {
            // Every pod is checked, since each may change at a time of its own.
            if policy.failure.is_some_and(|failure| fails(&failure, &claimed, &mut clock)) {
                new_pod = NewPod::Failing;
            } else if new_pod == NewPod::Absent {
                new_pod = NewPod::Present;
            }
        }
        let available_since =
            available.and_then(|claimed| claimed.pod.ready_since()?.checked_add(context.min_ready()).ok());
        let mut node_policy = Self {
            group: node.map_or(GroupKey::Rest, |node| GroupKey::of(policy, node)),
            rank: rank(&policy.order, name, node, old),
            is_selected: node.is_some_and(|node| selects(policy, node)),
            is_excluded: is_excluded(policy.away, node, &mut clock),
            new: new_pod,
            available_since,
            old: old.map(|claimed| (claimed.hash(), claimed.is_live() && claimed.is_available())),
            changes_at: None,
        };
        node_policy.changes_at = clock.next_change;
        node_policy
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

fn is_excluded(away: ExcludedNodes, node: Option<&Node>, clock: &mut Clock) -> bool {
    let Some(node) = node else { return away.deleted.is_some() };
    let of_taint = |key: &str, after: Option<Duration>| {
        let taints = node.taints.iter().filter(|taint| taint.key == key);
        Some((after?, taints.map(|taint| taint.added).min()?))
    };
    let states = [
        of_taint(NOT_READY_TAINT, away.not_ready),
        of_taint(UNREACHABLE_TAINT, away.unreachable),
        of_taint(UNSCHEDULABLE_TAINT, away.cordoned),
        away.deleted.zip(node.deleted.map(Some)),
    ];
    let mut is_excluded = false;
    for (after, since) in states.into_iter().flatten() {
        is_excluded |= after.is_zero() || since.is_some_and(|since| clock.has_passed(since, after));
    }
    is_excluded
}

/// Whether the new template fails in this pod.
fn fails(failure: &FailurePolicy, claimed: &ClaimedPod<'_>, clock: &mut Clock) -> bool {
    let has_problem = claimed.pod.problem.as_ref().is_some_and(|problem| {
        let restarted = problem.restarts > failure.max_restarts && !has_recovered(claimed, clock);
        restarted || FailurePolicy::REASONS.contains(&&*problem.waiting)
    });
    if claimed.pod.phase == PodPhase::Failed || has_problem {
        return true;
    }
    match (failure.available_within, claimed.pod.created) {
        (Some(within), Some(created)) if !claimed.is_available() => clock.has_passed(created, within),
        _ => false,
    }
}

/// Whether a pod is known to have been available long enough for its earlier restarts to no longer count.
fn has_recovered(claimed: &ClaimedPod<'_>, clock: &mut Clock) -> bool {
    match claimed.pod.ready_since() {
        Some(since) => claimed.is_available() && clock.has_passed(since, FailurePolicy::RECOVERY),
        None => false,
    }
}

/// Compares times with now, and records when the next comparison changes.
struct Clock {
    now: Option<Timestamp>,
    next_change: Option<Timestamp>,
}

impl Clock {
    /// Whether `after` has passed since `since`. It has not without a clock, nor if the end is beyond the year 9999.
    fn has_passed(&mut self, since: Timestamp, after: Duration) -> bool {
        let (Ok(at), Some(now)) = (since.checked_add(after), self.now) else { return false };
        if at > now {
            self.next_change = Some(self.next_change.map_or(at, |next| next.min(at)));
        }
        at <= now
    }
}

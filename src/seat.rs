//! What a policy makes of one node: its group, its rank, and what else decides about its turn.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    fnv::Fnv,
    member::Member,
    model::{Node, PodPhase, Text},
    policy::{Canary, CanaryNodes, FailurePolicy, Order, RolloutPolicy},
};

/// A node's place in an update that keeps to a policy.
#[allow(clippy::struct_excessive_bools)] // each is asked for on its own
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) group: GroupKey,
    /// Lower ones come first.
    pub(crate) rank: i64,
    /// Whether the node is updated at all.
    pub(crate) is_selected: bool,
    /// Whether the node is away, so that it does not count.
    pub(crate) is_away: bool,
    /// Whether the new template fails here.
    pub(crate) fails: bool,
    /// Whether a new pod is here.
    pub(crate) has_new: bool,
    /// Since when the new pod has been available, if it is.
    pub(crate) available_since: Option<Timestamp>,
    /// The hash of the old pod that is here, which may be going, and whether it is available.
    pub(crate) old: Option<(Text, bool)>,
    /// When time alone changes any of that.
    pub(crate) changes_at: Option<Timestamp>,
}

/// A group of nodes, in the order in which they are updated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GroupKey {
    /// Nodes that are canaries by their labels.
    Canaries,
    /// A group that the policy names, by its place there.
    Listed(usize),
    Named(Text),
    /// Nodes without the label, or all of them if there are no groups.
    Rest,
}

/// What is the same for all nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seating<'a> {
    pub(crate) policy: &'a RolloutPolicy,
    pub(crate) now: Option<Timestamp>,
    pub(crate) min_ready: SignedDuration,
}

impl Seating<'_> {
    /// The seat of a node, or of one that is missing, where these pods are.
    pub(crate) fn seat(&self, name: &Text, node: Option<&Node>, pods: &[Member<'_>]) -> Seat {
        let mut times = Times { now: self.now, next: None };
        let live = || pods.iter().filter(|member| member.is_live);
        let new = live().filter(|member| member.is_updated());
        let is_available = |member: &&Member<'_>| member.is_available;
        let available = new.clone().find(is_available);
        let olds = || pods.iter().filter(|member| !member.is_updated());
        let old = olds().find(|member| member.is_live).or_else(|| olds().next());
        let mut fails = false;
        if let Some(failure) = &self.policy.failure {
            // All are asked, as each may have its time.
            new.clone().for_each(|member| fails |= self::fails(failure, member, &mut times));
        }
        let seat = Seat {
            group: node.map_or(GroupKey::Rest, |node| self.group(node)),
            rank: self.rank(name, node, old),
            is_selected: node.is_some_and(|node| self.selects(node)),
            is_away: self.is_away(node, &mut times),
            has_new: new.clone().next().is_some(),
            fails,
            available_since: available.and_then(|member| member.pod.ready_since()?.checked_add(self.min_ready).ok()),
            old: old.map(|member| (member.hash(), member.is_live && member.is_available)),
            changes_at: None,
        };
        Seat { changes_at: times.next, ..seat }
    }

    fn group(&self, node: &Node) -> GroupKey {
        if let Some(Canary { nodes: CanaryNodes::Matching(selector), .. }) = &self.policy.canary
            && selector.matches(&node.labels)
        {
            return GroupKey::Canaries;
        }
        let Some(groups) = &self.policy.groups else { return GroupKey::Rest };
        let Some(name) = node.labels.get_text(&groups.label) else { return GroupKey::Rest };
        let listed = groups.first.iter().position(|first| first == name);
        listed.map_or_else(|| GroupKey::Named(name.clone()), GroupKey::Listed)
    }

    fn rank(&self, name: &Text, node: Option<&Node>, pod: Option<&Member<'_>>) -> i64 {
        match &self.policy.order {
            Order::Name => 0,
            Order::OldestPod => pod.and_then(|member| member.pod.created).map_or(i64::MIN, Timestamp::as_second),
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

    fn selects(&self, node: &Node) -> bool {
        self.policy.update_nodes.as_ref().is_none_or(|selector| selector.matches(&node.labels))
    }

    fn is_away(&self, node: Option<&Node>, times: &mut Times) -> bool {
        let away = self.policy.away;
        let Some(node) = node else { return away.deleted.is_some() };
        let of_taint = |key: &str, after: Option<Duration>| {
            let taints = node.taints.iter().filter(|taint| taint.key == key);
            Some((after?, taints.map(|taint| taint.added).min()?))
        };
        let states = [
            of_taint("node.kubernetes.io/not-ready", away.not_ready),
            of_taint("node.kubernetes.io/unreachable", away.unreachable),
            of_taint("node.kubernetes.io/unschedulable", away.cordoned),
            away.deleted.zip(node.deleted.map(Some)),
        ];
        let mut is_away = false;
        for (after, since) in states.into_iter().flatten() {
            is_away |= after.is_zero() || since.is_some_and(|since| times.is_over(since, after));
        }
        is_away
    }
}

/// Whether the new template fails in this pod.
fn fails(failure: &FailurePolicy, member: &Member<'_>, times: &mut Times) -> bool {
    let in_trouble = member.pod.trouble.as_ref().is_some_and(|trouble| {
        let restarted = trouble.restarts > failure.max_restarts && !has_recovered(member, times);
        restarted || FailurePolicy::REASONS.contains(&&*trouble.waiting)
    });
    if member.pod.phase == PodPhase::Failed || in_trouble {
        return true;
    }
    match (failure.available_within, member.pod.created) {
        (Some(within), Some(created)) if !member.is_available => times.is_over(created, within),
        _ => false,
    }
}

/// Whether a pod has been available for so long that its restarts are past.
fn has_recovered(member: &Member<'_>, times: &mut Times) -> bool {
    match member.pod.ready_since() {
        Some(since) if member.is_available && times.now.is_some() => times.is_over(since, FailurePolicy::RECOVERY),
        _ => member.is_available,
    }
}

/// Notes when time alone makes a difference.
struct Times {
    now: Option<Timestamp>,
    next: Option<Timestamp>,
}

impl Times {
    /// Whether so long has passed since then. Without a clock nothing has; what is beyond all time never comes.
    fn is_over(&mut self, since: Timestamp, after: Duration) -> bool {
        let (Ok(at), Some(now)) = (since.checked_add(after), self.now) else { return false };
        if at > now {
            self.next = Some(self.next.map_or(at, |next| next.min(at)));
        }
        at <= now
    }
}

//! The phase of a rollout: which groups may be updated, how many more nodes, and what blocks the rest.

use jiff::Timestamp;

use super::{
    canaries::{Canaries, CanaryHold},
    candidates::{NodeGroup, Progress, Rollout},
    older::OlderRevisions,
};
use crate::{
    backoff::Wait,
    context::DaemonSetContext,
    model::{Text, UpdateStrategy},
    node::policy::GroupKey,
    policy::{FailurePolicy, GroupPace, RECORD, RolloutPhase, RolloutPolicy, effective::EffectivePolicy},
};

/// The steps that the policy allows an update to take now.
#[derive(Debug)]
pub(crate) struct RolloutGate {
    pub(crate) scope: GroupScope,
    /// Whether the update waits until another group is no longer in progress.
    pub(crate) waits_for_group: bool,
    /// Whether stuck pods are replaced before the turn of their group.
    pub(crate) replaces_stuck: bool,
    /// How many more nodes may get the current template.
    pub(crate) remaining: usize,
    pub(crate) phase: RolloutPhase,
    /// When time alone opens the gate, or changes what is to be recorded.
    pub(crate) opens_at: Option<Timestamp>,
    /// Whether the update has ended well, which is still to be recorded.
    pub(crate) ends: bool,
    /// How many steps of canaries with a limited time have baked.
    pub(crate) baked: usize,
    /// The canaries that bake now.
    pub(crate) baking: Vec<Text>,
}

/// Which groups may be updated.
#[derive(Debug)]
pub(crate) enum GroupScope {
    None,
    Only(GroupKey),
    All,
}

impl GroupScope {
    pub(crate) fn includes(&self, key: &GroupKey) -> bool {
        match self {
            Self::None => false,
            Self::Only(only) => only == key,
            Self::All => true,
        }
    }
}

/// Evaluates the policy.
struct Evaluation<'e> {
    rollout: &'e Rollout,
    policy: &'e EffectivePolicy,
    context: &'e DaemonSetContext<'e>,
    /// How many nodes should run a pod.
    desired: usize,
}

impl RolloutGate {
    fn open(phase: RolloutPhase) -> Self {
        Self {
            scope: GroupScope::All,
            waits_for_group: false,
            replaces_stuck: false,
            remaining: usize::MAX,
            phase,
            opens_at: None,
            ends: false,
            baked: 0,
            baking: Vec::new(),
        }
    }

    fn shut(phase: RolloutPhase) -> Self {
        Self { scope: GroupScope::None, remaining: 0, ..Self::open(phase) }
    }

    /// Evaluates the policy when `desired` nodes should run a pod.
    pub(crate) fn of(rollout: &Rollout, context: &DaemonSetContext<'_>, desired: usize) -> Self {
        let policy = &context.rules.policy;
        if !policy.guides_updates {
            return Self::open(RolloutPhase::Settled);
        }
        Evaluation { rollout, policy, context, desired }.gate()
    }

    /// The nodes without a pod that get one of the current template, in the order of the update.
    pub(crate) fn next_to_fill<'r>(&self, rollout: &'r Rollout) -> impl Iterator<Item = &'r Text> {
        let groups = rollout.groups().filter(|(key, _)| self.scope.includes(key));
        groups.flat_map(|(_, group)| &group.no_pod).map(|(_, node)| node).take(self.remaining)
    }

    /// Whether the template fails, or may fail.
    pub(crate) fn is_failing(&self) -> bool {
        matches!(self.phase, RolloutPhase::Failing { .. } | RolloutPhase::InDoubt { .. })
    }

    /// Whether the policy restricts nothing.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, RolloutPhase::Settled | RolloutPhase::Verifying { .. })
    }
}

impl Evaluation<'_> {
    fn progress(&self) -> &Progress {
        &self.rollout.progress
    }

    fn gate(&self) -> RolloutGate {
        let progress = self.progress();
        let EffectivePolicy { rollout: RolloutPolicy { paused, frozen, .. }, error, .. } = self.policy;
        if *frozen {
            return self.stopped(RolloutPhase::Frozen);
        }
        // Where no pod is left at all, the update may not have reached any node yet.
        let is_unknown = progress.with_pods == 0 && self.desired > 0;
        let is_outdated = !progress.old.is_empty() || is_unknown && self.older().guess().is_some();
        if is_outdated && let Some(error) = error {
            return self.stopped(RolloutPhase::Unreadable { error: error.to_string().into() });
        }
        if is_outdated && *paused {
            return self.stopped(RolloutPhase::Paused);
        }
        if let Some(gate) = self.failing() {
            return gate;
        }
        if progress.old.is_empty() {
            return self.ending();
        }
        let mut gate = self.update();
        gate.ends = self.failure_policy().is_some() && progress.old_here == 0 && self.is_proven();
        gate
    }

    /// The gate while an operator stops the update. What bakes meanwhile has baked.
    fn stopped(&self, phase: RolloutPhase) -> RolloutGate {
        let shut = RolloutGate::shut(phase);
        let canaries = self.canaries().filter(|canaries| canaries.have_time_limit() && !self.progress().old.is_empty());
        let Some(canaries) = canaries else { return shut };
        let hold = canaries.hold();
        let opens_at = hold.as_ref().and_then(|hold| hold.until).filter(|_| self.context.now.is_some());
        RolloutGate { baked: canaries.baked(hold.as_ref()), opens_at, ..shut }
    }

    fn older(&self) -> OlderRevisions<'_> {
        OlderRevisions::new(self.progress(), self.context)
    }

    /// The failure policy, while the update to this template is not done and is no way back.
    fn failure_policy(&self) -> Option<&FailurePolicy> {
        let is_done = self.policy.record.done.as_ref() == Some(self.context.hash()) || self.was_done_before();
        self.policy.rollout.failure.as_ref().filter(|_| !is_done && !self.context.rules.direction.is_back())
    }

    /// Whether the update was over long before it is recorded: no pod is outdated, one has been available for a day, and for
    /// as long the update has reached no node.
    fn was_done_before(&self) -> bool {
        let end_of = |time: Timestamp| time.checked_add(self.policy.rollout.judgement());
        let is_long_ago = |time| end_of(time).is_ok_and(|end| self.context.is_over(end));
        let last = self.progress().reached.last().map(|(at, _)| *at);
        self.progress().old.is_empty()
            && self.progress().available().min().is_some_and(is_long_ago)
            && last.is_none_or(is_long_ago)
    }

    /// The gate if the template fails, or may fail.
    fn failing(&self) -> Option<RolloutGate> {
        let failure = self.failure_policy()?;
        let Progress { failing, in_doubt, old, .. } = self.progress();
        // Nodes that were broken before prove nothing.
        let replaced = self.policy.record.replaced_for(self.context.hash());
        let is_judged = |node: &&Text| !replaced.contains(node);
        let mut failing: Vec<_> = failing.iter().filter(|(node, _)| is_judged(node)).collect();
        let in_doubt: Vec<_> = in_doubt.iter().filter(|(node, _)| is_judged(node)).collect();
        let most = self.most_failures(failure);
        // An operator has resumed what has reached all nodes and is well.
        let has_ended = || old.is_empty() && self.is_proven();
        let paused =
            self.policy.record.failure_of(self.context.hash()).filter(|failed| failed.is_paused && !has_ended());
        let late = self.canaries().map(|canaries| canaries.late()).unwrap_or_default();
        if failing.len() > most || paused.is_some() || !late.is_empty() {
            failing.extend(&late);
            let still_fails = !failing.is_empty();
            let now = failing.first().map(|(node, reason)| Text::from(format!("{reason} on {node}")));
            let reason = paused.map(|failed| failed.reason.clone()).or(now);
            let known = paused.into_iter().flat_map(|failed| &failed.nodes);
            let mut nodes: Vec<_> = failing.into_iter().map(|(node, _)| node).chain(known).cloned().collect();
            nodes.sort_unstable();
            nodes.dedup();
            return Some(RolloutGate::shut(RolloutPhase::Failing {
                nodes,
                reason: reason.unwrap_or_default(),
                is_paused: paused.is_some(),
                still_fails,
                annotation: self.context.settings.policy_annotation(RECORD),
                is_everywhere: old.is_empty(),
                no_roll_back: None,
            }));
        }
        // With no outdated pod left, there is nothing to hold back.
        let waits = failing.len() + in_doubt.len() > most && !old.is_empty();
        let (node, why) = in_doubt.first().filter(|_| waits)?;
        let reason = format!("{why} on {node}").into();
        let nodes = in_doubt.iter().map(|(node, _)| Text::clone(node)).collect();
        Some(RolloutGate::shut(RolloutPhase::InDoubt { nodes, reason }))
    }

    /// On how many nodes the template may fail: not on all, whatever the limit, nor on all canaries, nor on so many that the
    /// update could not go on.
    fn most_failures(&self, failure: &FailurePolicy) -> usize {
        let limit = match self.context.daemonset.update_strategy {
            UpdateStrategy::OnDelete => usize::MAX,
            UpdateStrategy::RollingUpdate { max_unavailable, max_surge } => match max_surge.of(self.desired) {
                0 => max_unavailable.of(self.desired).max(1),
                surging => surging,
            },
        };
        let most = failure.max_failures.of(self.desired).min(self.desired.saturating_sub(1)).min(limit - 1);
        if most == 0 || self.progress().old.is_empty() {
            return most;
        }
        match self.canaries().and_then(|canaries| canaries.hold()).map(|hold| hold.phase) {
            Some(RolloutPhase::CanaryStarting { wanted: wanted @ 1.., .. }) => most.min(wanted - 1),
            _ => most,
        }
    }

    /// When the updated pods will have been well for the time asked for; `None` while some are not.
    fn is_well_since(&self) -> Option<Timestamp> {
        let Progress { in_doubt, failing, canaries, others, .. } = self.progress();
        let is_finished = self.rollout.groups().all(|(_, group)| group.unfinished == 0);
        let last = others.available.last().max(canaries.available.last()).map(|(since, _)| *since);
        let until = last?.checked_add(self.policy.rollout.proof()).ok();
        until.filter(|_| is_finished && in_doubt.is_empty() && failing.is_empty())
    }

    /// Whether all updated pods have been well for the time asked for.
    fn is_proven(&self) -> bool {
        self.is_well_since().is_some_and(|until| self.context.is_over(until))
    }

    /// All pods are up to date: the update is done once they have been well for long enough.
    fn ending(&self) -> RolloutGate {
        let is_judged = self.policy.rollout.failure.is_some() && !self.context.rules.direction.is_back();
        if is_judged && self.was_done_before() {
            return RolloutGate { ends: true, ..RolloutGate::open(RolloutPhase::Settled) };
        }
        let is_done = self.policy.record.done.as_ref() == Some(self.context.hash());
        // What is recorded must not go stale while failures do not count.
        let is_recorded = self.policy.rollout.failure.is_some() || self.policy.record.done.is_some();
        if !is_recorded || is_done || self.progress().with_pods == 0 {
            return RolloutGate::open(RolloutPhase::Settled);
        }
        match self.is_well_since() {
            Some(until) if self.context.is_over(until) => {
                RolloutGate { ends: true, ..RolloutGate::open(RolloutPhase::Settled) }
            }
            until => {
                let remaining = until.and_then(|until| Wait::Until(until).at(self.context.now));
                // The way back is not judged, but it ends as well: the next plan then records it.
                let opens_at = until.filter(|_| is_judged && self.context.now.is_some());
                let phase = if is_judged { RolloutPhase::Verifying { remaining } } else { RolloutPhase::Settled };
                RolloutGate { opens_at, ..RolloutGate::open(phase) }
            }
        }
    }

    fn update(&self) -> RolloutGate {
        let progress = self.progress();
        let groups = &self.policy.rollout.groups;
        let mut gate = RolloutGate::open(RolloutPhase::Rolling { group: None });
        // A node that has lost its pod since then may have had the template.
        let up_to = |nodes: usize| nodes.saturating_sub(progress.updated + progress.vanished);
        if let Some(allowed) = self.partition() {
            gate.remaining = up_to(allowed);
        }
        let unfinished = |(_, group): &(&GroupKey, &NodeGroup)| group.unfinished > 0;
        // A group does not take its turn back because pods flap: the pods of the next one would be replaced again and again.
        let is_due = |(_, group): &(&GroupKey, &NodeGroup)| group.unfinished > group.flapping;
        let one_at_a_time = groups.as_ref().filter(|groups| groups.pace == GroupPace::OneAtATime);
        if let Some(groups) = one_at_a_time
            && let Some((key, _)) =
                self.rollout.groups().find(is_due).or_else(|| self.rollout.groups().find(unfinished))
        {
            gate.scope = GroupScope::Only(key.clone());
            gate.replaces_stuck = true;
            // This happens when the template is edited during an update.
            gate.waits_for_group = self.rollout.groups().any(|(other, group)| other != key && group.moving > 0);
            let name = match key {
                GroupKey::Canaries | GroupKey::Rest => Text::default(),
                GroupKey::Listed(place) => groups.first.get(*place).cloned().unwrap_or_default(),
                GroupKey::Named(name) => name.clone(),
            };
            gate.phase = RolloutPhase::Rolling { group: Some(name) };
        }
        let canaries = self.canaries();
        let hold = canaries.as_ref().and_then(Canaries::hold);
        gate.baked = canaries.map_or(0, |canaries| canaries.baked(hold.as_ref()));
        // Canaries by label that the partition does not reach are not waited for.
        let is_reachable = |hold: &CanaryHold<'_>| hold.most.is_some() || gate.remaining > 0;
        if let Some(CanaryHold { phase, until, baking, most, deadlines, .. }) = hold.filter(is_reachable) {
            if let Some(most) = most {
                gate.remaining = gate.remaining.min(up_to(most));
            } else {
                gate.scope = GroupScope::Only(GroupKey::Canaries);
                gate.replaces_stuck = true;
            }
            let times = deadlines.into_iter().map(|(deadline, _)| deadline).chain(until);
            let opens_at = times.filter(|time| self.context.now.is_some_and(|now| *time > now)).min();
            let baking = baking.into_iter().cloned().collect();
            return RolloutGate { phase, opens_at, baking, ..gate };
        }
        if gate.remaining == 0 || !self.rollout.groups().any(|group| unfinished(&group)) {
            gate.phase = self.held(gate.remaining == 0).unwrap_or(gate.phase);
        }
        gate
    }

    /// Why no more nodes are updated; `None` if the last outdated pods are only being deleted.
    fn held(&self, by_partition: bool) -> Option<RolloutPhase> {
        let Progress { old_nodes, old_not_selected: not_selected, old_away: away, .. } = *self.progress();
        let partition = if by_partition { old_nodes - not_selected - away } else { 0 };
        (partition + not_selected + away > 0).then_some(RolloutPhase::Held { partition, not_selected, away })
    }

    /// The canaries that the update may wait for.
    fn canaries(&self) -> Option<Canaries<'_>> {
        Canaries::of(self.rollout, self.context, self.desired, self.partition())
    }

    /// How many nodes the partition lets the update have; `None` without one.
    fn partition(&self) -> Option<usize> {
        let kept = self.policy.rollout.partition?;
        // Nodes keep a template only as long as it works somewhere, or nothing else does.
        let holds = !self.context.rules.direction.is_back() && !self.older().is_broken();
        holds.then(|| self.desired.saturating_sub(kept.of(self.desired)))
    }
}

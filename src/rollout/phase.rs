//! The phase of a rollout: which groups may be updated, how many more nodes, and what blocks the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    candidates::{NodeGroup, Progress, Rollout, UpdatedPods},
    older::OlderRevisions,
};
use crate::{
    backoff::Wait,
    context::DaemonSetContext,
    model::Text,
    node::policy::GroupKey,
    policy::{
        Approved, Canary, CanaryNodes, CanaryStep, FailurePolicy, GroupPace, RolloutPhase, RolloutPolicy,
        annotations::CANARY_APPROVED, effective::EffectivePolicy,
    },
    util::duration::words,
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
    /// When time alone opens the gate.
    pub(crate) opens_at: Option<Timestamp>,
    /// Whether the update has ended well, which is still to be recorded.
    pub(crate) ends: bool,
    /// Why the template fails first, and where.
    pub(crate) failure: Option<Text>,
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

/// Why the other nodes wait for the canaries, and until when.
struct CanaryHold<'e> {
    phase: RolloutPhase,
    until: Option<Timestamp>,
    /// How many nodes may have the new template meanwhile; `None` for canaries by label.
    most: Option<usize>,
    bake: Duration,
    /// When the template fails because of canaries that have not been available for long enough, the first one first.
    deadlines: Vec<(Timestamp, &'e Text)>,
}

/// A step of the canaries.
struct Step<'p> {
    /// Its index.
    index: usize,
    pods: &'p UpdatedPods,
    /// How many canaries it has, with those of the steps before.
    wanted: usize,
    /// Since when all canaries have been available; `None` while some are not.
    since: Option<Timestamp>,
    most: Option<usize>,
    /// Whether no other node has been updated yet in its turn.
    is_current: bool,
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
            failure: None,
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
            return RolloutGate::shut(RolloutPhase::Frozen);
        }
        // Where no pod is left at all, the update may not have reached any node yet.
        let is_unknown = progress.with_pods == 0 && self.desired > 0;
        let is_outdated = !progress.old.is_empty() || is_unknown && self.older().guess().is_some();
        if is_outdated && error.is_some() {
            return RolloutGate::shut(RolloutPhase::Unreadable);
        }
        if is_outdated && *paused {
            return RolloutGate::shut(RolloutPhase::Paused);
        }
        if let Some(gate) = self.failing() {
            return gate;
        }
        if progress.old.is_empty() {
            return self.ending();
        }
        let mut gate = self.update();
        gate.ends =
            gate.ends || progress.old_here == 0 && self.is_well_since().is_some_and(|until| self.is_over(until));
        gate
    }

    fn older(&self) -> OlderRevisions<'_> {
        OlderRevisions::new(self.progress(), self.context)
    }

    /// The failure policy, while the update to this template is not done and is no way back.
    fn failure_policy(&self) -> Option<&FailurePolicy> {
        let is_done = self.policy.record.done.as_ref() == Some(self.context.hash()) || self.was_done_before();
        self.policy.rollout.failure.as_ref().filter(|_| !is_done && !self.context.rules.direction.is_back())
    }

    /// Whether the update was over before anything was recorded: no pod is outdated, and one has been available for a day.
    fn was_done_before(&self) -> bool {
        const LONG_AGO: Duration = Duration::from_secs(24 * 60 * 60);
        let end = self.progress().available().min().and_then(|first| first.checked_add(LONG_AGO).ok());
        self.progress().old.is_empty() && self.policy.record.done.is_none() && end.is_some_and(|end| self.is_over(end))
    }

    /// The gate if the template fails, or may fail.
    fn failing(&self) -> Option<RolloutGate> {
        let failure = self.failure_policy()?;
        let Progress { failing, in_doubt, old, .. } = self.progress();
        // Nodes that were broken before prove nothing.
        let replaced = self.policy.record.replaced_for(self.context.hash());
        let is_judged = |node: &&Text| !replaced.contains(node);
        let mut failing: Vec<_> = failing.iter().filter(|(node, _)| is_judged(node)).collect();
        let in_doubt: Vec<_> = in_doubt.iter().filter(is_judged).collect();
        // A template that fails everywhere fails, whatever the limit.
        let most = failure.max_failures.of(self.desired).min(self.desired.saturating_sub(1));
        let paused = self.policy.record.failure_of(self.context.hash()).filter(|failed| failed.is_paused);
        let late = self.late();
        if failing.len() > most || paused.is_some() || !late.is_empty() {
            failing.extend(&late);
            let reason = failing.first().map(|(node, reason)| Text::from(format!("{reason} on {node}")));
            let reason = reason.or_else(|| paused.map(|failed| failed.reason.clone()));
            let known = paused.into_iter().flat_map(|failed| &failed.nodes);
            let mut nodes: Vec<_> = failing.into_iter().map(|(node, _)| node).chain(known).cloned().collect();
            nodes.sort_unstable();
            nodes.dedup();
            let phase = RolloutPhase::Failing { nodes, is_paused: paused.is_some() };
            return Some(RolloutGate { failure: reason, ..RolloutGate::shut(phase) });
        }
        let nodes: Vec<_> = in_doubt.into_iter().cloned().collect();
        // With no outdated pod left, there is nothing to hold back.
        let waits = failing.len() + nodes.len() > most && !old.is_empty() && !nodes.is_empty();
        waits.then(|| RolloutGate::shut(RolloutPhase::InDoubt { nodes }))
    }

    /// The canaries that have not been available in time, and why the template therefore fails.
    fn late(&self) -> BTreeMap<Text, Text> {
        let mut late = BTreeMap::new();
        let Some(canary) = &self.policy.rollout.canary else { return late };
        let Some(timeout) = canary.timeout.filter(|_| !self.progress().old.is_empty()) else { return late };
        let Some(CanaryHold { deadlines, bake, .. }) = self.canaries() else { return late };
        let reason: Text = match bake {
            Duration::ZERO => format!("not available within {}", words(timeout)).into(),
            bake => format!("not available for {} within {}", words(bake), words(timeout)).into(),
        };
        let missed = deadlines.into_iter().take_while(|(deadline, _)| self.is_over(*deadline));
        late.extend(missed.map(|(_, node)| (node.clone(), reason.clone())));
        late
    }

    /// When the updated pods will have been well for the time asked for; `None` while some are not.
    fn is_well_since(&self) -> Option<Timestamp> {
        let failure = self.failure_policy()?;
        let Progress { in_doubt, failing, canaries, others, .. } = self.progress();
        let is_finished = self.rollout.groups().all(|(_, group)| group.unfinished == 0);
        let last = others.available.last().max(canaries.available.last()).map(|(since, _)| *since);
        let bake = self.policy.rollout.canary.as_ref().map_or(Duration::ZERO, Canary::longest_bake);
        let until = last?.checked_add(bake.max(failure.start_grace)).ok();
        until.filter(|_| is_finished && in_doubt.is_empty() && failing.is_empty())
    }

    fn is_over(&self, until: Timestamp) -> bool {
        self.context.now.is_some_and(|now| until <= now)
    }

    /// All pods are up to date: the update is done once they have been well for long enough.
    fn ending(&self) -> RolloutGate {
        let is_judged = self.policy.rollout.failure.is_some() && !self.context.rules.direction.is_back();
        if is_judged && self.was_done_before() {
            return RolloutGate { ends: true, ..RolloutGate::open(RolloutPhase::Settled) };
        }
        if self.failure_policy().is_none() || self.progress().with_pods == 0 {
            return RolloutGate::open(RolloutPhase::Settled);
        }
        match self.is_well_since() {
            Some(until) if self.is_over(until) => {
                RolloutGate { ends: true, ..RolloutGate::open(RolloutPhase::Settled) }
            }
            until => {
                let remaining = until.and_then(|until| Wait::Until(until).at(self.context.now));
                let opens_at = until.filter(|_| self.context.now.is_some());
                RolloutGate { opens_at, ..RolloutGate::open(RolloutPhase::Verifying { remaining }) }
            }
        }
    }

    fn update(&self) -> RolloutGate {
        let progress = self.progress();
        let groups = &self.policy.rollout.groups;
        let mut gate = RolloutGate::open(RolloutPhase::Rolling { group: None });
        let up_to = |nodes: usize| nodes.saturating_sub(progress.updated);
        if let Some(allowed) = self.partition() {
            gate.remaining = up_to(allowed);
        }
        let unfinished = |(_, group): &(&GroupKey, &NodeGroup)| group.unfinished > 0;
        let one_at_a_time = groups.as_ref().filter(|groups| groups.pace == GroupPace::OneAtATime);
        if let Some(groups) = one_at_a_time
            && let Some((key, _)) = self.rollout.groups().find(unfinished)
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
        if let Some(CanaryHold { phase, until, most, deadlines, .. }) = self.canaries() {
            if let Some(most) = most {
                gate.remaining = gate.remaining.min(up_to(most));
            } else {
                gate.scope = GroupScope::Only(GroupKey::Canaries);
                gate.replaces_stuck = true;
            }
            let times = deadlines.into_iter().map(|(deadline, _)| deadline).chain(until);
            let opens_at = times.filter(|time| self.context.now.is_some_and(|now| *time > now)).min();
            return RolloutGate { phase, opens_at, ..gate };
        }
        if gate.remaining == 0 || !self.rollout.groups().any(|group| unfinished(&group)) {
            gate.phase = RolloutPhase::Held;
        }
        gate
    }

    /// How many nodes the partition lets the update have; `None` without one.
    fn partition(&self) -> Option<usize> {
        let kept = self.policy.rollout.partition?;
        // Nodes keep a template only as long as it works somewhere, or nothing else does.
        let holds = !self.context.rules.direction.is_back() && !self.older().is_broken();
        holds.then(|| self.desired.saturating_sub(kept.of(self.desired)))
    }

    /// Why the other nodes wait for the canaries, if they do: the first step that is not over.
    fn canaries(&self) -> Option<CanaryHold<'_>> {
        let canary = self.policy.rollout.canary.as_ref()?;
        if self.context.rules.direction.is_back() || canary.promoted.as_ref() == Some(self.context.hash()) {
            return None;
        }
        let Progress { canaries, others, updated, .. } = self.progress();
        let allowed = self.partition().unwrap_or(self.desired);
        let CanaryNodes::Steps(steps) = &canary.nodes else {
            let mut groups = self.rollout.groups();
            let group = groups.find(|(key, group)| **key == GroupKey::Canaries && group.present > 0);
            let wanted = group.map_or(0, |(_, group)| group.present);
            let are_done = group.is_some_and(|(_, group)| group.unfinished == 0) && canaries.available.len() >= wanted;
            let since = canaries.available.last().filter(|_| are_done).map(|(since, _)| *since);
            // Broken pods are replaced before their turn.
            let early = self.policy.record.replaced_for(self.context.hash()).len();
            let is_current = others.created.len() <= early;
            let step = Step { index: 0, pods: canaries, wanted, since, most: None, is_current };
            return self.hold(canary, &step, allowed);
        };
        let members = self.rollout.groups().map(|(_, group)| group.members).sum();
        let mut before = None;
        for (index, count) in steps.iter().enumerate() {
            let most = count.of(self.desired);
            let wanted = most.min(members).min(allowed);
            if before.is_some_and(|before| wanted <= before) {
                continue;
            }
            // The nodes that became available first are the canaries; later ones do not matter.
            let last = wanted.checked_sub(1).and_then(|index| others.available.iter().nth(index));
            let step = Step {
                index,
                pods: others,
                wanted,
                since: last.map(|(since, _)| *since),
                most: Some(most),
                is_current: *updated <= most,
            };
            let hold = self.hold(canary, &step, allowed);
            if hold.is_some() {
                return hold;
            }
            before = Some(wanted);
        }
        None
    }

    /// Why the next nodes wait for this step of the canaries, if they do. At most `allowed` nodes are updated at all.
    fn hold<'p>(&self, canary: &Canary, step: &Step<'p>, allowed: usize) -> Option<CanaryHold<'p>> {
        let Step { index, pods, wanted, since, most, is_current } = *step;
        let number = CanaryStep { number: index + 1, of: canary.steps() };
        let bake = canary.bake_of(index);
        let hold = |phase| {
            let timeout = canary.timeout.filter(|_| is_current);
            let deadlines = timeout.map(|timeout| self.deadlines(pods, bake, timeout)).unwrap_or_default();
            CanaryHold { phase, until: None, most, bake, deadlines }
        };
        let by_label = most.is_none();
        if since.is_none() && (wanted > 0 || by_label) {
            let available = pods.available.len();
            return Some(hold(RolloutPhase::CanaryStarting { available, wanted, step: number }));
        }
        if let Some(since) = since.filter(|_| !bake.is_zero()) {
            let now = self.context.now;
            let until = since.checked_add(bake).ok();
            if until.zip(now).is_none_or(|(until, now)| until > now) {
                let remaining = until.and_then(|until| Wait::Until(until).at(now));
                let phase = RolloutPhase::CanaryBaking { remaining, step: number };
                return Some(CanaryHold { until, ..hold(phase) });
            }
        }
        let hash = self.context.hash();
        (allowed > 0 && !canary.is_approved(hash, index)).then(|| {
            let annotation = self.context.settings.policy_annotation(CANARY_APPROVED);
            let steps = (number.of > 1).then_some(number.number);
            let value = Approved { hash: hash.clone(), steps };
            let phase = RolloutPhase::AwaitingApproval { annotation, value, step: number };
            CanaryHold { phase, until: None, most, bake, deadlines: Vec::new() }
        })
    }

    /// When canaries that have not been available for `bake` are late, the first one first.
    fn deadlines<'p>(&self, pods: &'p UpdatedPods, bake: Duration, timeout: Duration) -> Vec<(Timestamp, &'p Text)> {
        let has_baked = |since: Timestamp| since.checked_add(bake).is_ok_and(|until| self.is_over(until));
        let baked = pods.available.iter().take_while(|(since, _)| has_baked(*since));
        let baked: BTreeSet<_> = baked.map(|(_, node)| node).collect();
        let waiting = pods.created.iter().filter(|(_, node)| !baked.contains(node));
        waiting.filter_map(|(created, node)| Some((created.checked_add(timeout).ok()?, node))).collect()
    }
}

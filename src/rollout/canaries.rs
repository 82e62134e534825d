//! Why the other nodes wait for the canaries: the first of their steps that is not over.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::candidates::{NodeGroup, Progress, Rollout, UpdatedPods};
use crate::{
    backoff::Wait,
    context::DaemonSetContext,
    model::Text,
    node::policy::GroupKey,
    policy::{Approved, Canary, CanaryNodes, CanaryStep, RolloutPhase, annotations::CANARY_APPROVED},
    util::duration::words,
};

/// Why the other nodes wait for the canaries, and until when.
pub(super) struct CanaryHold<'e> {
    pub(super) phase: RolloutPhase,
    pub(super) until: Option<Timestamp>,
    /// Those that bake, if all are available.
    pub(super) baking: Vec<&'e Text>,
    /// How many nodes may have the new template meanwhile; `None` for canaries by label.
    pub(super) most: Option<usize>,
    bake: Duration,
    /// When the template fails because of canaries that have not been available for long enough, the first one first.
    pub(super) deadlines: Vec<(Timestamp, &'e Text)>,
}

/// A step of the canaries, to see whether it is over.
struct PendingStep<'p> {
    /// Its index.
    index: usize,
    pods: &'p UpdatedPods,
    /// How many canaries it has, with those of the steps before.
    wanted: usize,
    /// Since when all canaries have been available; `None` while some are not.
    since: Option<Timestamp>,
    most: Option<usize>,
    /// Whether more nodes have been updated since, so that the canaries must have baked once.
    was_over: bool,
}

/// The canaries of an update that goes forward.
pub(super) struct Canaries<'e> {
    canary: &'e Canary,
    rollout: &'e Rollout,
    context: &'e DaemonSetContext<'e>,
    /// How many nodes should run a pod, and how many of them the partition lets the update have.
    desired: usize,
    partition: Option<usize>,
}

impl<'e> Canaries<'e> {
    /// `None` without canaries, and for an update that does not wait for them.
    pub(super) fn of(
        rollout: &'e Rollout,
        context: &'e DaemonSetContext<'e>,
        desired: usize,
        partition: Option<usize>,
    ) -> Option<Self> {
        let canary = context.rules.policy.rollout.canary.as_ref()?;
        // What was promoted before it failed is tried again.
        let has_failed = context.rules.policy.record.failure_of(context.hash()).is_some();
        let is_promoted = canary.promoted.as_ref() == Some(context.hash()) && !has_failed;
        let waits = !context.rules.direction.is_back() && !is_promoted;
        waits.then_some(Self { canary, rollout, context, desired, partition })
    }

    /// Whether canaries have to bake in time.
    pub(super) fn have_time_limit(&self) -> bool {
        self.canary.timeout.is_some()
    }

    /// The canaries that have not been available in time, and why the template therefore fails.
    pub(super) fn late(&self) -> BTreeMap<Text, Text> {
        let mut late = BTreeMap::new();
        let Some(timeout) = self.canary.timeout.filter(|_| !self.rollout.progress.old.is_empty()) else { return late };
        let Some(CanaryHold { deadlines, bake, .. }) = self.hold() else { return late };
        let reason: Text = match bake {
            Duration::ZERO => format!("not available within {}", words(timeout)).into(),
            bake => format!("not available for {} within {}", words(bake), words(timeout)).into(),
        };
        let missed = deadlines.into_iter().take_while(|(deadline, _)| self.context.is_over(*deadline));
        late.extend(missed.map(|(_, node)| (node.clone(), reason.clone())));
        late
    }

    /// Why the other nodes wait for the canaries, if they do: the first step that is not over.
    pub(super) fn hold(&self) -> Option<CanaryHold<'e>> {
        let Self { canary, rollout, .. } = *self;
        let Progress { canaries, others, updated, .. } = &rollout.progress;
        let CanaryNodes::Steps(steps) = &canary.nodes else {
            let group = rollout.groups().find(|(key, _)| **key == GroupKey::Canaries).map(|(_, group)| group);
            let is_done = |group: &NodeGroup| group.unfinished == 0 && canaries.available.len() >= group.present;
            let are_done = group.is_some_and(|group| group.present > 0 && is_done(group));
            let since = canaries.available.last().filter(|_| are_done).map(|(since, _)| *since);
            // If all canaries are away, they are waited for.
            let wanted = group.map_or(0, |group| if group.present > 0 { group.present } else { group.excluded });
            let step = PendingStep { index: 0, pods: canaries, wanted, since, most: None, was_over: false };
            return self.hold_of(&step);
        };
        let members = rollout.groups().map(|(_, group)| group.members).sum();
        steps.iter().enumerate().find_map(|(index, count)| {
            let most = count.of(self.desired);
            let wanted = most.min(members).min(self.partition.unwrap_or(self.desired));
            // The nodes that became available first are the canaries; later ones do not matter.
            let last = wanted.checked_sub(1).and_then(|index| others.available.iter().nth(index));
            let since = last.map(|(since, _)| *since);
            let was_over = *updated > most;
            self.hold_of(&PendingStep { index, pods: others, wanted, since, most: Some(most), was_over })
        })
    }

    /// How many steps have baked, as far as that matters later.
    pub(super) fn baked(&self, hold: Option<&CanaryHold<'_>>) -> usize {
        match hold.map(|hold| &hold.phase) {
            _ if self.canary.timeout.is_none() => 0,
            None => self.canary.steps(),
            Some(RolloutPhase::AwaitingApproval { step, .. }) => step.number,
            Some(RolloutPhase::CanaryStarting { step, .. } | RolloutPhase::CanaryBaking { step, .. }) => {
                step.number - 1
            }
            Some(_) => 0,
        }
    }

    /// Why the next nodes wait for this step of the canaries, if they do.
    fn hold_of(&self, step: &PendingStep<'e>) -> Option<CanaryHold<'e>> {
        let canary = self.canary;
        let PendingStep { index, pods, wanted, since, most, was_over } = *step;
        let hash = self.context.hash();
        let number = CanaryStep { number: index + 1, of: canary.steps() };
        let bake = canary.bake_of(index);
        let hold = |phase: &dyn Fn(Option<Duration>) -> RolloutPhase| {
            // What has baked once may start again.
            let was_over = was_over || index < self.context.rules.policy.record.baked_for(hash);
            let timeout = canary.timeout.filter(|_| !was_over);
            let deadlines = timeout.map(|timeout| self.deadlines(pods, bake, timeout)).unwrap_or_default();
            let first = deadlines.first().and_then(|(deadline, _)| Wait::Until(*deadline).at(self.context.now));
            CanaryHold { phase: phase(first), until: None, baking: Vec::new(), most, bake, deadlines }
        };
        let by_label = most.is_none();
        if since.is_none() && (wanted > 0 || by_label) {
            let available = pods.available.len();
            let phase = |fails_in| RolloutPhase::CanaryStarting { available, wanted, fails_in, step: number };
            return Some(hold(&phase));
        }
        if let Some(since) = since.filter(|_| !bake.is_zero()) {
            let now = self.context.now;
            let until = since.checked_add(bake).ok();
            if until.zip(now).is_none_or(|(until, now)| until > now) {
                let remaining = until.and_then(|until| Wait::Until(until).at(now));
                let phase = |fails_in| RolloutPhase::CanaryBaking { remaining, fails_in, step: number };
                let has_baked = |since: Timestamp| since.checked_add(bake).is_ok_and(|end| self.context.is_over(end));
                let canaries = pods.available.iter().take(wanted).filter(|(since, _)| !has_baked(*since));
                return Some(CanaryHold { until, baking: canaries.map(|(_, node)| node).collect(), ..hold(&phase) });
            }
        }
        // Beyond the partition, an approval would change nothing.
        let has_next = self.desired > 0 && self.partition.is_none_or(|allowed| most.unwrap_or(0) < allowed);
        (has_next && !canary.is_approved(hash, index)).then(|| {
            let annotation = self.context.settings.policy_annotation(CANARY_APPROVED);
            let steps = (number.of > 1).then_some(number.number);
            let value = Approved { hash: hash.clone(), steps };
            let phase = RolloutPhase::AwaitingApproval { annotation, value, step: number };
            CanaryHold { phase, until: None, baking: Vec::new(), most, bake, deadlines: Vec::new() }
        })
    }

    /// When canaries are late that will not have been available for `bake` by then, the first one first. Nodes that were
    /// broken before prove nothing.
    fn deadlines(&self, pods: &'e UpdatedPods, bake: Duration, timeout: Duration) -> Vec<(Timestamp, &'e Text)> {
        let baked = pods.available.iter().filter_map(|(since, node)| Some((node, since.checked_add(bake).ok()?)));
        let baked: BTreeMap<_, _> = baked.collect();
        let broken_before = self.context.rules.policy.record.replaced_for(self.context.hash());
        let deadlines = pods.created.iter().filter_map(|(created, node)| {
            let deadline = created.checked_add(timeout).ok()?;
            let is_late = |at: &Timestamp| *at > deadline && !self.context.is_over(*at);
            let is_judged = !broken_before.contains(node) && baked.get(node).is_none_or(is_late);
            is_judged.then_some((deadline, node))
        });
        deadlines.collect()
    }
}

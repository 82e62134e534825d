//! The phase of a rollout: which groups may be updated, how many more nodes, and what blocks the rest.

use jiff::Timestamp;

use super::candidates::{HashUsage, NodeGroup, Progress, Rollout};
use crate::{
    adoption::revision_history::RevisionHistory,
    backoff::Wait,
    model::{ControllerRevision, PodTemplate, Text},
    node::policy::GroupKey,
    policy::{Canary, CanaryNodes, GroupPace, RolloutPhase, RolloutPolicy, effective::EffectivePolicy},
};

/// The steps that the policy allows an update to take now.
#[derive(Debug)]
pub(crate) struct RolloutGate {
    pub(crate) scope: GroupScope,
    /// Whether the update waits until another group is no longer in progress.
    pub(crate) waits_for_group: bool,
    /// How many more nodes may get the current template.
    pub(crate) remaining: usize,
    pub(crate) phase: RolloutPhase,
    /// When time alone opens the gate.
    pub(crate) opens_at: Option<Timestamp>,
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
struct CanaryHold {
    phase: RolloutPhase,
    until: Option<Timestamp>,
}

impl RolloutGate {
    fn open(phase: RolloutPhase) -> Self {
        Self { scope: GroupScope::All, waits_for_group: false, remaining: usize::MAX, phase, opens_at: None }
    }

    fn shut(phase: RolloutPhase) -> Self {
        Self { scope: GroupScope::None, waits_for_group: false, remaining: 0, phase, opens_at: None }
    }

    /// Evaluates `policy` when `desired` nodes should run a pod and updated pods have `hash`.
    pub(crate) fn of(
        rollout: &Rollout,
        policy: &EffectivePolicy,
        desired: usize,
        hash: &Text,
        now: Option<Timestamp>,
    ) -> Self {
        let progress = &rollout.progress;
        if progress.old.is_empty() {
            return Self::open(RolloutPhase::Settled);
        }
        let EffectivePolicy { rollout: RolloutPolicy { paused, partition, canary, groups, failure, .. }, .. } = policy;
        if policy.error.is_some() {
            return Self::shut(RolloutPhase::Unreadable);
        }
        if *paused {
            return Self::shut(RolloutPhase::Paused);
        }
        if failure.is_some_and(|failure| progress.failing.len() > failure.max_failures.of(desired)) {
            return Self::shut(RolloutPhase::Failing { nodes: progress.failing.iter().cloned().collect() });
        }

        let mut gate = Self::open(RolloutPhase::Rolling { group: None });
        let up_to = |nodes: usize| nodes.saturating_sub(progress.updated);
        if let Some(kept) = partition {
            gate.remaining = up_to(desired.saturating_sub(kept.of(desired)));
        }
        let unfinished = |(_, group): &(&GroupKey, &NodeGroup)| group.unfinished > 0;
        let one_at_a_time = groups.as_ref().filter(|groups| groups.pace == GroupPace::OneAtATime);
        if let Some(groups) = one_at_a_time
            && let Some((key, _)) = rollout.groups().find(unfinished)
        {
            gate.scope = GroupScope::Only(key.clone());
            // This happens when the template is edited during an update.
            gate.waits_for_group =
                rollout.groups().any(|(other, group)| other != key && group.counts.in_progress() > 0);
            let name = match key {
                GroupKey::Canaries | GroupKey::Rest => Text::default(),
                GroupKey::Listed(place) => groups.first.get(*place).cloned().unwrap_or_default(),
                GroupKey::Named(name) => name.clone(),
            };
            gate.phase = RolloutPhase::Rolling { group: Some(name) };
        }
        if let Some(canary) = canary
            && let Some(CanaryHold { phase, until }) = canaries(rollout, canary, desired, hash, now)
        {
            match &canary.nodes {
                CanaryNodes::Count(count) => gate.remaining = gate.remaining.min(up_to(count.of(desired))),
                CanaryNodes::Matching(_) => gate.scope = GroupScope::Only(GroupKey::Canaries),
            }
            return Self { phase, opens_at: until.filter(|until| now.is_some_and(|now| *until > now)), ..gate };
        }
        if gate.remaining == 0 || !rollout.groups().any(|group| unfinished(&group)) {
            gate.phase = RolloutPhase::Held;
        }
        gate
    }

    /// The nodes without a pod that get one of the current template, in the order of the update.
    pub(crate) fn next_to_fill<'r>(&self, rollout: &'r Rollout) -> impl Iterator<Item = &'r Text> {
        let groups = rollout.groups().filter(|(key, _)| self.scope.includes(key));
        groups.flat_map(|(_, group)| &group.no_pod).map(|(_, node)| node).take(self.remaining)
    }

    /// Whether the policy restricts nothing.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == RolloutPhase::Settled
    }
}

/// Why the other nodes wait for the canaries, if they do.
fn canaries(
    rollout: &Rollout,
    canary: &Canary,
    desired: usize,
    hash: &Text,
    now: Option<Timestamp>,
) -> Option<CanaryHold> {
    let progress = &rollout.progress;
    let available = &progress.available;
    let starting =
        |available, wanted| Some(CanaryHold { phase: RolloutPhase::CanaryStarting { available, wanted }, until: None });
    let last = match &canary.nodes {
        CanaryNodes::Count(count) => {
            let members = rollout.groups().map(|(_, group)| group.members).sum();
            let wanted = count.of(desired).min(members);
            // The nodes that became available first are the canaries; later ones do not matter.
            match wanted.checked_sub(1).map(|before| available.iter().nth(before)) {
                None => return None,
                Some(None) => return starting(available.len(), wanted),
                Some(Some((since, _))) => since,
            }
        }
        CanaryNodes::Matching(_) => {
            let Some((_, group)) =
                rollout.groups().find(|(key, group)| **key == GroupKey::Canaries && group.members > 0)
            else {
                return starting(0, 0);
            };
            match progress.canaries.last() {
                Some((since, _)) if group.unfinished == 0 && progress.canaries.len() >= group.members => since,
                _ => return starting(progress.canaries.len(), group.members),
            }
        }
    };
    let until = last.checked_add(canary.bake).ok();
    if !canary.bake.is_zero() && until.zip(now).is_none_or(|(until, now)| until > now) {
        let remaining = until.and_then(|until| Wait::Until(until).at(now));
        return Some(CanaryHold { phase: RolloutPhase::CanaryBaking { remaining }, until });
    }
    (!canary.approval.is_given(hash))
        .then(|| CanaryHold { phase: RolloutPhase::AwaitingApproval { hash: hash.clone() }, until: None })
}

/// The older revision that nodes keep or return to.
#[derive(Clone, Debug)]
pub(crate) struct OlderRevision<'h> {
    pub(crate) revision: &'h ControllerRevision,
    pub(crate) template: PodTemplate,
    pub(crate) hash: Text,
    /// Whether any of its pods is available.
    pub(crate) is_good: bool,
}

impl Progress {
    /// The older revision in use with the most available pods, then the most pods, then the highest number. `None` if
    /// its template cannot be read.
    pub(crate) fn older_revision<'h>(&self, history: &'h RevisionHistory) -> Option<OlderRevision<'h>> {
        let in_use = history.old().filter_map(|(revision, hash)| {
            let HashUsage { available, all } = *self.old.get(&hash)?;
            Some(((available, all), revision, hash))
        });
        let ((available, _), revision, hash) = in_use.max_by_key(|(pods, ..)| *pods)?;
        Some(OlderRevision { revision, template: revision.template().ok()?, hash, is_good: available > 0 })
    }
}

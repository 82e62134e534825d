//! How far a policy lets an update go: which groups have their turn, how many more nodes may be updated, and why no more.

use jiff::Timestamp;

use crate::{
    backoff::Wait,
    history::History,
    model::{ControllerRevision, PodTemplate, Text},
    policy::{Canary, CanaryNodes, GroupPace, RolloutPhase, RolloutPolicy},
    resolved::Policy,
    rollout::{Group, InUse, Record, Rollout},
    seat::GroupKey,
};

/// What may be updated.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) scope: Scope,
    /// Whether nodes wait for their turn until another group is no longer at work.
    pub(crate) waits: bool,
    /// How many more nodes may get the current template.
    pub(crate) room: usize,
    pub(crate) phase: RolloutPhase,
    /// When time alone opens it.
    pub(crate) opens_at: Option<Timestamp>,
}

/// Whose turn it is.
#[derive(Debug)]
pub(crate) enum Scope {
    Nobody,
    Only(GroupKey),
    Everybody,
}

impl Scope {
    pub(crate) fn includes(&self, key: &GroupKey) -> bool {
        match self {
            Self::Nobody => false,
            Self::Only(only) => only == key,
            Self::Everybody => true,
        }
    }
}

/// Why canaries keep the other nodes waiting, and until when.
struct Wake {
    phase: RolloutPhase,
    until: Option<Timestamp>,
}

impl Gate {
    fn open(phase: RolloutPhase) -> Self {
        Self { scope: Scope::Everybody, waits: false, room: usize::MAX, phase, opens_at: None }
    }

    fn shut(phase: RolloutPhase) -> Self {
        Self { scope: Scope::Nobody, waits: false, room: 0, phase, opens_at: None }
    }

    /// What `policy` lets through, if `desired` nodes should run a pod and up-to-date ones carry `hash`.
    pub(crate) fn of(rollout: &Rollout, policy: &Policy, desired: usize, hash: &Text, now: Option<Timestamp>) -> Self {
        let record = &rollout.record;
        if record.old.is_empty() {
            return Self::open(RolloutPhase::Settled);
        }
        let Policy { rollout: RolloutPolicy { paused, partition, canary, groups, failure, .. }, .. } = policy;
        if !policy.is_readable {
            return Self::shut(RolloutPhase::Unreadable);
        }
        if *paused {
            return Self::shut(RolloutPhase::Paused);
        }
        if failure.is_some_and(|failure| record.failing.len() > failure.max_failures.of(desired)) {
            return Self::shut(RolloutPhase::Failing { nodes: record.failing.iter().cloned().collect() });
        }

        let mut gate = Self::open(RolloutPhase::Rolling { group: None });
        let up_to = |nodes: usize| nodes.saturating_sub(record.updated);
        if let Some(kept) = partition {
            gate.room = up_to(desired.saturating_sub(kept.of(desired)));
        }
        let unfinished = |(_, group): &(&GroupKey, &Group)| group.unfinished > 0;
        let one_at_a_time = groups.as_ref().filter(|groups| groups.pace == GroupPace::OneAtATime);
        if let Some(groups) = one_at_a_time
            && let Some((key, _)) = rollout.groups().find(unfinished)
        {
            gate.scope = Scope::Only(key.clone());
            // As when the template was edited in the midst of an update.
            gate.waits = rollout.groups().any(|(other, group)| other != key && group.tally.at_work() > 0);
            let name = match key {
                GroupKey::Canaries | GroupKey::Rest => Text::default(),
                GroupKey::Listed(place) => groups.first.get(*place).cloned().unwrap_or_default(),
                GroupKey::Named(name) => name.clone(),
            };
            gate.phase = RolloutPhase::Rolling { group: Some(name) };
        }
        if let Some(canary) = canary
            && let Some(Wake { phase, until }) = canaries(rollout, canary, desired, hash, now)
        {
            match &canary.nodes {
                CanaryNodes::Count(count) => gate.room = gate.room.min(up_to(count.of(desired))),
                CanaryNodes::Matching(_) => gate.scope = Scope::Only(GroupKey::Canaries),
            }
            return Self { phase, opens_at: until.filter(|until| now.is_some_and(|now| *until > now)), ..gate };
        }
        if gate.room == 0 || !rollout.groups().any(|group| unfinished(&group)) {
            gate.phase = RolloutPhase::Held;
        }
        gate
    }

    /// The nodes that should run a pod, have none, and get one of the current template, in the order of their turns.
    pub(crate) fn next_to_fill<'r>(&self, rollout: &'r Rollout) -> impl Iterator<Item = &'r Text> {
        let groups = rollout.groups().filter(|(key, _)| self.scope.includes(key));
        groups.flat_map(|(_, group)| &group.vacant).map(|(_, node)| node).take(self.room)
    }

    /// Whether it lets everything through that the strategy asks for.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == RolloutPhase::Settled
    }
}

/// What keeps the other nodes waiting for the canaries, if anything does.
fn canaries(rollout: &Rollout, canary: &Canary, desired: usize, hash: &Text, now: Option<Timestamp>) -> Option<Wake> {
    let record = &rollout.record;
    let available = &record.available;
    let starting =
        |available, wanted| Some(Wake { phase: RolloutPhase::CanaryStarting { available, wanted }, until: None });
    let last = match &canary.nodes {
        CanaryNodes::Count(count) => {
            let members = rollout.groups().map(|(_, group)| group.members).sum();
            let wanted = count.of(desired).min(members);
            // The first ones to have been available are the canaries: those that follow do not matter.
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
            match record.canaries.last() {
                Some((since, _)) if group.unfinished == 0 && record.canaries.len() >= group.members => since,
                _ => return starting(record.canaries.len(), group.members),
            }
        }
    };
    let until = last.checked_add(canary.bake).ok();
    if !canary.bake.is_zero() && until.zip(now).is_none_or(|(until, now)| until > now) {
        let remaining = until.and_then(|until| Wait::Until(until).at(now));
        return Some(Wake { phase: RolloutPhase::CanaryBaking { remaining }, until });
    }
    (!canary.approval.is_given(hash))
        .then(|| Wake { phase: RolloutPhase::AwaitingApproval { hash: hash.clone() }, until: None })
}

/// The older revision that nodes stay at, or go back to.
#[derive(Clone, Debug)]
pub(crate) struct OlderRevision<'h> {
    pub(crate) revision: &'h ControllerRevision,
    pub(crate) template: PodTemplate,
    pub(crate) hash: Text,
    /// Whether pods of it are available.
    pub(crate) is_good: bool,
}

impl Record {
    /// Of the older revisions in use the one with the most available pods, then with the most pods, then the newest;
    /// `None` if its template cannot be read.
    pub(crate) fn older_revision<'h>(&self, history: &'h History) -> Option<OlderRevision<'h>> {
        let in_use = history.old().filter_map(|(revision, hash)| {
            let InUse { available, all } = *self.old.get(&hash)?;
            Some(((available, all), revision, hash))
        });
        let ((available, _), revision, hash) = in_use.max_by_key(|(pods, ..)| *pods)?;
        Some(OlderRevision { revision, template: revision.template().ok()?, hash, is_good: available > 0 })
    }
}

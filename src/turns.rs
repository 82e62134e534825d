//! Whose turn it is: what an update does next, within its budget and as far as the [gate](crate::gate) lets it.

use crate::{
    gate::Gate,
    member::PodIndex,
    model::{IntOrPercent, Text, UpdateStrategy},
    policy::{GroupPace, RolloutPolicy},
    reason::{Creation, Deletion},
    rollout::{Group, Queue, Rollout},
    tally::Tally,
};

/// What an update asks for.
#[derive(Debug, Default)]
pub(crate) struct Steps<'a> {
    pub(crate) create: Wanted<(&'a Text, Creation)>,
    pub(crate) delete: Wanted<(PodIndex, Deletion)>,
}

/// As many as a plan may ask for, and how many there are.
#[derive(Debug)]
pub(crate) struct Wanted<T> {
    pub(crate) first: Vec<T>,
    pub(crate) count: usize,
}

impl<T> Default for Wanted<T> {
    fn default() -> Self {
        Self { first: Vec::new(), count: 0 }
    }
}

impl<T> Wanted<T> {
    /// Adds `count` more, of which the first `burst` are enough.
    pub(crate) fn extend(&mut self, all: impl Iterator<Item = T>, count: usize, burst: usize) {
        self.first.extend(all.take(count.min(burst)));
        self.count += count;
    }

    /// Keeps the first `burst` and gives the number of the others.
    pub(crate) fn take(&mut self, burst: usize) -> usize {
        self.first.truncate(burst);
        self.count.saturating_sub(burst)
    }

    fn append<U>(&mut self, other: Wanted<U>, each: impl Fn(U) -> T) {
        self.first.extend(other.first.into_iter().map(each));
        self.count += other.count;
    }
}

/// On how many nodes an update may be at work at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Whether new pods come before old ones go: a percentage of few nodes may be none.
    pub(crate) surges: bool,
    /// How many nodes may be without an available pod, or surge.
    pub(crate) limit: usize,
    /// How many are.
    used: usize,
}

impl Budget {
    /// What a strategy allows; `None` if it never updates by itself.
    pub(crate) fn of(strategy: UpdateStrategy, tally: &Tally) -> Option<Self> {
        let UpdateStrategy::RollingUpdate { max_unavailable, max_surge } = strategy else { return None };
        let desired = tally.desired;
        Some(match (max_surge.of(desired), max_unavailable.of(desired)) {
            // Both 0 is not allowed: then it is one at a time.
            (0, unavailable) => Self::without_surge(unavailable.max(usize::from(desired > 0)), tally),
            (limit, _) => Self { surges: true, limit, used: tally.surging() },
        })
    }

    fn without_surge(limit: usize, tally: &Tally) -> Self {
        Self { surges: false, limit, used: tally.unavailable() }
    }

    fn left(self) -> usize {
        self.limit.saturating_sub(self.used)
    }
}

impl Rollout {
    /// What the update does next, within `burst`.
    pub(crate) fn steps(
        &self,
        strategy: UpdateStrategy,
        tally: &Tally,
        policy: &RolloutPolicy,
        gate: &Gate,
        burst: usize,
    ) -> Steps<'_> {
        if self.finished.is_empty() && self.groups().all(|(_, group)| group.has_no_candidates()) {
            return Steps::default();
        }
        let Some(budget) = Budget::of(strategy, tally) else { return Steps::default() };
        let turns = Turns::new(self, budget, policy, gate, burst);
        if budget.surges {
            self.with_surge(budget, tally, policy.strict_budget, turns)
        } else {
            without_surge(budget, tally, policy.strict_budget, turns)
        }
    }

    fn with_surge<'r>(&'r self, budget: Budget, tally: &Tally, strict: bool, mut turns: Turns<'r>) -> Steps<'r> {
        let mut steps = Steps::default();
        let delete = |reason: Deletion| move |(_, pod)| (pod, reason.clone());
        let finished = self.finished.values().map(|pod| (*pod, Deletion::SurgeFinished));
        steps.delete.extend(finished, self.finished.len(), turns.burst);
        let broken = turns.take(&[|group| &group.broken.unwanted], usize::MAX, Cost::Nothing);
        steps.delete.append(broken, delete(Deletion::OutdatedUnavailable));
        let available = tally.new_available + self.old_available + tally.pairs_with_old_available;
        let spare = turns.take(&[|group| &group.old.unwanted], available.saturating_sub(tally.desired), Cost::Nothing);
        steps.delete.append(spare, delete(Deletion::NotWanted));

        let create = |reason: Creation| move |(node, _)| (node, reason);
        let (most, cost) = if strict { (budget.left(), Cost::Work) } else { (usize::MAX, Cost::Nothing) };
        let replaced = turns.take(&[|group| &group.broken.desired], most, cost);
        let left = if strict { budget.left().saturating_sub(replaced.count) } else { budget.left() };
        steps.create.append(replaced, create(Creation::ReplacesUnavailable));
        let surging = turns.take(&[|group| &group.old.desired], left, Cost::Work);
        steps.create.append(surging, create(Creation::Surge));
        steps
    }
}

fn without_surge<'r>(budget: Budget, tally: &Tally, strict: bool, mut turns: Turns<'r>) -> Steps<'r> {
    let mut steps = Steps::default();
    let delete = |reason: Deletion| move |(_, pod)| (pod, reason.clone());
    let (most, cost) =
        if strict { (budget.limit.saturating_sub(tally.at_work()), Cost::Work) } else { (usize::MAX, Cost::Nothing) };
    let broken = turns.take(&[|group| &group.broken.desired, |group| &group.broken.unwanted], most, cost);
    steps.delete.append(broken, delete(Deletion::OutdatedUnavailable));
    let old = turns.take(&[|group| &group.old.desired, |group| &group.old.unwanted], budget.left(), Cost::Loss);
    steps.delete.append(old, delete(Deletion::Outdated));
    steps
}

/// The groups whose turn it is, and how much they may do.
struct Turns<'r> {
    groups: Vec<GroupTurns<'r>>,
    /// How many more nodes may be updated.
    room: usize,
    spread: bool,
    burst: usize,
}

struct GroupTurns<'r> {
    group: &'r Group,
    /// On how many more of its nodes the update may be at work.
    work_left: usize,
    /// How many more of its nodes may lose an available pod.
    loss_left: usize,
    /// On how many the update is at work, and how many are or are about to be up to date.
    at_work: usize,
    updated: usize,
}

/// What a turn counts against in its group.
#[derive(Clone, Copy, PartialEq)]
enum Cost {
    /// Nothing: it is always allowed.
    Nothing,
    /// That the update is at work on the node.
    Work,
    /// That, and that the node loses an available pod.
    Loss,
}

impl<'r> Turns<'r> {
    fn new(rollout: &'r Rollout, budget: Budget, policy: &RolloutPolicy, gate: &Gate, burst: usize) -> Self {
        let groups = policy.groups.as_ref();
        let limit = groups.and_then(|groups| groups.max_unavailable);
        let in_turn = rollout.groups().filter(|(key, _)| !gate.waits && gate.scope.includes(key));
        let filling = if gate.room == usize::MAX { 0 } else { gate.next_to_fill(rollout).count() };
        Self {
            groups: in_turn.map(|(_, group)| GroupTurns::new(group, budget.surges, limit)).collect(),
            room: gate.room - filling,
            spread: groups.is_some_and(|groups| groups.pace == GroupPace::Spread),
            burst,
        }
    }

    /// The next nodes of these queues, at most so many.
    fn take(&mut self, queues: &[fn(&Group) -> &Queue], most: usize, cost: Cost) -> Wanted<(&'r Text, PodIndex)> {
        let mut taken = Wanted::default();
        let mut most = most.min(self.room);
        if self.spread {
            let mut waiting: Vec<_> =
                self.groups.iter().map(|turns| turns.first(queues, most).into_iter().peekable()).collect();
            while most > 0 {
                let open = self.groups.iter_mut().zip(&mut waiting);
                let open = open.filter_map(|(turns, queue)| {
                    (turns.most(cost) > 0 && queue.peek().is_some()).then_some((turns, queue))
                });
                let Some((turns, queue)) = open.min_by_key(|(turns, _)| (turns.at_work, turns.updated)) else { break };
                taken.extend(queue.next().into_iter(), 1, 1);
                turns.note(1, cost);
                (most, self.room) = (most - 1, self.room.saturating_sub(1));
            }
            taken.first.truncate(self.burst);
            return taken;
        }
        for turns in &mut self.groups {
            let waiting: usize = queues.iter().map(|queue| queue(turns.group).len()).sum();
            let count = most.min(waiting).min(turns.most(cost));
            taken.extend(turns.first(queues, count.min(self.burst)).into_iter(), count, self.burst);
            turns.note(count, cost);
            (most, self.room) = (most - count, self.room.saturating_sub(count));
        }
        taken
    }
}

impl<'r> GroupTurns<'r> {
    fn new(group: &'r Group, surges: bool, limit: Option<IntOrPercent>) -> Self {
        let tally = &group.tally;
        let (at_work, lacking) =
            if surges { (tally.surging(), tally.surging()) } else { (tally.at_work(), tally.unavailable()) };
        let left = |used| limit.map_or(usize::MAX, |limit| limit.of(tally.desired).saturating_sub(used));
        let updated = tally.new_available + tally.new_unavailable + tally.pairs;
        Self { group, work_left: left(at_work), loss_left: left(lacking), at_work, updated }
    }

    /// The first so many of all these queues together.
    fn first(&self, queues: &[fn(&Group) -> &Queue], count: usize) -> Vec<(&'r Text, PodIndex)> {
        let group = self.group;
        let mut first: Vec<_> = queues.iter().flat_map(|queue| queue(group).iter().take(count)).collect();
        if queues.len() > 1 {
            first.sort_unstable();
            first.truncate(count);
        }
        first.into_iter().map(|((_, node), pod)| (node, *pod)).collect()
    }

    /// How many turns the group may have.
    fn most(&self, cost: Cost) -> usize {
        match cost {
            Cost::Nothing => usize::MAX,
            Cost::Work => self.work_left,
            Cost::Loss => self.work_left.min(self.loss_left),
        }
    }

    fn note(&mut self, turns: usize, cost: Cost) {
        self.at_work += turns;
        self.updated += turns;
        self.work_left = self.work_left.saturating_sub(turns);
        if cost == Cost::Loss {
            self.loss_left = self.loss_left.saturating_sub(turns);
        }
    }
}

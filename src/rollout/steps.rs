//! The next steps of an update: selects the next nodes to update, within the budget and as far as the
//! [gate](super::phase) allows.

use super::{
    candidates::{NodeGroup, Queue, Rollout},
    counts::NodeCounts,
    phase::RolloutGate,
};
use crate::{
    model::{IntOrPercent, Text, UpdateStrategy},
    node::{claimed_pod::PodIndex, policy::GroupKey},
    plan::{CreateReason, DeleteReason},
    policy::{Canary, CanaryNodes, GroupPace, RolloutPhase, RolloutPolicy},
};

/// The pods that an update creates and deletes next.
#[derive(Debug, Default)]
pub(crate) struct UpdateSteps<'a> {
    pub(crate) create: Limited<(&'a Text, CreateReason)>,
    pub(crate) delete: Limited<(PodIndex, DeleteReason)>,
    /// The nodes whose unavailable pods are replaced in their turn.
    pub(crate) in_turn: Vec<&'a Text>,
    /// The nodes whose stuck pods are replaced before it is their turn, and which get the current template next.
    pub(crate) early: Vec<&'a Text>,
}

/// The first few of many, and the number of all.
#[derive(Debug)]
pub(crate) struct Limited<T> {
    pub(crate) first: Vec<T>,
    pub(crate) count: usize,
}

impl<T> Default for Limited<T> {
    fn default() -> Self {
        Self { first: Vec::new(), count: 0 }
    }
}

impl<T> Limited<T> {
    /// Adds `count` items and keeps at most the first `burst` of them.
    pub(crate) fn extend(&mut self, all: impl Iterator<Item = T>, count: usize, burst: usize) {
        self.first.extend(all.take(count.min(burst)));
        self.count += count;
    }

    /// Keeps the first `burst` items and returns the number of the others.
    pub(crate) fn take(&mut self, burst: usize) -> usize {
        self.first.truncate(burst);
        self.count.saturating_sub(burst)
    }

    fn append<U>(&mut self, other: Limited<U>, each: impl Fn(U) -> T) {
        self.first.extend(other.first.into_iter().map(each));
        self.count += other.count;
    }
}

impl<'a> Limited<(&'a Text, PodIndex)> {
    fn nodes(&self) -> Vec<&'a Text> {
        self.first.iter().map(|(node, _)| *node).collect()
    }
}

/// The number of nodes that an update may make unavailable, or surge, at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Whether new pods are created before old ones are deleted. A small `maxSurge` percentage may round to none.
    pub(crate) surges: bool,
    /// The number of nodes that may be unavailable, or surge.
    pub(crate) limit: usize,
    /// The number of nodes that are unavailable, or surge.
    used: usize,
    /// The number of nodes that the update itself made unavailable.
    in_progress: usize,
}

impl Budget {
    /// The budget of a strategy; `None` for `OnDelete`. With a policy (`is_guided`), `excess` nodes that are away use it, too.
    pub(crate) fn of(strategy: UpdateStrategy, counts: &NodeCounts, is_guided: bool, excess: usize) -> Option<Self> {
        let UpdateStrategy::RollingUpdate { max_unavailable, max_surge } = strategy else { return None };
        let desired = counts.desired;
        let in_progress = counts.in_progress() + excess;
        Some(match (max_surge.of(desired), max_unavailable.of(desired)) {
            // The API server refuses both 0; treat it as one node at a time.
            (0, unavailable) => {
                let limit = unavailable.max(usize::from(desired > 0));
                Self { surges: false, limit, used: counts.unavailable() + excess, in_progress }
            }
            (limit, _) => Self { surges: true, limit, used: counts.surging(is_guided) + excess, in_progress },
        })
    }

    /// Lowers the limit, but never below one node.
    pub(crate) fn at_most(self, nodes: usize) -> Self {
        Self { limit: self.limit.min(nodes.max(1)), ..self }
    }

    /// The number of nodes that may become unavailable, or surge, now.
    pub(crate) fn left(self) -> usize {
        self.limit.saturating_sub(self.used)
    }
}

impl Rollout {
    /// Whether there is nothing to delete or to replace.
    pub(crate) fn is_over(&self) -> bool {
        self.finished.is_empty() && self.groups().all(|(_, group)| group.has_no_candidates())
    }

    /// The next steps of the update, at most `burst` of each kind.
    pub(crate) fn steps(
        &self,
        budget: Option<Budget>,
        counts: &NodeCounts,
        policy: &RolloutPolicy,
        gate: &RolloutGate,
        burst: usize,
    ) -> UpdateSteps<'_> {
        let Some(budget) = budget else { return UpdateSteps::default() };
        let scheduler = UpdateScheduler::new(self, budget, policy, gate, burst);
        if budget.surges {
            self.with_surge(budget, counts, policy.strict_budget, scheduler)
        } else {
            without_surge(budget, policy.strict_budget, scheduler)
        }
    }

    fn with_surge<'r>(
        &'r self,
        budget: Budget,
        counts: &NodeCounts,
        strict: bool,
        mut scheduler: UpdateScheduler<'r>,
    ) -> UpdateSteps<'r> {
        let mut steps = UpdateSteps::default();
        let delete = |reason: DeleteReason| move |(_, pod)| (pod, reason.clone());
        let finished = self.finished.values().map(|pod| (*pod, DeleteReason::SurgeFinished));
        steps.delete.extend(finished, self.finished.len(), scheduler.burst);
        let broken = scheduler.take(&[|group| &group.broken.unwanted], usize::MAX, BudgetUse::None);
        steps.delete.append(broken, delete(DeleteReason::OutdatedUnavailable));
        let available = counts.new_available + self.old_available + counts.pairs_with_old_available;
        let spare =
            scheduler.take(&[|group| &group.old.unwanted], available.saturating_sub(counts.desired), BudgetUse::None);
        steps.delete.append(spare, delete(DeleteReason::NotWanted));

        let create = |reason: CreateReason| move |(node, _)| (node, reason);
        let old: &[fn(&NodeGroup) -> &Queue] = &[|group| &group.old.desired];
        let mut left = budget.left();
        if scheduler.takes_canaries {
            let surging = scheduler.take(old, left, BudgetUse::InProgress);
            left -= surging.count;
            steps.create.append(surging, create(CreateReason::Surge));
        }
        let most = if strict { left } else { usize::MAX };
        let broken = scheduler.take(&[|group| &group.broken.desired], most, BudgetUse::InProgress);
        left = left.saturating_sub(if strict { broken.count } else { 0 });
        let stuck = scheduler.take_stuck(&[|group| &group.stuck.desired], left);
        (steps.in_turn, steps.early) = (broken.nodes(), stuck.nodes());
        steps.create.append(broken, create(CreateReason::ReplacesUnavailable));
        left -= stuck.count;
        steps.create.append(stuck, create(CreateReason::ReplacesUnavailable));
        if !scheduler.takes_canaries {
            let surging = scheduler.take(old, left, BudgetUse::InProgress);
            steps.create.append(surging, create(CreateReason::Surge));
        }
        steps
    }
}

fn without_surge(budget: Budget, strict: bool, mut scheduler: UpdateScheduler<'_>) -> UpdateSteps<'_> {
    let mut steps = UpdateSteps::default();
    let delete = |reason: DeleteReason| move |(_, pod)| (pod, reason.clone());
    let old: &[fn(&NodeGroup) -> &Queue] = &[|group| &group.old.desired, |group| &group.old.unwanted];
    let mut left = budget.limit.saturating_sub(budget.in_progress);
    if scheduler.takes_canaries {
        let next = scheduler.take(old, budget.left(), BudgetUse::Unavailable);
        left = left.saturating_sub(next.count);
        steps.delete.append(next, delete(DeleteReason::Outdated));
    }
    let most = if strict { left } else { usize::MAX };
    let broken: &[fn(&NodeGroup) -> &Queue] = &[|group| &group.broken.desired, |group| &group.broken.unwanted];
    let broken = scheduler.take(broken, most, BudgetUse::InProgress);
    let stuck: &[fn(&NodeGroup) -> &Queue] = &[|group| &group.stuck.desired, |group| &group.stuck.unwanted];
    let stuck = scheduler.take_stuck(stuck, left.saturating_sub(broken.count));
    (steps.in_turn, steps.early) = (broken.nodes(), stuck.nodes());
    steps.delete.append(broken, delete(DeleteReason::OutdatedUnavailable));
    steps.delete.append(stuck, delete(DeleteReason::OutdatedUnavailable));
    if !scheduler.takes_canaries {
        let next = scheduler.take(old, budget.left(), BudgetUse::Unavailable);
        steps.delete.append(next, delete(DeleteReason::Outdated));
    }
    steps
}

/// Selects the next nodes from the groups that the gate lets through.
struct UpdateScheduler<'r> {
    groups: Vec<GroupScheduler<'r>>,
    /// The groups that wait for their turn, if their stuck pods need not.
    waiting: Vec<GroupScheduler<'r>>,
    /// How many more nodes may be updated.
    remaining: usize,
    spread: bool,
    /// Whether the first canaries by number are chosen: nodes that are well, as broken ones prove nothing against the
    /// template.
    takes_canaries: bool,
    burst: usize,
}

struct GroupScheduler<'r> {
    group: &'r NodeGroup,
    /// How many more nodes of the group may be in progress.
    in_progress_left: usize,
    /// How many more nodes of the group may become unavailable.
    unavailable_left: usize,
    /// How many nodes of the group are in progress, and how many are or will be updated.
    in_progress: usize,
    updated: usize,
}

/// The part of its group's budget that a step uses.
#[derive(Clone, Copy, PartialEq)]
enum BudgetUse {
    /// Nothing; the step is always allowed.
    None,
    /// The node is in progress.
    InProgress,
    /// The node is in progress and becomes unavailable.
    Unavailable,
}

impl<'r> UpdateScheduler<'r> {
    fn new(rollout: &'r Rollout, budget: Budget, policy: &RolloutPolicy, gate: &RolloutGate, burst: usize) -> Self {
        let groups = policy.groups.as_ref();
        let limit = groups.and_then(|groups| groups.max_unavailable);
        let is_allowed = |key: &GroupKey| !gate.waits_for_group && gate.scope.includes(key);
        let (allowed, waiting): (Vec<_>, Vec<_>) = rollout.groups().partition(|(key, _)| is_allowed(key));
        let schedule = |(_, group): (&GroupKey, &'r NodeGroup)| GroupScheduler::new(group, budget.surges, limit);
        let filling = if gate.remaining == usize::MAX { 0 } else { gate.next_to_fill(rollout).count() };
        Self {
            groups: allowed.into_iter().map(schedule).collect(),
            waiting: waiting.into_iter().filter(|_| gate.replaces_stuck).map(schedule).collect(),
            remaining: gate.remaining - filling,
            spread: groups.is_some_and(|groups| groups.pace == GroupPace::Spread),
            takes_canaries: matches!(gate.phase, RolloutPhase::CanaryStarting { step, .. } if step.number == 1)
                && matches!(&policy.canary, Some(Canary { nodes: CanaryNodes::Steps(_), .. })),
            burst,
        }
    }

    /// Takes at most `most` nodes whose stuck pods do not wait for the turn of their group.
    fn take_stuck(&mut self, queues: &[fn(&NodeGroup) -> &Queue], most: usize) -> Limited<(&'r Text, PodIndex)> {
        let mut taken = Limited::default();
        let mut most = most.min(self.remaining);
        for group in &mut self.waiting {
            let stuck = queues.iter().map(|queue| queue(group.group).len()).sum();
            let count = most.min(stuck).min(group.most(BudgetUse::InProgress));
            let burst = self.burst.saturating_sub(taken.first.len());
            taken.extend(group.first(queues, count.min(burst)).into_iter(), count, burst);
            group.note(count, BudgetUse::InProgress);
            (most, self.remaining) = (most - count, self.remaining.saturating_sub(count));
        }
        taken
    }

    /// Takes at most `most` nodes from these queues.
    fn take(
        &mut self,
        queues: &[fn(&NodeGroup) -> &Queue],
        most: usize,
        budget_use: BudgetUse,
    ) -> Limited<(&'r Text, PodIndex)> {
        let mut taken = Limited::default();
        let mut most = most.min(self.remaining);
        if self.spread {
            let mut waiting: Vec<_> =
                self.groups.iter().map(|group| group.first(queues, most).into_iter().peekable()).collect();
            while most > 0 {
                let open = self.groups.iter_mut().zip(&mut waiting);
                let open = open.filter_map(|(group, queue)| {
                    (group.most(budget_use) > 0 && queue.peek().is_some()).then_some((group, queue))
                });
                let Some((group, queue)) = open.min_by_key(|(group, _)| (group.in_progress, group.updated)) else {
                    break;
                };
                taken.extend(queue.next().into_iter(), 1, 1);
                group.note(1, budget_use);
                (most, self.remaining) = (most - 1, self.remaining.saturating_sub(1));
            }
            taken.first.truncate(self.burst);
            return taken;
        }
        for group in &mut self.groups {
            let waiting: usize = queues.iter().map(|queue| queue(group.group).len()).sum();
            let count = most.min(waiting).min(group.most(budget_use));
            let burst = self.burst.saturating_sub(taken.first.len());
            taken.extend(group.first(queues, count.min(burst)).into_iter(), count, burst);
            group.note(count, budget_use);
            (most, self.remaining) = (most - count, self.remaining.saturating_sub(count));
        }
        taken
    }
}

impl<'r> GroupScheduler<'r> {
    fn new(group: &'r NodeGroup, surges: bool, limit: Option<IntOrPercent>) -> Self {
        let counts = &group.counts;
        let (in_progress, lacking) = if surges {
            (counts.surging(true), counts.surging(true))
        } else {
            (counts.in_progress(), counts.unavailable())
        };
        // Like an update, a group goes on with one node at a time at least.
        let left = |used| limit.map_or(usize::MAX, |limit| limit.of(counts.desired).max(1).saturating_sub(used));
        let updated = counts.new_available + counts.new_unavailable + counts.pairs;
        Self { group, in_progress_left: left(in_progress), unavailable_left: left(lacking), in_progress, updated }
    }

    /// The first `count` nodes of these queues together.
    fn first(&self, queues: &[fn(&NodeGroup) -> &Queue], count: usize) -> Vec<(&'r Text, PodIndex)> {
        let group = self.group;
        let mut first: Vec<_> = queues.iter().flat_map(|queue| queue(group).iter().take(count)).collect();
        if queues.len() > 1 {
            first.sort_unstable();
            first.truncate(count);
        }
        first.into_iter().map(|((_, node), pod)| (node, *pod)).collect()
    }

    /// How many more steps the group may take.
    fn most(&self, budget_use: BudgetUse) -> usize {
        match budget_use {
            BudgetUse::None => usize::MAX,
            BudgetUse::InProgress => self.in_progress_left,
            BudgetUse::Unavailable => self.in_progress_left.min(self.unavailable_left),
        }
    }

    fn note(&mut self, nodes: usize, budget_use: BudgetUse) {
        self.in_progress += nodes;
        self.updated += nodes;
        self.in_progress_left = self.in_progress_left.saturating_sub(nodes);
        if budget_use == BudgetUse::Unavailable {
            self.unavailable_left = self.unavailable_left.saturating_sub(nodes);
        }
    }
}

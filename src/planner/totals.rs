//! The sum over all nodes. A node's contribution can be removed again, so that the cost depends on what has changed.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    backoff::Wait,
    context::DaemonSetContext,
    model::{DaemonSetCondition, DaemonSetStatus, Text},
    node::{
        claimed_pod::PodIndex,
        decision::{CountedNode, NodeDecision, NodeUpdateState},
        policy::{Exclusion, GroupKey, NodePolicy},
    },
    plan::{CreateReason, DeleteReason},
    policy::{RolloutPhase, RolloutStatus},
    rollout::{
        candidates::{Progress, Rollout},
        counts::NodeCounts,
        older::OlderRevisions,
        phase::RolloutGate,
        steps::{Budget, UpdateSteps},
    },
};

/// The sum of the decisions for all nodes. Everything ordered is in the order of node names.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    counts: NodeCounts,
    create: BTreeMap<Text, CreateReason>,
    delete: ListsByNode<(PodIndex, DeleteReason)>,
    /// Bound pods of missing nodes. They do not delay an update.
    collect: ListsByNode<PodIndex>,
    rollout: Rollout,
    /// How the rollout policy treats each node, if the DaemonSet has a policy.
    policies: BTreeMap<Text, Box<NodePolicy>>,
    times: BTreeMap<Text, NodeTimes>,
    /// When pods become available, by node.
    available: BTreeSet<(Timestamp, Text)>,
    /// Waits of Failed pods and refused creations, by node.
    waits: BTreeSet<(Wait, Text)>,
    /// When back-offs change, by node.
    backoffs: BTreeSet<(Timestamp, Text)>,
    /// When time alone changes how the policy treats a node.
    policy_changes: BTreeSet<(Timestamp, Text)>,
}

/// A node's contribution to the totals: the receipt with which it is removed again, once.
#[derive(Debug)]
pub(crate) struct Contribution {
    counted: CountedNode,
    collects: bool,
    has_work: bool,
    /// Whether anything else is kept for the node: times, or how the policy treats it.
    has_more: bool,
}

/// When a node changes by time alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct NodeTimes {
    available_at: Option<Timestamp>,
    wait: Option<Wait>,
    backoff_changes_at: Option<Timestamp>,
    policy_changes_at: Option<Timestamp>,
}

/// Lists of pods by node, with the number of all pods.
#[derive(Debug)]
struct ListsByNode<T> {
    pods: BTreeMap<Text, Vec<T>>,
    count: usize,
}

impl Contribution {
    /// Whether the node needs work.
    pub(crate) fn has_work(&self) -> bool {
        self.has_work
    }
}

impl Totals {
    /// Adds the decision for `node`.
    pub(crate) fn add(&mut self, node: &Text, decision: NodeDecision) -> Contribution {
        let NodeDecision { mut counted, collects, available_at, policy, work } = decision;
        counted.update = match &policy {
            Some(policy) if policy.is_excluded() => NodeUpdateState::Uninvolved,
            Some(policy) if policy.is_cut_off => NodeUpdateState::NoPod,
            _ => counted.update,
        };
        self.counts.add(counted);
        if !collects {
            self.rollout.add(node, counted, policy.as_deref());
        }
        let has_work = work.is_some();
        let mut has_more = available_at.is_some() || policy.is_some();
        if has_work || has_more {
            let mut times = NodeTimes { available_at, ..NodeTimes::default() };
            if let Some(policy) = policy {
                times.policy_changes_at = policy.changes_at;
                self.policies.insert(node.clone(), policy);
            }
            if let Some(work) = work {
                if let Some(reason) = work.create {
                    self.create.insert(node.clone(), reason);
                }
                self.delete.insert(node, work.delete);
                self.collect.insert(node, work.collect);
                (times.wait, times.backoff_changes_at) = (work.wait, work.backoff_changes_at);
            }
            if times != NodeTimes::default() {
                self.add_times(node, times);
                has_more = true;
            }
        }
        Contribution { counted, collects, has_work, has_more }
    }

    fn add_times(&mut self, node: &Text, times: NodeTimes) {
        let NodeTimes { available_at, wait, backoff_changes_at, policy_changes_at } = times;
        self.times.insert(node.clone(), times);
        self.available.extend(available_at.map(|at| (at, node.clone())));
        self.waits.extend(wait.map(|wait| (wait, node.clone())));
        self.backoffs.extend(backoff_changes_at.map(|at| (at, node.clone())));
        self.policy_changes.extend(policy_changes_at.map(|at| (at, node.clone())));
    }

    /// Reverts [`Totals::add`]. That takes the receipt, so that no count falls below zero.
    #[allow(clippy::needless_pass_by_value)] // so that it cannot be used again
    pub(crate) fn remove(&mut self, node: &Text, contribution: Contribution) {
        let Contribution { counted, collects, has_work, has_more } = contribution;
        self.counts.subtract(counted);
        let policy = if has_more { self.policies.remove(node) } else { None };
        if !collects {
            self.rollout.remove(node, counted, policy.as_deref());
        }
        if has_work {
            self.create.remove(node);
            self.delete.remove(node);
            self.collect.remove(node);
        }
        let times = if has_more { self.times.remove(node) } else { None };
        if let Some(NodeTimes { available_at, wait, backoff_changes_at, policy_changes_at }) = times {
            available_at.map(|at| self.available.remove(&(at, node.clone())));
            wait.map(|wait| self.waits.remove(&(wait, node.clone())));
            backoff_changes_at.map(|at| self.backoffs.remove(&(at, node.clone())));
            policy_changes_at.map(|at| self.policy_changes.remove(&(at, node.clone())));
        }
    }

    /// Computes what the rollout policy allows the update to do now.
    pub(crate) fn gate(&self, context: &DaemonSetContext<'_>) -> RolloutGate {
        RolloutGate::of(&self.rollout, context, self.wanted())
    }

    /// The number of nodes that a policy counts: that should run a pod, or would if they reported.
    fn wanted(&self) -> usize {
        self.counts.desired + self.rollout.progress.lost
    }

    /// The older revisions that nodes keep or return to.
    pub(crate) fn older_revisions<'e>(&'e self, context: &'e DaemonSetContext<'e>) -> OlderRevisions<'e> {
        OlderRevisions::new(&self.rollout.progress, context)
    }

    /// Whether any pod is outdated.
    pub(crate) fn is_outdated(&self) -> bool {
        self.rollout.progress.old_nodes > 0
    }

    /// The state of an update with a rollout policy.
    pub(crate) fn rollout_status(&self, context: &DaemonSetContext<'_>, gate: &RolloutGate) -> RolloutStatus {
        let Progress { old_nodes, updated, unavailable_excluded, ref lacking, .. } = self.rollout.progress;
        let are_away = !self.rollout.groups().any(|(key, group)| *key == GroupKey::Canaries && group.present > 0);
        let is_canary = |policy: &NodePolicy| {
            policy.group == GroupKey::Canaries && policy.is_wanted && policy.is_excluded() == are_away
        };
        let max_away = context.rules.policy.rollout.max_away;
        let exceeds = self.rollout.progress.not_excused(max_away, self.wanted()) > 0;
        let is_awaited = |policy: &NodePolicy| match gate.phase {
            // More are away than are excused.
            _ if exceeds && policy.is_excluded() && policy.is_wanted && policy.is_lacking => true,
            // Canaries that are not selected are waited for, too, though nothing happens to them.
            RolloutPhase::CanaryStarting { .. } => {
                let is_refused = policy.exclusion == Exclusion::Updated && policy.is_wanted;
                (is_canary(policy) || is_refused) && policy.available_since.is_none()
            }
            RolloutPhase::Held { .. } => policy.is_excluded() && policy.is_selected && policy.old.is_some(),
            _ => false,
        };
        let awaited = self.policies.iter().filter(|(_, policy)| is_awaited(policy)).map(|(node, _)| node);
        let waits_for: BTreeSet<_> = lacking.iter().chain(awaited).chain(&gate.baking).cloned().collect();
        let is_silent = |node: &&Text| self.policies.get(*node).is_some_and(|policy| policy.is_silent);
        let not_reporting = waits_for.iter().filter(is_silent).cloned().collect();
        let waits_for = waits_for.into_iter().collect();
        let phase = gate.phase.clone();
        RolloutStatus { phase, old: old_nodes, updated, unavailable_excluded, waits_for, not_reporting }
    }

    /// Whether nodes need creations or deletions of their own, which come before the update.
    pub(crate) fn has_repairs(&self) -> bool {
        !(self.create.is_empty() && self.delete.pods.is_empty())
    }

    /// The budget of the update strategy, and how much of it is used.
    pub(crate) fn budget(&self, context: &DaemonSetContext<'_>) -> Option<Budget> {
        let policy = &context.rules.policy;
        let excess = self.rollout.progress.not_excused(policy.rollout.max_away, self.wanted());
        let budget = Budget::of(context.daemonset.update_strategy, &self.counts, policy.guides_updates, excess)?;
        let slow_start = policy.rollout.slow_start.filter(|_| !context.rules.direction.is_back());
        Some(match slow_start {
            Some(first) => budget.at_most(first.of(self.wanted()) + self.counts.new_available),
            None => budget,
        })
    }

    /// The repairs that nodes need, or else the next steps of the update: of each kind at most the burst limit.
    ///
    /// While the gate is not open, nodes without a pod get one of the older revision if it is known (`keeps_older`).
    pub(crate) fn steps(
        &self,
        context: &DaemonSetContext<'_>,
        gate: &RolloutGate,
        keeps_older: bool,
    ) -> UpdateSteps<'_> {
        let burst = context.settings.burst;
        let mut steps = if gate.phase == RolloutPhase::Frozen {
            UpdateSteps::default()
        } else if self.has_repairs() {
            let mut repairs = UpdateSteps::default();
            let next: Option<HashSet<&Text>> = (!gate.is_open() && keeps_older).then(|| {
                // What was broken before need not wait for a better pod, but gets none of a template that fails.
                let record = &context.rules.policy.record;
                let replaced = if gate.is_failing() { &[] } else { record.replaced_for(context.hash()) };
                gate.next_to_fill(&self.rollout).chain(replaced).collect()
            });
            let create = self.create.iter().map(|(node, reason)| match &next {
                Some(next) if !next.contains(node) => (node, CreateReason::HeldBack),
                _ => (node, *reason),
            });
            repairs.create.extend(create, self.create.len(), burst);
            repairs.delete.extend(self.delete.iter().cloned(), self.delete.count, burst);
            repairs
        } else if self.rollout.is_over() {
            UpdateSteps::default()
        } else {
            let budget = self.budget(context);
            self.rollout.steps(budget, &self.counts, &context.rules.policy.rollout, gate, burst)
        };
        let collect = self.collect.iter().map(|pod| (*pod, DeleteReason::NodeGone));
        steps.delete.extend(collect, self.collect.count, burst);
        steps
    }

    /// Those nodes whose pods are replaced by these steps though they were broken before, so that they prove nothing: with a
    /// template that is known to work elsewhere, not with another one that fails.
    pub(crate) fn broken_before(&self, steps: &UpdateSteps<'_>, context: &DaemonSetContext<'_>) -> Vec<Text> {
        let is_judged = context.rules.policy.rollout.failure.is_some() && !context.rules.direction.is_back();
        let done = context.rules.policy.record.done.as_ref();
        let was_broken = |node: &&&Text| {
            let old = self.policies.get(**node).and_then(|policy| policy.old.as_ref());
            old.is_some_and(|pod| pod.is_broken && Some(&pod.hash) == done)
        };
        let in_turn = steps.in_turn.iter().filter(|_| is_judged).filter(was_broken);
        in_turn.chain(&steps.early).copied().cloned().collect()
    }

    /// Whether there are ready pods whose availability is unknown.
    pub(crate) fn has_unknown(&self) -> bool {
        self.counts.unknown > 0
    }

    /// Whether Failed pods or refused creations wait for the end of a back-off.
    pub(crate) fn has_waits(&self) -> bool {
        !self.waits.is_empty()
    }

    /// The DaemonSet's status; `None` if the number of available pods is not known.
    pub(crate) fn status(
        &self,
        context: &DaemonSetContext<'_>,
        conditions: Vec<DaemonSetCondition>,
    ) -> Option<DaemonSetStatus> {
        if self.has_unknown() {
            return None;
        }
        let count = |nodes: usize| i32::try_from(nodes).unwrap_or(i32::MAX);
        let DaemonSetContext { daemonset, rules, expectations_satisfied, .. } = *context;
        let NodeCounts { desired, current, misscheduled, ready, available, updated, .. } = self.counts;
        Some(DaemonSetStatus {
            desired_number_scheduled: count(desired),
            current_number_scheduled: count(current),
            number_misscheduled: count(misscheduled),
            number_ready: count(ready),
            number_available: count(available),
            number_unavailable: count(desired.saturating_sub(available)),
            updated_number_scheduled: count(updated),
            observed_generation: if expectations_satisfied {
                daemonset.generation
            } else {
                daemonset.status.observed_generation
            },
            collision_count: rules.history.collision_count,
            conditions,
        })
    }

    /// When to plan again if nothing changes but the time.
    pub(crate) fn requeue_after(&self, context: &DaemonSetContext<'_>, gate: &RolloutGate) -> Option<Duration> {
        let DaemonSetContext { daemonset, now, expectations_satisfied, .. } = *context;
        let until = |(at, _): &(Timestamp, Text)| Wait::Until(*at).at(now);
        let mut available = self.available.first().and_then(until);
        if self.counts.ready != self.counts.available {
            available = available.or(Some(Duration::from_secs(daemonset.min_ready_seconds.into())));
        }
        let first = self.waits.first();
        let timeless = self.waits.range((Wait::For(Duration::ZERO), Text::default())..).next();
        let waits = first.into_iter().chain(timeless).map(|(wait, _)| *wait);
        let policy_changes = self.policy_changes.first().map(|(at, _)| *at).into_iter().chain(gate.opens_at);
        let waits = waits.chain(policy_changes.map(Wait::Until)).filter(|_| expectations_satisfied);
        available.into_iter().chain(waits.filter_map(|wait| wait.at(now))).min()
    }

    /// The nodes with work or waits.
    pub(crate) fn nodes_with_work(&self) -> Vec<Text> {
        let names = self.create.keys().chain(self.delete.pods.keys()).chain(self.times.keys());
        names.cloned().collect()
    }

    /// When time alone changes a decision.
    pub(crate) fn changes_at(&self) -> Option<Timestamp> {
        let first = |times: &BTreeSet<(Timestamp, Text)>| times.first().map(|(at, _)| *at);
        [first(&self.available), first(&self.backoffs), first(&self.policy_changes)].into_iter().flatten().min()
    }

    /// The nodes whose decisions time alone has changed by `now`.
    pub(crate) fn changed_by(&self, now: Timestamp) -> Vec<Text> {
        let all = [&self.available, &self.backoffs, &self.policy_changes].into_iter();
        let times = all.flat_map(|times| times.iter().take_while(|(at, _)| *at <= now));
        times.map(|(_, node)| node.clone()).collect()
    }
}

impl<T> Default for ListsByNode<T> {
    fn default() -> Self {
        Self { pods: BTreeMap::new(), count: 0 }
    }
}

impl<T> ListsByNode<T> {
    fn insert(&mut self, node: &Text, pods: Vec<T>) {
        if !pods.is_empty() {
            self.count += pods.len();
            self.pods.insert(node.clone(), pods);
        }
    }

    fn remove(&mut self, node: &Text) {
        self.count -= self.pods.remove(node).map_or(0, |pods| pods.len());
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.pods.values().flatten()
    }
}

//! What all cells come to. A cell can be taken out again, so that a change costs what it changes.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    backoff::Wait,
    cell::{Cell, Standing},
    gate::{Gate, OlderRevision},
    history::History,
    member::PodIndex,
    model::{DaemonSet, DaemonSetStatus, Text, UpdateStrategy},
    policy::{RolloutPhase, RolloutPolicy, RolloutStatus},
    reason::{Creation, Deletion},
    resolved::Policy,
    rollout::{Record, Rollout},
    seat::Seat,
    tally::{Counted, Tally},
    turns::{Budget, Steps},
};

/// The sum of all cells. Everything that has an order is in the order of the nodes' names.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    tally: Tally,
    create: BTreeMap<Text, Creation>,
    delete: PodsByNode<(PodIndex, Deletion)>,
    /// Bound pods of missing nodes: they do not keep an update waiting.
    collect: PodsByNode<PodIndex>,
    rollout: Rollout,
    /// By node, if there is a policy.
    seats: BTreeMap<Text, Box<Seat>>,
    times: BTreeMap<Text, Times>,
    /// When pods become available, by node.
    available: BTreeSet<(Timestamp, Text)>,
    /// What Failed pods wait for, by node.
    waits: BTreeSet<(Wait, Text)>,
    /// When a back-off becomes another one, by node.
    backoffs: BTreeSet<(Timestamp, Text)>,
    /// When a seat becomes another one, by node.
    moves: BTreeSet<(Timestamp, Text)>,
}

/// What has to be known of a cell to take it out of the fold again.
#[allow(clippy::struct_excessive_bools)] // each is asked for on its own
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folded {
    counted: Counted,
    collects: bool,
    has_work: bool,
    has_times: bool,
    has_seat: bool,
}

/// What is about to change on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    available_at: Option<Timestamp>,
    wait: Option<Wait>,
    backoff_changes_at: Option<Timestamp>,
    seat_changes_at: Option<Timestamp>,
}

#[derive(Debug)]
struct PodsByNode<T> {
    pods: BTreeMap<Text, Vec<T>>,
    count: usize,
}

impl Folded {
    /// Whether there is something to be done on the node.
    pub(crate) fn has_work(self) -> bool {
        self.has_work
    }
}

impl Fold {
    /// Adds the cell of `node`.
    pub(crate) fn add(&mut self, node: &Text, cell: Cell) -> Folded {
        let Cell { counts, standing, collects, available_at, seat, work } = cell;
        let is_away = seat.as_ref().is_some_and(|seat| seat.is_away);
        let counted = Counted { counts, standing: if is_away { Standing::Bystander } else { standing } };
        self.tally.add(counted);
        if !collects {
            self.rollout.add(node, counted, seat.as_deref());
        }
        let (has_work, has_seat) = (work.is_some(), seat.is_some());
        let mut has_times = available_at.is_some();
        if has_work || has_seat || has_times {
            let mut times = Times { available_at, ..Times::default() };
            if let Some(seat) = seat {
                times.seat_changes_at = seat.changes_at;
                self.seats.insert(node.clone(), seat);
            }
            if let Some(work) = work {
                if let Some(reason) = work.create {
                    self.create.insert(node.clone(), reason);
                }
                self.delete.insert(node, work.delete);
                self.collect.insert(node, work.collect);
                (times.wait, times.backoff_changes_at) = (work.wait, work.backoff_changes_at);
            }
            has_times = times != Times::default();
            if has_times {
                self.add_times(node, times);
            }
        }
        Folded { counted, collects, has_work, has_times, has_seat }
    }

    fn add_times(&mut self, node: &Text, times: Times) {
        let Times { available_at, wait, backoff_changes_at, seat_changes_at } = times;
        self.times.insert(node.clone(), times);
        self.available.extend(available_at.map(|at| (at, node.clone())));
        self.waits.extend(wait.map(|wait| (wait, node.clone())));
        self.backoffs.extend(backoff_changes_at.map(|at| (at, node.clone())));
        self.moves.extend(seat_changes_at.map(|at| (at, node.clone())));
    }

    /// Takes the cell of `node` out, as it was added.
    pub(crate) fn remove(&mut self, node: &Text, cell: Folded) {
        self.tally.subtract(cell.counted);
        let seat = if cell.has_seat { self.seats.remove(node) } else { None };
        if !cell.collects {
            self.rollout.remove(node, cell.counted, seat.as_deref());
        }
        if cell.has_work {
            self.create.remove(node);
            self.delete.remove(node);
            self.collect.remove(node);
        }
        let times = if cell.has_times { self.times.remove(node) } else { None };
        if let Some(Times { available_at, wait, backoff_changes_at, seat_changes_at }) = times {
            available_at.map(|at| self.available.remove(&(at, node.clone())));
            wait.map(|wait| self.waits.remove(&(wait, node.clone())));
            backoff_changes_at.map(|at| self.backoffs.remove(&(at, node.clone())));
            seat_changes_at.map(|at| self.moves.remove(&(at, node.clone())));
        }
    }

    /// How far `policy` lets an update go; up-to-date pods carry `hash`.
    pub(crate) fn gate(&self, policy: &Policy, hash: &Text, now: Option<Timestamp>) -> Gate {
        Gate::of(&self.rollout, policy, self.tally.desired, hash, now)
    }

    /// The older revision that nodes stay at, or go back to.
    pub(crate) fn older_revision<'h>(&self, history: &'h History) -> Option<OlderRevision<'h>> {
        self.rollout.record.older_revision(history)
    }

    /// Where an update stands that keeps to a policy.
    pub(crate) fn rollout_status(&self, phase: RolloutPhase) -> RolloutStatus {
        let Record { old_nodes, updated, unavailable_away, .. } = self.rollout.record;
        RolloutStatus { phase, old: old_nodes, updated, unavailable_away }
    }

    /// Whether cells ask for something, so that an update has to wait.
    pub(crate) fn asks_first(&self) -> bool {
        !(self.create.is_empty() && self.delete.pods.is_empty())
    }

    /// What an update may do, and how much of that is used up.
    pub(crate) fn budget(&self, strategy: UpdateStrategy) -> Option<Budget> {
        Budget::of(strategy, &self.tally)
    }

    /// What the cells ask for, or else what the update asks for: the first of each kind, at most `burst`.
    ///
    /// Where the gate is not open, nodes that get a pod get one of the older revision, if that is known.
    pub(crate) fn steps(
        &self,
        strategy: UpdateStrategy,
        policy: &RolloutPolicy,
        gate: &Gate,
        keeps_older: bool,
        burst: usize,
    ) -> Steps<'_> {
        let mut steps = if self.asks_first() {
            let mut own = Steps::default();
            let next: Option<HashSet<&Text>> =
                (!gate.is_open() && keeps_older).then(|| gate.next_to_fill(&self.rollout).collect());
            let create = self.create.iter().map(|(node, reason)| match &next {
                Some(next) if !next.contains(node) => (node, Creation::HeldBack),
                _ => (node, *reason),
            });
            own.create.extend(create, self.create.len(), burst);
            own.delete.extend(self.delete.iter().cloned(), self.delete.count, burst);
            own
        } else {
            self.rollout.steps(strategy, &self.tally, policy, gate, burst)
        };
        let collect = self.collect.iter().map(|pod| (*pod, Deletion::NodeGone));
        steps.delete.extend(collect, self.collect.count, burst);
        steps
    }

    /// The status.
    pub(crate) fn status(
        &self,
        daemonset: &DaemonSet,
        collision_count: Option<i32>,
        effects_observed: bool,
    ) -> DaemonSetStatus {
        let count = |nodes: usize| i32::try_from(nodes).unwrap_or(i32::MAX);
        let Tally { desired, current, misscheduled, ready, available, updated, .. } = self.tally;
        DaemonSetStatus {
            desired_number_scheduled: count(desired),
            current_number_scheduled: count(current),
            number_misscheduled: count(misscheduled),
            number_ready: count(ready),
            number_available: count(available),
            number_unavailable: count(desired.saturating_sub(available)),
            updated_number_scheduled: count(updated),
            observed_generation: if effects_observed {
                daemonset.generation
            } else {
                daemonset.status.observed_generation
            },
            collision_count,
        }
    }

    /// When to plan again, even if nothing changes but the time.
    pub(crate) fn plan_again_after(
        &self,
        daemonset: &DaemonSet,
        gate: &Gate,
        now: Option<Timestamp>,
        effects_observed: bool,
    ) -> Option<Duration> {
        let until = |(at, _): &(Timestamp, Text)| Wait::Until(*at).at(now);
        let mut available = self.available.first().and_then(until);
        if self.tally.ready != self.tally.available {
            available = available.or(Some(Duration::from_secs(daemonset.min_ready_seconds.into())));
        }
        let first = self.waits.first();
        let timeless = self.waits.range((Wait::For(Duration::ZERO), Text::default())..).next();
        let waits = first.into_iter().chain(timeless).map(|(wait, _)| *wait);
        let turns = self.moves.first().map(|(at, _)| *at).into_iter().chain(gate.opens_at);
        let waits = waits.chain(turns.map(Wait::Until)).filter(|_| effects_observed);
        available.into_iter().chain(waits.filter_map(|wait| wait.at(now))).min()
    }

    /// The nodes where something is to be done or waited for.
    pub(crate) fn nodes_with_work(&self) -> Vec<Text> {
        let names = self.create.keys().chain(self.delete.pods.keys()).chain(self.times.keys());
        names.cloned().collect()
    }

    /// When time alone changes a cell.
    pub(crate) fn changes_at(&self) -> Option<Timestamp> {
        let first = |times: &BTreeSet<(Timestamp, Text)>| times.first().map(|(at, _)| *at);
        [first(&self.available), first(&self.backoffs), first(&self.moves)].into_iter().flatten().min()
    }

    /// The nodes whose cells time alone has changed by now.
    pub(crate) fn changed_by(&self, now: Timestamp) -> Vec<Text> {
        let all = [&self.available, &self.backoffs, &self.moves].into_iter();
        let times = all.flat_map(|times| times.iter().take_while(|(at, _)| *at <= now));
        times.map(|(_, node)| node.clone()).collect()
    }
}

impl<T> Default for PodsByNode<T> {
    fn default() -> Self {
        Self { pods: BTreeMap::new(), count: 0 }
    }
}

impl<T> PodsByNode<T> {
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

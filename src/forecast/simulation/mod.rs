//! Simulates a DaemonSet's cluster over time: plans are carried out, and pods start and stop. Nothing else happens.

mod actions;
mod start;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::forecast::{
    StuckCause,
    assumptions::Assumptions,
    fits::Fits,
    simulated_node::{SimulatedNode, SimulatedPod, StateCounts},
};
use crate::{
    adoption::{
        ports::{port_among, shared_port},
        revision_match::{RevisionLabels, RevisionMatch},
    },
    cluster::Cluster,
    model::{DaemonSet, HASH_LABEL, Key, Pod, PodNode, PodPhase, PodProblem, Readiness, Text},
    plan::{Action, Plan},
    policy::RolloutStatus,
    scheduling::UnknownFact,
};

/// The simulation of one DaemonSet, its nodes and its pods.
pub(crate) struct Simulation<'a> {
    assumptions: &'a Assumptions,
    daemonset: &'a DaemonSet,
    cluster: Cluster,
    key: Key,
    start: Timestamp,
    now: Timestamp,
    /// Future events, by time and by the order in which they were scheduled.
    queue: BTreeMap<(Timestamp, usize), SimEvent>,
    scheduled: usize,
    created_pods: usize,
    created_revisions: usize,
    /// By name.
    pub(crate) nodes: BTreeMap<Text, SimulatedNode>,
    counts: StateCounts,
    /// The counts at each change.
    pub(crate) moments: Vec<Moment>,
    pub(crate) steps: Vec<NodeStep>,
    /// The highest value of `newly_unavailable`.
    pub(crate) most_unavailable: usize,
    /// The number of nodes that should run a pod, had an available one at the start, and have none now.
    newly_unavailable: usize,
    /// The state of the update, if it has a rollout policy.
    pub(crate) rollout: Option<RolloutStatus>,
    roll_backs: usize,
    /// The hash label of updated pods.
    hash: Text,
    /// What the scheduler and admission say about new pods.
    fits: Fits<'a>,
    /// What is not known of the pods of the start.
    doubts: Vec<UnknownFact>,
    /// The nodes on which new pods were created.
    pub(crate) filled: BTreeSet<Text>,
}

/// How a simulation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndState {
    /// No event is left.
    Quiet,
    /// The steps repeat without end.
    Restless,
    /// The horizon was reached.
    Unfinished,
}

/// The counts at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) after: Duration,
    pub(crate) counts: StateCounts,
}

/// The controller's actions on a node, from the first until the node is settled.
#[derive(Debug)]
pub(crate) struct NodeStep {
    pub(crate) node: Text,
    pub(crate) is_update: bool,
    /// The group of the node by the rollout policy.
    pub(crate) group: Option<Text>,
    pub(crate) begins: Duration,
    pub(crate) ends: Option<Duration>,
}

/// An event of a pod. The last text is the pod's name, after the name of its node where that matters.
#[derive(Debug)]
enum SimEvent {
    Ready(Text, Text),
    Crashes(Text),
    Available(Text, Text),
    Gone(Text, Text),
}

impl SimEvent {
    fn pod(&self) -> &Text {
        match self {
            Self::Ready(_, pod) | Self::Crashes(pod) | Self::Available(_, pod) | Self::Gone(_, pod) => pod,
        }
    }
}

impl Simulation<'_> {
    /// Returns what keeps a new pod from starting: a port that another pod of the DaemonSet has, the scheduler or admission.
    fn wait(&self, node: &Text, name: &Text) -> Option<StuckCause> {
        if let Some(waiting) = self.fits.waiting(name) {
            return waiting.beside.clone();
        }
        let simulated = self.nodes.get(node)?;
        let template = &self.cluster.daemonset(&self.key).unwrap_or(self.daemonset).template;
        let others = simulated.pods.iter().filter(|pod| pod.name != *name && pod.waits_for.is_none());
        let mut running = others.filter_map(|pod| self.cluster.pod(&self.key_of(&pod.name)));
        let port = running.clone().filter(|pod| !pod.is_terminal()).find_map(|pod| {
            if let Some(spec) = &pod.spec {
                return port_among(template, spec.host_ports());
            }
            let hash = pod.labels.get(HASH_LABEL).unwrap_or_default();
            shared_port(template, self.cluster.revisions(), hash)
        });
        let is_beside = running.any(|pod| pod.node.is_bound() && !pod.is_terminal());
        if is_beside && self.fits.displaces_own(node) {
            return Some(StuckCause::WaitsForOthers);
        }
        let refusal = || self.fits.refusal(node, is_beside).cloned();
        port.map(|port| StuckCause::PortTaken { port }).or_else(refusal)
    }

    /// Returns what is not known of the pods of the start: which of them others may preempt, whether those are bound of which the
    /// scheduler said the contrary, and when those are gone that have finalizers.
    pub(crate) fn doubts(&self) -> impl Iterator<Item = UnknownFact> {
        self.fits.threats().chain(&self.doubts).cloned()
    }

    /// Returns on how many nodes others may preempt the pod.
    pub(crate) fn threatened(&self) -> usize {
        self.fits.threats().count()
    }

    /// Returns what is not known that decides whether new pods start.
    pub(crate) fn unknown(&self) -> Vec<UnknownFact> {
        self.fits.unknown(&self.filled)
    }

    /// Returns which pods must leave before new ones start.
    pub(crate) fn awaited_victims(&self) -> impl Iterator<Item = UnknownFact> {
        self.filled.iter().filter_map(|node| UnknownFact::of_victims(node, self.fits.victims(node)))
    }

    /// Returns the pods of others whose place new pods took, by namespace and name.
    pub(crate) fn preempted(&self) -> Vec<Key> {
        let of_waiting = self.doubts.iter().flat_map(|fact| match fact {
            UnknownFact::Victims { pods, .. } => pods.as_slice(),
            _ => &[],
        });
        let all = self.filled.iter().flat_map(|node| self.fits.victims(node)).chain(of_waiting);
        all.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Counts only these nodes as newly unavailable.
    pub(crate) fn count_only(&mut self, nodes: &BTreeSet<Text>) {
        for (name, simulated) in &mut self.nodes {
            simulated.was_available &= nodes.contains(name);
        }
    }

    /// Runs the simulation until no event is left.
    pub(crate) fn run(&mut self) -> EndState {
        let end = self.start.checked_add(signed(self.assumptions.horizon)).unwrap_or(Timestamp::MAX);
        loop {
            if !self.carry_out_plans() {
                return EndState::Restless;
            }
            let next = self.next_event();
            match next.into_iter().chain(self.cluster.next_stale_after(self.now)).min() {
                None => return EndState::Quiet,
                Some(at) if at > end => return EndState::Unfinished,
                Some(at) => self.now = self.now.max(at),
            }
            // Events that are scheduled from now on follow the next plans.
            let later = self.queue.split_off(&(self.now, usize::MAX));
            for event in mem::replace(&mut self.queue, later).into_values() {
                self.process(event);
            }
            self.record_moment();
        }
    }

    /// Returns the time of the next event, after those of pods that are gone by then.
    fn next_event(&mut self) -> Option<Timestamp> {
        while let Some(first) = self.queue.first_entry() {
            let name = first.get().pod();
            if self.cluster.pod(&Key::new(&self.daemonset.namespace, name)).is_some() {
                return Some(first.key().0);
            }
            first.remove();
        }
        None
    }

    pub(crate) fn was_rolled_back(&self) -> bool {
        self.roll_backs > 0
    }

    /// Returns the simulated time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::try_from(self.now.duration_since(self.start)).unwrap_or_default()
    }

    /// Carries out plans until one is empty. Returns `false` if that has no end.
    fn carry_out_plans(&mut self) -> bool {
        // Each node needs at most a pod and its replacement, and the template one revision and one roll-back. Many more
        // mean an endless loop.
        let most_pods = 4 * self.nodes.len() + 100;
        loop {
            let Some(plan) = self.cluster.plan(&self.key, self.now) else { return true };
            let Plan { mut actions, backoff, rollout, hash, .. } = plan;
            self.rollout = rollout;
            self.set_hash(hash);
            actions.retain(|action| !matches!(action, Action::UpdateStatus { .. }));
            if actions.is_empty() {
                return true;
            }
            self.cluster.update_backoff(backoff, self.now);
            for action in actions {
                self.carry_out(action);
            }
            self.record_moment();
            if self.created_pods > most_pods || self.created_revisions > 10 || self.roll_backs > 10 {
                return false;
            }
        }
    }

    /// Recomputes which pods are updated if the hash has changed.
    fn set_hash(&mut self, hash: Text) {
        if mem::replace(&mut self.hash, hash) == self.hash {
            return;
        }
        let nodes: Vec<_> = self.nodes.keys().cloned().collect();
        for node in nodes {
            let pods = self.nodes.get(&node).into_iter().flat_map(|simulated| &simulated.pods);
            let daemonset = self.cluster.daemonset(&self.key).unwrap_or(self.daemonset);
            let labels = RevisionLabels::new(daemonset, true);
            let is_new = |pod: &Pod| labels.compare(&pod.labels, &self.hash) != RevisionMatch::Outdated;
            let are_new: Vec<bool> =
                pods.map(|pod| self.cluster.pod(&self.key_of(&pod.name)).is_some_and(is_new)).collect();
            self.change(&node, |simulated| {
                simulated.pods.iter_mut().zip(are_new).for_each(|(pod, is_new)| pod.is_new = is_new);
            });
        }
    }

    fn process(&mut self, event: SimEvent) {
        let now = self.now;
        match event {
            SimEvent::Ready(node, name) => {
                self.edit(&name, |pod| {
                    (pod.phase, pod.ready) = (PodPhase::Running, Readiness::Ready { since: Some(now) });
                });
                let after = Duration::from_secs(self.daemonset.min_ready_seconds.into());
                if after.is_zero() {
                    self.process(SimEvent::Available(node, name));
                } else {
                    self.schedule(after, SimEvent::Available(node, name));
                }
            }
            SimEvent::Crashes(name) => {
                let mut restarts = 0;
                self.edit(&name, |pod| {
                    let problem = pod.problem.get_or_insert_default();
                    problem.waiting = PodProblem::CRASH_LOOP.into();
                    problem.restarts += 1;
                    restarts = problem.restarts;
                    pod.phase = PodPhase::Running;
                });
                // Once the policy has seen enough, nothing new happens.
                let settings = self.cluster.settings();
                let policy =
                    self.cluster.daemonset(&self.key).map(|daemonset| settings.readable_policy_of(daemonset).0);
                let most = policy.and_then(|policy| policy.failure).map_or(0, |failure| failure.max_restarts);
                if restarts <= most {
                    self.schedule(crash_back_off(restarts), SimEvent::Crashes(name));
                }
            }
            SimEvent::Available(node, name) => self.change(&node, |simulated| {
                simulated.pods.iter_mut().filter(|pod| pod.name == name).for_each(|pod| pod.is_available = true);
            }),
            SimEvent::Gone(node, name) => {
                let has_ended = self.cluster.pod(&self.key_of(&name)).is_some_and(Pod::is_terminal);
                self.cluster.delete::<Pod>(self.key_of(&name));
                let waited = |pod: &SimulatedPod| matches!(pod.waits_for, Some(StuckCause::NotCreated { .. }));
                let mut pods = self.nodes.get(&node).into_iter().flat_map(|simulated| &simulated.pods);
                let had_room = !has_ended && !pods.any(|pod| pod.name == name && waited(pod));
                self.change(&node, |simulated| simulated.remove_pod(&name));
                if had_room {
                    self.fits.give_room(&node, &name);
                }
                self.end_waits(&node);
            }
        }
    }

    /// Lets pods start that nothing keeps from it any more: on a node, or where they only waited for room in a quota.
    fn end_waits(&mut self, node: &Text) {
        let is_refused = |pod: &SimulatedPod| matches!(pod.waits_for, Some(StuckCause::NotCreated { .. }));
        let all = self.fits.quota_has_room().then_some(&self.nodes);
        let elsewhere = all.into_iter().flatten();
        let elsewhere = elsewhere.filter(|(other, simulated)| *other != node && simulated.pods.iter().any(is_refused));
        let nodes: Vec<_> = elsewhere.map(|(other, _)| other.clone()).collect();
        for node in [node.clone()].into_iter().chain(nodes) {
            let pods = self.nodes.get(&node).into_iter().flat_map(|simulated| &simulated.pods);
            let waiting = pods.filter(|pod| pod.waits_for.is_some());
            let waiting: Vec<_> = waiting.map(|pod| (pod.name.clone(), pod.clone(), is_refused(pod))).collect();
            for (name, SimulatedPod { fails, is_new, .. }, is_refused) in waiting {
                let room = if is_refused { self.fits.take_room(&node, is_new) } else { None };
                let waits_for = room.or_else(|| self.wait(&node, &name));
                if waits_for.is_none() {
                    self.filled.insert(node.clone());
                    self.edit(&name, |pod| pod.node = PodNode::Bound(node.clone()));
                    self.schedule_start(&node, &name, fails);
                }
                self.change(&node, |simulated| simulated.set_wait(&name, waits_for));
            }
        }
    }

    /// Changes a node, updates the counts, and ends the node's step once the node is settled.
    fn change(&mut self, node: &Text, change: impl FnOnce(&mut SimulatedNode)) {
        let elapsed = self.elapsed();
        let Some(simulated) = self.nodes.get_mut(node) else { return };
        let was_newly_unavailable = simulated.is_newly_unavailable();
        change(simulated);
        let now = simulated.current_state();
        let before = mem::replace(&mut simulated.state, now);
        self.newly_unavailable =
            self.newly_unavailable + usize::from(simulated.is_newly_unavailable()) - usize::from(was_newly_unavailable);
        self.most_unavailable = self.most_unavailable.max(self.newly_unavailable);
        self.counts.move_one(before, simulated.state);
        let step = simulated.step.and_then(|step| self.steps.get_mut(step));
        if let Some(step) = step.filter(|step| simulated.is_settled(step.is_update)) {
            step.ends = Some(elapsed);
            simulated.step = None;
        }
    }

    fn record_moment(&mut self) {
        let moment = Moment { after: self.elapsed(), counts: self.counts };
        if self.moments.last().is_none_or(|last| last.counts != self.counts) {
            self.moments.push(moment);
        }
    }

    fn schedule_start(&mut self, node: &Text, name: &Text, fails: bool) {
        let Some(simulated) = self.nodes.get_mut(node).filter(|simulated| simulated.taint.is_none()) else { return };
        let after = self.assumptions.startup.sample(&mut simulated.draw(self.assumptions.seed, node));
        let name = name.clone();
        self.schedule(after, if fails { SimEvent::Crashes(name) } else { SimEvent::Ready(node.clone(), name) });
    }

    fn schedule_stop(&mut self, node: &Text, name: &Text) {
        self.doubt_finalizers(name);
        let Some(simulated) = self.nodes.get_mut(node).filter(|simulated| simulated.taint.is_none()) else { return };
        let after = if simulated.exists {
            self.assumptions.shutdown.sample(&mut simulated.draw(self.assumptions.seed, node))
        } else {
            Duration::ZERO
        };
        self.schedule(after, SimEvent::Gone(node.clone(), name.clone()));
    }

    /// Doubts when a pod is gone that no kubelet ends. One that has ended does not count any more, whatever finalizers keep it.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>
    fn doubt_finalizers(&mut self, name: &Text) {
        let pod = self.key_of(name);
        let known = self.cluster.pod(&pod).filter(|pod| !pod.node.is_bound() && !pod.is_terminal());
        let known = known.and_then(|pod| pod.problem.as_ref());
        let finalizers = known.map(|problem| problem.finalizers.clone()).filter(|finalizers| !finalizers.is_empty());
        self.doubts.extend(finalizers.map(|finalizers| UnknownFact::Finalizers { pod, finalizers }));
    }

    fn schedule(&mut self, after: Duration, event: SimEvent) {
        // An event beyond the latest representable time never happens.
        if let Ok(at) = self.now.checked_add(signed(after)) {
            self.scheduled += 1;
            self.queue.insert((at, self.scheduled), event);
        }
    }

    fn key_of(&self, name: &Text) -> Key {
        Key::new(self.daemonset.namespace.clone(), name.clone())
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// How long the kubelet waits before it starts a container again that has crashed so many times: 10 s, doubled each time, at
/// most five minutes. <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>
fn crash_back_off(crashes: u32) -> Duration {
    let doublings = crashes.saturating_sub(1).min(5);
    Duration::from_secs(10 << doublings).min(Duration::from_secs(300))
}

//! The start of a simulation: the nodes and pods of the snapshot, and what they wait for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{SimEvent, Simulation};
use crate::forecast::{
    StuckCause,
    assumptions::Assumptions,
    fits::Fits,
    simulated_node::{SimulatedNode, SimulatedPod, SimulatedState, StateCounts},
};
use crate::{
    cluster::Cluster,
    context::SyncMode,
    explain::{Explanation, PodExplanation, PodState},
    model::{Key, Node, PodPhase, Readiness, Resource, Text},
    placement::Verdict,
    planner::Snapshot,
    scheduling::UnknownFact,
};

impl<'a> Simulation<'a> {
    pub(in crate::forecast) fn new(snapshot: &Snapshot<'a>, assumptions: &'a Assumptions, fits: Fits<'a>) -> Self {
        let daemonset = snapshot.daemonset;
        let own = || snapshot.pods.iter().filter(|pod| pod.namespace == daemonset.namespace);
        let known = own().flat_map(|pod| {
            let Readiness::Ready { since } = pod.ready else { return [pod.created, pod.deleted] };
            [pod.created.max(since), pod.deleted]
        });
        let now = snapshot.now.unwrap_or_else(|| known.flatten().max().unwrap_or_default());
        let mut cluster = Cluster::new(snapshot.settings.cloned().unwrap_or_default());
        cluster.resync(snapshot.nodes.iter().cloned());
        cluster.resync(snapshot.revisions.unwrap_or_default().iter().cloned());
        cluster.apply(daemonset.clone());
        own().for_each(|pod| cluster.apply(pod.clone()));
        cluster.apply(snapshot.namespace);
        cluster.set_complete();
        let backoff = snapshot.backoff.iter().flat_map(|backoff| backoff.iter());
        cluster.update_backoff(backoff.map(|(key, entry)| (key.clone(), *entry)), now);
        let mut simulation = Self {
            assumptions,
            daemonset,
            cluster,
            key: Key::new(daemonset.namespace.clone(), daemonset.name.clone()),
            start: now,
            now,
            queue: BTreeMap::new(),
            scheduled: 0,
            created_pods: 0,
            created_revisions: 0,
            nodes: BTreeMap::new(),
            counts: StateCounts::default(),
            moments: Vec::new(),
            steps: Vec::new(),
            most_unavailable: 0,
            newly_unavailable: 0,
            rollout: None,
            roll_backs: 0,
            hash: snapshot.history().hash,
            fits,
            doubts: Vec::new(),
            filled: BTreeSet::new(),
        };
        let explanation = snapshot.at(now).unscheduled().explain();
        simulation.load(explanation, snapshot.nodes, SyncMode::of(daemonset, snapshot.namespace));
        simulation
    }

    /// Loads the nodes and pods of the snapshot.
    fn load(&mut self, explanation: Explanation, nodes: &[Node], mode: SyncMode) {
        let taints = nodes.iter().filter_map(|node| {
            let taint = node.taints.iter().find(|taint| taint.stops_pods())?;
            Some((&node.name, taint))
        });
        let mut taints: BTreeMap<_, _> = taints.collect();
        for explained in explanation.nodes {
            let verdict = if mode == SyncMode::Reconcile { explained.verdict } else { Verdict::Keep };
            let simulated = SimulatedNode {
                verdict,
                is_given_up: mode == SyncMode::CollectDependents,
                exists: explained.exists,
                taint: taints.remove(&explained.node).cloned(),
                before: Vec::new(),
                pods: Vec::new(),
                creation: None,
                deletion: None,
                state: SimulatedState::Aside,
                was_available: false,
                draws: 0,
                step: None,
            };
            let node = explained.node.clone();
            self.nodes.insert(node.clone(), simulated);
            for pod in explained.pods {
                self.load_pod(&node, pod);
            }
            self.load_waits(&node);
            self.change(&node, |simulated| {
                let live = simulated.pods.iter().filter(|pod| !pod.is_being_deleted);
                simulated.before = live.map(|pod| pod.name.clone()).collect();
            });
            if let Some(simulated) = self.nodes.get_mut(&node) {
                simulated.was_available = matches!(simulated.state, SimulatedState::Old | SimulatedState::New);
            }
            if self.fits.loses_place(&node) {
                self.displace(&node);
            }
        }
        self.record_moment();
    }

    fn load_pod(&mut self, node: &Text, PodExplanation { pod: name, revision, state, .. }: PodExplanation) {
        let pod = SimulatedPod {
            name: name.clone(),
            is_new: revision.is_current == Some(true),
            is_available: state == PodState::Available,
            is_being_deleted: state == PodState::Deleting,
            fails: false,
            waits_for: None,
        };
        let known = self.cluster.pod(&self.key_of(&name));
        let (created, deleted) = known.map_or((None, None), |pod| (pod.created, pod.deleted));
        let is_bound = known.is_some_and(|pod| pod.node.is_bound());
        let is_recent = |since: Option<Timestamp>| {
            let age = since.and_then(|since| Duration::try_from(self.now.duration_since(since)).ok());
            age.is_none_or(|age| age < self.assumptions.patience)
        };
        // The pod garbage collector removes the pods of missing nodes for good.
        let is_orphan = self.nodes.get(node).is_some_and(|simulated| !simulated.exists);
        match state {
            PodState::Deleting if is_orphan || is_recent(deleted) => {
                self.schedule_stop(node, &name);
            }
            PodState::Pending | PodState::NotReady if is_bound && is_recent(created) => {
                self.schedule_start(node, &name, false);
            }
            PodState::Ready { available_after: Some(after) } => {
                self.schedule(after, SimEvent::Available(node.clone(), name));
            }
            _ => {}
        }
        self.change(node, |simulated| simulated.pods.push(pod));
    }

    /// Returns what the scheduler said of a pod that waits, if it is asked.
    fn said_otherwise(&self, name: &Text) -> Option<UnknownFact> {
        let pod = self.cluster.pod(&self.key_of(name)).filter(|_| self.fits.asks_scheduler())?;
        // Elsewhere it is deleted, and does not come back.
        let node = pod.node.name().and_then(|node| self.nodes.get(node));
        node.filter(|simulated| simulated.verdict == Verdict::Run)?;
        let message = pod.problem.as_ref().map(|problem| &problem.unschedulable).filter(|said| !said.is_empty())?;
        Some(UnknownFact::SaidOtherwise { pod: pod.key(), message: message.clone() })
    }

    /// Returns what is not known that decides about a pod that waits.
    fn unknown_of(&self, node: &Text, name: &Text) -> Vec<UnknownFact> {
        let of_waiting = self.fits.waiting(name).map(|waiting| waiting.unknown.clone());
        of_waiting.unwrap_or_else(|| self.fits.unknown([node]))
    }

    /// Returns the last word of the scheduler about a pod that waits, if too little is known to say more than that.
    fn stays_refused(&self, node: &Text, name: &Text) -> Option<StuckCause> {
        let has_spec = self.cluster.pod(&self.key_of(name)).is_some_and(|pod| pod.spec.is_some());
        if has_spec && !self.unknown_of(node, name).iter().any(UnknownFact::is_of_input) {
            return None;
        }
        let Some(UnknownFact::SaidOtherwise { message, .. }) = self.said_otherwise(name) else { return None };
        let explanation =
            "what the scheduler said last: not everything is known that decides whether it fits now".into();
        Some(StuckCause::Unschedulable { reasons: vec![message.to_string()], explanation })
    }

    /// Schedules the start of pods that are not bound yet, unless something keeps them from it.
    fn load_waits(&mut self, node: &Text) {
        let pods = self.nodes.get(node).into_iter().flat_map(|simulated| &simulated.pods);
        let unbound = pods.filter(|pod| {
            let known = self.cluster.pod(&self.key_of(&pod.name));
            !pod.is_being_deleted && known.is_some_and(|pod| !pod.node.is_bound() && pod.phase == PodPhase::Pending)
        });
        for name in unbound.map(|pod| pod.name.clone()).collect::<Vec<_>>() {
            let created = self.cluster.pod(&self.key_of(&name)).and_then(|pod| pod.created);
            let age = created.and_then(|created| Duration::try_from(self.now.duration_since(created)).ok());
            let is_recent = age.is_none_or(|age| age < self.assumptions.patience);
            let waits_for = self.wait(node, &name).or_else(|| self.stays_refused(node, &name).filter(|_| !is_recent));
            // Of how long a pod has waited for its node nothing follows where the scheduler would bind it now.
            let is_bound_next = self.fits.asks_scheduler() || is_recent;
            if waits_for.is_none() && is_bound_next {
                self.filled.insert(node.clone());
                self.schedule_start(node, &name, false);
                if let Some(waiting) = self.fits.waiting(&name) {
                    let victims = UnknownFact::of_victims(node, &waiting.victims);
                    self.doubts.extend(waiting.unknown.iter().cloned().chain(victims));
                }
                // That others must come or go first is what it said.
                if !self.unknown_of(node, &name).iter().any(UnknownFact::is_awaited) {
                    self.doubts.extend(self.said_otherwise(&name));
                }
            }
            self.change(node, |simulated| simulated.set_wait(&name, waits_for));
        }
    }
}

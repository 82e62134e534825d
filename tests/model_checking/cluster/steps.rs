//! The steps of the model, and their effects.

use daemonplan::model::UpdateStrategy;
use stateright::Property;

use super::{
    planner::{Planner, zone},
    world::{Act, Cluster, Event, Left, Node, Phase, Pod, Rest, Stale, Step, Taint, Why, World},
};

/// The parts of the model that are switched on, and their bounds.
pub struct Model {
    pub planner: Planner,
    pub nodes: u8,
    pub left: Left,
    /// The possible events.
    pub events: fn(Event) -> bool,
    /// Whether the controller waits until its caches show its writes.
    pub heeds_effects: bool,
    /// Whether the cluster applies the namespace's node selector to each pod.
    pub admission: bool,
    pub selector: bool,
}

impl Model {
    pub fn new(strategy: UpdateStrategy, events: fn(Event) -> bool) -> Self {
        Self {
            planner: Planner::new(strategy, 0, true),
            nodes: bound("MODEL_NODES", 2),
            left: Left { events: bound("MODEL_EVENTS", 1), crashes: 1, stale_plans: 0 },
            events,
            heeds_effects: true,
            admission: false,
            selector: false,
        }
    }

    fn plan(&self, world: &World) -> std::sync::Arc<Vec<Act>> {
        self.planner.acts(world.seen(), &world.backoff, world.unobserved && self.heeds_effects)
    }

    /// Adds the steps of the controller, the kubelet and the API server, which happen sooner or later.
    fn progress(&self, world: &World, steps: &mut Vec<Step>) {
        let cluster = &world.cluster;
        if !world.pending.is_empty() {
            steps.push(Step::CarryOutOne);
        } else if (!world.lags() || world.left.stale_plans > 0) && !self.plan(world).is_empty() {
            steps.push(Step::Plan);
        }
        for pod in &cluster.pods {
            if pod.deleting {
                steps.push(Step::PodIsRemoved(pod.id));
            } else if pod.phase == Phase::Unready && cluster.node(pod.node).is_some() {
                steps.push(Step::PodStarts(pod.id));
            }
        }
        let (pods, revisions) = self.planner.orphans(cluster);
        steps.extend(pods.into_iter().map(Step::AbandonedPodIsCollected));
        steps.extend(revisions.into_iter().map(Step::AbandonedRevisionIsCollected));
        if !world.backoff.is_empty() || cluster.pods.iter().any(|pod| pod.phase == Phase::Ready) {
            steps.push(Step::TimePasses);
        }
        if world.lags() {
            steps.push(Step::CachesCatchUp);
        }
        let owned = cluster.pods.iter().any(|pod| pod.owner == Some(cluster.rest.uid))
            || cluster.rest.revisions.iter().any(|(_, _, owner)| *owner == Some(cluster.rest.uid));
        if cluster.rest.orphaning && !owned {
            steps.push(Step::DaemonSetIsCreatedAgain);
        }
    }

    /// Adds all events that would change something.
    fn possible_events(&self, world: &World) -> Vec<Event> {
        let cluster = &world.cluster;
        let mut events = vec![Event::TemplateIsEdited];
        for number in 0..self.nodes {
            match cluster.node(number) {
                None => events.push(Event::NodeComes(number)),
                Some(node) => {
                    events.extend([Event::NodeGoes(number), Event::LabelFlips(number)]);
                    match node.taint {
                        None => {
                            events.push(Event::TaintIsSet(number, Taint::NoSchedule));
                            events.push(Event::TaintIsSet(number, Taint::NoExecute));
                        }
                        Some(_) => events.push(Event::TaintIsTaken(number)),
                    }
                }
            }
        }
        for pod in cluster.pods.iter().filter(|pod| pod.is_live()) {
            events.extend([Event::PodFails(pod.id), Event::PodSucceeds(pod.id), Event::PodIsDeletedByHand(pod.id)]);
            if pod.phase != Phase::Unready {
                events.push(Event::PodBecomesUnready(pod.id));
            }
        }
        if !cluster.rest.orphaning {
            events.push(Event::DaemonSetIsDeletedLeavingItsPods);
        }
        if cluster.rest.selector {
            events.push(Event::SelectorIsRemoved);
        }
        if !world.lags() {
            events.extend([Event::NodesLag, Event::PodsLag, Event::RestLags]);
        }
        events.retain(|event| (self.events)(*event));
        events
    }

    fn carry_out(&self, world: &mut World, act: Act) {
        if world.current {
            world.broken = world.broken.or(self.unsafe_before(&world.cluster, act));
        }
        let next_id = world.next_id();
        let cluster = &mut world.cluster;
        let exists = |uid: u8, rest: &Rest| rest.uid == uid;
        match act {
            Act::Adopt { pod, uid } => {
                let alive = exists(uid, &cluster.rest) && !cluster.rest.orphaning;
                if let Some(pod) = cluster.pod(pod).filter(|pod| alive && pod.owner.is_none() && !pod.deleting) {
                    pod.owner = Some(uid);
                }
            }
            Act::Release { pod, uid } => {
                if let Some(pod) = cluster.pod(pod).filter(|pod| pod.owner == Some(uid)) {
                    pod.owner = None;
                }
            }
            Act::Relabel { pod, hash } => {
                if let Some(pod) = cluster.pod(pod) {
                    pod.hash = hash;
                }
            }
            Act::Create { node, hash, uid } => {
                let bound = cluster.node(node).is_some();
                let rejected = self.admission && cluster.rest.selector && zone(node) != "a";
                let phase = if rejected { Phase::Failed } else { Phase::Unready };
                let owner = Some(uid);
                cluster.pods.push(Pod { id: next_id, node, bound, hash, owner, phase, deleting: false });
                world.unobserved |= world.stale.pods.is_some();
            }
            Act::Delete { pod, reason } => {
                let node = cluster.pod(pod).map(|pod| pod.node);
                let starts = |node: &u8| reason == Why::Failed && !world.backoff.contains(node);
                if let Some(node) = node.filter(starts) {
                    world.backoff.push(node);
                    world.backoff.sort_unstable();
                }
                cluster.delete(pod);
                world.unobserved |= world.stale.pods.is_some();
            }
            Act::AdoptRevision { hash, uid } => {
                let alive = exists(uid, &cluster.rest) && !cluster.rest.orphaning;
                let mut revisions = cluster.rest.revisions.iter_mut();
                if let Some((_, _, owner)) = revisions.find(|(own, _, owner)| alive && *own == hash && owner.is_none())
                {
                    *owner = Some(uid);
                }
            }
            Act::ReleaseRevision { hash, uid } => {
                let mut revisions = cluster.rest.revisions.iter_mut();
                if let Some((_, _, owner)) = revisions.find(|(own, _, owner)| *own == hash && *owner == Some(uid)) {
                    *owner = None;
                }
            }
            Act::CreateRevision { hash, number, uid } => {
                let revisions = &mut cluster.rest.revisions;
                if revisions.iter().all(|(own, _, _)| *own != hash) {
                    revisions.push((hash, number, Some(uid)));
                    revisions.sort_unstable();
                }
            }
            Act::Renumber { hash, number } => {
                if let Some(revision) = cluster.rest.revisions.iter_mut().find(|(own, _, _)| *own == hash) {
                    revision.1 = number;
                }
            }
            Act::DeleteRevision { hash } => cluster.rest.revisions.retain(|(own, _, _)| *own != hash),
        }
        if world.current {
            world.broken = world.broken.or(self.unsafe_after(&world.cluster, act));
        }
    }

    fn happen(world: &mut World, event: Event) {
        let cluster = &mut world.cluster;
        match event {
            Event::NodeComes(number) => *cluster.node_mut(number) = Some(Node { selected: true, taint: None }),
            Event::NodeGoes(number) => *cluster.node_mut(number) = None,
            Event::LabelFlips(number) => {
                cluster.node_mut(number).as_mut().unwrap().selected ^= true;
            }
            Event::TaintIsSet(number, taint) => cluster.node_mut(number).as_mut().unwrap().taint = Some(taint),
            Event::TaintIsTaken(number) => cluster.node_mut(number).as_mut().unwrap().taint = None,
            Event::TemplateIsEdited => cluster.rest.template = 1 - cluster.rest.template,
            Event::DaemonSetIsDeletedLeavingItsPods => cluster.rest.orphaning = true,
            Event::SelectorIsRemoved => cluster.rest.selector = false,
            Event::PodFails(pod) => cluster.set_phase(pod, Phase::Failed),
            Event::PodSucceeds(pod) => cluster.set_phase(pod, Phase::Succeeded),
            Event::PodBecomesUnready(pod) => cluster.set_phase(pod, Phase::Unready),
            Event::PodIsDeletedByHand(pod) => cluster.delete(pod),
            Event::NodesLag => world.stale.nodes = Some(cluster.nodes.clone()),
            Event::PodsLag => world.stale.pods = Some(cluster.pods.clone()),
            Event::RestLags => world.stale.rest = Some(cluster.rest.clone()),
        }
    }

    fn start(&self) -> World {
        let node = Some(Node { selected: true, taint: None });
        let rest = Rest { template: 0, uid: 0, orphaning: false, revisions: Vec::new(), selector: self.selector };
        World {
            cluster: Cluster { nodes: vec![node; usize::from(self.nodes)], pods: Vec::new(), rest },
            stale: Stale::default(),
            pending: Vec::new(),
            current: true,
            unobserved: false,
            backoff: Vec::new(),
            left: self.left,
            broken: None,
        }
    }
}

impl stateright::Model for Model {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        self.progress(world, steps);
        if world.left.crashes > 0 && (!world.pending.is_empty() || world.unobserved) {
            steps.push(Step::Crash);
        }
        if world.left.events > 0 {
            steps.extend(self.possible_events(world).into_iter().map(Step::Event));
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        match step {
            Step::Plan => {
                world.pending = self.plan(before).to_vec();
                world.broken = world.broken.or(Self::unlawful(&before.seen(), &world.pending));
                world.current = !before.lags();
                world.left.stale_plans -= u8::from(before.lags());
            }
            Step::CarryOutOne => {
                let act = world.pending.remove(0);
                self.carry_out(&mut world, act);
                world.current |= world.pending.is_empty();
            }
            Step::Crash => {
                world.left.crashes -= 1;
                world.pending.clear();
                world.backoff.clear();
                world.stale = Stale::default();
                (world.unobserved, world.current) = (false, true);
            }
            Step::PodStarts(id) => {
                let pod = world.cluster.pod(id)?;
                (pod.bound, pod.phase) = (true, self.planner.phase_of_a_started_pod());
            }
            Step::PodIsRemoved(id) | Step::AbandonedPodIsCollected(id) => world.cluster.pods.retain(|pod| pod.id != id),
            Step::AbandonedRevisionIsCollected(hash) => {
                world.cluster.rest.revisions.retain(|(own, _, _)| *own != hash);
            }
            Step::TimePasses => {
                world.backoff.clear();
                for pod in world.cluster.pods.iter_mut().filter(|pod| pod.phase == Phase::Ready) {
                    pod.phase = Phase::Available;
                }
            }
            Step::CachesCatchUp => {
                world.stale = Stale::default();
                world.unobserved = false;
            }
            Step::DaemonSetIsCreatedAgain => {
                let rest = &mut world.cluster.rest;
                (rest.uid, rest.orphaning) = (rest.uid + 1, false);
                world.current = world.pending.is_empty();
            }
            Step::Event(event) => {
                world.left.events -= 1;
                Self::happen(&mut world, event);
                world.current = world.pending.is_empty();
            }
        }
        world.broken = world.broken.or(self.crowded(&world));
        world.renumber();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("safe", |_, world: &World| world.broken.is_none()),
            Property::always("every final state is settled", |model: &Self, world: &World| {
                let mut steps = Vec::new();
                model.progress(world, &mut steps);
                !steps.is_empty() || model.is_as_it_should_be(world)
            }),
        ]
    }
}

fn bound(name: &str, default: u8) -> u8 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

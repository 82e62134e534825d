//! The state of the cluster, and the steps of the model.

use std::{collections::BTreeSet, fmt};

use daemonplan::{
    Action,
    model::{HASH_LABEL, Labels, Pod, PodNode, PodPhase, PodProblem, Readiness, TEMPLATE_GENERATION_LABEL},
};
use jiff::SignedDuration;
use serde_json::json;

use crate::common::*;

/// Whether the pods of a template become available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Good,
    Bad,
}

#[derive(Clone, Debug)]
pub struct Scenario {
    nodes: u8,
    annotations: Vec<(&'static str, &'static str)>,
    /// The templates; the first is the initial one.
    templates: Vec<Kind>,
    surging: bool,
    max: u8,
    allowed: Allowed,
}

/// Remaining allowances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Allowed {
    /// Available pods that lose their readiness for some time.
    upsets: u8,
    /// Pods that disappear.
    losses: u8,
    /// Nodes that become unreachable.
    absences: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    nodes: Vec<Place>,
    /// All templates so far, the current one last.
    history: Vec<u8>,
    /// The template's generation, as the API server counts it.
    generation: u8,
    /// Number of the scenario's templates set so far.
    edits: u8,
    left: Allowed,
    allowed: Allowed,
    /// The record of the DaemonSet, if it has one.
    record: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Place {
    pods: Vec<Daemon>,
    absent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Daemon {
    template: u8,
    /// The label `pod-template-generation`.
    generation: Option<u8>,
    phase: Phase,
    going: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Starting,
    /// Never becomes available.
    Crashing,
    /// Just became available.
    Fresh,
    Available,
}

impl Scenario {
    /// Returns a scenario with `maxUnavailable` 1.
    pub fn new(nodes: u8) -> Self {
        let (annotations, templates) = (Vec::new(), vec![Kind::Good]);
        Self { nodes, annotations, templates, surging: false, max: 1, allowed: Allowed::default() }
    }

    pub fn annotated(mut self, key: &'static str, value: &'static str) -> Self {
        self.annotations.push((key, value));
        self
    }

    pub fn edits(mut self, templates: &[Kind]) -> Self {
        self.templates.extend(templates);
        self
    }

    pub fn surging(self, surging: bool) -> Self {
        Self { surging, ..self }
    }

    pub fn max(self, max: u8) -> Self {
        Self { max, ..self }
    }

    pub fn upsets(mut self, upsets: u8) -> Self {
        self.allowed.upsets = upsets;
        self
    }

    pub fn losses(mut self, losses: u8) -> Self {
        self.allowed.losses = losses;
        self
    }

    pub fn absences(mut self, absences: u8) -> Self {
        self.allowed.absences = absences;
        self
    }

    pub fn start(&self) -> World {
        let pod = Daemon { template: 0, generation: Some(1), phase: Phase::Available, going: false };
        let node = Place { pods: vec![pod], absent: false };
        let (left, allowed) = (self.allowed, self.allowed);
        let nodes = vec![node; self.nodes.into()];
        World { nodes, history: vec![0], generation: 1, edits: 0, left, allowed, record: None }
    }

    fn cluster(&self, world: &World) -> Cluster {
        let numbered = || (0_u8..).zip(&world.nodes);
        let mut cluster = cluster(numbered().map(|(number, place)| {
            let mut node = labelled(&name(number), &[("zone", zone(number))]);
            node.taints = place.absent.then(|| taint("node.kubernetes.io/unreachable:NoExecute")).into_iter().collect();
            node
        }));
        cluster.revisions.clear();
        for (number, template) in (1..).zip(&world.history) {
            let spec = json!({"containers": [{"name": "agent", "image": format!("agent:{template}")}]});
            cluster.daemonset.template = crate::common::template(spec);
            let revision = cluster.revision(&format!("t{template}"), number);
            cluster.revisions.push(revision);
        }
        let generation = world.generation.to_string();
        let generation = ("deprecated.daemonset.template.generation", generation.as_str());
        let record = world.record.as_deref().map(|record| ("daemonplan/rollout-record", record));
        cluster.daemonset.annotations = self.annotations.iter().copied().chain([generation]).chain(record).collect();
        let (max, none) = (json!(self.max), json!(0));
        let mut cluster = if self.surging { cluster.rolling(none, max) } else { cluster.rolling(max, none) };
        for (number, place) in numbered() {
            for (at, daemon) in place.pods.iter().enumerate() {
                let pod = daemon.pod(&cluster, number, at);
                cluster.pods.push(pod);
            }
        }
        cluster
    }

    /// Returns the possible next states, and whether a template is rolled back.
    pub fn next(&self, world: &World) -> (Vec<World>, bool) {
        let cluster = self.cluster(world);
        let plan = cluster.plan();
        let ignored = |action: &&Action| !matches!(action, Action::UpdateStatus { .. } | Action::DeleteRevision { .. });
        let actions: Vec<_> = plan.actions.iter().filter(ignored).collect();
        let mut next = Vec::new();
        for action in &actions {
            next.push(world.after(std::slice::from_ref(action)));
        }
        if actions.len() > 1 {
            next.push(world.after(&actions));
        }
        self.add_events(world, &mut next);
        (next, actions.iter().any(|action| matches!(action, Action::RollBack { .. })))
    }

    fn add_events(&self, world: &World, next: &mut Vec<World>) {
        let mut add = |change: &dyn Fn(&mut World)| {
            let mut changed = world.clone();
            change(&mut changed);
            next.push(changed);
        };
        for (at, place) in world.nodes.iter().enumerate() {
            for (number, daemon) in place.pods.iter().enumerate().filter(|_| !place.absent) {
                let becomes = move |phase| move |world: &mut World| world.nodes[at].pods[number].phase = phase;
                match (daemon.phase, self.templates[usize::from(daemon.template)]) {
                    _ if daemon.going => add(&|world| {
                        world.nodes[at].pods.remove(number);
                    }),
                    (Phase::Starting, Kind::Good) => add(&becomes(Phase::Fresh)),
                    (Phase::Starting, Kind::Bad) => add(&becomes(Phase::Crashing)),
                    (Phase::Available, _) if world.left.upsets > 0 => add(&|world| {
                        world.left.upsets -= 1;
                        becomes(Phase::Starting)(world);
                    }),
                    _ => {}
                }
                if world.left.losses > 0 && !daemon.going {
                    add(&|world| {
                        world.left.losses -= 1;
                        world.nodes[at].pods.remove(number);
                    });
                }
            }
            if world.left.absences > 0 && !place.absent {
                add(&|world| {
                    world.left.absences -= 1;
                    world.nodes[at].absent = true;
                    // Its pods are no longer ready.
                    for pod in &mut world.nodes[at].pods {
                        pod.phase = Phase::Starting;
                    }
                });
                // It may never come back: then the path ends here.
            }
            if place.absent {
                add(&|world| world.nodes[at].absent = false);
            }
        }
        if world.nodes.iter().flat_map(|place| &place.pods).any(|pod| pod.phase == Phase::Fresh) {
            add(&|world| {
                let pods = world.nodes.iter_mut().flat_map(|place| &mut place.pods);
                pods.filter(|pod| pod.phase == Phase::Fresh).for_each(|pod| pod.phase = Phase::Available);
            });
        }
        if usize::from(world.edits) + 1 < self.templates.len() {
            add(&|world| {
                world.edits += 1;
                world.make_current(world.edits);
            });
        }
    }
}

impl Daemon {
    fn pod(self, cluster: &Cluster, node: u8, at: usize) -> Pod {
        let mut made = pod(&format!("pod-{node}-{at}"), &name(node));
        made.labels = Labels::from_iter([("app", "agent"), (HASH_LABEL, &*format!("t{}", self.template))]);
        if let Some(generation) = self.generation {
            made.labels = made.labels.with(TEMPLATE_GENERATION_LABEL, generation.to_string());
        }
        // Sorted by age, the oldest first.
        made.created = Some(cluster.now - SignedDuration::from_hours(100 - i64::try_from(at).unwrap()));
        made.deleted = self.going.then_some(cluster.now);
        made.node = PodNode::Bound(name(node).into());
        let ready = |hours| Readiness::Ready { since: Some(cluster.now - SignedDuration::from_hours(hours)) };
        (made.phase, made.ready) = match self.phase {
            Phase::Starting | Phase::Crashing => (PodPhase::Running, Readiness::default()),
            Phase::Fresh => (PodPhase::Running, ready(0)),
            Phase::Available => (PodPhase::Running, ready(1)),
        };
        if self.phase == Phase::Crashing {
            let mut problem = PodProblem::default();
            (problem.waiting, problem.restarts) = ("CrashLoopBackOff".into(), 3);
            made.problem = Some(Box::new(problem));
        }
        made
    }

    fn is_available(self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Available) && !self.going
    }
}

fn name(node: u8) -> String {
    format!("node-{node}")
}

fn zone(node: u8) -> &'static str {
    ["a", "b"][usize::from(node % 2)]
}

fn number(name: &str) -> usize {
    name.rsplit('-').next().unwrap().parse().unwrap()
}

impl World {
    fn current(&self) -> u8 {
        *self.history.last().unwrap()
    }

    fn make_current(&mut self, template: u8) {
        self.history.retain(|other| *other != template);
        self.history.push(template);
        self.generation += 1;
    }

    fn after(&self, actions: &[&Action]) -> Self {
        let mut world = self.clone();
        for action in actions {
            match action {
                Action::CreatePod { node, blueprint, .. } => {
                    let manifest = blueprint.manifest(node);
                    let label = |key: &str| manifest["metadata"]["labels"][key].as_str();
                    let template = label(HASH_LABEL).unwrap().strip_prefix('t').unwrap().parse().unwrap();
                    let generation = label(TEMPLATE_GENERATION_LABEL).map(|generation| generation.parse().unwrap());
                    let pod = Daemon { template, generation, phase: Phase::Starting, going: false };
                    world.nodes[number(node)].pods.push(pod);
                }
                Action::DeletePod { pod, node, .. } => {
                    let at: usize = number(&pod.name);
                    world.nodes[number(node.as_ref().unwrap())].pods[at].going = true;
                }
                Action::RollBack { revision, record, .. } => {
                    let hash = revision.labels.get(HASH_LABEL).unwrap();
                    world.make_current(hash.strip_prefix('t').unwrap().parse().unwrap());
                    world.record = Some(record.to_string());
                }
                Action::RecordRollout { record, .. } => world.record = Some(record.to_string()),
                other => panic!("action not in the model: {other}"),
            }
        }
        world
    }

    fn lacks(place: &Place) -> bool {
        !place.pods.iter().any(|pod| pod.is_available())
    }

    /// Returns the number of nodes without an available pod.
    pub fn lacking(&self) -> usize {
        self.nodes.iter().filter(|place| Self::lacks(place)).count()
    }

    /// Returns the number of nodes without an available pod that are not absent.
    pub fn lacking_here(&self) -> usize {
        self.nodes.iter().filter(|place| Self::lacks(place) && !place.absent).count()
    }

    pub fn lacking_in(&self, zone: &str) -> usize {
        let here = (0_u8..).zip(&self.nodes).filter(|(number, _)| self::zone(*number) == zone);
        here.filter(|(_, place)| Self::lacks(place)).count()
    }

    /// Returns whether the update of a node is in progress: no pod stays, a newer pod is not available, or two pods
    /// run.
    fn is_in_progress(&self, place: &Place) -> bool {
        let staying: Vec<_> = place.pods.iter().filter(|pod| !pod.going).collect();
        match &*staying {
            [only] => only.template == self.current() && !only.is_available(),
            _ => true,
        }
    }

    pub fn in_progress(&self) -> usize {
        self.nodes.iter().filter(|place| self.is_in_progress(place)).count()
    }

    pub fn zones_in_progress(&self) -> BTreeSet<&'static str> {
        let in_progress = (0_u8..).zip(&self.nodes).filter(|(_, place)| self.is_in_progress(place));
        in_progress.map(|(number, _)| zone(number)).collect()
    }

    /// Returns the number of nodes with a pod of the current template.
    pub fn up_to_date(&self) -> usize {
        let is_current = |pod: &Daemon| pod.template == self.current();
        self.nodes.iter().filter(|place| place.pods.iter().any(is_current)).count()
    }

    fn is_well(&self, place: &Place) -> bool {
        matches!(&*place.pods, [only] if only.is_available() && only.template == self.current())
    }

    pub fn is_up_to_date(&self) -> bool {
        self.nodes.iter().all(|place| self.is_well(place))
    }

    pub fn is_up_to_date_but_for_absent_nodes(&self) -> bool {
        self.nodes.iter().all(|place| place.absent || self.is_well(place))
    }

    pub fn is_first_template(&self) -> bool {
        self.current() == 0
    }

    /// Returns whether a pod of the current template has been available for long enough.
    pub fn has_baked(&self) -> bool {
        let baked = |pod: &Daemon| pod.template == self.current() && pod.phase == Phase::Available;
        self.nodes.iter().flat_map(|place| &place.pods).any(baked)
    }

    pub fn upset(&self) -> bool {
        self.left.upsets < self.allowed.upsets
    }

    /// Returns the number of nodes that were absent and are back.
    pub fn returned(&self) -> usize {
        let absent = self.nodes.iter().filter(|place| place.absent).count();
        usize::from(self.allowed.absences - self.left.absences) - absent
    }

    pub fn losses_used(&self) -> usize {
        usize::from(self.allowed.losses - self.left.losses)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, annotations, templates, surging, max, .. } = self;
        write!(
            f,
            "{nodes} nodes, {annotations:?}, {templates:?}, {} {max}",
            if *surging { "surge" } else { "unavailable" }
        )
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.history, self.left)?;
        for place in &self.nodes {
            write!(f, " | ")?;
            for Daemon { template, phase, going, .. } in &place.pods {
                write!(f, "{template}:{phase:?}{} ", if *going { "-going" } else { "" })?;
            }
            write!(f, "{}", if place.absent { "absent" } else { "" })?;
        }
        Ok(())
    }
}

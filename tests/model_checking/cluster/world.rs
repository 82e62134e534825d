//! The state of the model: a cluster, a controller that carries out plans, and the controller's caches.

/// The whole state. Equal worlds are one state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub cluster: Cluster,
    /// The old state that lagging caches still show.
    pub stale: Stale,
    /// The remaining actions of the current plan.
    pub pending: Vec<Act>,
    /// Whether that plan was made from current caches, without an event since.
    pub current: bool,
    /// Whether the caches do not show the controller's writes yet.
    pub unobserved: bool,
    /// Nodes in back-off.
    pub backoff: Vec<u8>,
    pub left: Left,
    /// Violations of safety.
    pub broken: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    pub nodes: Vec<Option<Node>>,
    /// Sorted by age, the oldest first.
    pub pods: Vec<Pod>,
    pub rest: Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Whether the label matches the selector.
    pub selected: bool,
    pub taint: Option<Taint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Taint {
    NoSchedule,
    NoExecute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    pub id: u8,
    pub node: u8,
    pub bound: bool,
    /// The hash label: the template and the number of collisions.
    pub hash: u8,
    pub owner: Option<u8>,
    pub phase: Phase,
    pub deleting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not ready: not started, or unready again.
    Unready,
    /// Ready, but not for long enough.
    Ready,
    Available,
    Failed,
    Succeeded,
}

/// The DaemonSet, its revisions, its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rest {
    pub template: u8,
    /// The uid: the number of recreations.
    pub uid: u8,
    /// Being deleted, with the finalizer `orphan`.
    pub orphaning: bool,
    /// The revisions: hash, number and owner, by hash.
    pub revisions: Vec<(u8, i64, Option<u8>)>,
    /// Whether the namespace has its node selector.
    pub selector: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stale {
    pub nodes: Option<Vec<Option<Node>>>,
    pub pods: Option<Vec<Pod>>,
    pub rest: Option<Rest>,
}

/// Remaining allowances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    /// Events of the environment.
    pub events: u8,
    pub crashes: u8,
    /// Plans made from lagging caches.
    pub stale_plans: u8,
}

/// An action of a plan, as modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    Adopt { pod: u8, uid: u8 },
    Release { pod: u8, uid: u8 },
    Relabel { pod: u8, hash: u8 },
    AdoptRevision { hash: u8, uid: u8 },
    ReleaseRevision { hash: u8, uid: u8 },
    CreateRevision { hash: u8, number: i64, uid: u8 },
    Renumber { hash: u8, number: i64 },
    DeleteRevision { hash: u8 },
    Create { node: u8, hash: u8, uid: u8 },
    Delete { pod: u8, reason: Why },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The update replaces an available pod.
    Turn,
    /// The new pod of a surge is available.
    SurgeFinished,
    Failed,
    Other,
}

/// A step of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    // The controller.
    Plan,
    CarryOutOne,
    Crash,
    // Steps that happen sooner or later.
    PodStarts(u8),
    PodIsRemoved(u8),
    AbandonedPodIsCollected(u8),
    AbandonedRevisionIsCollected(u8),
    TimePasses,
    CachesCatchUp,
    DaemonSetIsCreatedAgain,
    // Events that may happen or not.
    Event(Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    NodeComes(u8),
    NodeGoes(u8),
    LabelFlips(u8),
    TaintIsSet(u8, Taint),
    TaintIsTaken(u8),
    TemplateIsEdited,
    DaemonSetIsDeletedLeavingItsPods,
    SelectorIsRemoved,
    PodFails(u8),
    PodSucceeds(u8),
    PodBecomesUnready(u8),
    PodIsDeletedByHand(u8),
    NodesLag,
    PodsLag,
    RestLags,
}

/// Number of template versions.
pub const TEMPLATES: u8 = 2;

pub fn template_of(hash: u8) -> u8 {
    hash % TEMPLATES
}

impl World {
    /// Renumbers pods by age, so that worlds that differ only in numbers are equal.
    pub fn renumber(&mut self) {
        let mut ids: Vec<u8> = self.all_pods().map(|pod| pod.id).collect();
        ids.extend(self.pending.iter().filter_map(Act::pod));
        ids.sort_unstable();
        ids.dedup();
        let rank = |id: u8| u8::try_from(ids.binary_search(&id).unwrap()).unwrap();
        for pod in self.cluster.pods.iter_mut().chain(self.stale.pods.iter_mut().flatten()) {
            pod.id = rank(pod.id);
        }
        for act in &mut self.pending {
            match act {
                Act::Adopt { pod, .. }
                | Act::Release { pod, .. }
                | Act::Relabel { pod, .. }
                | Act::Delete { pod, .. } => *pod = rank(*pod),
                _ => {}
            }
        }
    }

    pub fn next_id(&self) -> u8 {
        let ids = self.all_pods().map(|pod| pod.id).chain(self.pending.iter().filter_map(Act::pod));
        ids.max().map_or(0, |id| id + 1)
    }

    fn all_pods(&self) -> impl Iterator<Item = &Pod> {
        self.cluster.pods.iter().chain(self.stale.pods.iter().flatten())
    }

    /// Returns the cluster as the controller sees it.
    pub fn seen(&self) -> Cluster {
        let Cluster { nodes, pods, rest } = &self.cluster;
        Cluster {
            nodes: self.stale.nodes.as_ref().unwrap_or(nodes).clone(),
            pods: self.stale.pods.as_ref().unwrap_or(pods).clone(),
            rest: self.stale.rest.as_ref().unwrap_or(rest).clone(),
        }
    }

    pub fn lags(&self) -> bool {
        self.stale != Stale::default()
    }
}

impl Act {
    pub fn pod(&self) -> Option<u8> {
        match self {
            Self::Adopt { pod, .. }
            | Self::Release { pod, .. }
            | Self::Relabel { pod, .. }
            | Self::Delete { pod, .. } => Some(*pod),
            _ => None,
        }
    }
}

impl Cluster {
    pub fn pod(&mut self, id: u8) -> Option<&mut Pod> {
        self.pods.iter_mut().find(|pod| pod.id == id)
    }

    pub fn node_mut(&mut self, node: u8) -> &mut Option<Node> {
        &mut self.nodes[usize::from(node)]
    }

    /// Marks a pod as being deleted. An unbound pod has no kubelet to wait for, and is gone at once.
    pub fn delete(&mut self, id: u8) {
        if let Some(pod) = self.pod(id) {
            pod.deleting = true;
        }
        self.pods.retain(|pod| pod.id != id || pod.bound);
    }

    pub fn set_phase(&mut self, id: u8, phase: Phase) {
        if let Some(pod) = self.pod(id) {
            pod.phase = phase;
        }
    }

    pub fn node(&self, node: u8) -> Option<Node> {
        self.nodes[usize::from(node)]
    }
}

impl Pod {
    pub fn has_ended(self) -> bool {
        matches!(self.phase, Phase::Failed | Phase::Succeeded)
    }

    /// Returns whether a pod has neither ended nor is being deleted.
    pub fn is_live(self) -> bool {
        !self.deleting && !self.has_ended()
    }
}

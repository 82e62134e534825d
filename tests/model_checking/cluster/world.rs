//! The state of the model: a cluster, a controller that carries out plans, and what it believes.

/// Everything. Equal worlds are one state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub cluster: Cluster,
    /// What the controller's caches still show of the past, where they lag.
    pub stale: Stale,
    /// The rest of the plan that is being carried out.
    pub pending: Vec<Act>,
    /// Whether that plan was made from the present, and nobody else has acted since.
    pub current: bool,
    /// Whether the caches do not show yet what the controller did.
    pub unobserved: bool,
    /// Nodes whose back-off runs.
    pub backoff: Vec<u8>,
    pub left: Left,
    /// What went wrong.
    pub broken: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    pub nodes: Vec<Option<Node>>,
    /// In the order of their birth.
    pub pods: Vec<Pod>,
    pub rest: Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Whether its label is the one that the template selects.
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
    /// Its hash label: which template, and after how many collisions.
    pub hash: u8,
    pub owner: Option<u8>,
    pub phase: Phase,
    pub deleting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not ready: it has not started, or has become unready.
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
    /// Which DaemonSet of this name it is.
    pub uid: u8,
    /// Being deleted, with the finalizer `orphan`.
    pub orphaning: bool,
    /// Hash, number and owner, by hash.
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

/// How often something may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    /// Events of the environment.
    pub events: u8,
    pub crashes: u8,
    /// Plans made from caches that lag.
    pub stale_plans: u8,
}

/// An action of a plan, as far as the model knows it.
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
    /// An available pod's turn in an update.
    Turn,
    /// The new pod of a surge is available.
    SurgeFinished,
    Failed,
    Other,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    // The controller.
    Plan,
    CarryOutOne,
    Crash,
    // What happens sooner or later.
    PodStarts(u8),
    PodIsRemoved(u8),
    AbandonedPodIsCollected(u8),
    AbandonedRevisionIsCollected(u8),
    TimePasses,
    CachesCatchUp,
    DaemonSetIsCreatedAgain,
    // What may happen or not.
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

/// How many versions of the template there are.
pub const TEMPLATES: u8 = 2;

pub fn template_of(hash: u8) -> u8 {
    hash % TEMPLATES
}

impl World {
    /// Numbers pods anew by their age, so that worlds that differ in nothing else are the same.
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

    /// What the controller sees.
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

    /// Marks a pod as being deleted; one that is not bound has no kubelet to wait for, and is gone at once.
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

    /// Neither ended nor being deleted.
    pub fn is_live(self) -> bool {
        !self.deleting && !self.has_ended()
    }
}

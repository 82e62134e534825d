//! Synthetic clusters for benchmarks and simulators (feature `synthetic`): as large as you like, shaped like real ones, and
//! the same for the same seed on every platform.
//!
//! Nodes come in zones and pools with 15 labels and a taint or more; some are cordoned, some not ready. DaemonSets are
//! in different [`Condition`]s. Between their pods are pods of other controllers.
//!
//! ```
//! use daemonplan::synthetic::{Condition, Synthetic};
//! let cluster = Synthetic::new(100).condition(Condition::Settled).seed(7).build();
//! let plan = cluster.snapshot(0).unwrap().plan();
//! assert_eq!(plan.actions, []);
//! ```

mod condition;
mod manifest;

mod nodes;
mod random;

use jiff::Timestamp;

use crate::{
    model::{
        ControllerRef, ControllerRevision, DaemonSet, Labels, Namespace, Node, Pod, PodNode, PodPhase, Readiness,
        Resource,
    },
    planner::Snapshot,
};
pub use condition::Condition;
use random::Random;

/// What a synthetic cluster is to be like.
///
/// ```
/// use daemonplan::synthetic::Synthetic;
/// let cluster = Synthetic::new(50).daemonsets(3).other_pods(100).seed(7).build();
/// assert_eq!((cluster.nodes.len(), cluster.daemonsets.len()), (50, 3));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Synthetic {
    nodes: usize,
    daemonsets: usize,
    other_pods: usize,
    condition: Option<Condition>,
    seed: u64,
}

/// A synthetic cluster, in the order in which `kubectl get` lists it.
///
/// ```
/// use daemonplan::{Cluster, Settings, synthetic::Synthetic};
/// let synthetic = Synthetic::new(10).daemonsets(2).build();
/// let mut cluster = Cluster::new(Settings::default());
/// synthetic.objects().for_each(|object| cluster.apply(object));
/// assert_eq!(cluster.stale(synthetic.now).len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SyntheticCluster {
    /// The time at which it is as it is.
    pub now: Timestamp,
    /// By name.
    pub nodes: Vec<Node>,
    /// By name.
    pub namespaces: Vec<Namespace>,
    /// In the order of their numbers.
    pub daemonsets: Vec<DaemonSet>,
    /// By namespace and name.
    pub revisions: Vec<ControllerRevision>,
    /// By namespace and name.
    pub pods: Vec<Pod>,
}

const NAMESPACES: [&str; 5] = ["kube-system", "logging", "monitoring", "security", "storage"];

fn now() -> Timestamp {
    Timestamp::constant(1_790_000_000, 0)
}

impl Synthetic {
    /// A cluster of so many nodes with one DaemonSet, no other pods, and the seed 1.
    pub fn new(nodes: usize) -> Self {
        Self { nodes, daemonsets: 1, other_pods: 0, condition: None, seed: 1 }
    }

    /// How many DaemonSets there are. Each has a pod on most of the nodes.
    #[must_use]
    pub fn daemonsets(self, daemonsets: usize) -> Self {
        Self { daemonsets, ..self }
    }

    /// How many pods of other controllers there are.
    #[must_use]
    pub fn other_pods(self, other_pods: usize) -> Self {
        Self { other_pods, ..self }
    }

    /// Puts every DaemonSet into this condition, instead of one into each in turn.
    #[must_use]
    pub fn condition(self, condition: Condition) -> Self {
        Self { condition: Some(condition), ..self }
    }

    /// Another cluster of the same shape.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Builds the cluster.
    pub fn build(&self) -> SyntheticCluster {
        let mut random = Random::new(self.seed);
        let mut cluster = SyntheticCluster {
            now: now(),
            nodes: nodes::nodes(self.nodes, &mut random),
            namespaces: NAMESPACES.map(namespace).to_vec(),
            daemonsets: Vec::new(),
            revisions: Vec::new(),
            pods: Vec::new(),
        };
        let conditions = Condition::ALL.into_iter().cycle();
        let spaces = cluster.namespaces.clone();
        for ((number, own), namespace) in (0..self.daemonsets).zip(conditions).zip(spaces.iter().cycle()) {
            let condition = self.condition.unwrap_or(own);
            condition.put_in(&mut cluster, namespace, number, &mut random);
        }
        let names: Vec<_> = cluster.nodes.iter().map(|node| node.name.clone()).collect();
        for (number, namespace) in (0..self.other_pods).zip(NAMESPACES.into_iter().cycle()) {
            let mut pod = other_pod(number, namespace, &mut random);
            pod.node = random.pick(&names).map_or(PodNode::None, |node| PodNode::Bound(node.clone()));
            cluster.pods.push(pod);
        }
        cluster.pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        cluster.revisions.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        for number in 0..cluster.daemonsets.len() {
            let status = cluster.snapshot(number).and_then(|snapshot| snapshot.plan().status);
            if let (Some(daemonset), Some(status)) = (cluster.daemonsets.get_mut(number), status) {
                daemonset.status = status;
            }
        }
        cluster
    }
}

impl SyntheticCluster {
    /// All that a plan for the DaemonSet of this number needs, with the pods of its namespace; `None` if there is none.
    pub fn snapshot(&self, daemonset: usize) -> Option<Snapshot<'_>> {
        let daemonset = self.daemonsets.get(daemonset)?;
        let namespace = self.namespaces.iter().find(|namespace| namespace.name == daemonset.namespace)?;
        let begin = self.pods.partition_point(|pod| pod.namespace < daemonset.namespace);
        let end = self.pods.partition_point(|pod| pod.namespace <= daemonset.namespace);
        let snapshot = Snapshot::new(daemonset, &self.nodes, self.pods.get(begin..end)?, namespace);
        Some(snapshot.revisions(&self.revisions).at(self.now))
    }

    /// All objects.
    pub fn objects(&self) -> impl Iterator<Item = Resource> {
        let namespaces = self.namespaces.iter().cloned().map(Resource::from);
        namespaces
            .chain(self.nodes.iter().cloned().map(Resource::from))
            .chain(self.daemonsets.iter().cloned().map(Resource::from))
            .chain(self.revisions.iter().cloned().map(Resource::from))
            .chain(self.pods.iter().cloned().map(Resource::from))
    }
}

fn namespace(name: &str) -> Namespace {
    let mut namespace = Namespace::new(name);
    let selector = if name == "logging" { "kubernetes.io/os=linux" } else { "" };
    namespace.annotations = Labels::from_iter([("openshift.io/node-selector", selector)]);
    namespace
}

/// A running pod of a Deployment.
fn other_pod(number: usize, namespace: &str, random: &mut Random) -> Pod {
    let application = format!("app-{}", number / 50 % 200);
    let set = format!("{application}-{}", random::letters(number / 50 + 1_000_000, 9));
    let mut pod = Pod::new(namespace, format!("{set}-{}", random::letters(number, 5)));
    pod.uid = random.uid();
    pod.labels = Labels::from_iter([
        ("app.kubernetes.io/name", application.as_str()),
        ("app.kubernetes.io/part-of", "shop"),
        ("pod-template-hash", set.rsplit('-').next().unwrap_or_default()),
    ]);
    let uid = Random::new(number as u64 / 50).uid();
    pod.controller = Some(ControllerRef { kind: "ReplicaSet".into(), name: set.into(), uid });
    run(&mut pod, 86_400, random);
    pod
}

/// Lets a pod be ready for at least so many seconds.
fn run(pod: &mut Pod, seconds: i64, random: &mut Random) {
    let since = now() - jiff::SignedDuration::from_secs(seconds + i64::from(random.below(100_000)));
    pod.created = Some(since - jiff::SignedDuration::from_secs(20));
    pod.phase = PodPhase::Running;
    pod.ready = Readiness::Ready { since: Some(since) };
}

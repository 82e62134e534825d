//! Synthetic clusters of any size for benchmarks and simulators (feature `synthetic`).
//!
//! A cluster is similar to a real one, and is the same for the same seed on every platform. Nodes are in zones and
//! pools and have 15 labels and at least one taint. Some are cordoned or not ready. DaemonSets are in different
//! [`Condition`]s. The cluster also has pods of other controllers.
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

use std::collections::HashMap;

use jiff::Timestamp;

use crate::{
    model::{
        ControllerRef, ControllerRevision, DaemonSet, Interner, Labels, Namespace, Node, Object, Pod, PodNode,
        PodPhase, Readiness,
    },
    planner::Snapshot,
};
pub use condition::Condition;
use random::Random;

/// A builder of synthetic clusters.
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
/// cluster.set_complete();
/// assert_eq!(cluster.stale(synthetic.now).len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SyntheticCluster {
    /// The current time in the cluster.
    pub now: Timestamp,
    /// The nodes, by name.
    pub nodes: Vec<Node>,
    /// The namespaces, by name.
    pub namespaces: Vec<Namespace>,
    /// The DaemonSets, in the order of their numbers.
    pub daemonsets: Vec<DaemonSet>,
    /// The revisions, by namespace and name.
    pub revisions: Vec<ControllerRevision>,
    /// The pods, by namespace and name.
    pub pods: Vec<Pod>,
}

const NAMESPACES: [&str; 5] = ["kube-system", "logging", "monitoring", "security", "storage"];

fn now() -> Timestamp {
    Timestamp::constant(1_790_000_000, 0)
}

impl Synthetic {
    /// Returns a builder of a cluster with this number of nodes, one DaemonSet, no other pods, and the seed 1.
    pub fn new(nodes: usize) -> Self {
        Self { nodes, daemonsets: 1, other_pods: 0, condition: None, seed: 1 }
    }

    /// Sets the number of DaemonSets. Each has pods on most nodes, unless it is [`New`](Condition::New).
    #[must_use]
    pub fn daemonsets(self, daemonsets: usize) -> Self {
        Self { daemonsets, ..self }
    }

    /// Sets the number of pods of other controllers.
    #[must_use]
    pub fn other_pods(self, other_pods: usize) -> Self {
        Self { other_pods, ..self }
    }

    /// Sets the condition of all DaemonSets. By default, DaemonSets cycle through all conditions.
    #[must_use]
    pub fn condition(self, condition: Condition) -> Self {
        Self { condition: Some(condition), ..self }
    }

    /// Sets the seed. Clusters with different seeds differ only in random details.
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
        let namespaces = cluster.namespaces.clone();
        for ((number, next), namespace) in (0..self.daemonsets).zip(conditions).zip(namespaces.iter().cycle()) {
            let condition = self.condition.unwrap_or(next);
            condition.add_to(&mut cluster, namespace, number, &mut random);
        }
        let names: Vec<_> = cluster.nodes.iter().map(|node| node.name.clone()).collect();
        for (number, namespace) in (0..self.other_pods).zip(NAMESPACES.into_iter().cycle()) {
            let mut pod = other_pod(number, namespace, &mut random);
            pod.node = random.pick(&names).map_or(PodNode::None, |node| PodNode::Bound(node.clone()));
            cluster.pods.push(pod);
        }
        // As when they are read from manifests.
        let mut specs = HashMap::new();
        for pod in &mut cluster.pods {
            let application = pod.controller.as_ref().map(|own| (own.kind.clone(), own.name.clone()));
            pod.spec.clone_from(specs.entry(application).or_insert_with(|| manifest::spec_of(pod)));
            pod.started = pod.created;
        }
        let mut interner = Interner::default();
        for node in &mut cluster.nodes {
            interner.share(node);
        }
        for pod in &mut cluster.pods {
            interner.share(pod);
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
    /// Returns the snapshot for the DaemonSet with this index, or `None` if it does not exist.
    ///
    /// The snapshot has the pods of the DaemonSet's namespace.
    pub fn snapshot(&self, daemonset: usize) -> Option<Snapshot<'_>> {
        let daemonset = self.daemonsets.get(daemonset)?;
        let namespace = self.namespaces.iter().find(|namespace| namespace.name == daemonset.namespace)?;
        let begin = self.pods.partition_point(|pod| pod.namespace < daemonset.namespace);
        let end = self.pods.partition_point(|pod| pod.namespace <= daemonset.namespace);
        let snapshot = Snapshot::new(daemonset, &self.nodes, self.pods.get(begin..end)?, namespace);
        Some(snapshot.revisions(&self.revisions).at(self.now))
    }

    /// Iterates over all objects.
    pub fn objects(&self) -> impl Iterator<Item = Object> {
        let namespaces = self.namespaces.iter().cloned().map(Object::from);
        namespaces
            .chain(self.nodes.iter().cloned().map(Object::from))
            .chain(self.daemonsets.iter().cloned().map(Object::from))
            .chain(self.revisions.iter().cloned().map(Object::from))
            .chain(self.pods.iter().cloned().map(Object::from))
    }
}

fn namespace(name: &str) -> Namespace {
    let mut namespace = Namespace::new(name);
    let selector = if name == "logging" { "kubernetes.io/os=linux" } else { "" };
    namespace.annotations = Labels::from_iter([("openshift.io/node-selector", selector)]);
    namespace
}

/// Returns a running pod of a Deployment.
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
    pod.controller = Some(ControllerRef { kind: "ReplicaSet".into(), name: set.into(), uid }.into());
    run(&mut pod, 86_400, random);
    pod
}

/// Sets a pod running and ready for at least `seconds`.
fn run(pod: &mut Pod, seconds: i64, random: &mut Random) {
    let since = now() - jiff::SignedDuration::from_secs(seconds + i64::from(random.below(100_000)));
    pod.created = Some(since - jiff::SignedDuration::from_secs(20));
    pod.phase = PodPhase::Running;
    pod.ready = Readiness::Ready { since: Some(since) };
}

use std::{collections::HashMap, sync::Arc};

use indexmap::IndexMap;

use super::{
    Amounts, Feasibility, PodsAlike, SchedulingBlocker, SchedulingObjects, SchedulingRemedy, cycle, incoming::Incoming,
    remedy::remedies,
};
use crate::model::{Labels, Namespace, Node, Pod, PodNode, PodSpec, ResourceList, Text};

/// What the default scheduler knows of a cluster: nodes, the pods on them, and the objects that volumes and budgets need.
///
/// Pods of all namespaces matter, because they share the nodes. Finished pods and those on unknown nodes count for nothing.
///
/// ```
/// use daemonplan::{model::{Node, Pod}, scheduling::{ClusterState, SchedulingObjects, SchedulingVerdict}};
/// let node: Node = serde_json::from_str(
///     r#"{"metadata": {"name": "a"}, "status": {"allocatable": {"cpu": "1", "pods": "110"}}}"#,
/// )?;
/// let pod = |name: &str, cpu: &str, place: &str| serde_json::from_str::<Pod>(&format!(
///     r#"{{"metadata": {{"name": "{name}"}}, "spec": {{{place} "containers": [
///         {{"name": "main", "resources": {{"requests": {{"cpu": "{cpu}"}}}}}}]}}}}"#,
/// ));
/// let running = pod("web", "800m", r#""nodeName": "a","#)?;
/// let objects = SchedulingObjects::default();
/// let state = ClusterState::new([&node], [&running], [], &objects);
/// let small = state.feasibility(&pod("small", "200m", "")?);
/// assert_eq!(small.verdict, SchedulingVerdict::Fits);
/// let large = state.feasibility(&pod("large", "300m", "")?);
/// assert_eq!(
///     large.message.unwrap(),
///     "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No \
///      preemption victims found for incoming pod.",
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClusterState<'a> {
    pub(super) nodes: IndexMap<&'a str, NodeInfo<'a>>,
    pub(super) objects: &'a SchedulingObjects,
    namespaces: HashMap<&'a str, &'a Labels>,
    /// Pods without a node for which the scheduler keeps one free.
    nominated: Vec<&'a Pod>,
    /// The pods on nodes whose anti-affinity can exclude others, with the names of the nodes.
    pub(super) excluding: Vec<(&'a str, &'a Pod)>,
    /// What pods of each spec request, because pods alike share it.
    requests: HashMap<*const PodSpec, Amounts>,
}

/// A node and the pods that count there.
#[derive(Clone, Debug)]
pub(super) struct NodeInfo<'a> {
    pub(super) node: &'a Node,
    pub(super) pods: Vec<&'a Pod>,
    /// What these pods request together.
    pub(super) requested: Amounts,
    /// What pods can request; `None` if that is not known.
    pub(super) allocatable: Option<Allocatable>,
}

#[derive(Clone, Debug)]
pub(super) struct Allocatable {
    pub(super) amounts: Amounts,
    pub(super) pods: i64,
}

impl<'a> ClusterState<'a> {
    /// Collects the facts. The order makes no difference.
    pub fn new(
        nodes: impl IntoIterator<Item = &'a Node>,
        pods: impl IntoIterator<Item = &'a Pod>,
        namespaces: impl IntoIterator<Item = &'a Namespace>,
        objects: &'a SchedulingObjects,
    ) -> Self {
        let mut state = Self {
            nodes: nodes.into_iter().map(|node| (node.name.as_str(), NodeInfo::new(node))).collect(),
            objects,
            namespaces: namespaces.into_iter().map(|namespace| (namespace.name.as_str(), &namespace.labels)).collect(),
            nominated: Vec::new(),
            excluding: Vec::new(),
            requests: HashMap::new(),
        };
        state.nodes.sort_unstable_keys();
        pods.into_iter().for_each(|pod| state.add(pod));
        state
    }

    fn add(&mut self, pod: &'a Pod) {
        if pod.is_terminal() {
            return;
        }
        match &pod.node {
            PodNode::Bound(node) => {
                if let Some(info) = self.nodes.get_mut(node.as_str()) {
                    match &pod.spec {
                        Some(spec) if pod.scheduling.is_none() => {
                            let requests = self.requests.entry(Arc::as_ptr(spec));
                            info.requested.add(requests.or_insert_with(|| Amounts::from(&spec.requests())));
                        }
                        _ => info.requested.add(&assigned(pod)),
                    }
                    info.pods.push(pod);
                    if pod.spec.as_ref().is_some_and(|spec| !spec.pod_anti_affinity.is_empty()) {
                        self.excluding.push((node.as_str(), pod));
                    }
                }
            }
            PodNode::Intended(_) | PodNode::None => {
                if pod.scheduling.as_ref().is_some_and(|status| !status.nominated_node.is_empty()) {
                    self.nominated.push(pod);
                }
            }
        }
    }

    /// Returns the objects besides nodes, pods and namespaces.
    pub fn objects(&self) -> &'a SchedulingObjects {
        self.objects
    }

    /// Decides whether the default scheduler would bind a pod, to which node, and if not, why.
    ///
    /// The pod need not be one of the pods of this state. If it is, it does not stand in its own way. A pod for one node, as
    /// those of DaemonSets, is held against that node, bound or not; other pods against all nodes.
    pub fn feasibility(&self, pod: &Pod) -> Feasibility {
        cycle::feasibility(&Incoming::new(self, pod))
    }

    /// Returns the means to decide about many pods like `pod`, each for another node: those of a DaemonSet.
    ///
    /// ```
    /// use daemonplan::{model::{Node, Pod}, scheduling::{ClusterState, SchedulingObjects}};
    /// let node = |name: &str, pods: u32| serde_json::from_str::<Node>(&format!(
    ///     r#"{{"metadata": {{"name": "{name}"}}, "status": {{"allocatable": {{"pods": "{pods}"}}}}}}"#,
    /// ));
    /// let nodes = [node("a", 110)?, node("b", 0)?];
    /// let objects = SchedulingObjects::default();
    /// let state = ClusterState::new(&nodes, [], [], &objects);
    /// let pod: Pod = serde_json::from_str(
    ///     r#"{"metadata": {"name": "agent"}, "spec": {"containers": [{"name": "agent"}]}}"#,
    /// )?;
    /// let mut alike = state.pods_like(&pod);
    /// assert!(alike.on("a").would_fit && !alike.on("b").would_fit);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn pods_like<'s>(&'s self, pod: &'s Pod) -> PodsAlike<'s> {
        PodsAlike::new(self, pod)
    }

    /// Asks every plugin on its own whether it refuses a node for a pod. Nodes kept free for other pods are ignored.
    pub fn blockers(&self, pod: &Pod, node: &str) -> Vec<SchedulingBlocker> {
        let incoming = Incoming::new(self, pod);
        incoming.blockers(self.nodes.get(node))
    }

    /// Finds what would make a pod fit on its node: pods that leave, and changes of the pod and the node. Each remedy was
    /// tried out and helps alone. Empty for pods that fit, and for those that are for no node in particular.
    pub fn remedies(&self, pod: &Pod) -> Vec<SchedulingRemedy> {
        let incoming = Incoming::new(self, pod);
        remedies(&incoming)
    }

    /// Returns what is left on a node for further pods: what they can request less what the pods there request, and less than
    /// 0 where these request more than there is. `None` if that is not known.
    ///
    /// ```
    /// use daemonplan::{model::Node, scheduling::{ClusterState, SchedulingObjects}};
    /// let node: Node = serde_json::from_str(
    ///     r#"{"metadata": {"name": "a"}, "status": {"allocatable": {"cpu": "1", "pods": "110"}}}"#,
    /// )?;
    /// let objects = SchedulingObjects::default();
    /// let left = ClusterState::new([&node], [], [], &objects).left_on("a").unwrap();
    /// assert_eq!((left.get("cpu").to_string(), left.get("pods").to_string()), ("1".into(), "110".into()));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn left_on(&self, node: &str) -> Option<ResourceList> {
        let info = self.nodes.get(node)?;
        let Allocatable { amounts, pods } = info.allocatable.as_ref()?;
        let mut left = amounts.clone();
        left.subtract(&info.requested);
        let mut list: ResourceList =
            left.iter().map(|(resource, amount)| (resource, Amounts::quantity(resource, amount))).collect();
        let pods = pods.saturating_sub(i64::try_from(info.pods.len()).unwrap_or(i64::MAX));
        list.set("pods".into(), pods.into());
        Some(list)
    }

    /// Returns the pods for which a node is kept free and that a pod must not displace: those of the same or a higher
    /// priority.
    pub(super) fn nominated_to(&self, node: &str, pod: &Pod) -> impl Iterator<Item = &'a Pod> {
        let own = priority(pod);
        self.nominated.iter().copied().filter(move |other| {
            let nominated = other.scheduling.as_ref().is_some_and(|status| status.nominated_node == *node);
            let is_default = other.spec.as_ref().is_none_or(|spec| spec.is_of_default_scheduler());
            nominated && is_default && priority(other) >= own && !is_same(other, pod)
        })
    }

    /// Returns the labels of a namespace. All have at least their name as a label.
    pub(super) fn namespace_labels(&self, namespace: &Text) -> Labels {
        let known = self.namespaces.get(namespace.as_str()).copied().cloned().unwrap_or_default();
        if known.contains_key(NAME_LABEL) { known } else { known.with(NAME_LABEL, namespace.clone()) }
    }
}

/// The label that every namespace has.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl<'a> NodeInfo<'a> {
    fn new(node: &'a Node) -> Self {
        let allocatable = node.allocatable.as_deref().map(|list| Allocatable {
            amounts: Amounts::from(list),
            pods: i64::try_from(list.get("pods").value()).unwrap_or(i64::MAX),
        });
        Self { node, pods: Vec::new(), requested: Amounts::default(), allocatable }
    }
}

/// What a pod takes from its node; nothing if that is not known.
pub(super) fn assigned(pod: &Pod) -> Amounts {
    pod.assigned_requests().map(|requests| Amounts::from(&requests)).unwrap_or_default()
}

pub(super) fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default()
}

pub(super) fn is_same(a: &Pod, b: &Pod) -> bool {
    a.namespace == b.namespace && a.name == b.name
}

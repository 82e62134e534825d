//! What the scheduler knows: nodes, the pods on them, namespaces and other objects.

use std::{collections::HashMap, fmt, sync::Arc};

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::{
    Amounts, ComingPods, SchedulingObjects,
    load::{Allocatable, NodeLoad, excludes_others, is_nominated, is_same, is_unbound, priority, takes_room},
};
use crate::model::{Labels, Namespace, Node, Pod, PodSpec, ResourceList, Text};

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
    pub(super) nodes: Nodes<'a>,
    pub(super) objects: &'a SchedulingObjects,
    namespaces: HashMap<&'a str, &'a Labels, RandomState>,
    /// The pods that wait for a node.
    pub(super) unbound: Vec<&'a Pod>,
    /// Those of them for which the scheduler keeps one free.
    nominated: Vec<&'a Pod>,
    /// The pods that DaemonSets are about to create.
    pub(super) coming: Vec<ComingPods<'a>>,
    /// The pods on nodes whose anti-affinity can exclude others.
    pub(super) excluding: Vec<&'a Pod>,
    /// Whether tolerations compare numbers.
    pub(super) toleration_comparison: bool,
}

/// The nodes of a cluster.
#[derive(Clone, Debug)]
pub(super) enum Nodes<'a> {
    /// By name, in the order of their names.
    Listed(IndexMap<&'a str, ListedNode<'a>, RandomState>),
    /// Nodes that are kept elsewhere. They are looked up when they are asked for.
    Kept(&'a dyn KeptFacts),
}

/// A node, the pods that count there, and their sums.
#[derive(Clone, Debug)]
pub(super) struct ListedNode<'a> {
    node: &'a Node,
    pods: Vec<&'a Pod>,
    load: NodeLoad,
}

/// A node and the pods that count there.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeInfo<'a> {
    pub(super) node: &'a Node,
    pub(super) pods: NodePods<'a>,
    pub(super) load: &'a NodeLoad,
}

/// The pods on a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum NodePods<'a> {
    Listed(&'a [&'a Pod]),
    Kept { facts: &'a dyn KeptFacts, slot: u32, indices: &'a [u32] },
}

/// The facts that are kept of a cluster, with sums that are kept up to date.
pub(crate) trait KeptFacts: fmt::Debug + Send + Sync {
    /// Returns how many nodes are known.
    fn node_count(&self) -> usize;

    /// Returns the node of this name.
    fn find_node(&self, name: &Text) -> Option<KeptNode<'_>>;

    /// Returns all nodes, in any order.
    fn all_nodes(&self) -> Vec<KeptNode<'_>>;

    /// Returns the pod with this number.
    fn pod_at(&self, index: u32) -> Option<&Pod>;

    /// Whether the pod of this namespace and name takes room on the node with this number.
    fn is_on(&self, pod: &Pod, slot: u32) -> bool;
}

/// A node that is kept, with its sums.
pub(crate) struct KeptNode<'a> {
    pub(crate) node: &'a Node,
    /// The number of the node.
    pub(crate) slot: u32,
    pub(crate) load: &'a NodeLoad,
    /// The numbers of the pods that take room there.
    pub(crate) pods: &'a [u32],
}

impl<'a> ClusterState<'a> {
    /// Collects the facts. The order makes no difference.
    pub fn new(
        nodes: impl IntoIterator<Item = &'a Node>,
        pods: impl IntoIterator<Item = &'a Pod>,
        namespaces: impl IntoIterator<Item = &'a Namespace>,
        objects: &'a SchedulingObjects,
    ) -> Self {
        let mut nodes: Vec<_> = nodes.into_iter().collect();
        nodes.sort_by_key(|node| &node.name);
        let mut listed: IndexMap<_, _, RandomState> = nodes
            .into_iter()
            .map(|node| {
                let mut load = NodeLoad::default();
                load.set_node(Some(node));
                (node.name.as_str(), ListedNode { node, pods: Vec::new(), load })
            })
            .collect();
        let (mut unbound, mut excluding) = (Vec::new(), Vec::new());
        // Pods alike share their spec.
        let mut requests = HashMap::<*const PodSpec, Amounts, RandomState>::default();
        for pod in pods {
            if is_unbound(pod) {
                unbound.push(pod);
            }
            let node = pod.node.name().filter(|_| takes_room(pod));
            let Some(listed) = node.and_then(|node| listed.get_mut(node.as_str())) else { continue };
            match &pod.spec {
                Some(spec) if pod.scheduling.is_none() => {
                    let requests = requests.entry(Arc::as_ptr(spec));
                    listed.load.add_requests(pod, requests.or_insert_with(|| Amounts::from(&spec.requests())));
                }
                _ => listed.load.add(pod),
            }
            listed.pods.push(pod);
            if excludes_others(pod) {
                excluding.push(pod);
            }
        }
        Self::of(Nodes::Listed(listed), namespaces, unbound, excluding, objects)
    }

    /// Takes the facts that are kept of a cluster: its nodes and pods, its namespaces, the pods that wait for a node, and the pods on nodes that can keep others off by their anti-affinity.
    pub(crate) fn kept(
        facts: &'a dyn KeptFacts,
        namespaces: impl IntoIterator<Item = &'a Namespace>,
        unbound: Vec<&'a Pod>,
        excluding: Vec<&'a Pod>,
        objects: &'a SchedulingObjects,
    ) -> Self {
        Self::of(Nodes::Kept(facts), namespaces, unbound, excluding, objects)
    }

    fn of(
        nodes: Nodes<'a>,
        namespaces: impl IntoIterator<Item = &'a Namespace>,
        unbound: Vec<&'a Pod>,
        excluding: Vec<&'a Pod>,
        objects: &'a SchedulingObjects,
    ) -> Self {
        let namespaces = namespaces.into_iter().map(|namespace| (namespace.name.as_str(), &namespace.labels)).collect();
        let nominated = unbound.iter().copied().filter(|pod| is_nominated(pod)).collect();
        let (coming, toleration_comparison) = (Vec::new(), false);
        Self { nodes, objects, namespaces, unbound, nominated, coming, excluding, toleration_comparison }
    }

    /// Sets whether the operators `Lt` and `Gt` of tolerations count:
    /// [`Settings::toleration_comparison`](crate::Settings::toleration_comparison).
    #[must_use]
    pub fn toleration_comparison(self, toleration_comparison: bool) -> Self {
        Self { toleration_comparison, ..self }
    }

    /// Returns the objects besides nodes, pods and namespaces.
    pub fn objects(&self) -> &'a SchedulingObjects {
        self.objects
    }

    /// Whether any node is known.
    ///
    /// ```
    /// use daemonplan::{model::Node, scheduling::{ClusterState, SchedulingObjects}};
    /// let objects = SchedulingObjects::default();
    /// let node = Node::new("a");
    /// let state = ClusterState::new([&node], [], [], &objects);
    /// assert!(state.knows_nodes() && state.has_node("a") && !state.has_node("b"));
    /// ```
    pub fn knows_nodes(&self) -> bool {
        self.nodes.len() > 0
    }

    /// Whether there is a node of this name.
    pub fn has_node(&self, name: &str) -> bool {
        self.nodes.get(&name.into()).is_some()
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
        let info = self.nodes.get(&node.into())?;
        let Allocatable { amounts, pods } = info.load.allocatable.as_ref()?;
        let mut left = amounts.clone();
        left.subtract(&info.load.requested);
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

impl Nodes<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Listed(nodes) => nodes.len(),
            Self::Kept(facts) => facts.node_count(),
        }
    }

    pub(super) fn get(&self, name: &Text) -> Option<NodeInfo<'_>> {
        match self {
            Self::Listed(nodes) => nodes.get(name.as_str()).map(ListedNode::info),
            Self::Kept(facts) => facts.find_node(name).map(|node| node.info(*facts)),
        }
    }

    /// Iterates over the nodes in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = NodeInfo<'_>> {
        let (listed, mut kept) = match self {
            Self::Listed(nodes) => (Some(nodes), Vec::new()),
            Self::Kept(facts) => (None, facts.all_nodes().into_iter().map(|node| node.info(*facts)).collect()),
        };
        kept.sort_unstable_by_key(|info| &info.node.name);
        listed.into_iter().flat_map(IndexMap::values).map(ListedNode::info).chain(kept)
    }
}

impl ListedNode<'_> {
    fn info(&self) -> NodeInfo<'_> {
        NodeInfo { node: self.node, pods: NodePods::Listed(&self.pods), load: &self.load }
    }
}

impl<'a> KeptNode<'a> {
    fn info(self, facts: &'a dyn KeptFacts) -> NodeInfo<'a> {
        let Self { node, slot, load, pods: indices } = self;
        NodeInfo { node, pods: NodePods::Kept { facts, slot, indices }, load }
    }
}

impl<'a> NodePods<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Listed(pods) => pods.len(),
            Self::Kept { indices, .. } => indices.len(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Pod> + use<'a> {
        let (listed, kept) = match *self {
            Self::Listed(pods) => (pods, None),
            Self::Kept { facts, indices, .. } => ([].as_slice(), Some((facts, indices))),
        };
        let kept =
            kept.into_iter().flat_map(|(facts, indices)| indices.iter().filter_map(|index| facts.pod_at(*index)));
        listed.iter().copied().chain(kept)
    }

    /// Whether the pod of this namespace and name is one of them.
    pub(super) fn holds(&self, pod: &Pod) -> bool {
        match self {
            Self::Listed(pods) => pods.iter().any(|other| is_same(other, pod)),
            Self::Kept { facts, slot, .. } => facts.is_on(pod, *slot),
        }
    }
}

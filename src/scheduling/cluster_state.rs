//! What the scheduler knows: nodes, the pods on them, namespaces and other objects.

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::{
    Amounts, SchedulingObjects,
    load::{Allocatable, NodeLoad, excludes_others, is_nominated, is_same, priority, takes_room},
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
    pub(super) nodes: IndexMap<&'a str, NodeInfo<'a>, RandomState>,
    pub(super) objects: &'a SchedulingObjects,
    namespaces: HashMap<&'a str, &'a Labels, RandomState>,
    /// Pods without a node for which the scheduler keeps one free.
    nominated: Vec<&'a Pod>,
    /// The pods on nodes whose anti-affinity can exclude others.
    pub(super) excluding: Vec<&'a Pod>,
    /// Whether tolerations compare numbers.
    pub(super) toleration_comparison: bool,
}

/// A node and the pods that count there.
#[derive(Clone, Debug)]
pub(super) struct NodeInfo<'a> {
    pub(super) node: &'a Node,
    pub(super) pods: NodePods<'a>,
    pub(super) load: Cow<'a, NodeLoad>,
}

/// The pods on a node.
#[derive(Clone, Debug)]
pub(super) enum NodePods<'a> {
    Listed(Vec<&'a Pod>),
    /// Pods that are kept elsewhere. They are looked up when they are asked for.
    Kept {
        pods: &'a dyn KeptPods,
        /// The number of the node.
        slot: u32,
        indices: &'a [u32],
    },
}

/// Pods and the nodes they are on, which have numbers.
pub(crate) trait KeptPods: fmt::Debug + Send + Sync {
    /// Returns the pod with this number.
    fn pod(&self, index: u32) -> Option<&Pod>;

    /// Whether the pod of this namespace and name is on the node with this number.
    fn is_on(&self, pod: &Pod, slot: u32) -> bool;
}

/// The facts that are kept of a cluster, with sums that are kept up to date.
pub(crate) struct KeptState<'a> {
    pub(crate) pods: &'a dyn KeptPods,
    /// The nodes, each with its number, its sums and the numbers of its pods.
    pub(crate) nodes: Vec<(&'a Node, u32, &'a NodeLoad, &'a [u32])>,
    pub(crate) namespaces: Vec<&'a Namespace>,
    /// The pods for which the scheduler keeps a node free.
    pub(crate) nominated: Vec<&'a Pod>,
    /// The pods on nodes that can keep others off by their anti-affinity.
    pub(crate) excluding: Vec<&'a Pod>,
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
                (node.name.as_str(), (node, Vec::new(), load))
            })
            .collect();
        let (mut nominated, mut excluding) = (Vec::new(), Vec::new());
        // Pods alike share their spec.
        let mut requests = HashMap::<*const PodSpec, Amounts, RandomState>::default();
        for pod in pods {
            if is_nominated(pod) {
                nominated.push(pod);
            }
            let node = pod.node.name().filter(|_| takes_room(pod));
            let Some((_, pods, load)) = node.and_then(|node| listed.get_mut(node.as_str())) else { continue };
            match &pod.spec {
                Some(spec) if pod.scheduling.is_none() => {
                    let requests = requests.entry(Arc::as_ptr(spec));
                    load.add_requests(pod, requests.or_insert_with(|| Amounts::from(&spec.requests())));
                }
                _ => load.add(pod),
            }
            pods.push(pod);
            if excludes_others(pod) {
                excluding.push(pod);
            }
        }
        let nodes = listed.into_iter().map(|(name, (node, pods, load))| {
            (name, NodeInfo { node, pods: NodePods::Listed(pods), load: Cow::Owned(load) })
        });
        Self::of(nodes.collect(), namespaces, nominated, excluding, objects)
    }

    /// Takes the facts that are kept of a cluster.
    pub(crate) fn kept(kept: KeptState<'a>, objects: &'a SchedulingObjects) -> Self {
        let KeptState { pods, mut nodes, namespaces, nominated, excluding } = kept;
        nodes.sort_unstable_by_key(|(node, ..)| &node.name);
        let nodes = nodes.into_iter().map(|(node, slot, load, indices)| {
            let pods = NodePods::Kept { pods, slot, indices };
            (node.name.as_str(), NodeInfo { node, pods, load: Cow::Borrowed(load) })
        });
        Self::of(nodes.collect(), namespaces, nominated, excluding, objects)
    }

    fn of(
        nodes: IndexMap<&'a str, NodeInfo<'a>, RandomState>,
        namespaces: impl IntoIterator<Item = &'a Namespace>,
        nominated: Vec<&'a Pod>,
        excluding: Vec<&'a Pod>,
        objects: &'a SchedulingObjects,
    ) -> Self {
        let namespaces = namespaces.into_iter().map(|namespace| (namespace.name.as_str(), &namespace.labels)).collect();
        Self { nodes, objects, namespaces, nominated, excluding, toleration_comparison: false }
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
        !self.nodes.is_empty()
    }

    /// Whether there is a node of this name.
    pub fn has_node(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// Iterates over the pods that count on a node.
    #[cfg(feature = "forecast")]
    pub(crate) fn pods_on(&self, node: &str) -> impl Iterator<Item = &'a Pod> + '_ {
        self.nodes.get(node).into_iter().flat_map(|info| info.pods.iter())
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

impl<'a> NodePods<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Listed(pods) => pods.len(),
            Self::Kept { indices, .. } => indices.len(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Pod> + '_ {
        let (listed, kept) = match self {
            Self::Listed(pods) => (pods.as_slice(), None),
            Self::Kept { pods, indices, .. } => ([].as_slice(), Some((*pods, *indices))),
        };
        let kept = kept.into_iter().flat_map(|(pods, indices)| indices.iter().filter_map(|index| pods.pod(*index)));
        listed.iter().copied().chain(kept)
    }

    /// Whether the pod of this namespace and name is one of them.
    pub(super) fn holds(&self, pod: &Pod) -> bool {
        match self {
            Self::Listed(pods) => pods.iter().any(|other| is_same(other, pod)),
            Self::Kept { pods, slot, .. } => pods.is_on(pod, *slot),
        }
    }
}

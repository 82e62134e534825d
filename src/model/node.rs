use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    Labels, ResourceList, Taint, Text,
    metadata::{Metadata, MissingName, unless_default},
    resource::{ApiVersion, KindName},
};

/// A node: the fields that decide whether a DaemonSet's pod runs on it.
///
/// DaemonSets ignore `spec.unschedulable`: a cordoned node has the taint `node.kubernetes.io/unschedulable`, which they
/// tolerate. The scheduler looks at both.
///
/// ```
/// use daemonplan::model::{Labels, Node};
/// let mut node = Node::new("node-7");
/// node.labels = Labels::from_iter([("role", "worker")]);
/// assert_eq!(serde_json::to_value(&node).unwrap()["metadata"]["labels"]["role"], "worker");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "NodeWire", into = "NodeWire")]
#[non_exhaustive]
pub struct Node {
    /// `metadata.name`.
    pub name: Text,
    /// `metadata.uid`.
    pub uid: Text,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// `metadata.deletionTimestamp`; set while the node is being deleted.
    pub deleted: Option<Timestamp>,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `spec.unschedulable`: whether the node is cordoned.
    pub unschedulable: bool,
    /// `status.allocatable`: what pods can request, `status.capacity` by default; `None` if that is not known. Nodes of one
    /// shape can share it.
    pub allocatable: Option<Arc<ResourceList>>,
}

impl Node {
    /// Returns a node without labels and taints.
    pub fn new(name: impl Into<Text>) -> Self {
        Self {
            name: name.into(),
            uid: Text::default(),
            labels: Labels::default(),
            taints: Vec::new(),
            deleted: None,
            created: None,
            unschedulable: false,
            allocatable: None,
        }
    }

    /// Whether a kubelet of its own is lacking, so that no daemon pods run there: nodes of
    /// [Fargate](https://docs.aws.amazon.com/eks/latest/userguide/fargate.html) and of the
    /// [virtual kubelet](https://virtual-kubelet.io/docs/architecture/), known by the labels or taints that both set.
    ///
    /// ```
    /// use daemonplan::model::{Labels, Node};
    /// let mut node = Node::new("virtual-node-aci");
    /// node.labels = Labels::from_iter([("type", "virtual-kubelet")]);
    /// assert!(node.is_virtual());
    /// ```
    pub fn is_virtual(&self) -> bool {
        self.virtual_label().is_some() || self.virtual_taint().is_some()
    }

    /// Returns the label by which a virtual node is known.
    pub(crate) fn virtual_label(&self) -> Option<(&'static str, &'static str)> {
        VIRTUAL_LABELS.into_iter().find(|(key, value)| self.labels.get(key) == Some(*value))
    }

    /// Returns the taint by which a virtual node is known.
    pub(crate) fn virtual_taint(&self) -> Option<&Taint> {
        let is_label = |taint: &Taint| VIRTUAL_LABELS.contains(&(taint.key.as_str(), taint.value.as_str()));
        self.taints.iter().find(|taint| taint.key == VIRTUAL_TAINT || is_label(taint))
    }
}

const VIRTUAL_LABELS: [(&str, &str); 2] = [("eks.amazonaws.com/compute-type", "fargate"), ("type", "virtual-kubelet")];
const VIRTUAL_TAINT: &str = "virtual-kubelet.io/provider";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeWire {
    #[serde(default)]
    api_version: ApiVersion<Node>,
    #[serde(default)]
    kind: KindName<Node>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Option<NodeSpecWire>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<NodeStatusWire>,
}

#[derive(Default, Serialize, Deserialize)]
struct NodeSpecWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    taints: Option<Vec<Taint>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unschedulable: Option<bool>,
}

#[derive(Serialize, Deserialize)]
struct NodeStatusWire {
    allocatable: Option<ResourceList>,
    #[serde(skip_serializing)]
    capacity: Option<ResourceList>,
}

impl TryFrom<NodeWire> for Node {
    type Error = MissingName;

    fn try_from(mut wire: NodeWire) -> Result<Self, MissingName> {
        let spec = wire.spec.unwrap_or_default();
        Ok(Self {
            name: wire.metadata.take_name()?,
            uid: wire.metadata.uid.unwrap_or_default(),
            deleted: wire.metadata.deletion_timestamp,
            created: wire.metadata.creation_timestamp,
            labels: wire.metadata.labels.unwrap_or_default(),
            taints: spec.taints.unwrap_or_default(),
            unschedulable: spec.unschedulable.unwrap_or_default(),
            allocatable: wire
                .status
                .and_then(|status| status.allocatable.or(status.capacity))
                .map(|own| Arc::new(own.rounded_up())),
        })
    }
}

impl From<Node> for NodeWire {
    fn from(node: Node) -> Self {
        Self {
            api_version: ApiVersion::default(),
            kind: KindName::default(),
            metadata: Metadata {
                name: Some(node.name),
                uid: unless_default(node.uid),
                labels: unless_default(node.labels),
                deletion_timestamp: node.deleted,
                creation_timestamp: node.created,
                ..Metadata::default()
            },
            spec: Some(NodeSpecWire {
                taints: unless_default(node.taints),
                unschedulable: node.unschedulable.then_some(true),
            }),
            status: node
                .allocatable
                .map(|own| NodeStatusWire { allocatable: Some(Arc::unwrap_or_clone(own)), capacity: None }),
        }
    }
}

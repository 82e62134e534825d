use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    Labels, Taint, Text,
    metadata::{Metadata, MissingName, unless_default},
    resource::{ApiVersion, KindName},
};

/// A node: the fields that decide whether a DaemonSet's pod runs on it.
///
/// `spec.unschedulable` is ignored: a cordoned node has the taint `node.kubernetes.io/unschedulable`.
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
}

impl Node {
    /// Returns a node without labels and taints.
    pub fn new(name: impl Into<Text>) -> Self {
        Self { name: name.into(), uid: Text::default(), labels: Labels::default(), taints: Vec::new(), deleted: None }
    }
}

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
}

#[derive(Serialize, Deserialize)]
struct NodeSpecWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    taints: Option<Vec<Taint>>,
}

impl TryFrom<NodeWire> for Node {
    type Error = MissingName;

    fn try_from(mut wire: NodeWire) -> Result<Self, MissingName> {
        Ok(Self {
            name: wire.metadata.take_name()?,
            uid: wire.metadata.uid.unwrap_or_default(),
            deleted: wire.metadata.deletion_timestamp,
            labels: wire.metadata.labels.unwrap_or_default(),
            taints: wire.spec.and_then(|spec| spec.taints).unwrap_or_default(),
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
                ..Metadata::default()
            },
            spec: Some(NodeSpecWire { taints: unless_default(node.taints) }),
        }
    }
}

use serde::Serialize;

use crate::model::{ControllerRevision, DaemonSet, Namespace, Node, Pod, Text};

/// An object of a [`Cluster`](crate::cluster::Cluster).
///
/// ```
/// use daemonplan::{Kind, Resource, model::Node};
/// let object = Resource::from(Node::new("node-7"));
/// assert_eq!(object.kind(), Kind::Node);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// A DaemonSet.
    DaemonSet(DaemonSet),
    /// A node.
    Node(Node),
    /// A pod.
    Pod(Pod),
    /// A namespace.
    Namespace(Namespace),
    /// A revision of a DaemonSet.
    ControllerRevision(ControllerRevision),
}

/// The kind of a [`Resource`].
///
/// ```
/// use daemonplan::{Cluster, Key, Kind, Settings, model::Node};
/// let mut cluster = Cluster::new(Settings::default());
/// cluster.resync(Kind::Node, [Node::new("node-1"), Node::new("node-2")]);
/// cluster.delete(Kind::Node, &Key::cluster_wide("node-1"));
/// assert!(cluster.node("node-1").is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A DaemonSet.
    DaemonSet,
    /// A node.
    Node,
    /// A pod.
    Pod,
    /// A namespace.
    Namespace,
    /// A revision of a DaemonSet.
    ControllerRevision,
}

/// The namespace and the name of an object. For nodes and namespaces the namespace is empty.
///
/// ```
/// use daemonplan::Key;
/// assert_eq!(Key::new("prod", "agent").namespace, "prod");
/// assert_eq!(Key::cluster_wide("node-7").namespace, "");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Key {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
}

impl Key {
    /// Returns the key of an object in a namespace.
    pub fn new(namespace: impl Into<Text>, name: impl Into<Text>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Returns the key of a node or a namespace.
    pub fn cluster_wide(name: impl Into<Text>) -> Self {
        Self::new("", name)
    }
}

impl Resource {
    /// Returns the kind of the object.
    pub fn kind(&self) -> Kind {
        match self {
            Self::DaemonSet(_) => Kind::DaemonSet,
            Self::Node(_) => Kind::Node,
            Self::Pod(_) => Kind::Pod,
            Self::Namespace(_) => Kind::Namespace,
            Self::ControllerRevision(_) => Kind::ControllerRevision,
        }
    }

    /// Returns the namespace and the name of the object.
    pub fn key(&self) -> Key {
        let in_namespace = |namespace: &Text, name: &Text| Key::new(namespace.clone(), name.clone());
        match self {
            Self::DaemonSet(DaemonSet { namespace, name, .. })
            | Self::Pod(Pod { namespace, name, .. })
            | Self::ControllerRevision(ControllerRevision { namespace, name, .. }) => in_namespace(namespace, name),
            Self::Node(Node { name, .. }) | Self::Namespace(Namespace { name, .. }) => Key::cluster_wide(name.clone()),
        }
    }
}

impl From<DaemonSet> for Resource {
    fn from(daemonset: DaemonSet) -> Self {
        Self::DaemonSet(daemonset)
    }
}

impl From<Node> for Resource {
    fn from(node: Node) -> Self {
        Self::Node(node)
    }
}

impl From<Pod> for Resource {
    fn from(pod: Pod) -> Self {
        Self::Pod(pod)
    }
}

impl From<Namespace> for Resource {
    fn from(namespace: Namespace) -> Self {
        Self::Namespace(namespace)
    }
}

impl From<ControllerRevision> for Resource {
    fn from(revision: ControllerRevision) -> Self {
        Self::ControllerRevision(revision)
    }
}

/// A reference to the object of an action. The uid is a precondition, so that recreated objects do not match.
///
/// ```
/// use daemonplan::{ObjectRef, model::Pod};
/// let mut pod = Pod::new("prod", "agent-x2k");
/// pod.uid = "42".into();
/// let ObjectRef { name, uid, .. } = ObjectRef::from(&pod); // delete `name` with the precondition `uid`
/// assert_eq!((&*name, &*uid), ("agent-x2k", "42"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
    /// `metadata.uid`.
    pub uid: Text,
}

impl From<&Pod> for ObjectRef {
    fn from(pod: &Pod) -> Self {
        Self { namespace: pod.namespace.clone(), name: pod.name.clone(), uid: pod.uid.clone() }
    }
}

impl From<&DaemonSet> for ObjectRef {
    fn from(daemonset: &DaemonSet) -> Self {
        Self { namespace: daemonset.namespace.clone(), name: daemonset.name.clone(), uid: daemonset.uid.clone() }
    }
}

impl From<&ControllerRevision> for ObjectRef {
    fn from(revision: &ControllerRevision) -> Self {
        Self { namespace: revision.namespace.clone(), name: revision.name.clone(), uid: revision.uid.clone() }
    }
}

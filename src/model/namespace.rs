use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    Labels, Text,
    metadata::{Metadata, MissingName, unless_default},
    resource::{ApiVersion, KindName},
};

/// A namespace. Its annotations may hold a node selector.
///
/// ```
/// use daemonplan::model::{Labels, Namespace};
/// let mut project = Namespace::new("monitoring");
/// project.annotations = Labels::from_iter([("openshift.io/node-selector", "")]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NamespaceWire", into = "NamespaceWire")]
#[non_exhaustive]
pub struct Namespace {
    /// `metadata.name`.
    pub name: Text,
    /// `metadata.uid`.
    pub uid: Text,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `metadata.annotations`.
    pub annotations: Labels,
    /// `metadata.deletionTimestamp`; set while the namespace is being deleted.
    pub deleted: Option<Timestamp>,
}

impl Namespace {
    /// Returns a namespace without labels and annotations.
    pub fn new(name: impl Into<Text>) -> Self {
        let (uid, labels, annotations) = (Text::default(), Labels::default(), Labels::default());
        Self { name: name.into(), uid, labels, annotations, deleted: None }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamespaceWire {
    #[serde(default)]
    api_version: ApiVersion<Namespace>,
    #[serde(default)]
    kind: KindName<Namespace>,
    #[serde(default)]
    metadata: Metadata,
}

impl TryFrom<NamespaceWire> for Namespace {
    type Error = MissingName;

    fn try_from(mut wire: NamespaceWire) -> Result<Self, MissingName> {
        Ok(Self {
            name: wire.metadata.take_name()?,
            uid: wire.metadata.uid.unwrap_or_default(),
            labels: wire.metadata.labels.unwrap_or_default(),
            annotations: wire.metadata.annotations.unwrap_or_default(),
            deleted: wire.metadata.deletion_timestamp,
        })
    }
}

impl From<Namespace> for NamespaceWire {
    fn from(namespace: Namespace) -> Self {
        let metadata = Metadata {
            name: Some(namespace.name),
            uid: unless_default(namespace.uid),
            labels: unless_default(namespace.labels),
            annotations: unless_default(namespace.annotations),
            deletion_timestamp: namespace.deleted,
            ..Metadata::default()
        };
        Self { api_version: ApiVersion::default(), kind: KindName::default(), metadata }
    }
}

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ControllerRef, Labels, Text,
    metadata::{Metadata, MissingName, unless_default},
};

/// A snapshot of a DaemonSet's template, kept so that an update can be told from what ran before and be undone.
///
/// ```
/// use daemonplan::model::ControllerRevision;
/// let text = r#"{"metadata": {"name": "agent-6d5f", "namespace": "prod"}, "revision": 3, "data": {}}"#;
/// let revision: ControllerRevision = serde_json::from_str(text).unwrap();
/// assert_eq!(revision.revision, 3);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
#[non_exhaustive]
pub struct ControllerRevision {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
    /// `metadata.uid`.
    pub uid: Text,
    /// `metadata.labels`; the label `controller-revision-hash` ties pods to the revision.
    pub labels: Labels,
    /// `metadata.annotations`.
    pub annotations: Labels,
    /// `metadata.deletionTimestamp`.
    pub deleted: Option<Timestamp>,
    /// The owner reference with `controller: true`.
    pub controller: Option<ControllerRef>,
    /// The number: higher is newer.
    pub revision: i64,
    /// The patch that gives a DaemonSet this revision's template.
    pub data: Arc<Value>,
}

impl ControllerRevision {
    /// A revision without labels and controller.
    pub fn new(namespace: impl Into<Text>, name: impl Into<Text>, revision: i64, data: Value) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            uid: Text::default(),
            labels: Labels::default(),
            annotations: Labels::default(),
            deleted: None,
            controller: None,
            revision,
            data: Arc::new(data),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename(serialize = "apiVersion"), skip_deserializing)]
    api: &'static str,
    #[serde(rename(serialize = "kind"), skip_deserializing)]
    kind: &'static str,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    revision: i64,
    #[serde(default)]
    data: Value,
}

impl TryFrom<Wire> for ControllerRevision {
    type Error = MissingName;

    fn try_from(mut wire: Wire) -> Result<Self, MissingName> {
        Ok(Self {
            name: wire.metadata.take_name()?,
            namespace: wire.metadata.take_namespace(),
            controller: wire.metadata.controller(),
            uid: wire.metadata.uid.unwrap_or_default(),
            labels: wire.metadata.labels.unwrap_or_default(),
            annotations: wire.metadata.annotations.unwrap_or_default(),
            deleted: wire.metadata.deletion_timestamp,
            revision: wire.revision,
            data: Arc::new(wire.data),
        })
    }
}

impl From<ControllerRevision> for Wire {
    fn from(revision: ControllerRevision) -> Self {
        let mut metadata = Metadata {
            name: Some(revision.name),
            namespace: Some(revision.namespace),
            uid: unless_default(revision.uid),
            labels: unless_default(revision.labels),
            annotations: unless_default(revision.annotations),
            deletion_timestamp: revision.deleted,
            ..Metadata::default()
        };
        metadata.set_controller(revision.controller);
        let data = Arc::unwrap_or_clone(revision.data);
        Self { api: "apps/v1", kind: "ControllerRevision", metadata, revision: revision.revision, data }
    }
}

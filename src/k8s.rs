//! Conversions from and to the types of the crate k8s-openapi (feature `k8s-openapi`).
//!
//! They go through the JSON values of both sides, so that nothing is told twice, and what Kubernetes writes is what
//! decides. A pod takes some 20 µs: a controller that watches a large cluster had better read the API server's JSON
//! straight into the types of [`model`](crate::model). A DaemonSet without a selector, which the API server refuses, has
//! an empty one there; plans for either do nothing.

use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};
use serde::{Serialize, de::DeserializeOwned};

use crate::model::{ControllerRevision, DaemonSet, DaemonSetStatus, Namespace, Node, Pod};

/// Why an object cannot be one of the other kind of types.
///
/// ```
/// use daemonplan::model;
/// use k8s_openapi::api::core::v1::Node;
/// let error = model::Node::try_from(Node::default()).unwrap_err();
/// assert_eq!(error.to_string(), "Node: metadata.name: expected a name, found none");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {source}")]
#[non_exhaustive]
pub struct ConversionError {
    /// The object's kind.
    pub kind: &'static str,
    /// What was expected and what was found.
    pub source: serde_json::Error,
}

fn convert<T: DeserializeOwned>(kind: &'static str, from: &impl Serialize) -> Result<T, ConversionError> {
    let through = || serde_json::from_value(serde_json::to_value(from)?);
    through().map_err(|source| ConversionError { kind, source })
}

macro_rules! both_ways {
    ($($ours:ty, $theirs:ty, $kind:literal;)+) => {$(
        both_ways!(@one &$theirs, $ours, $kind);
        both_ways!(@one $theirs, $ours, $kind);
        both_ways!(@one &$ours, $theirs, $kind);
        both_ways!(@one $ours, $theirs, $kind);
    )+};
    (@one $from:ty, $to:ty, $kind:literal) => {
        impl TryFrom<$from> for $to {
            type Error = ConversionError;

            fn try_from(from: $from) -> Result<Self, ConversionError> {
                convert($kind, &from)
            }
        }
    };
}

both_ways! {
    DaemonSet, apps::DaemonSet, "DaemonSet";
    DaemonSetStatus, apps::DaemonSetStatus, "DaemonSetStatus";
    ControllerRevision, apps::ControllerRevision, "ControllerRevision";
    Namespace, core::Namespace, "Namespace";
    Node, core::Node, "Node";
    Pod, core::Pod, "Pod";
}

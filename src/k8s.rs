//! Conversions from and to the types of the crate k8s-openapi (feature `k8s-openapi`).
//!
//! A conversion goes through JSON, so that each field is mapped only once, in [`model`](crate::model). Converting a pod
//! takes about 20 µs. A controller for a large cluster should parse the API server's JSON into the types of
//! [`model`](crate::model) directly.
//!
//! A DaemonSet without a selector, which the API server rejects, has an empty selector in k8s-openapi. Plans for both
//! are empty.

use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};
use serde::{Serialize, de::DeserializeOwned};

use crate::model::{ControllerRevision, DaemonSet, DaemonSetStatus, Namespace, Node, Pod};

/// The error of a conversion.
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
    /// The kind of the object.
    pub kind: &'static str,
    /// The underlying error: what was expected and what was found.
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

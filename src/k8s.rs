//! Conversions from the types of the crate k8s-openapi (feature `k8s-openapi`).
//!
//! They go through JSON, as [`Resource::from_serializable`] does for any type of any version. Converting a pod takes about
//! 20 µs. There is no way back: the objects of [`model`](crate::model) have only the fields that planning needs. What to
//! write are the patches of [`Action::patch`](crate::plan::Action::patch), and the manifests of created objects.
//!
//! Read DaemonSets and ControllerRevisions as JSON instead. Types of k8s-openapi know the fields of one version of
//! Kubernetes. A newer field of a template is lost in them, and a template that has lost a field is another template: the
//! next plan would roll it out to every node. Where it can tell, it [warns](crate::plan::Warning::RevisionSaysMore).
//!
//! A DaemonSet without a selector, which the API server rejects, has an empty selector in k8s-openapi: its plans are
//! empty, whereas without a selector pods are created and never claimed.
//!
//! ```
//! use daemonplan::model;
//! use k8s_openapi::api::core::v1::Node;
//! let error = model::Node::try_from(Node::default()).unwrap_err();
//! assert_eq!(error.to_string(), "Node: metadata.name: expected a name, found none");
//! ```

use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};

use crate::model::{ControllerRevision, ConversionError, DaemonSet, Namespace, Node, Pod, Resource};

macro_rules! from {
    ($($theirs:ty => $ours:ty;)+) => {$(
        from!(@one &$theirs, $ours);
        from!(@one $theirs, $ours);
    )+};
    (@one $from:ty, $to:ty) => {
        impl TryFrom<$from> for $to {
            type Error = ConversionError;

            fn try_from(from: $from) -> Result<Self, ConversionError> {
                Self::from_serializable(&from)
            }
        }
    };
}

from! {
    apps::DaemonSet => DaemonSet;
    apps::ControllerRevision => ControllerRevision;
    core::Namespace => Namespace;
    core::Node => Node;
    core::Pod => Pod;
}

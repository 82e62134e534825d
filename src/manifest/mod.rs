//! Manifests: YAML documents, JSON and lists in, the objects that a plan needs out (feature `manifest`).
//!
//! What `kubectl get daemonsets,nodes,pods,namespaces,controllerrevisions -A -o json` prints is read as it is. JSON is
//! read as a stream, object by object, so that memory holds what a planner needs and not the text. Of a field that no
//! planner reads nothing is looked at but where it ends.

mod apply;
mod collection;
mod error;
mod reader;
mod source;
mod yaml;

pub use collection::Manifests;
pub use error::{ManifestError, Place, Scope};

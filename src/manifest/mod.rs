//! Reads manifests, in YAML or JSON and with lists, into the objects that plans depend on (feature `manifest`).
//!
//! The output of `kubectl get daemonsets,nodes,pods,namespaces,controllerrevisions -A -o json` is valid input. JSON is
//! read as a stream, object by object, so that the text is never completely in memory. Fields that planning does not
//! need are skipped without parsing them. YAML is read and written as kubectl does, with the scalars of YAML 1.1.

mod apply;
mod change;
mod collection;
mod error;
mod facts;
mod head;
mod lines;
mod reader;
mod repeated;
mod source;
mod yaml;

pub use change::ManifestChange;
pub use collection::Manifests;
pub use error::{ManifestError, ManifestWarning, Place, Scope, SkipReason, SkippedObject};
pub use lines::line_of_field;
pub use yaml::{read_yaml, write_yaml};

//! Adoption rules: whose a pod or a revision is, and which revision of the template is current.
//!
//! A DaemonSet owns what it controls and its selector matches, adopts matching orphans, releases what no longer matches,
//! and ignores everything else. Pods belong to a revision by the hash in their labels. The revision whose data equals the
//! template is current. <https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/>

pub(crate) mod claim;
mod reason;
pub(crate) mod revision_history;
pub(crate) mod revision_match;
pub(crate) mod template_hash;

pub use reason::{ReleaseReason, RevisionDeleteReason, RevisionUpdateReason};

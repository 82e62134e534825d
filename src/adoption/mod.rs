//! Template-hash adoption rules: whose a pod or a revision is, and which revision of the template is current.
//!
//! - Whose is it? [`claim_pod`] and [`claim_revision`]: a DaemonSet owns what it controls and its selector matches,
//!   adopts matching orphans, releases what no longer matches, and ignores everything else.
//! - Which template does a pod have? Its label `controller-revision-hash` names a revision: [`template_hash`] for a new
//!   one, [`RevisionHistory::hash`] for the current one.
//! - Which revision is current? The one whose data equals the template: [`RevisionHistory::current`].
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/>
//!
//! ```
//! use daemonplan::{adoption::{RevisionHistory, claim_pod, template_hash}, model::{DaemonSet, Pod}};
//! let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
//! let is_mine = claim_pod(&daemonset, &Pod::new("prod", "agent-x2k")).is_claimed();
//! let history = RevisionHistory::of(&daemonset, &[]); // no revision: the hash of the one to create
//! assert!(!is_mine && history.current().is_none());
//! assert_eq!(*history.hash(), template_hash(&daemonset.template, 0));
//! # Ok::<(), daemonplan::model::RequirementError>(())
//! ```

pub(crate) mod claim;
pub(crate) mod ports;
mod reason;
pub(crate) mod revision_history;
pub(crate) mod revision_match;
pub(crate) mod template_hash;

pub use claim::{Claim, claim_pod, claim_revision};
pub use reason::{ReleaseReason, RevisionDeleteReason, RevisionUpdateReason};
pub use revision_history::{RevisionHistory, RevisionStep};
pub use template_hash::template_hash;

//! Decides whether a pod or a revision is owned, adopted, released or ignored.

use crate::model::{ControllerRef, ControllerRevision, DaemonSet, Labels, Pod};

/// The relation of a DaemonSet to a pod or a revision.
///
/// A DaemonSet owns what names its uid in an owner reference with `controller: true`; that of a pod must also be of kind
/// DaemonSet and name it.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/>
///
/// ```
/// use daemonplan::{adoption::{Claim, claim_pod}, model::{DaemonSet, Labels, Pod}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let mut orphan = Pod::new("prod", "agent-x2k");
/// assert_eq!(claim_pod(&daemonset, &orphan), Claim::Ignore);
/// orphan.labels = Labels::from([("app", "agent")]);
/// assert_eq!(claim_pod(&daemonset, &orphan), Claim::Adopt);
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// The DaemonSet controls the object, and its labels match.
    Owned,
    /// The object has no controller, and its labels match. It is adopted and counts as owned in the same plan.
    Adopt,
    /// The DaemonSet controls the object, but its labels do not match.
    Release,
    /// The object is none of the DaemonSet's: it has another controller, is in another namespace, is an orphan whose
    /// labels do not match, or an orphan that is being deleted.
    Ignore,
}

impl Claim {
    /// Whether the object counts as the DaemonSet's own: it is owned or adopted.
    pub fn is_claimed(self) -> bool {
        matches!(self, Self::Owned | Self::Adopt)
    }
}

/// Returns whether `daemonset` owns, adopts, releases or ignores `pod`.
///
/// A DaemonSet that is being deleted claims nothing ([`gc`](crate::gc) decides about its dependents), nor does one whose
/// selector is empty.
///
/// ```
/// use daemonplan::{adoption::{Claim, claim_pod}, model::{DaemonSet, Pod}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// assert_eq!(claim_pod(&daemonset, &Pod::new("dev", "agent-x2k")), Claim::Ignore);
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
pub fn claim_pod(daemonset: &DaemonSet, pod: &Pod) -> Claim {
    if !claims(daemonset) {
        return Claim::Ignore;
    }
    claim_pod_if(daemonset, pod, || selects(daemonset, &pod.labels))
}

/// Returns whether `daemonset` owns, adopts, releases or ignores `revision`, as [`claim_pod`] does for a pod.
///
/// ```
/// use daemonplan::{adoption::{Claim, claim_revision}, model::{ControllerRevision, DaemonSet, Labels}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let mut revision = ControllerRevision::new("prod", "agent-6d5f", 3, serde_json::json!({}));
/// revision.labels = Labels::from([("app", "agent")]);
/// assert_eq!(claim_revision(&daemonset, &revision), Claim::Adopt);
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
pub fn claim_revision(daemonset: &DaemonSet, revision: &ControllerRevision) -> Claim {
    if claims(daemonset) { relation_to(daemonset, revision) } else { Claim::Ignore }
}

/// Whether the DaemonSet claims anything at all.
pub(super) fn claims(daemonset: &DaemonSet) -> bool {
    !daemonset.is_being_deleted() && daemonset.selector.as_ref().is_none_or(|selector| !selector.is_empty())
}

/// [`claim_revision`] even if the DaemonSet is being deleted.
pub(crate) fn relation_to(daemonset: &DaemonSet, revision: &ControllerRevision) -> Claim {
    let selects = || selects(daemonset, &revision.labels);
    if controls_revision(daemonset, revision) {
        claim_of_owned(selects)
    } else {
        let adoptable =
            revision.namespace == daemonset.namespace && revision.controller.is_none() && revision.deleted.is_none();
        claim_of_other(adoptable, selects)
    }
}

/// [`claim_pod`] for a caller that knows whether the selector matches, even if the DaemonSet is being deleted.
pub(crate) fn claim_pod_if(daemonset: &DaemonSet, pod: &Pod, selects: impl FnOnce() -> bool) -> Claim {
    if controls_pod(daemonset, pod) {
        claim_of_owned(selects)
    } else {
        let adoptable = pod.controller.is_none() && pod.namespace == daemonset.namespace && !pod.is_being_deleted();
        claim_of_other(adoptable, selects)
    }
}

pub(crate) fn controls_pod(daemonset: &DaemonSet, pod: &Pod) -> bool {
    // Compare kind and name first: they are usually stored inline, whereas the uid is behind a pointer.
    let is_controller =
        |owner: &ControllerRef| owner.kind == "DaemonSet" && owner.name == daemonset.name && owner.uid == daemonset.uid;
    pod.controller.as_deref().is_some_and(is_controller) && pod.namespace == daemonset.namespace
}

pub(crate) fn controls_revision(daemonset: &DaemonSet, revision: &ControllerRevision) -> bool {
    revision.namespace == daemonset.namespace
        && revision.controller.as_ref().is_some_and(|owner| owner.uid == daemonset.uid)
}

fn claim_of_owned(selects: impl FnOnce() -> bool) -> Claim {
    if selects() { Claim::Owned } else { Claim::Release }
}

fn claim_of_other(adoptable: bool, selects: impl FnOnce() -> bool) -> Claim {
    if adoptable && selects() { Claim::Adopt } else { Claim::Ignore }
}

/// Whether the DaemonSet's selector matches `labels`. A missing selector matches nothing.
pub(crate) fn selects(daemonset: &DaemonSet, labels: &Labels) -> bool {
    daemonset.selector.as_ref().is_some_and(|selector| selector.matches(labels))
}

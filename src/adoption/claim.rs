//! Decides whether a pod or a revision is owned, adopted, released or ignored.
//!
//! Ownership is the owner reference with `controller: true`; identity is the uid. A DaemonSet that is being deleted
//! claims nothing: [`gc`](crate::gc) decides about its dependents.

use crate::model::{ControllerRef, ControllerRevision, DaemonSet, Labels, Pod};

/// The relation of a DaemonSet to a pod or a revision of its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The DaemonSet controls the object, and its labels match.
    Owned,
    /// The object has no controller, and its labels match. It is adopted and counts as owned in the same plan.
    Adopt,
    /// The DaemonSet controls the object, but its labels do not match.
    Release,
    /// The DaemonSet ignores the object.
    Ignore,
}

impl Claim {
    pub(crate) fn is_claimed(self) -> bool {
        matches!(self, Self::Owned | Self::Adopt)
    }
}

pub(crate) fn controls_pod(daemonset: &DaemonSet, pod: &Pod) -> bool {
    // Compare kind and name first: they are usually stored inline, whereas the uid is behind a pointer.
    let is_controller =
        |owner: &ControllerRef| owner.kind == "DaemonSet" && owner.name == daemonset.name && owner.uid == daemonset.uid;
    pod.controller.as_ref().is_some_and(is_controller) && pod.namespace == daemonset.namespace
}

pub(crate) fn controls_revision(daemonset: &DaemonSet, revision: &ControllerRevision) -> bool {
    revision.namespace == daemonset.namespace
        && revision.controller.as_ref().is_some_and(|owner| owner.uid == daemonset.uid)
}

pub(crate) fn claim_pod(daemonset: &DaemonSet, pod: &Pod, selects: impl FnOnce() -> bool) -> Claim {
    if controls_pod(daemonset, pod) {
        claim_of_owned(selects)
    } else {
        let adoptable = pod.controller.is_none() && pod.namespace == daemonset.namespace && !pod.is_being_deleted();
        claim_of_other(adoptable, selects)
    }
}

pub(crate) fn claim_revision(daemonset: &DaemonSet, revision: &ControllerRevision) -> Claim {
    let selects = || selects(daemonset, &revision.labels);
    if controls_revision(daemonset, revision) {
        claim_of_owned(selects)
    } else {
        let adoptable =
            revision.namespace == daemonset.namespace && revision.controller.is_none() && revision.deleted.is_none();
        claim_of_other(adoptable, selects)
    }
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

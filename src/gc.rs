//! Garbage collection: pods and revisions whose DaemonSet is being deleted or missing.
//!
//! In Kubernetes, separate controllers do this. Pods of missing nodes are part of the decision
//! for the node.

use std::collections::HashSet;

use crate::{
    adoption::{
        ReleaseReason, RevisionDeleteReason,
        claim::{controls_pod, controls_revision},
    },
    model::{ControllerRef, ControllerRevision, DaemonSet, ObjectRef, Pod, Text},
    plan::{Action, DeleteReason},
};

/// Deletes the pods of a DaemonSet that is being deleted, or releases them if it has the finalizer `orphan`.
pub(crate) fn dependent_pods<'p>(daemonset: &DaemonSet, pods: impl Iterator<Item = &'p Pod>) -> Vec<Action> {
    let owned = pods.filter(|pod| controls_pod(daemonset, pod));
    let release = |pod: &Pod| Action::ReleasePod { pod: ObjectRef::from(pod), reason: ReleaseReason::Orphaned };
    let delete = |pod: &Pod| Action::DeletePod {
        pod: ObjectRef::from(pod),
        node: pod.node.name().cloned(),
        reason: DeleteReason::OwnerDeleted,
    };
    if daemonset.orphans_dependents() {
        by_name(owned.map(release))
    } else {
        by_name(owned.filter(|pod| !pod.is_being_deleted()).map(delete))
    }
}

/// Deletes the revisions of a DaemonSet that is being deleted, or releases them if it has the finalizer `orphan`.
pub(crate) fn dependent_revisions<'p>(
    daemonset: &DaemonSet,
    revisions: impl Iterator<Item = &'p ControllerRevision>,
) -> Vec<Action> {
    let owned = revisions.filter(|revision| controls_revision(daemonset, revision));
    let release = |revision: &ControllerRevision| Action::ReleaseRevision {
        revision: ObjectRef::from(revision),
        reason: ReleaseReason::Orphaned,
    };
    let delete = |revision: &ControllerRevision| Action::DeleteRevision {
        revision: ObjectRef::from(revision),
        reason: RevisionDeleteReason::OwnerDeleted,
    };
    if daemonset.orphans_dependents() {
        by_name(owned.map(release))
    } else {
        by_name(owned.filter(|revision| revision.deleted.is_none()).map(delete))
    }
}

fn by_name(actions: impl Iterator<Item = Action>) -> Vec<Action> {
    let mut actions: Vec<_> = actions.collect();
    actions.sort_by(|a, b| a.object().cmp(&b.object()));
    actions
}

/// The pods and revisions whose DaemonSet no longer exists.
///
/// ```
/// use std::collections::HashSet;
/// use daemonplan::gc::{Orphans, orphans};
/// let Orphans { pods, revisions, .. } = orphans(&HashSet::new(), &[], &[]);
/// assert!(pods.is_empty() && revisions.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Orphans<'a> {
    /// The pods, by namespace and name.
    pub pods: Vec<&'a Pod>,
    /// The revisions, by namespace and name.
    pub revisions: Vec<&'a ControllerRevision>,
}

/// Returns the pods and revisions that are controlled by a DaemonSet whose uid is not in `live`.
///
/// Pods and revisions without a controller, or with a controller of another kind, are ignored.
///
/// ```
/// use std::collections::HashSet;
/// use daemonplan::{gc::orphans, model::{ControllerRef, Pod}};
/// let mut pod = Pod::new("prod", "agent-x2k");
/// pod.controller = Some(ControllerRef { kind: "DaemonSet".into(), name: "agent".into(), uid: "41".into() });
/// let pods = [pod];
/// assert_eq!(orphans(&HashSet::from(["42".into()]), &pods, &[]).pods.len(), 1);
/// assert_eq!(orphans(&HashSet::from(["41".into()]), &pods, &[]).pods.len(), 0);
/// ```
#[allow(clippy::implicit_hasher)]
pub fn orphans<'a>(live: &HashSet<Text>, pods: &'a [Pod], revisions: &'a [ControllerRevision]) -> Orphans<'a> {
    let is_orphaned = |owner: &Option<ControllerRef>| {
        owner.as_ref().is_some_and(|owner| owner.kind == "DaemonSet" && !live.contains(&owner.uid))
    };
    let mut pods: Vec<_> = pods.iter().filter(|pod| is_orphaned(&pod.controller)).collect();
    let mut revisions: Vec<_> = revisions.iter().filter(|revision| is_orphaned(&revision.controller)).collect();
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    revisions.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Orphans { pods, revisions }
}

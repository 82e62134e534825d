//! Garbage collection: what becomes of pods and revisions whose DaemonSet is being deleted or gone, and of pods whose
//! node is gone.
//!
//! - [`dependents`]: the pods and revisions of a DaemonSet that is being deleted are deleted, or orphaned if it has the
//!   finalizer `orphan`.
//! - [`orphans`]: the pods and revisions of DaemonSets that no longer exist.
//! - [`pods_on_missing_nodes`]: the pods that are bound to a node that no longer exists.
//!
//! In Kubernetes, the garbage collector and the pod garbage collector do this. A plan includes the first, and the last for
//! the DaemonSet's own pods.
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>
//!
//! ```
//! use daemonplan::{gc::dependents, model::DaemonSet};
//! let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
//! daemonset.deleted = Some("2026-01-02T03:04:05Z".parse().unwrap());
//! let (pods, revisions) = ([], []); // all of the namespace
//! for action in dependents(&daemonset, &pods, &revisions) {
//!     println!("{action}");
//! }
//! # Ok::<(), daemonplan::model::RequirementError>(())
//! ```

use std::{collections::HashSet, sync::Arc};

use crate::{
    adoption::{
        ReleaseReason, RevisionDeleteReason,
        claim::{controls_pod, controls_revision},
    },
    model::{ControllerRef, ControllerRevision, DaemonSet, LabelSelector, Node, ObjectRef, Pod, Text},
    plan::{Action, DeleteReason},
};

/// Returns what becomes of the pods and revisions of a DaemonSet that is being deleted: they are deleted, or released if
/// it has the finalizer `orphan`. Pods come first, each kind by name. Nothing for a DaemonSet that is not being deleted, that
/// waits for finalizers of other controllers alone, or whose selector is empty and which is left alone.
///
/// ```
/// use daemonplan::{gc::dependents, model::{ControllerRef, DaemonSet, Pod}};
/// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let mut pod = Pod::new("prod", "agent-x2k");
/// pod.controller = Some(ControllerRef::from(&daemonset).into());
/// assert_eq!(dependents(&daemonset, &[pod.clone()], &[]), []);
/// daemonset.deleted = Some("2026-01-02T03:04:05Z".parse().unwrap());
/// daemonset.finalizers = vec!["orphan".into()];
/// assert_eq!(dependents(&daemonset, &[pod], &[])[0].code(), "ReleasePod");
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
pub fn dependents<'a>(
    daemonset: &DaemonSet,
    pods: impl IntoIterator<Item = &'a Pod>,
    revisions: impl IntoIterator<Item = &'a ControllerRevision>,
) -> Vec<Action> {
    let selects_all = daemonset.selector.as_ref().is_some_and(LabelSelector::is_empty);
    if !daemonset.is_being_deleted() || daemonset.waits_for_finalizers() || selects_all {
        return Vec::new();
    }
    let mut actions = dependent_pods(daemonset, pods.into_iter());
    actions.extend(dependent_revisions(daemonset, revisions.into_iter()));
    actions
}

/// Deletes the pods of a DaemonSet that is being deleted, or releases them if it has the finalizer `orphan`.
pub(crate) fn dependent_pods<'p>(daemonset: &DaemonSet, pods: impl Iterator<Item = &'p Pod>) -> Vec<Action> {
    let owned = pods.filter(|pod| controls_pod(daemonset, pod));
    let release =
        |pod: &Pod| Action::ReleasePod { pod: pod.into(), owner: daemonset.into(), reason: ReleaseReason::Orphaned };
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
        revision: revision.into(),
        owner: daemonset.into(),
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
    actions.dedup();
    actions
}

/// The pods and revisions whose DaemonSet no longer exists.
///
/// ```
/// use daemonplan::gc::{Orphans, orphans};
/// let Orphans { pods, revisions, .. } = orphans(&[], &[], &[]);
/// assert!(pods.is_empty() && revisions.is_empty());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Orphans<'a> {
    /// The pods, by namespace and name.
    pub pods: Vec<&'a Pod>,
    /// The revisions, by namespace and name.
    pub revisions: Vec<&'a ControllerRevision>,
}

/// Returns the pods and revisions that are controlled by a DaemonSet, by its uid, that is not among `daemonsets`: all
/// DaemonSets that exist. What is being deleted already is left out.
///
/// Pods and revisions without a controller, or with a controller of another kind or API group, are ignored.
///
/// ```
/// use daemonplan::{gc::orphans, model::{ControllerRef, DaemonSet, Pod}};
/// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// daemonset.uid = "41".into();
/// let mut pod = Pod::new("prod", "agent-x2k");
/// pod.controller = Some(ControllerRef::from(&daemonset).into());
/// assert_eq!(orphans([&daemonset], [&pod], []).pods.len(), 0);
/// daemonset.uid = "42".into(); // it was recreated
/// assert_eq!(orphans([&daemonset], [&pod], []).pods.len(), 1);
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
pub fn orphans<'a, 'd>(
    daemonsets: impl IntoIterator<Item = &'d DaemonSet>,
    pods: impl IntoIterator<Item = &'a Pod>,
    revisions: impl IntoIterator<Item = &'a ControllerRevision>,
) -> Orphans<'a> {
    let live: HashSet<&Text> = daemonsets.into_iter().map(|daemonset| &daemonset.uid).collect();
    let is_orphaned = |owner: &Option<Arc<ControllerRef>>| {
        owner.as_ref().is_some_and(|owner| owner.kind == "DaemonSet" && !live.contains(&owner.uid))
    };
    let mut pods: Vec<_> =
        pods.into_iter().filter(|pod| !pod.is_being_deleted() && is_orphaned(&pod.controller)).collect();
    let is_lost = |revision: &&ControllerRevision| revision.deleted.is_none() && is_orphaned(&revision.controller);
    let mut revisions: Vec<_> = revisions.into_iter().filter(is_lost).collect();
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    revisions.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Orphans { pods, revisions }
}

/// Returns the pods that are bound to a node that is not in `nodes`, which are all nodes of the cluster, and that are not
/// being deleted; by namespace and name. Pods of all owners count.
///
/// ```
/// use daemonplan::{gc::pods_on_missing_nodes, model::{Node, Pod, PodNode}};
/// let mut pods = [Pod::new("prod", "agent-x2k"), Pod::new("prod", "agent-9fz")];
/// pods[0].node = PodNode::Bound("node-1".into());
/// pods[1].node = PodNode::Bound("node-2".into());
/// assert_eq!(pods_on_missing_nodes(&pods, &[Node::new("node-1")]), [&pods[1]]);
/// ```
pub fn pods_on_missing_nodes<'a, 'n>(
    pods: impl IntoIterator<Item = &'a Pod>,
    nodes: impl IntoIterator<Item = &'n Node>,
) -> Vec<&'a Pod> {
    let nodes: HashSet<&Text> = nodes.into_iter().map(|node| &node.name).collect();
    let is_lost = |pod: &&Pod| {
        pod.node.is_bound() && pod.node.name().is_some_and(|node| !nodes.contains(node)) && !pod.is_being_deleted()
    };
    let mut lost: Vec<_> = pods.into_iter().filter(is_lost).collect();
    lost.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    lost
}

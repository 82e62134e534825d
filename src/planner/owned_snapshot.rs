//! A snapshot that owns its objects.

use jiff::Timestamp;

use super::snapshot::Snapshot;
use crate::{
    backoff::Backoff,
    model::{ControllerRevision, DaemonSet, Namespace, Node, Pod},
    settings::Settings,
};

/// The input of a plan, owned. A [`Snapshot`] borrows the same.
///
/// ```
/// use daemonplan::{OwnedSnapshot, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let mut facts = OwnedSnapshot::new(daemonset, vec![Node::new("node-7")], vec![], Namespace::new("prod"));
/// facts.now = Some("2026-01-02T03:04:05Z".parse().unwrap());
/// assert_eq!(facts.snapshot().plan().actions.len(), 2); // a pod and the status
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OwnedSnapshot {
    /// The DaemonSet to plan for.
    pub daemonset: DaemonSet,
    /// The nodes, each name once.
    pub nodes: Vec<Node>,
    /// The pods; those of other owners and other namespaces are ignored.
    pub pods: Vec<Pod>,
    /// The DaemonSet's namespace.
    pub namespace: Namespace,
    /// The ControllerRevisions; `None`: not given.
    pub revisions: Option<Vec<ControllerRevision>>,
    /// The time; `None`: no clock.
    pub now: Option<Timestamp>,
    /// The settings.
    pub settings: Settings,
    /// The back-off of Failed pods.
    pub backoff: Backoff,
    /// Whether the effects of the last plan show in the objects.
    pub expectations_satisfied: bool,
}

impl OwnedSnapshot {
    /// Creates a snapshot of these objects, with no revisions, no clock, no back-off, default settings, and satisfied
    /// expectations.
    pub fn new(daemonset: DaemonSet, nodes: Vec<Node>, pods: Vec<Pod>, namespace: Namespace) -> Self {
        Self {
            daemonset,
            nodes,
            pods,
            namespace,
            revisions: None,
            now: None,
            settings: Settings::default(),
            backoff: Backoff::default(),
            expectations_satisfied: true,
        }
    }

    /// Returns a snapshot that borrows the objects.
    pub fn snapshot(&self) -> Snapshot<'_> {
        let mut snapshot = Snapshot::new(&self.daemonset, &self.nodes, &self.pods, &self.namespace)
            .settings(&self.settings)
            .backoff(&self.backoff);
        if let Some(revisions) = &self.revisions {
            snapshot = snapshot.revisions(revisions);
        }
        if let Some(now) = self.now {
            snapshot = snapshot.at(now);
        }
        if self.expectations_satisfied { snapshot } else { snapshot.expectations_unsatisfied() }
    }
}

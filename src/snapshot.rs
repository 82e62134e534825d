use jiff::Timestamp;

use crate::{
    Action, Backoff, Plan, Settings,
    model::{ControllerRevision, DaemonSet, Namespace, Node, Pod},
};

/// All that a plan is made from: one DaemonSet and the cluster around it, at one moment.
///
/// What is not given: no ControllerRevisions (which is not the same as an empty slice of them), no clock, the default
/// [`Settings`], no back-off of Failed pods, and all effects of the last plan observed.
///
/// ```
/// use daemonplan::{Settings, Snapshot, model::{DaemonSet, Namespace, Node}};
/// let (daemonset, namespace) = (DaemonSet::new("prod", "agent"), Namespace::new("prod"));
/// let nodes = [Node::new("node-7")];
/// let settings = Settings::default().burst(10);
/// let plan = Snapshot::new(&daemonset, &nodes, &[], &namespace)
///     .revisions(&[])
///     .now("2026-01-02T03:04:05Z".parse().unwrap())
///     .settings(&settings)
///     .plan();
/// assert_eq!(plan.status.unwrap().desired_number_scheduled, 1);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    pub(crate) daemonset: &'a DaemonSet,
    pub(crate) nodes: &'a [Node],
    pub(crate) pods: &'a [Pod],
    pub(crate) namespace: &'a Namespace,
    pub(crate) revisions: Option<&'a [ControllerRevision]>,
    pub(crate) now: Option<Timestamp>,
    pub(crate) settings: Option<&'a Settings>,
    pub(crate) backoff: Option<&'a Backoff>,
    pub(crate) effects_observed: bool,
}

impl<'a> Snapshot<'a> {
    /// A DaemonSet, all nodes of the cluster, the pods of the DaemonSet's namespace (others are ignored) and that
    /// namespace. The order of nodes and pods makes no difference.
    pub fn new(daemonset: &'a DaemonSet, nodes: &'a [Node], pods: &'a [Pod], namespace: &'a Namespace) -> Self {
        Self {
            daemonset,
            nodes,
            pods,
            namespace,
            revisions: None,
            now: None,
            settings: None,
            backoff: None,
            effects_observed: true,
        }
    }

    /// All ControllerRevisions of the namespace. Without them a plan has no actions on revisions.
    #[must_use]
    pub fn revisions(self, revisions: &'a [ControllerRevision]) -> Self {
        Self { revisions: Some(revisions), ..self }
    }

    /// The time. Without it no pod is available under a positive `minReadySeconds`, and no back-off starts.
    #[must_use]
    pub fn now(self, now: Timestamp) -> Self {
        Self { now: Some(now), ..self }
    }

    /// What the cluster's operator has configured.
    #[must_use]
    pub fn settings(self, settings: &'a Settings) -> Self {
        Self { settings: Some(settings), ..self }
    }

    /// The back-off of Failed pods, as earlier plans gave it back.
    #[must_use]
    pub fn backoff(self, backoff: &'a Backoff) -> Self {
        Self { backoff: Some(backoff), ..self }
    }

    /// Says that the effects of the last plan do not show yet, as when a cache lags behind: then nothing is created
    /// or deleted.
    #[must_use]
    pub fn effects_unobserved(self) -> Self {
        Self { effects_observed: false, ..self }
    }

    /// The DaemonSet that the plan is for.
    pub fn daemonset(&self) -> &'a DaemonSet {
        self.daemonset
    }

    /// The plan.
    pub fn plan(self) -> Plan<'a> {
        Plan::of(self)
    }
}

/// What a DaemonSet needs: the short form of [`Snapshot::plan`], for the actions alone.
///
/// ```
/// use daemonplan::{Action, model::{DaemonSet, Namespace, Node}, plan};
/// let mut daemonset = DaemonSet::new("prod", "agent");
/// daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#).unwrap();
/// let actions = plan(&daemonset, &[Node::new("node-7")], &[], &Namespace::new("prod"));
/// assert!(matches!(&actions[0], Action::CreatePod { node, .. } if node == "node-7"));
/// ```
pub fn plan(daemonset: &DaemonSet, nodes: &[Node], pods: &[Pod], namespace: &Namespace) -> Vec<Action> {
    Snapshot::new(daemonset, nodes, pods, namespace).plan().actions
}

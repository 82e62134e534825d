//! What a plan says: actions in their order, each with its reason, the status, Events and warnings.

mod action;
mod event;
mod reason;
mod warning;

use std::time::Duration;

use crate::{
    backoff::{BackoffEntry, BackoffKey},
    model::{DaemonSet, DaemonSetStatus, LabelSelector, Text},
    placement::{Placement, Placements},
    policy::RolloutStatus,
};

pub use action::Action;
pub use event::{Event, EventType};
pub use reason::{CreateReason, DeleteReason};
pub use warning::Warning;

/// What a DaemonSet needs, and why.
///
/// ```
/// use daemonplan::{Plan, Snapshot, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-7")];
/// let Plan { actions, status, warnings, .. } = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]).plan();
/// assert_eq!(actions[1].to_string(), "create pod on node-7: no pod on this node");
/// assert_eq!((status.unwrap().desired_number_scheduled, warnings.len()), (1, 0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Plan<'a> {
    /// The hash label of pods that are up to date.
    pub hash: Text,
    /// The actions in the order of execution: claims, revisions and relabelling, creations, deletions, clean-up, status.
    /// Stopping after any of them and planning again is safe.
    pub actions: Vec<Action>,
    /// The status before the actions take effect; `None` if none is written.
    pub status: Option<DaemonSetStatus>,
    /// Kubernetes Events to emit about the DaemonSet.
    pub events: Vec<Event>,
    /// When to plan again if nothing changes but the time.
    pub requeue_after: Option<Duration>,
    /// The entries of the [`Backoff`](crate::backoff::Backoff) that change.
    pub backoff: Vec<(BackoffKey, BackoffEntry)>,
    /// Problems of the input.
    pub warnings: Vec<Warning>,
    /// The state of an update under a [`RolloutPolicy`](crate::policy::RolloutPolicy); `None` without a policy.
    pub rollout: Option<RolloutStatus>,
    /// The number of creations that the burst limit holds back for a later plan.
    pub held_back_creations: usize,
    /// The number of deletions that the burst limit holds back for a later plan.
    pub held_back_deletions: usize,
    placements: Placements<'a>,
}

impl<'a> Plan<'a> {
    /// A plan without actions.
    pub(crate) fn new(
        daemonset: &DaemonSet,
        hash: Text,
        placements: Placements<'a>,
        mut warnings: Vec<Warning>,
    ) -> Self {
        let mut events = Vec::new();
        if daemonset.selector.is_none() {
            warnings.push(Warning::SelectsNoPods);
        }
        if daemonset.selector.as_ref().is_some_and(LabelSelector::is_empty) {
            warnings.push(Warning::SelectsAllPods);
            events.push(Event::selects_all_pods());
        }
        Self {
            hash,
            actions: Vec::new(),
            status: None,
            events,
            requeue_after: None,
            backoff: Vec::new(),
            warnings,
            rollout: None,
            held_back_creations: 0,
            held_back_deletions: 0,
            placements,
        }
    }

    /// Returns the decision for every node, by name. Each call computes them.
    pub fn placements(&self) -> impl Iterator<Item = Placement> {
        self.placements.all()
    }

    /// Returns the decision for one node; `None` if no node has this name.
    pub fn placement(&self, node: &str) -> Option<Placement> {
        self.placements.get(node)
    }
}

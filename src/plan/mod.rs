//! What a plan says: actions in their order, each with its reason, the status, Events and warnings.

mod action;
mod event;
mod missing;
mod reason;
mod warning;

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    backoff::{BackoffEntry, BackoffKey, serialize_entries},
    model::{DaemonSet, DaemonSetStatus, LabelSelector, Text},
    policy::RolloutStatus,
    util::duration,
};

pub use action::Action;
pub use event::{Event, EventType};
pub(crate) use missing::MissingFacts;
pub use missing::{MissingFact, UnsupportedAction};
pub use reason::{CreateReason, DeleteReason, RecordReason};
pub use warning::Warning;

/// What a DaemonSet needs, and why.
///
/// `Display` writes one line for each action and each warning, for people; `Serialize` writes what
/// [`guide::output`](crate::guide::output) documents.
///
/// ```
/// use daemonplan::{Plan, Snapshot, model::{DaemonSet, Namespace, Node}};
/// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// daemonset.uid = "42".into();
/// let (nodes, namespace) = ([Node::new("node-7")], Namespace::new("prod"));
/// let now = "2026-01-02T03:04:05Z".parse().unwrap();
/// let plan = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]).at(now).plan();
/// assert_eq!(plan.actions[1].to_string(), "create pod on node-7: no pod on this node");
/// let Plan { status, warnings, .. } = plan;
/// assert_eq!((status.unwrap().desired_number_scheduled, warnings.len()), (1, 0));
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Plan {
    /// The hash label of pods that are up to date.
    pub hash: Text,
    /// The actions in the order of execution: claims, revisions and relabelling, creations, deletions, clean-up, status.
    /// Stopping after any of them and planning again is safe.
    pub actions: Vec<Action>,
    /// Actions that are not to be carried out, because they rest on facts that the input [lacks](MissingFact).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsupported: Vec<UnsupportedAction>,
    /// The status before the actions take effect. `None` if the DaemonSet is being deleted or left alone, or if it is not
    /// known, for want of a [clock](Warning::ClockNotGiven) or of other [facts](MissingFact). [`Action::UpdateStatus`] writes it if it has changed.
    pub status: Option<DaemonSetStatus>,
    /// Kubernetes Events to emit about the DaemonSet.
    pub events: Vec<Event>,
    /// When to plan again if nothing changes but the time.
    #[serde(rename = "planAgainAfterSeconds", with = "duration::optional_seconds")]
    pub requeue_after: Option<Duration>,
    /// What the burst limit holds back for a later plan.
    pub held_back: HeldBack,
    /// Problems of the input.
    pub warnings: Vec<Warning>,
    /// The state of an update under a [`RolloutPolicy`](crate::policy::RolloutPolicy); `None` without a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// The entries of the [`Backoff`](crate::backoff::Backoff) that change.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "serialize_entries")]
    pub backoff: Vec<(BackoffKey, BackoffEntry)>,
}

/// The numbers of pods that the burst limit holds back for a later plan.
///
/// ```
/// use daemonplan::{Settings, Snapshot, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let nodes = ["a", "b", "c"].map(Node::new);
/// let (namespace, mut settings) = (Namespace::new("prod"), Settings::default());
/// settings.burst = 1;
/// let plan = Snapshot::new(&daemonset, &nodes, &[], &namespace).settings(&settings).plan();
/// assert_eq!(plan.held_back.creations, 2);
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HeldBack {
    /// The pods that would be created.
    pub creations: usize,
    /// The pods that would be deleted.
    pub deletions: usize,
}

impl Plan {
    /// A plan without actions.
    pub(crate) fn new(daemonset: &DaemonSet, hash: Text, warnings: Vec<Warning>) -> Self {
        let selects_all = daemonset.selector.as_ref().is_some_and(LabelSelector::is_empty);
        let events = if selects_all { vec![Event::selects_all_pods()] } else { Vec::new() };
        Self { hash, events, warnings, ..Self::default() }
    }

    /// Sets what rests on missing facts apart.
    pub(crate) fn limited_to_known(mut self, missing: MissingFacts, daemonset: &DaemonSet) -> Self {
        (self.actions, self.unsupported) =
            missing.divide(self.actions, daemonset.update_strategy, self.rollout.is_some());
        let needed = [MissingFact::Nodes, MissingFact::Pods, MissingFact::Namespace];
        if needed.into_iter().any(|fact| missing.contains(fact)) {
            self.status = None;
        }
        if missing.contains(MissingFact::Nodes) {
            self.events.clear();
        }
        self
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.actions.is_empty() {
            f.write_str(if self.unsupported.is_empty() { "nothing to do" } else { "nothing that is sure" })?;
        }
        for (at, action) in self.actions.iter().enumerate() {
            write!(f, "{}{action}", if at > 0 { "\n" } else { "" })?;
        }
        for UnsupportedAction { action, .. } in &self.unsupported {
            write!(f, "\nnot sure: {action}")?;
        }
        self.warnings.iter().try_for_each(|warning| write!(f, "\nwarning: {warning}"))
    }
}

//! The state of an update, and what blocks it.

use std::time::Duration;

use serde::Serialize;

use crate::{
    model::{Taint, Text},
    node::pod_state::PodState,
    plan::MissingFact,
    policy::RolloutPhase,
    util::duration,
};

/// The state of the update to the current template.
///
/// ```
/// use daemonplan::explain::UpdateState;
/// let state = UpdateState::Moving { old: 3 };
/// assert_eq!(state.to_string(), "3 nodes with an outdated pod: the update is in progress");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "update", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum UpdateState {
    /// No update: the DaemonSet is left alone.
    None,
    /// No update: the DaemonSet is being deleted, which lasts until its pods are gone.
    Deleting {
        /// The nodes whose pod is being deleted, by name.
        #[serde(rename = "heldBy")]
        blocked_by: Vec<Blocker>,
    },
    /// It is not known, because the input lacks a fact.
    Unknown {
        /// The fact.
        missing: MissingFact,
    },
    /// No pod is outdated.
    Done,
    /// The strategy is `OnDelete`: outdated pods stay until they are deleted by hand.
    OnDelete {
        /// The number of nodes with an outdated pod.
        old: usize,
    },
    /// The update is in progress.
    Moving {
        /// The number of nodes with an outdated pod.
        old: usize,
    },
    /// The effects of the last plan do not show yet.
    Unobserved {
        /// The number of nodes with an outdated pod.
        old: usize,
    },
    /// Missing and surplus pods come first.
    AfterRepairs {
        /// The number of nodes with an outdated pod.
        old: usize,
    },
    /// The rollout policy holds the update.
    Held {
        /// The number of nodes with an outdated pod.
        old: usize,
        /// The phase of the policy.
        #[serde(flatten)]
        phase: RolloutPhase,
    },
    /// The update is blocked: as many nodes as allowed are unavailable, or surge, or a group waits for another one.
    Waiting {
        /// The number of nodes with an outdated pod.
        old: usize,
        /// `maxUnavailable`, or `maxSurge` if it is not 0, in nodes.
        limit: usize,
        /// Whether groups are updated one at a time, and the others wait for that rather than for the limit.
        by_group: bool,
        /// The nodes that use up the limit, or keep the group from being done with, by name.
        #[serde(rename = "heldBy")]
        blocked_by: Vec<Blocker>,
    },
}

/// A node that blocks an update.
///
/// ```
/// use daemonplan::{Snapshot, explain::UpdateState, model::{DaemonSet, Namespace}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let explanation = Snapshot::new(&daemonset, &[], &[], &namespace).explain();
/// if let UpdateState::Waiting { blocked_by, .. } = &explanation.update {
///     blocked_by.iter().for_each(|blocker| println!("{}: {blocker}", blocker.node));
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Blocker {
    /// The node's name.
    pub node: Text,
    /// Why the node lacks an available pod.
    #[serde(flatten)]
    pub cause: BlockerCause,
    /// A taint that reports a problem of the node itself.
    pub node_taint: Option<Taint>,
}

/// Why a node that blocks an update lacks an available pod.
///
/// ```
/// use daemonplan::explain::{BlockerCause, PodState};
/// let (problem, lasts) = (Some("CrashLoopBackOff, 3 restarts".into()), None);
/// let cause = BlockerCause::Pod { pod: "agent-x2k".into(), state: PodState::NotReady, problem, lasts };
/// assert_eq!(serde_json::to_value(&cause)?["state"], "NotReady");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum BlockerCause {
    /// The node has no pod.
    NoPod,
    /// The node has several pods of the same template.
    SeveralPods,
    /// The node is away: its pod counts as wanted, but not as available, until the node returns. Given only where no other
    /// node blocks the update.
    Away,
    /// The new pod needs a port of the node that the old one keeps until the new one is available: it never starts.
    PortTaken {
        /// The new pod's name.
        pod: Text,
        /// The port.
        port: u32,
        /// The name of the pod that has the port.
        held_by: Text,
    },
    /// The pod on the node is not available.
    Pod {
        /// The pod's name.
        pod: Text,
        /// The pod's state.
        #[serde(flatten)]
        state: PodState,
        /// The problem of the pod, if any, such as `CrashLoopBackOff, 3 restarts`.
        #[serde(rename = "trouble")]
        problem: Option<String>,
        /// How long the pod has been pending or being deleted; `None` without a clock, and in other states.
        #[serde(serialize_with = "duration::serialize_whole", rename = "lastsSeconds")]
        lasts: Option<Duration>,
    },
}

//! How far an update is, and what blocks it.

use serde::Serialize;

use crate::{
    model::{Taint, Text},
    node::pod_state::PodState,
    policy::RolloutPhase,
};

/// How far the update to the current template is.
///
/// ```
/// use daemonplan::explain::UpdateState;
/// let state = UpdateState::Moving { old: 3 };
/// assert_eq!(state.to_string(), "3 nodes with an older pod: the update goes on");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "update", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum UpdateState {
    /// The DaemonSet is being deleted or left alone: there is no update.
    None,
    /// No pod is of an older template.
    Done,
    /// The strategy is `OnDelete`: old pods stay until somebody deletes them.
    OnDelete {
        /// How many nodes have an old pod.
        old: usize,
    },
    /// The plan goes on with it.
    Moving {
        /// How many nodes have an old pod.
        old: usize,
    },
    /// The effects of the last plan do not show yet.
    Unobserved {
        /// How many nodes have an old pod.
        old: usize,
    },
    /// Nodes that lack a pod or have one too many come first.
    AfterRepairs {
        /// How many nodes have an old pod.
        old: usize,
    },
    /// The policy does not let it go on.
    Held {
        /// How many nodes have an old pod.
        old: usize,
        /// Why.
        #[serde(flatten)]
        phase: RolloutPhase,
    },
    /// It waits: so many nodes as may be are without an available pod, or surge.
    Waiting {
        /// How many nodes have an old pod.
        old: usize,
        /// `maxUnavailable`, or `maxSurge` if it is not 0, in nodes.
        limit: usize,
        /// The nodes that use up the limit, by name.
        #[serde(rename = "heldBy")]
        blocked_by: Vec<Blocker>,
    },
}

/// A node that an update waits for.
///
/// ```
/// use daemonplan::{Snapshot, explain::UpdateState, model::{DaemonSet, Namespace}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let explanation = Snapshot::new(&daemonset, &[], &[], &namespace).explain();
/// if let UpdateState::Waiting { blocked_by, .. } = &explanation.update {
///     blocked_by.iter().for_each(|holdup| println!("{}: {holdup}", holdup.node));
/// }
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Blocker {
    /// The node's name.
    pub node: Text,
    /// Why it lacks an available pod.
    #[serde(flatten)]
    pub cause: BlockerCause,
    /// A taint that says that the node itself is not in order.
    pub node_taint: Option<Taint>,
}

/// Why a node that an update waits for lacks an available pod.
///
/// ```
/// use daemonplan::explain::{BlockerCause, PodState};
/// let cause = BlockerCause::Pod { pod: "agent-x2k".into(), state: PodState::NotReady };
/// assert_eq!(serde_json::to_value(&cause)?["state"], "NotReady");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum BlockerCause {
    /// It has no pod.
    NoPod,
    /// It has several pods of the same template.
    SeveralPods,
    /// Its pod is not available.
    Pod {
        /// The pod's name.
        pod: Text,
        /// What it is doing.
        #[serde(flatten)]
        state: PodState,
    },
}

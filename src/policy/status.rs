//! Where an update stands that keeps to a policy.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    model::Text,
    util::duration::{self, words},
};

/// Where an update stands that keeps to a [`RolloutPolicy`](crate::policy::RolloutPolicy).
///
/// ```
/// use daemonplan::{RolloutPolicy, Settings, Snapshot, model::{DaemonSet, Namespace, Node}, policy::RolloutPhase};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let mut policy = RolloutPolicy::default();
/// policy.strict_budget = true;
/// let settings = Settings::default().rollout_policy(policy);
/// let nodes = [Node::new("node-7")];
/// let plan = Snapshot::new(&daemonset, &nodes, &[], &namespace).settings(&settings).plan();
/// assert_eq!(plan.rollout.unwrap().phase, RolloutPhase::Settled);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RolloutStatus {
    /// What the update is doing, or what it waits for.
    #[serde(flatten)]
    pub phase: RolloutPhase,
    /// How many nodes have a pod of an older template; one that is going counts, too.
    pub old: usize,
    /// How many nodes that should run a pod, and are not away, have an up-to-date one.
    pub updated: usize,
    /// Of the nodes that should run a pod and lack an available one (`status.numberUnavailable`), how many are away.
    #[serde(rename = "unavailableAway")]
    pub unavailable_excluded: usize,
}

/// What an update that keeps to a [`RolloutPolicy`](crate::policy::RolloutPolicy) is doing, or what it waits for.
///
/// ```
/// use daemonplan::policy::RolloutPhase;
/// let phase = RolloutPhase::CanaryStarting { available: 2, wanted: 3 };
/// assert_eq!(phase.to_string(), "2 of 3 canaries are available");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "phase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum RolloutPhase {
    /// No pod is of an older template.
    Settled,
    /// It goes on, as far as its budget allows.
    Rolling {
        /// The group whose turn it is, if one at a time is updated; empty for the nodes without the label.
        group: Option<Text>,
    },
    /// The canaries are updated.
    CanaryStarting {
        /// How many are available.
        available: usize,
        /// How many there are to be.
        wanted: usize,
    },
    /// The canaries have not been available for long enough.
    CanaryBaking {
        /// How long it takes yet; `None`: without a clock nobody knows.
        #[serde(serialize_with = "duration::serialize_whole", rename = "remainingSeconds")]
        remaining: Option<Duration>,
    },
    /// Somebody has to say that it may go on.
    AwaitingApproval {
        /// The hash that the annotation `daemonplan/canary-approved` has to name.
        hash: Text,
    },
    /// The nodes that have older pods keep them, by the partition or since they are not selected.
    Held,
    /// Somebody has paused it.
    Paused,
    /// An annotation with a policy cannot be read.
    Unreadable,
    /// The new template fails, so that the update is paused.
    Failing {
        /// The nodes where it fails, by name.
        nodes: Vec<Text>,
    },
    /// The new template fails, so that the DaemonSet gets an older one back.
    RollingBack {
        /// The nodes where it fails, by name.
        nodes: Vec<Text>,
    },
}

impl RolloutStatus {
    /// How much of what is not available is due to nodes that are away; `None` if nothing is.
    ///
    /// ```
    /// use daemonplan::{RolloutPolicy, Settings, Snapshot, model::{DaemonSet, Namespace, Node, Taint, TaintEffect}};
    /// # let mut daemonset = DaemonSet::new("prod", "agent");
    /// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
    /// # let namespace = Namespace::new("prod");
    /// let settings = Settings::default().rollout_policy(RolloutPolicy::default().with_flags(["away=unreachable"]).unwrap());
    /// let mut nodes = [Node::new("node-7")];
    /// nodes[0].taints.push(Taint::new("node.kubernetes.io/unreachable", "", TaintEffect::NoExecute));
    /// let plan = Snapshot::new(&daemonset, &nodes, &[], &namespace).settings(&settings).plan();
    /// assert_eq!(plan.rollout.unwrap().away().unwrap(), "1 node without an available pod is away");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn away(&self) -> Option<String> {
        match self.unavailable_excluded {
            0 => None,
            1 => Some("1 node without an available pod is away".to_owned()),
            count => Some(format!("{count} nodes without an available pod are away")),
        }
    }
}

impl RolloutPhase {
    /// The variant's name, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settled => "Settled",
            Self::Rolling { .. } => "Rolling",
            Self::CanaryStarting { .. } => "CanaryStarting",
            Self::CanaryBaking { .. } => "CanaryBaking",
            Self::AwaitingApproval { .. } => "AwaitingApproval",
            Self::Held => "Held",
            Self::Paused => "Paused",
            Self::Unreadable => "Unreadable",
            Self::Failing { .. } => "Failing",
            Self::RollingBack { .. } => "RollingBack",
        }
    }

    /// Whether it is the policy that keeps the update from going on now, and not its budget.
    pub fn holds(&self) -> bool {
        !matches!(self, Self::Settled | Self::Rolling { .. } | Self::CanaryStarting { .. } | Self::RollingBack { .. })
    }
}

impl fmt::Display for RolloutPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled => f.write_str("all pods are up to date"),
            Self::Rolling { group: None } => f.write_str("the update is in progress"),
            Self::Rolling { group: Some(group) } if group.is_empty() => {
                f.write_str("the update is in progress on the nodes without a group")
            }
            Self::Rolling { group: Some(group) } => write!(f, "the update is in progress in group {group}"),
            Self::CanaryStarting { wanted: 0, .. } => f.write_str("no node is a canary"),
            Self::CanaryStarting { available, wanted } => write!(f, "{available} of {wanted} canaries are available"),
            Self::CanaryBaking { remaining: Some(remaining) } => {
                write!(f, "the canaries must be available for {} more", words(*remaining))
            }
            Self::CanaryBaking { remaining: None } => f.write_str("the canaries must be available for longer"),
            Self::AwaitingApproval { hash } => {
                write!(
                    f,
                    "the canaries are available; to continue, annotate the DaemonSet with daemonplan/canary-approved={hash}"
                )
            }
            Self::Held => f.write_str("the other nodes keep the older template"),
            Self::Paused => f.write_str("the update is paused"),
            Self::Unreadable => f.write_str("the update is paused, since an annotation with a policy cannot be read"),
            Self::Failing { nodes } => {
                write!(f, "the update is paused, since the new template fails on {}", some_nodes(nodes))
            }
            Self::RollingBack { nodes } => {
                write!(f, "the template is rolled back, since the new one fails on {}", some_nodes(nodes))
            }
        }
    }
}

/// The first few nodes, and how many more there are.
pub(crate) fn some_nodes(nodes: &[Text]) -> String {
    match nodes {
        [first, _, _, _, ..] => format!("{first} and {} other nodes", nodes.len() - 1),
        nodes => nodes.join(", "),
    }
}

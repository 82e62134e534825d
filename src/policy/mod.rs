//! Rollout policies: the order of an update, its groups and canaries, and the conditions that stop it.
//!
//! A [`RolloutPolicy`] is part of the settings or read from a DaemonSet's annotations. It is evaluated first
//! for each node, and then for the whole rollout.

mod annotations;
pub(crate) mod effective;
mod status;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    model::{IntOrPercent, Text},
    selector::SelectorExpression,
    util::duration,
};

pub use annotations::{InvalidPolicyText, PolicyError};
pub(crate) use status::some_nodes;
pub use status::{RolloutPhase, RolloutStatus};

/// The rules for an update in addition to the DaemonSet's update strategy. The default has no rules.
///
/// A policy for all DaemonSets is set with [`Settings::rollout_policy`](crate::settings::Settings::rollout_policy). The
/// annotations of a DaemonSet take precedence. The [guide](crate::guide::policies) describes each policy in detail.
///
/// ```
/// use daemonplan::{RolloutPolicy, model::{DaemonSet, IntOrPercent, Labels}, policy::Order};
/// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// daemonset.annotations = Labels::from_iter([("daemonplan/partition", "20%"), ("daemonplan/order", "oldest-pod")]);
/// let policy = RolloutPolicy::default().annotated(&daemonset.annotations)?;
/// assert_eq!((policy.partition, policy.order), (Some(IntOrPercent::Percent(20)), Order::OldestPod));
/// # Ok::<(), daemonplan::policy::PolicyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RolloutPolicy {
    /// `daemonplan/paused`: no further node is updated. Nodes that are being updated are completed.
    pub paused: bool,
    /// `daemonplan/update-nodes`: only nodes that match this selector are updated.
    pub update_nodes: Option<SelectorExpression>,
    /// `daemonplan/partition`: the number of nodes that keep the older template.
    pub partition: Option<IntOrPercent>,
    /// `daemonplan/order`: the order in which nodes are updated.
    pub order: Order,
    /// `daemonplan/groups`: the groups into which nodes are divided.
    pub groups: Option<Groups>,
    /// `daemonplan/strict-budget`: outdated pods that are not available are replaced before all others, but also only
    /// within `maxUnavailable` or `maxSurge`.
    pub strict_budget: bool,
    /// `daemonplan/away`: the nodes that are excluded while they are away.
    pub away: ExcludedNodes,
    /// `daemonplan/canary`, `daemonplan/canary-nodes`: the nodes that are updated before all others.
    pub canary: Option<Canary>,
    /// `daemonplan/on-failure`: the conditions under which the new template fails, and the reaction.
    pub failure: Option<FailurePolicy>,
    /// `daemonplan/backoff`: whether each failure reason of pods has its own back-off.
    pub backoff_by_reason: bool,
}

/// The order in which nodes are updated. Ties are broken by the nodes' names.
///
/// ```
/// use daemonplan::policy::Order;
/// assert_eq!("priority=rollout-priority".parse(), Ok(Order::Priority { label: "rollout-priority".into() }));
/// assert_eq!(Order::Random { seed: 7 }.to_string(), "random=7");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Order {
    /// `name`: by the name of the node.
    #[default]
    Name,
    /// `oldest-pod`: by the creation time of the node's pod, the oldest first.
    OldestPod,
    /// `priority=LABEL`: by the integer in this label, the highest first. Nodes without an integer come last.
    Priority {
        /// The node label with the priority.
        label: Text,
    },
    /// `random=SEED`: a pseudo-random order, which depends only on the seed and the nodes' names.
    Random {
        /// The seed.
        seed: u64,
    },
}

/// Groups of nodes by the value of a label. Nodes without the label form the last group.
///
/// ```
/// use daemonplan::policy::{GroupPace, Groups};
/// let zones = Groups::by("topology.kubernetes.io/zone");
/// assert_eq!((zones.pace, zones.max_unavailable), (GroupPace::OneAtATime, None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Groups {
    /// The label of the nodes, such as `topology.kubernetes.io/zone`.
    pub label: Text,
    /// `daemonplan/group-pace`: whether groups are updated one at a time or all together.
    #[serde(default)]
    pub pace: GroupPace,
    /// `daemonplan/group-order`: the groups that come first, in this order. The others follow by name.
    #[serde(default)]
    pub first: Vec<Text>,
    /// `daemonplan/group-max-unavailable`: the number of nodes in a group that may be in progress at once.
    ///
    /// A node in progress has no available pod or, if the update surges, two pods.
    pub max_unavailable: Option<IntOrPercent>,
}

/// The pace at which groups of nodes are updated.
///
/// ```
/// use daemonplan::policy::GroupPace;
/// assert_eq!(("spread".parse(), GroupPace::OneAtATime.to_string()), (Ok(GroupPace::Spread), "one-at-a-time".into()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum GroupPace {
    /// `one-at-a-time`: each group is finished before the next one starts.
    #[default]
    OneAtATime,
    /// `spread`: the next node is from the group with the fewest nodes in progress.
    Spread,
}

/// The nodes that are excluded from an update because they are away.
///
/// Excluded nodes are not updated and do not use the budget. They are updated when they return.
///
/// The duration in each field is how long a node must have been in this state. The start of a state is the `timeAdded`
/// of its taint or the node's deletion timestamp. Without a start or without a clock, only a duration of zero applies.
///
/// ```
/// use std::time::Duration;
/// use daemonplan::policy::ExcludedNodes;
/// let away: ExcludedNodes = "unreachable,cordoned=30m".parse().unwrap();
/// assert_eq!((away.unreachable, away.cordoned), (Some(Duration::ZERO), Some(Duration::from_secs(30 * 60))));
/// assert_eq!(away.not_ready, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ExcludedNodes {
    /// `not-ready`: nodes with the taint `node.kubernetes.io/not-ready`.
    #[serde(with = "duration::optional_seconds", default, rename = "notReadyAfterSeconds")]
    pub not_ready: Option<Duration>,
    /// `unreachable`: nodes with the taint `node.kubernetes.io/unreachable`.
    #[serde(with = "duration::optional_seconds", default, rename = "unreachableAfterSeconds")]
    pub unreachable: Option<Duration>,
    /// `cordoned`: nodes with the taint `node.kubernetes.io/unschedulable`.
    #[serde(with = "duration::optional_seconds", default, rename = "cordonedAfterSeconds")]
    pub cordoned: Option<Duration>,
    /// `deleted`: nodes that are being deleted, and missing nodes regardless of the duration.
    #[serde(with = "duration::optional_seconds", default, rename = "deletedAfterSeconds")]
    pub deleted: Option<Duration>,
}

/// The nodes that are updated before all others, and the conditions for the others to follow.
///
/// ```
/// use daemonplan::{model::IntOrPercent, policy::{Approval, Canary, CanaryNodes}};
/// let canary = Canary::on(CanaryNodes::Count(IntOrPercent::Int(3)));
/// assert_eq!((canary.bake.as_secs(), canary.approval), (0, Approval::NotNeeded));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Canary {
    /// The canaries.
    pub nodes: CanaryNodes,
    /// `daemonplan/canary-bake`: how long all canaries must have been available before the others follow.
    #[serde(with = "duration::seconds", default, rename = "bakeSeconds")]
    pub bake: Duration,
    /// `daemonplan/canary-approval`: whether an operator must approve the canaries.
    #[serde(default)]
    pub approval: Approval,
}

/// The selection of the canaries.
///
/// ```
/// use daemonplan::policy::CanaryNodes;
/// let nodes = CanaryNodes::Matching("pool=canary".parse()?);
/// assert_ne!(nodes, CanaryNodes::Matching("pool=other".parse()?));
/// # Ok::<(), daemonplan::selector::ExpressionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CanaryNodes {
    /// `daemonplan/canary`: this number of nodes, the first in the order of updates.
    Count(IntOrPercent),
    /// `daemonplan/canary-nodes`: the nodes that match this selector.
    Matching(SelectorExpression),
}

/// Whether an operator must approve the canaries before the other nodes are updated.
///
/// ```
/// use daemonplan::policy::Approval;
/// let approval = Approval::Needed { approved: Some("6d5f".into()) };
/// assert!(approval.is_given("6d5f") && !approval.is_given("77b4"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Approval {
    /// `automatic`: the update continues without approval.
    #[default]
    NotNeeded,
    /// `manual`: an operator must approve the revision.
    Needed {
        /// `daemonplan/canary-approved`: the hash of the approved revision (label `controller-revision-hash`).
        approved: Option<Text>,
    },
}

/// The conditions under which the new template fails, and the reaction.
///
/// The new template fails on a node if the node's new pod
///
/// - has Failed,
/// - was restarted more than [`max_restarts`](Self::max_restarts) times,
/// - waits for one of [`FailurePolicy::REASONS`], or
/// - is not available within [`available_within`](Self::available_within).
///
/// ```
/// use daemonplan::policy::{FailurePolicy, OnFailure};
/// let policy = FailurePolicy::then(OnFailure::RollBack);
/// assert_eq!((policy.max_restarts, policy.available_within), (2, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct FailurePolicy {
    /// `daemonplan/max-restarts`: the number of container restarts that a new pod may have.
    ///
    /// Restarts are ignored once the pod is available and has been ready for [`FailurePolicy::RECOVERY`].
    #[serde(default = "default_max_restarts")]
    pub max_restarts: u32,
    /// `daemonplan/available-within`: the time from its creation within which a new pod must become available.
    #[serde(with = "duration::optional_seconds", default, rename = "availableWithinSeconds")]
    pub available_within: Option<Duration>,
    /// `daemonplan/max-failures`: the number of nodes on which the new template may fail.
    #[serde(default = "no_nodes")]
    pub max_failures: IntOrPercent,
    /// The reaction if the new template fails on more nodes.
    pub then: OnFailure,
}

/// The reaction to a failing template.
///
/// ```
/// use daemonplan::policy::OnFailure;
/// assert_eq!("roll-back".parse(), Ok(OnFailure::RollBack));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OnFailure {
    /// `pause`: the update is paused until the template no longer fails.
    Pause,
    /// `roll-back`: the older template with the most available pods is restored.
    RollBack,
}

impl Groups {
    /// Returns groups by `label`, which are updated one at a time.
    pub fn by(label: impl Into<Text>) -> Self {
        Self { label: label.into(), pace: GroupPace::default(), first: Vec::new(), max_unavailable: None }
    }
}

impl Canary {
    /// Returns canaries without bake time and approval: the others follow as soon as `nodes` are available.
    pub fn on(nodes: CanaryNodes) -> Self {
        Self { nodes, bake: Duration::ZERO, approval: Approval::NotNeeded }
    }
}

impl Approval {
    /// Whether the revision with this hash needs no approval or is approved.
    pub fn is_given(&self, hash: &str) -> bool {
        match self {
            Self::NotNeeded => true,
            Self::Needed { approved } => approved.as_ref().is_some_and(|approved| approved == hash),
        }
    }
}

impl FailurePolicy {
    /// The waiting reasons of containers that count as failures.
    pub const REASONS: &[&str] = &[
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    ];

    /// The time that a pod must be ready before its restarts are ignored, as by the kubelet.
    pub const RECOVERY: Duration = Duration::from_secs(10 * 60);

    /// Returns a policy with at most two restarts, no time limit, and no failing node allowed.
    pub fn then(then: OnFailure) -> Self {
        let (max_restarts, max_failures) = (default_max_restarts(), no_nodes());
        Self { max_restarts, available_within: None, max_failures, then }
    }
}

fn default_max_restarts() -> u32 {
    2
}

fn no_nodes() -> IntOrPercent {
    IntOrPercent::Int(0)
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("name"),
            Self::OldestPod => f.write_str("oldest-pod"),
            Self::Priority { label } => write!(f, "priority={label}"),
            Self::Random { seed } => write!(f, "random={seed}"),
        }
    }
}

impl fmt::Display for GroupPace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneAtATime => "one-at-a-time",
            Self::Spread => "spread",
        })
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "pause",
            Self::RollBack => "roll-back",
        })
    }
}

//! How an update goes on, beyond what a DaemonSet's own strategy says: in which order, how far, on which nodes first, and
//! what stops it.
//!
//! A [`RolloutPolicy`] is a value, given with the settings or read from a DaemonSet's annotations. What it means for one
//! node is its [seat](crate::node::policy); what all seats come to is decided at the [gate](crate::rollout::phase).

mod annotations;
pub(crate) mod effective;
mod status;

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    model::{IntOrPercent, Text},
    selector::SelectorExpression,
    util::duration,
};

pub use annotations::{InvalidPolicyText, PolicyError};
pub(crate) use status::some_nodes;
pub use status::{RolloutPhase, RolloutStatus};

/// What an update keeps to besides the DaemonSet's own strategy. By default nothing.
///
/// It is given with [`Settings::rollout_policy`](crate::settings::Settings::rollout_policy) for all DaemonSets, and read from each one's annotations, which come
/// before that; [`guide::policies`](crate::guide::policies) says what each policy means, state by state.
///
/// ```
/// use daemonplan::{RolloutPolicy, model::{DaemonSet, IntOrPercent, Labels}, policy::Order};
/// let mut daemonset = DaemonSet::new("prod", "agent");
/// daemonset.annotations = Labels::from_iter([("daemonplan/partition", "20%"), ("daemonplan/order", "oldest-pod")]);
/// let policy = RolloutPolicy::default().annotated(&daemonset.annotations)?;
/// assert_eq!((policy.partition, policy.order), (Some(IntOrPercent::Percent(20)), Order::OldestPod));
/// # Ok::<(), daemonplan::policy::PolicyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RolloutPolicy {
    /// `daemonplan/paused`: the update does not go on. What it has begun on a node is brought to its end.
    pub paused: bool,
    /// `daemonplan/update-nodes`: only nodes with such labels are updated.
    pub update_nodes: Option<SelectorExpression>,
    /// `daemonplan/partition`: so many nodes stay at the older template.
    pub partition: Option<IntOrPercent>,
    /// `daemonplan/order`: whose turn comes first.
    pub order: Order,
    /// `daemonplan/groups`: nodes that belong together.
    pub groups: Option<Groups>,
    /// `daemonplan/strict-budget`: old pods that are not available are replaced within `maxUnavailable` (or `maxSurge`)
    /// like all others, if before them.
    pub strict_budget: bool,
    /// `daemonplan/away`: which nodes are left out while they are away.
    pub away: ExcludedNodes,
    /// `daemonplan/canary`, `daemonplan/canary-nodes`: nodes that are updated before all others.
    pub canary: Option<Canary>,
    /// `daemonplan/on-failure`: when the new template counts as a failure, and what then.
    pub failure: Option<FailurePolicy>,
    /// `daemonplan/backoff`: how long failed pods are left alone depends on why they failed.
    pub backoff_by_reason: bool,
}

/// Whose turn in an update comes first; among equals it is by the nodes' names.
///
/// ```
/// use daemonplan::policy::Order;
/// assert_eq!("priority=rollout-priority".parse(), Ok(Order::Priority { label: "rollout-priority".into() }));
/// assert_eq!(Order::Random { seed: 7 }.to_string(), "random=7");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Order {
    /// `name`: by the nodes' names.
    #[default]
    Name,
    /// `oldest-pod`: the node whose pod was created first.
    OldestPod,
    /// `priority=LABEL`: the node with the highest integer in this label; those without one come last.
    Priority {
        /// The label of the nodes.
        label: Text,
    },
    /// `random=SEED`: any, but always the same for a seed and a node's name.
    Random {
        /// The seed.
        seed: u64,
    },
}

/// Nodes that belong together by the value of a label; those without the label are a group too, the last one.
///
/// ```
/// use daemonplan::policy::{GroupPace, Groups};
/// let zones = Groups::by("topology.kubernetes.io/zone");
/// assert_eq!((zones.pace, zones.max_unavailable), (GroupPace::OneAtATime, None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Groups {
    /// The label of the nodes, such as `topology.kubernetes.io/zone`.
    pub label: Text,
    /// `daemonplan/group-pace`: whether one group at a time is updated, or all.
    pub pace: GroupPace,
    /// `daemonplan/group-order`: the groups that come first, in this order; the others follow by name.
    pub first: Vec<Text>,
    /// `daemonplan/group-max-unavailable`: on how many nodes of one group an update may be at work at a time: without an
    /// available pod, or if it surges, with two.
    pub max_unavailable: Option<IntOrPercent>,
}

/// Whether one group of nodes at a time is updated.
///
/// ```
/// use daemonplan::policy::GroupPace;
/// assert_eq!(("spread".parse(), GroupPace::OneAtATime.to_string()), (Ok(GroupPace::Spread), "one-at-a-time".into()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum GroupPace {
    /// `one-at-a-time`: a group is finished before the next one begins.
    #[default]
    OneAtATime,
    /// `spread`: turns go round all groups, to the one with the fewest nodes at work.
    Spread,
}

/// Which nodes are away: they do not use up the budget, are not updated, and are caught up with when they are back.
///
/// Each with how long it must have been so. Since when is what the taint says (`timeAdded`); where that says nothing, or
/// there is no clock, only a duration of zero counts.
///
/// ```
/// use std::time::Duration;
/// use daemonplan::policy::ExcludedNodes;
/// let away: ExcludedNodes = "unreachable,cordoned=30m".parse().unwrap();
/// assert_eq!((away.unreachable, away.cordoned), (Some(Duration::ZERO), Some(Duration::from_mins(30))));
/// assert_eq!(away.not_ready, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ExcludedNodes {
    /// `not-ready`: nodes with a taint `node.kubernetes.io/not-ready`.
    #[serde(serialize_with = "duration::serialize_whole", rename = "notReadyAfterSeconds")]
    pub not_ready: Option<Duration>,
    /// `unreachable`: nodes with a taint `node.kubernetes.io/unreachable`.
    #[serde(serialize_with = "duration::serialize_whole", rename = "unreachableAfterSeconds")]
    pub unreachable: Option<Duration>,
    /// `cordoned`: nodes with a taint `node.kubernetes.io/unschedulable`.
    #[serde(serialize_with = "duration::serialize_whole", rename = "cordonedAfterSeconds")]
    pub cordoned: Option<Duration>,
    /// `deleted`: nodes that are being deleted, or are gone.
    #[serde(serialize_with = "duration::serialize_whole", rename = "deletedAfterSeconds")]
    pub deleted: Option<Duration>,
}

/// Nodes that are updated before all others.
///
/// ```
/// use daemonplan::{model::IntOrPercent, policy::{Approval, Canary, CanaryNodes}};
/// let canary = Canary::on(CanaryNodes::Count(IntOrPercent::Int(3)));
/// assert_eq!((canary.bake.as_secs(), canary.approval), (0, Approval::NotNeeded));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Canary {
    /// Which nodes.
    pub nodes: CanaryNodes,
    /// `daemonplan/canary-bake`: how long all of them must have been available before the others follow.
    #[serde(serialize_with = "duration::serialize", rename = "bakeSeconds")]
    pub bake: Duration,
    /// `daemonplan/canary-approval`: whether somebody has to say so.
    pub approval: Approval,
}

/// Which nodes are the canaries.
///
/// ```
/// use daemonplan::policy::CanaryNodes;
/// let nodes = CanaryNodes::Matching("pool=canary".parse()?);
/// assert_ne!(nodes, CanaryNodes::Matching("pool=other".parse()?));
/// # Ok::<(), daemonplan::selector::ExpressionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum CanaryNodes {
    /// `daemonplan/canary`: so many, the first ones in the update's order.
    Count(IntOrPercent),
    /// `daemonplan/canary-nodes`: those with such labels.
    Matching(SelectorExpression),
}

/// Whether somebody has to say that an update may go on after its canaries.
///
/// ```
/// use daemonplan::policy::Approval;
/// let approval = Approval::Needed { approved: Some("6d5f".into()) };
/// assert!(approval.is_given("6d5f") && !approval.is_given("77b4"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Approval {
    /// `automatic`: it goes on by itself.
    #[default]
    NotNeeded,
    /// `manual`: somebody has to name the revision.
    Needed {
        /// `daemonplan/canary-approved`: the hash (the label `controller-revision-hash`) of the revision that may go on.
        approved: Option<Text>,
    },
}

/// When the new template counts as a failure, and what then.
///
/// A node fails if the new pod there has Failed, or was restarted too often, or waits for a reason that is one
/// ([`FailurePolicy::REASONS`]), or is not available in time.
///
/// ```
/// use daemonplan::policy::{FailurePolicy, OnFailure};
/// let policy = FailurePolicy::then(OnFailure::RollBack);
/// assert_eq!((policy.max_restarts, policy.available_within), (2, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FailurePolicy {
    /// `daemonplan/max-restarts`: how many restarts of its containers a new pod may have. They do not count once it is
    /// available and has been ready for [`FailurePolicy::RECOVERY`].
    pub max_restarts: u32,
    /// `daemonplan/available-within`: how long after its creation a new pod must be available.
    #[serde(serialize_with = "duration::serialize_whole", rename = "availableWithinSeconds")]
    pub available_within: Option<Duration>,
    /// `daemonplan/max-failures`: on how many nodes it may fail.
    pub max_failures: IntOrPercent,
    /// What happens if it fails on more.
    pub then: OnFailure,
}

/// What happens if the new template is a failure.
///
/// ```
/// use daemonplan::policy::OnFailure;
/// assert_eq!("roll-back".parse(), Ok(OnFailure::RollBack));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum OnFailure {
    /// `pause`: the update does not go on as long as it fails.
    Pause,
    /// `roll-back`: the DaemonSet gets the template back that most available pods have.
    RollBack,
}

impl Groups {
    /// Groups by this label of the nodes, one at a time.
    pub fn by(label: impl Into<Text>) -> Self {
        Self { label: label.into(), pace: GroupPace::default(), first: Vec::new(), max_unavailable: None }
    }
}

impl Canary {
    /// These nodes; the others follow as soon as they are available.
    pub fn on(nodes: CanaryNodes) -> Self {
        Self { nodes, bake: Duration::ZERO, approval: Approval::NotNeeded }
    }
}

impl Approval {
    /// Whether the revision with this hash may go on.
    pub fn is_given(&self, hash: &str) -> bool {
        match self {
            Self::NotNeeded => true,
            Self::Needed { approved } => approved.as_ref().is_some_and(|approved| approved == hash),
        }
    }
}

impl FailurePolicy {
    /// Why a container may wait that do not go away by themselves.
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

    /// How long a pod must have been ready for its restarts to be forgotten: as long as it takes the kubelet to do so.
    pub const RECOVERY: Duration = Duration::from_mins(10);

    /// At most two restarts and no time limit; the failure of one node is enough.
    pub fn then(then: OnFailure) -> Self {
        Self { max_restarts: 2, available_within: None, max_failures: IntOrPercent::Int(0), then }
    }
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

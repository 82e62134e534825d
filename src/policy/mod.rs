//! Rollout policies: the order of an update, its groups and canaries, and the conditions that stop it.
//!
//! A [`RolloutPolicy`] is part of the settings or read from a DaemonSet's annotations. It is evaluated first
//! for each node, and then for the whole rollout.

pub(crate) mod annotations;
mod away;
mod canary;
pub(crate) mod effective;
mod error;
mod failure;
mod misplaced;
mod order;
mod record;
mod span;
mod status;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{model::IntOrPercent, selector::SelectorExpression};

pub use away::ExcludedNodes;
pub use canary::{Approval, Approved, Canary, CanaryNodes};
pub use error::{InvalidPolicyText, PolicyError};
pub use failure::{FailurePolicy, OnFailure};
pub use misplaced::{MisplacedPolicy, PolicyPlace};
pub use order::{GroupPace, Groups, Order};
pub(crate) use record::RECORD;
pub use record::{BakedCanaries, FailedTemplate, ReplacedNodes, RolloutRecord};
pub(crate) use status::some_nodes;
pub use status::{CanaryStep, NoRollBack, RolloutPhase, RolloutStatus};

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
#[allow(clippy::struct_excessive_bools)] // independent policies
pub struct RolloutPolicy {
    /// `daemonplan/paused`: no further node is updated. Nodes that are being updated are completed.
    pub paused: bool,
    /// `daemonplan/frozen`: no pod is created or deleted, whatever becomes of the pods that are there. Only those of missing
    /// nodes are collected.
    pub frozen: bool,
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
    /// `daemonplan/slow-start`: on how many nodes the update may be in progress at first. Each node that has an available
    /// updated pod allows one more, up to `maxUnavailable` or `maxSurge`.
    pub slow_start: Option<IntOrPercent>,
    /// `daemonplan/away`: the nodes that are excluded while they are away.
    pub away: ExcludedNodes,
    /// `daemonplan/max-away`: how many nodes without an available pod may be excluded; the others use the budget. Default:
    /// all, but of nodes whose updated pod cannot be scheduled 10 %.
    pub max_away: Option<IntOrPercent>,
    /// `daemonplan/canary`, `daemonplan/canary-nodes`: the nodes that are updated before all others.
    pub canary: Option<Canary>,
    /// `daemonplan/on-failure`: the conditions under which the new template fails, and the reaction.
    pub failure: Option<FailurePolicy>,
    /// `daemonplan/backoff`: whether each failure reason of pods has its own back-off.
    pub backoff_by_reason: bool,
}

impl RolloutPolicy {
    /// How long a pod must have been well to prove its template: the bake time of the canaries, and at least the grace of a
    /// start.
    pub(crate) fn proof(&self) -> Duration {
        let bake = self.canary.as_ref().map_or(Duration::ZERO, Canary::longest_bake);
        self.failure.map_or(bake, |failure| bake.max(failure.start_grace))
    }

    /// How long after a pod has come what happens is no failure of its template: a day, or longer if a proof takes longer.
    pub(crate) fn judgement(&self) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        self.proof().max(DAY)
    }

    /// Whether some nodes wait until others are done.
    pub(crate) fn updates_in_turns(&self) -> bool {
        let has_canary_nodes = matches!(&self.canary, Some(Canary { nodes: CanaryNodes::Matching(_), .. }));
        has_canary_nodes || self.groups.as_ref().is_some_and(|groups| groups.pace == GroupPace::OneAtATime)
    }
}

//! Which nodes are updated before all others, and when the others follow.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    model::{IntOrPercent, Text},
    selector::SelectorExpression,
    util::duration,
};

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
    /// `daemonplan/canary-promoted`: the hash of a revision (label `controller-revision-hash`) that the other nodes get at
    /// once, whatever becomes of the canaries.
    pub promoted: Option<Text>,
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

impl Canary {
    /// Returns canaries without bake time and approval: the others follow as soon as `nodes` are available.
    pub fn on(nodes: CanaryNodes) -> Self {
        Self { nodes, bake: Duration::ZERO, approval: Approval::NotNeeded, promoted: None }
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

//! Which nodes are updated before all others, and when the others follow.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::InvalidPolicyText;
use crate::{
    model::{IntOrPercent, Text},
    selector::SelectorExpression,
    util::duration,
};

/// The nodes that are updated before all others, in one step or several, and the conditions for the others to follow.
///
/// ```
/// use daemonplan::{model::IntOrPercent, policy::{Approval, Canary, CanaryNodes}};
/// let canary = Canary::on(CanaryNodes::Steps(vec![IntOrPercent::Int(3), IntOrPercent::Percent(10)]));
/// assert_eq!((canary.bake_of(1).as_secs(), canary.approval_of(1)), (0, Approval::Automatic));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Canary {
    /// The canaries.
    pub nodes: CanaryNodes,
    /// `daemonplan/canary-bake`: how long all canaries must have been available before the next nodes follow, for each step.
    /// The last one is that of all later steps, too.
    #[serde(with = "duration::list_of_seconds", default, rename = "bakeSeconds")]
    pub bake: Vec<Duration>,
    /// `daemonplan/canary-approval`: whether an operator must approve the canaries before the next nodes follow, for each
    /// step. The last one is that of all later steps, too.
    #[serde(default)]
    pub approval: Vec<Approval>,
    /// `daemonplan/canary-approved`: what an operator has approved.
    #[serde(default)]
    pub approved: Option<Approved>,
    /// `daemonplan/canary-promoted`: the hash of a revision (label `controller-revision-hash`) that the other nodes get at
    /// once, whatever becomes of the canaries.
    pub promoted: Option<Text>,
    /// `daemonplan/canary-timeout`: how long after its creation each new pod of a canary must have been available for
    /// [`bake`](Self::bake). If others still wait for it then, the new template fails: see
    /// [`FailurePolicy`](super::FailurePolicy).
    #[serde(with = "duration::optional_seconds", default, rename = "timeoutSeconds")]
    pub timeout: Option<Duration>,
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
    /// `daemonplan/canary`: up to this number of nodes, the first in the order of updates. With several numbers, each is a
    /// step; one that adds no node to those before has no effect.
    Steps(Vec<IntOrPercent>),
    /// `daemonplan/canary-nodes`: the nodes that match this selector.
    Matching(SelectorExpression),
}

/// Whether an operator must approve the canaries before the other nodes are updated.
///
/// ```
/// use daemonplan::policy::Approval;
/// assert_eq!("manual".parse(), Ok(Approval::Manual));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Approval {
    /// `automatic`: the update continues without approval.
    #[default]
    Automatic,
    /// `manual`: an operator must approve the revision.
    Manual,
}

/// What an operator has approved: a revision, up to a step of its canaries.
///
/// ```
/// use daemonplan::policy::Approved;
/// let approved: Approved = "6d5f/2".parse()?;
/// assert!(approved.includes("6d5f", 1) && !approved.includes("6d5f", 2) && !approved.includes("77b4", 0));
/// # Ok::<(), daemonplan::policy::InvalidPolicyText>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Approved {
    /// The hash of the revision (label `controller-revision-hash`).
    pub hash: Text,
    /// How many steps are approved; `None` for all.
    pub steps: Option<usize>,
}

impl Canary {
    /// Returns canaries without bake time and approval: the others follow as soon as `nodes` are available.
    pub fn on(nodes: CanaryNodes) -> Self {
        Self { nodes, bake: Vec::new(), approval: Vec::new(), approved: None, promoted: None, timeout: None }
    }

    /// Returns the number of steps; canaries by label are one.
    pub fn steps(&self) -> usize {
        match &self.nodes {
            CanaryNodes::Steps(steps) => steps.len(),
            CanaryNodes::Matching(_) => 1,
        }
    }

    /// Returns how long the canaries of a step must have been available. The first step is 0.
    pub fn bake_of(&self, step: usize) -> Duration {
        of_step(&self.bake, step)
    }

    /// Returns whether an operator must approve the canaries of a step. The first step is 0.
    pub fn approval_of(&self, step: usize) -> Approval {
        of_step(&self.approval, step)
    }

    /// Whether the canaries of a step need no approval for the revision with this hash, or have it.
    pub(crate) fn is_approved(&self, hash: &str, step: usize) -> bool {
        self.approval_of(step) == Approval::Automatic
            || self.approved.as_ref().is_some_and(|approved| approved.includes(hash, step))
    }

    /// The longest time that any canaries must have been available.
    pub(crate) fn longest_bake(&self) -> Duration {
        (0..self.steps()).map(|step| self.bake_of(step)).max().unwrap_or_default()
    }
}

/// The value for a step: that of the last step that has one, if it has none.
fn of_step<T: Copy + Default>(values: &[T], step: usize) -> T {
    values.get(step).or(values.last()).copied().unwrap_or_default()
}

impl Approved {
    /// Returns whether a step of the revision with this hash is approved. The first step is 0.
    pub fn includes(&self, hash: &str, step: usize) -> bool {
        self.hash == *hash && self.steps.is_none_or(|steps| step < steps)
    }
}

impl Serialize for Approved {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Approved {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Automatic => "automatic",
            Self::Manual => "manual",
        })
    }
}

impl FromStr for Approval {
    type Err = InvalidPolicyText;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyText> {
        match text {
            "automatic" => Ok(Self::Automatic),
            "manual" => Ok(Self::Manual),
            _ => Err(InvalidPolicyText),
        }
    }
}

/// The hash of a revision (label `controller-revision-hash`).
pub(super) struct RevisionHash(pub(super) Text);

impl FromStr for RevisionHash {
    type Err = InvalidPolicyText;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyText> {
        let is_hash =
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        is_hash.then(|| Self(text.into())).ok_or(InvalidPolicyText)
    }
}

impl fmt::Display for Approved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hash)?;
        self.steps.map_or(Ok(()), |steps| write!(f, "/{steps}"))
    }
}

impl FromStr for Approved {
    type Err = InvalidPolicyText;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyText> {
        let (hash, steps) = match text.split_once('/') {
            None => (text, None),
            Some((hash, steps)) => (hash, Some(steps.parse().map_err(|_| InvalidPolicyText)?)),
        };
        let RevisionHash(hash) = hash.parse()?;
        if steps == Some(0) { Err(InvalidPolicyText) } else { Ok(Self { hash, steps }) }
    }
}

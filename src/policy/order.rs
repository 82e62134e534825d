//! Which nodes an update reaches first, and in which groups.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::InvalidPolicyText;
use crate::model::{IntOrPercent, Text};

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

impl Groups {
    /// Returns groups by `label`, which are updated one at a time.
    pub fn by(label: impl Into<Text>) -> Self {
        Self { label: label.into(), pace: GroupPace::default(), first: Vec::new(), max_unavailable: None }
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

impl FromStr for Order {
    type Err = InvalidPolicyText;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyText> {
        match (text, text.split_once('=')) {
            ("name", _) => Ok(Self::Name),
            ("oldest-pod", _) => Ok(Self::OldestPod),
            (_, Some(("priority", label))) if !label.is_empty() => Ok(Self::Priority { label: label.into() }),
            (_, Some(("random", seed))) => {
                seed.parse().map(|seed| Self::Random { seed }).map_err(|_| InvalidPolicyText)
            }
            _ => Err(InvalidPolicyText),
        }
    }
}

impl FromStr for GroupPace {
    type Err = InvalidPolicyText;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyText> {
        match text {
            "one-at-a-time" => Ok(Self::OneAtATime),
            "spread" => Ok(Self::Spread),
            _ => Err(InvalidPolicyText),
        }
    }
}

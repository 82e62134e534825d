//! Which nodes an update leaves out while they are away.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{InvalidPolicyText, span::Span};
use crate::util::duration;

/// The nodes that are excluded from an update because they are away.
///
/// Excluded nodes are not updated and do not use the budget. They are updated when they return. A node that the update
/// has reached is not excluded, whatever becomes of it: it may be away because of the new template.
///
/// The duration in each field is how long a node must have been in this state. The start of a state is the `timeAdded`
/// of its taint, the node's deletion timestamp, or the `lastTransitionTime` of the pod's condition. Without a start or
/// without a clock, only a duration of zero applies.
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
    /// `unschedulable`: nodes whose pod the scheduler refuses (condition `PodScheduled`), updated or not.
    #[serde(with = "duration::optional_seconds", default, rename = "unschedulableAfterSeconds")]
    pub unschedulable: Option<Duration>,
}

impl FromStr for ExcludedNodes {
    type Err = InvalidPolicyText;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyText> {
        let mut away = Self::default();
        for part in text.split(',') {
            let (name, after) = part.trim().split_once('=').unwrap_or((part.trim(), "0s"));
            let Span(after) = after.parse()?;
            let field = match name {
                "not-ready" => &mut away.not_ready,
                "unreachable" => &mut away.unreachable,
                "cordoned" => &mut away.cordoned,
                "deleted" => &mut away.deleted,
                "unschedulable" => &mut away.unschedulable,
                _ => return Err(InvalidPolicyText),
            };
            *field = Some(after);
        }
        Ok(away)
    }
}

impl fmt::Display for ExcludedNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { not_ready, unreachable, cordoned, deleted, unschedulable } = *self;
        let all = [
            ("not-ready", not_ready),
            ("unreachable", unreachable),
            ("cordoned", cordoned),
            ("deleted", deleted),
            ("unschedulable", unschedulable),
        ];
        let written = all.into_iter().filter_map(|(name, after)| match after? {
            Duration::ZERO => Some(name.to_owned()),
            after => Some(format!("{name}={}", Span(after))),
        });
        f.write_str(&written.collect::<Vec<_>>().join(","))
    }
}

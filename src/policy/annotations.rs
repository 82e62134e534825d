//! Reading and writing policies as annotations of a DaemonSet.

use std::{fmt, str::FromStr, time::Duration};

use jiff::SignedDuration;

use crate::policy::{
    Approval, Canary, CanaryNodes, ExcludedNodes, FailurePolicy, GroupPace, Groups, OnFailure, Order, RolloutPolicy,
};
use crate::{
    model::{Labels, Text},
    selector::{ExpressionError, SelectorExpression},
};

/// The error for annotations that are not a valid [`RolloutPolicy`].
///
/// ```
/// use daemonplan::{RolloutPolicy, model::Labels};
/// let error = RolloutPolicy::default().annotated(&Labels::from_iter([("daemonplan/partition", "many")])).unwrap_err();
/// assert_eq!(error.annotation(), "daemonplan/partition");
/// assert_eq!(
///     error.to_string(),
///     "annotation daemonplan/partition: expected a number of nodes or a percentage, found \"many\"",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The name of the annotation is unknown.
    #[error("annotation {annotation}: unknown policy")]
    Unknown {
        /// The name of the annotation.
        annotation: Text,
    },
    /// The value of the annotation is invalid.
    #[error("annotation {annotation}: expected {expected}, found {text:?}")]
    Invalid {
        /// The name of the annotation.
        annotation: Text,
        /// The valid values.
        expected: &'static str,
        /// The value that was found.
        text: Text,
    },
    /// The value of the annotation is not a label selector.
    #[error("annotation {annotation}: expected a label selector, found {text:?}: {error}")]
    Selector {
        /// The name of the annotation.
        annotation: Text,
        /// The value that was found.
        text: Text,
        /// The parse error.
        error: ExpressionError,
    },
    /// The annotation requires a different annotation, which is missing.
    #[error("annotation {annotation}: requires annotation {needed}, which is missing")]
    Alone {
        /// The name of the annotation.
        annotation: Text,
        /// The name of the missing annotation.
        needed: &'static str,
    },
    /// The annotation contradicts a different annotation.
    #[error("annotation {annotation}: cannot be combined with {other}; remove one of them")]
    Contradiction {
        /// The name of the annotation.
        annotation: Text,
        /// The name of the contradicting annotation.
        other: &'static str,
    },
}

/// The error for a text that is not a value of a policy.
///
/// ```
/// use daemonplan::policy::{InvalidPolicyText, Order};
/// assert_eq!("by-size".parse::<Order>(), Err(InvalidPolicyText));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid policy value")]
pub struct InvalidPolicyText;

const PAUSED: &str = "daemonplan/paused";
const UPDATE_NODES: &str = "daemonplan/update-nodes";
const PARTITION: &str = "daemonplan/partition";
const ORDER: &str = "daemonplan/order";
const GROUPS: &str = "daemonplan/groups";
const GROUP_PACE: &str = "daemonplan/group-pace";
const GROUP_ORDER: &str = "daemonplan/group-order";
const GROUP_MAX_UNAVAILABLE: &str = "daemonplan/group-max-unavailable";
const STRICT_BUDGET: &str = "daemonplan/strict-budget";
const AWAY: &str = "daemonplan/away";
const CANARY: &str = "daemonplan/canary";
const CANARY_NODES: &str = "daemonplan/canary-nodes";
const CANARY_BAKE: &str = "daemonplan/canary-bake";
const CANARY_APPROVAL: &str = "daemonplan/canary-approval";
const CANARY_APPROVED: &str = "daemonplan/canary-approved";
const ON_FAILURE: &str = "daemonplan/on-failure";
const MAX_RESTARTS: &str = "daemonplan/max-restarts";
const AVAILABLE_WITHIN: &str = "daemonplan/available-within";
const MAX_FAILURES: &str = "daemonplan/max-failures";
const BACKOFF: &str = "daemonplan/backoff";

/// The value that removes a policy of the settings.
const NONE: &str = "none";

impl RolloutPolicy {
    /// The prefix of all policy annotations.
    pub const PREFIX: &str = "daemonplan/";

    /// The names of all policy annotations.
    pub const ANNOTATIONS: &[&str] = &[
        PAUSED,
        UPDATE_NODES,
        PARTITION,
        ORDER,
        GROUPS,
        GROUP_PACE,
        GROUP_ORDER,
        GROUP_MAX_UNAVAILABLE,
        STRICT_BUDGET,
        AWAY,
        CANARY,
        CANARY_NODES,
        CANARY_BAKE,
        CANARY_APPROVAL,
        CANARY_APPROVED,
        ON_FAILURE,
        MAX_RESTARTS,
        AVAILABLE_WITHIN,
        MAX_FAILURES,
        BACKOFF,
    ];

    /// Returns this policy, overridden by the annotations of a DaemonSet.
    ///
    /// # Errors
    /// If an annotation with the prefix [`RolloutPolicy::PREFIX`] is unknown or invalid.
    pub fn annotated(mut self, annotations: &Labels) -> Result<Self, PolicyError> {
        let read = Reader(annotations);
        for (key, _) in annotations {
            if key.starts_with(Self::PREFIX) && !Self::ANNOTATIONS.contains(&&**key) {
                return Err(PolicyError::Unknown { annotation: key.clone() });
            }
        }
        read.set(&mut self.paused, PAUSED, BOOLEAN)?;
        read.set_selector(&mut self.update_nodes, UPDATE_NODES)?;
        read.set_or_none(&mut self.partition, PARTITION, NODES)?;
        read.set(&mut self.order, ORDER, "name, oldest-pod, priority=LABEL or random=SEED")?;
        read.set(&mut self.strict_budget, STRICT_BUDGET, BOOLEAN)?;
        read.set(
            &mut self.away,
            AWAY,
            "a list of not-ready, unreachable, cordoned and deleted, each optionally with =DURATION",
        )?;
        self.groups = read.groups(self.groups)?;
        self.canary = read.canary(self.canary)?;
        self.failure = read.failure(self.failure)?;
        if let Some(text) = read.text(BACKOFF) {
            self.backoff_by_reason = match &**text {
                "by-reason" => true,
                "plain" => false,
                _ => return Err(invalid(BACKOFF, "plain or by-reason", text)),
            };
        }
        Ok(self)
    }

    /// Returns this policy, overridden by command-line flags such as `partition=20%`: annotations without the prefix.
    ///
    /// # Errors
    /// If a flag is unknown or invalid.
    ///
    /// ```
    /// use daemonplan::{RolloutPolicy, model::IntOrPercent};
    /// let policy = RolloutPolicy::default().with_flags(["partition=20%", "order=oldest-pod"])?;
    /// assert_eq!(policy.partition, Some(IntOrPercent::Percent(20)));
    /// # Ok::<(), daemonplan::policy::PolicyError>(())
    /// ```
    pub fn with_flags<'f>(self, flags: impl IntoIterator<Item = &'f str>) -> Result<Self, PolicyError> {
        let pairs = flags.into_iter().map(|flag| flag.split_once('=').unwrap_or((flag, "")));
        self.annotated(&pairs.map(|(key, value)| (format!("{}{key}", Self::PREFIX), value)).collect())
    }

    /// Returns the annotations that describe this policy.
    ///
    /// ```
    /// use daemonplan::{RolloutPolicy, model::IntOrPercent};
    /// let mut policy = RolloutPolicy::default();
    /// policy.partition = Some(IntOrPercent::Int(3));
    /// assert_eq!(policy.annotations().get("daemonplan/partition"), Some("3"));
    /// ```
    pub fn annotations(&self) -> Labels {
        let Self { paused, update_nodes, partition, order, groups, strict_budget, away, canary, failure, .. } = self;
        let mut all: Vec<(&str, String)> = Vec::new();
        all.extend(paused.then(|| (PAUSED, "true".into())));
        all.extend(update_nodes.iter().map(|selector| (UPDATE_NODES, selector.to_string())));
        all.extend(partition.iter().map(|nodes| (PARTITION, nodes.to_string())));
        all.extend((*order != Order::Name).then(|| (ORDER, order.to_string())));
        if let Some(Groups { label, pace, first, max_unavailable }) = groups {
            all.push((GROUPS, label.to_string()));
            all.push((GROUP_PACE, pace.to_string()));
            let first: Vec<_> = first.iter().map(Text::as_str).collect();
            all.extend((!first.is_empty()).then(|| (GROUP_ORDER, first.join(","))));
            all.extend(max_unavailable.iter().map(|nodes| (GROUP_MAX_UNAVAILABLE, nodes.to_string())));
        }
        all.extend(strict_budget.then(|| (STRICT_BUDGET, "true".into())));
        all.extend((*away != ExcludedNodes::default()).then(|| (AWAY, away.to_string())));
        if let Some(Canary { nodes, bake, approval }) = canary {
            all.push(match nodes {
                CanaryNodes::Count(nodes) => (CANARY, nodes.to_string()),
                CanaryNodes::Matching(selector) => (CANARY_NODES, selector.to_string()),
            });
            all.extend((!bake.is_zero()).then(|| (CANARY_BAKE, Span(*bake).to_string())));
            if let Approval::Needed { approved } = approval {
                all.push((CANARY_APPROVAL, "manual".into()));
                all.extend(approved.iter().map(|hash| (CANARY_APPROVED, hash.to_string())));
            }
        }
        if let Some(FailurePolicy { max_restarts, available_within, max_failures, then }) = failure {
            all.push((ON_FAILURE, then.to_string()));
            all.push((MAX_RESTARTS, max_restarts.to_string()));
            all.push((MAX_FAILURES, max_failures.to_string()));
            all.extend(available_within.iter().map(|within| (AVAILABLE_WITHIN, Span(*within).to_string())));
        }
        all.extend(self.backoff_by_reason.then(|| (BACKOFF, "by-reason".into())));
        all.into_iter().collect()
    }
}

impl PolicyError {
    /// Returns the name of the annotation.
    pub fn annotation(&self) -> &str {
        match self {
            Self::Unknown { annotation }
            | Self::Invalid { annotation, .. }
            | Self::Selector { annotation, .. }
            | Self::Alone { annotation, .. }
            | Self::Contradiction { annotation, .. } => annotation,
        }
    }
}

const BOOLEAN: &str = "true or false";
const NODES: &str = "a number of nodes or a percentage";
const DURATION: &str = "a duration such as 90s, 10m or 1h30m";

struct Reader<'a>(&'a Labels);

impl<'a> Reader<'a> {
    fn text(&self, annotation: &str) -> Option<&'a Text> {
        self.0.get_text(&annotation.into())
    }

    fn get<T: FromStr>(&self, annotation: &str, expected: &'static str) -> Result<Option<T>, PolicyError> {
        let read = |text: &Text| text.trim().parse().map_err(|_| invalid(annotation, expected, text));
        self.text(annotation).map(read).transpose()
    }

    fn set<T: FromStr>(&self, field: &mut T, annotation: &str, expected: &'static str) -> Result<(), PolicyError> {
        if let Some(read) = self.get(annotation, expected)? {
            *field = read;
        }
        Ok(())
    }

    fn set_or_none<T: FromStr>(
        &self,
        field: &mut Option<T>,
        annotation: &str,
        expected: &'static str,
    ) -> Result<(), PolicyError> {
        if self.is_none(annotation) {
            *field = None;
        } else if let Some(read) = self.get(annotation, expected)? {
            *field = Some(read);
        }
        Ok(())
    }

    fn set_selector(&self, field: &mut Option<SelectorExpression>, annotation: &str) -> Result<(), PolicyError> {
        let Some(text) = self.text(annotation) else { return Ok(()) };
        *field = if self.is_none(annotation) {
            None
        } else {
            let read = text.parse();
            Some(read.map_err(|error| PolicyError::Selector {
                annotation: annotation.into(),
                text: text.clone(),
                error,
            })?)
        };
        Ok(())
    }

    fn is_none(&self, annotation: &str) -> bool {
        self.text(annotation).is_some_and(|text| text.trim() == NONE)
    }

    /// Expects that none of `annotations` exists, because `needed` is missing.
    fn expect_none_of(&self, annotations: &[&str], needed: &'static str) -> Result<(), PolicyError> {
        match annotations.iter().find(|annotation| self.text(annotation).is_some()) {
            Some(annotation) => Err(PolicyError::Alone { annotation: (*annotation).into(), needed }),
            None => Ok(()),
        }
    }

    fn groups(&self, before: Option<Groups>) -> Result<Option<Groups>, PolicyError> {
        let label = self.text(GROUPS).filter(|_| !self.is_none(GROUPS));
        let before = before.filter(|_| !self.is_none(GROUPS));
        let Some(mut groups) = before.or_else(|| label.map(|label| Groups::by(label.clone()))) else {
            self.expect_none_of(&[GROUP_PACE, GROUP_ORDER, GROUP_MAX_UNAVAILABLE], GROUPS)?;
            return Ok(None);
        };
        if let Some(label) = label {
            if label.trim().is_empty() {
                return Err(invalid(GROUPS, "a node label", label));
            }
            groups.label = label.trim().into();
        }
        self.set(&mut groups.pace, GROUP_PACE, "one-at-a-time or spread")?;
        if let Some(first) = self.text(GROUP_ORDER) {
            groups.first = first.split(',').map(|name| name.trim().into()).collect();
        }
        self.set_or_none(&mut groups.max_unavailable, GROUP_MAX_UNAVAILABLE, NODES)?;
        Ok(Some(groups))
    }

    fn canary(&self, before: Option<Canary>) -> Result<Option<Canary>, PolicyError> {
        let (mut count, mut matching) = (None, None);
        self.set_or_none(&mut count, CANARY, NODES)?;
        self.set_selector(&mut matching, CANARY_NODES)?;
        let nodes = match (count, matching) {
            (Some(_), Some(_)) => {
                return Err(PolicyError::Contradiction { annotation: CANARY_NODES.into(), other: CANARY });
            }
            (Some(count), None) => Some(CanaryNodes::Count(count)),
            (None, Some(selector)) => Some(CanaryNodes::Matching(selector)),
            (None, None) => None,
        };
        let before = before.filter(|_| !self.is_none(CANARY) && !self.is_none(CANARY_NODES));
        let Some(mut canary) = before.or_else(|| nodes.clone().map(Canary::on)) else {
            self.expect_none_of(&[CANARY_BAKE, CANARY_APPROVAL], CANARY)?;
            return Ok(None);
        };
        canary.nodes = nodes.unwrap_or(canary.nodes);
        if let Some(Span(bake)) = self.get(CANARY_BAKE, DURATION)? {
            canary.bake = bake;
        }
        if let Some(text) = self.text(CANARY_APPROVAL) {
            canary.approval = match text.trim() {
                "manual" => Approval::Needed { approved: None },
                "automatic" => Approval::NotNeeded,
                _ => return Err(invalid(CANARY_APPROVAL, "manual or automatic", text)),
            };
        }
        if let (Approval::Needed { approved }, Some(hash)) = (&mut canary.approval, self.text(CANARY_APPROVED)) {
            *approved = Some(hash.trim().into());
        }
        Ok(Some(canary))
    }

    fn failure(&self, before: Option<FailurePolicy>) -> Result<Option<FailurePolicy>, PolicyError> {
        let mut then = None;
        self.set_or_none(&mut then, ON_FAILURE, "pause or roll-back")?;
        let before = before.filter(|_| !self.is_none(ON_FAILURE));
        let Some(mut failure) = before.or_else(|| then.map(FailurePolicy::then)) else {
            self.expect_none_of(&[MAX_RESTARTS, AVAILABLE_WITHIN, MAX_FAILURES], ON_FAILURE)?;
            return Ok(None);
        };
        failure.then = then.unwrap_or(failure.then);
        self.set(&mut failure.max_restarts, MAX_RESTARTS, "a number of restarts")?;
        self.set(&mut failure.max_failures, MAX_FAILURES, NODES)?;
        let mut within = failure.available_within.map(Span);
        self.set_or_none(&mut within, AVAILABLE_WITHIN, DURATION)?;
        failure.available_within = within.map(|Span(within)| within);
        Ok(Some(failure))
    }
}

fn invalid(annotation: &str, expected: &'static str, text: &Text) -> PolicyError {
    PolicyError::Invalid { annotation: annotation.into(), expected, text: text.clone() }
}

/// A duration in text form, such as `90s` or `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span(Duration);

impl FromStr for Span {
    type Err = InvalidPolicyText;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyText> {
        let span: SignedDuration = text.parse().map_err(|_| InvalidPolicyText)?;
        Ok(Self(span.try_into().map_err(|_| InvalidPolicyText)?))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX))
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

impl FromStr for OnFailure {
    type Err = InvalidPolicyText;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyText> {
        match text {
            "pause" => Ok(Self::Pause),
            "roll-back" => Ok(Self::RollBack),
            _ => Err(InvalidPolicyText),
        }
    }
}

impl FromStr for ExcludedNodes {
    type Err = InvalidPolicyText;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyText> {
        let mut away = Self::default();
        if text == NONE {
            return Ok(away);
        }
        for part in text.split(',') {
            let (name, after) = part.trim().split_once('=').unwrap_or((part.trim(), "0s"));
            let Span(after) = after.parse()?;
            let field = match name {
                "not-ready" => &mut away.not_ready,
                "unreachable" => &mut away.unreachable,
                "cordoned" => &mut away.cordoned,
                "deleted" => &mut away.deleted,
                _ => return Err(InvalidPolicyText),
            };
            *field = Some(after);
        }
        Ok(away)
    }
}

impl fmt::Display for ExcludedNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { not_ready, unreachable, cordoned, deleted } = *self;
        let all =
            [("not-ready", not_ready), ("unreachable", unreachable), ("cordoned", cordoned), ("deleted", deleted)];
        let written = all.into_iter().filter_map(|(name, after)| match after? {
            Duration::ZERO => Some(name.to_owned()),
            after => Some(format!("{name}={}", Span(after))),
        });
        f.write_str(&written.collect::<Vec<_>>().join(","))
    }
}

//! Reading and writing policies as annotations of a DaemonSet.

use std::{fmt, str::FromStr, time::Duration};

use super::{
    Canary, CanaryNodes, ExcludedNodes, FailurePolicy, Groups, OnFailure, Order, PolicyError, RolloutPolicy,
    canary::RevisionHash, record::RECORD, span::Span,
};
use crate::{
    model::{IntOrPercent, Labels, Text},
    selector::SelectorExpression,
};

const PAUSED: &str = "paused";
const FROZEN: &str = "frozen";
const UPDATE_NODES: &str = "update-nodes";
const PARTITION: &str = "partition";
const ORDER: &str = "order";
const GROUPS: &str = "groups";
const GROUP_PACE: &str = "group-pace";
const GROUP_ORDER: &str = "group-order";
const GROUP_MAX_UNAVAILABLE: &str = "group-max-unavailable";
const STRICT_BUDGET: &str = "strict-budget";
const SLOW_START: &str = "slow-start";
const AWAY: &str = "away";
const MAX_AWAY: &str = "max-away";
const CANARY: &str = "canary";
const CANARY_NODES: &str = "canary-nodes";
const CANARY_BAKE: &str = "canary-bake";
const CANARY_APPROVAL: &str = "canary-approval";
pub(crate) const CANARY_APPROVED: &str = "canary-approved";
pub(crate) const CANARY_PROMOTED: &str = "canary-promoted";
const CANARY_TIMEOUT: &str = "canary-timeout";
const ON_FAILURE: &str = "on-failure";
const PAUSE_RESTARTS: &str = "pause-restarts";
const MAX_RESTARTS: &str = "max-restarts";
const START_GRACE: &str = "start-grace";
const AVAILABLE_WITHIN: &str = "available-within";
const MAX_FAILURES: &str = "max-failures";
const BACKOFF: &str = "backoff";

/// The value that removes a policy of the settings.
const NONE: &str = "none";

impl RolloutPolicy {
    /// The prefix of all policy annotations, unless the settings [say otherwise](crate::Settings::policy_prefix).
    pub const PREFIX: &str = "daemonplan/";

    /// The names of all policies: annotations without their prefix, or flags.
    pub const NAMES: &[&str] = &[
        PAUSED,
        FROZEN,
        UPDATE_NODES,
        PARTITION,
        ORDER,
        GROUPS,
        GROUP_PACE,
        GROUP_ORDER,
        GROUP_MAX_UNAVAILABLE,
        STRICT_BUDGET,
        SLOW_START,
        AWAY,
        MAX_AWAY,
        CANARY,
        CANARY_NODES,
        CANARY_BAKE,
        CANARY_APPROVAL,
        CANARY_APPROVED,
        CANARY_PROMOTED,
        CANARY_TIMEOUT,
        ON_FAILURE,
        PAUSE_RESTARTS,
        MAX_RESTARTS,
        START_GRACE,
        AVAILABLE_WITHIN,
        MAX_FAILURES,
        BACKOFF,
    ];

    /// Returns this policy, overridden by the annotations of a DaemonSet with the prefix [`RolloutPolicy::PREFIX`].
    ///
    /// # Errors
    /// If an annotation with the prefix is unknown or invalid.
    pub fn annotated(self, annotations: &Labels) -> Result<Self, PolicyError> {
        self.annotated_under(Self::PREFIX, annotations)
    }

    /// Returns this policy, overridden by the annotations of a DaemonSet with another prefix, such as `rollouts.example.com/`.
    ///
    /// # Errors
    /// If an annotation with the prefix is unknown or invalid.
    ///
    /// ```
    /// use daemonplan::{RolloutPolicy, model::Labels};
    /// let annotations = Labels::from([("rollouts.example.com/paused", "true")]);
    /// assert!(RolloutPolicy::default().annotated_under("rollouts.example.com/", &annotations)?.paused);
    /// # Ok::<(), daemonplan::policy::PolicyError>(())
    /// ```
    pub fn annotated_under(mut self, prefix: &str, annotations: &Labels) -> Result<Self, PolicyError> {
        let read = Reader { prefix, annotations };
        for (key, _) in annotations {
            let name = key.strip_prefix(prefix);
            if name.is_some_and(|name| !Self::NAMES.contains(&name) && name != RECORD) {
                return Err(PolicyError::Unknown { annotation: key.clone() });
            }
        }
        read.set(&mut self.paused, PAUSED, BOOLEAN)?;
        read.set(&mut self.frozen, FROZEN, BOOLEAN)?;
        read.set_selector(&mut self.update_nodes, UPDATE_NODES)?;
        read.set_or_none(&mut self.partition, PARTITION, NODES)?;
        read.set(&mut self.order, ORDER, "name, oldest-pod, priority=LABEL or random=SEED")?;
        read.set(&mut self.strict_budget, STRICT_BUDGET, BOOLEAN)?;
        read.set_or_none(&mut self.slow_start, SLOW_START, NODES)?;
        read.set(
            &mut self.away,
            AWAY,
            "a list of not-ready, unreachable, cordoned, deleted and unschedulable, each optionally with =DURATION",
        )?;
        if self.away == ExcludedNodes::default() {
            self.max_away = None;
            read.expect_none_of(&[MAX_AWAY], AWAY)?;
        }
        read.set_or_none(&mut self.max_away, MAX_AWAY, NODES)?;
        self.groups = read.groups(self.groups)?;
        self.canary = read.canary(self.canary)?;
        self.failure = read.failure(self.failure)?;
        if self.failure.is_none()
            && let Some(canary) = &mut self.canary
        {
            canary.timeout = None;
            read.expect_none_of(&[CANARY_TIMEOUT], ON_FAILURE)?;
        }
        let mut backoff = BackoffRule(self.backoff_by_reason);
        read.set(&mut backoff, BACKOFF, "plain or by-reason")?;
        self.backoff_by_reason = backoff.0;
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

    /// Returns the annotations that describe this policy, with the prefix [`RolloutPolicy::PREFIX`].
    ///
    /// ```
    /// use daemonplan::{RolloutPolicy, model::IntOrPercent};
    /// let mut policy = RolloutPolicy::default();
    /// policy.partition = Some(IntOrPercent::Int(3));
    /// assert_eq!(policy.annotations().get("daemonplan/partition"), Some("3"));
    /// ```
    pub fn annotations(&self) -> Labels {
        let Self { paused, frozen, update_nodes, partition, order, groups, strict_budget, slow_start, .. } = self;
        let Self { away, max_away, .. } = self;
        let mut all: Vec<(&str, String)> = Vec::new();
        all.extend(paused.then(|| (PAUSED, "true".into())));
        all.extend(frozen.then(|| (FROZEN, "true".into())));
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
        all.extend(slow_start.iter().map(|nodes| (SLOW_START, nodes.to_string())));
        all.extend((*away != ExcludedNodes::default()).then(|| (AWAY, away.to_string())));
        all.extend(max_away.iter().map(|nodes| (MAX_AWAY, nodes.to_string())));
        if let Some(Canary { nodes, bake, approval, approved, promoted, timeout }) = &self.canary {
            all.push(match nodes {
                CanaryNodes::Steps(steps) => (CANARY, list(steps)),
                CanaryNodes::Matching(selector) => (CANARY_NODES, selector.to_string()),
            });
            all.extend((!bake.is_empty()).then(|| (CANARY_BAKE, list(bake.iter().copied().map(Span)))));
            all.extend((!approval.is_empty()).then(|| (CANARY_APPROVAL, list(approval))));
            all.extend(approved.iter().map(|approved| (CANARY_APPROVED, approved.to_string())));
            all.extend(promoted.iter().map(|hash| (CANARY_PROMOTED, hash.to_string())));
            all.extend(timeout.iter().map(|timeout| (CANARY_TIMEOUT, Span(*timeout).to_string())));
        }
        if let Some(failure) = &self.failure {
            let FailurePolicy { pause_restarts, max_restarts, start_grace, available_within, max_failures, then } =
                failure;
            all.push((ON_FAILURE, then.to_string()));
            all.push((PAUSE_RESTARTS, pause_restarts.to_string()));
            all.push((MAX_RESTARTS, max_restarts.to_string()));
            all.push((START_GRACE, Span(*start_grace).to_string()));
            all.push((MAX_FAILURES, max_failures.to_string()));
            all.extend(available_within.iter().map(|within| (AVAILABLE_WITHIN, Span(*within).to_string())));
        }
        all.extend(self.backoff_by_reason.then(|| (BACKOFF, "by-reason".into())));
        all.into_iter().map(|(name, value)| (format!("{}{name}", Self::PREFIX), value)).collect()
    }
}

/// Several values, separated by commas.
fn list(values: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let values: Vec<_> = values.into_iter().map(|value| value.to_string()).collect();
    values.join(", ")
}

const BOOLEAN: &str = "true or false";
const NODES: &str = "a number of nodes or a percentage";
const DURATION: &str = "a duration such as 90s, 10m or 1h30m";
const LONGER: &str = "a duration of a second or more, such as 90s, 10m or 1h30m";

/// The annotations under one prefix.
struct Reader<'a> {
    prefix: &'a str,
    annotations: &'a Labels,
}

/// What an annotation says.
enum Setting<T> {
    /// There is none.
    Absent,
    /// It removes what the settings say.
    None,
    Value(T),
}

impl Reader<'_> {
    fn key(&self, name: &str) -> Text {
        format!("{}{name}", self.prefix).into()
    }

    fn text(&self, name: &str) -> Setting<&str> {
        let is_it = |key: &str| key.strip_prefix(self.prefix) == Some(name);
        let value = self.annotations.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value.trim());
        match value {
            None => Setting::Absent,
            Some(NONE) => Setting::None,
            Some(text) => Setting::Value(text),
        }
    }

    fn get<T: FromStr>(&self, name: &str, expected: &'static str) -> Result<Setting<T>, PolicyError> {
        Ok(match self.text(name) {
            Setting::Absent => Setting::Absent,
            Setting::None => Setting::None,
            Setting::Value(text) => Setting::Value(text.parse().map_err(|_| self.invalid(name, expected, text))?),
        })
    }

    fn invalid(&self, name: &str, expected: &'static str, text: &str) -> PolicyError {
        PolicyError::Invalid { annotation: self.key(name), expected, text: text.into() }
    }

    /// Sets a field; `none` sets its default.
    fn set<T: FromStr + Default>(&self, field: &mut T, name: &str, expected: &'static str) -> Result<(), PolicyError> {
        self.set_or(field, name, expected, T::default())
    }

    fn set_or<T: FromStr>(
        &self,
        field: &mut T,
        name: &str,
        expected: &'static str,
        default: T,
    ) -> Result<(), PolicyError> {
        match self.get(name, expected)? {
            Setting::Absent => {}
            Setting::None => *field = default,
            Setting::Value(value) => *field = value,
        }
        Ok(())
    }

    fn set_or_none<T: FromStr>(
        &self,
        field: &mut Option<T>,
        name: &str,
        expected: &'static str,
    ) -> Result<(), PolicyError> {
        match self.get(name, expected)? {
            Setting::Absent => {}
            Setting::None => *field = None,
            Setting::Value(value) => *field = Some(value),
        }
        Ok(())
    }

    fn set_span(&self, field: &mut Duration, name: &str, default: Duration) -> Result<(), PolicyError> {
        let mut span = Span(*field);
        self.set_or(&mut span, name, DURATION, Span(default))?;
        *field = span.0;
        Ok(())
    }

    /// Sets a duration that cannot be zero.
    fn set_limit(&self, field: &mut Option<Duration>, name: &str) -> Result<(), PolicyError> {
        let mut span = field.map(Span);
        self.set_or_none(&mut span, name, LONGER)?;
        if span.is_some_and(|Span(span)| span.is_zero()) {
            return Err(self.invalid(name, LONGER, "0s"));
        }
        *field = span.map(|Span(span)| span);
        Ok(())
    }

    /// Reads values that are separated by commas.
    fn list<T: FromStr>(&self, name: &str, expected: &'static str) -> Result<Setting<Vec<T>>, PolicyError> {
        Ok(match self.text(name) {
            Setting::Absent => Setting::Absent,
            Setting::None => Setting::None,
            Setting::Value(text) => {
                let values: Result<_, _> = text.split(',').map(|value| value.trim().parse()).collect();
                Setting::Value(values.map_err(|_| self.invalid(name, expected, text))?)
            }
        })
    }

    /// Sets what each of the canaries' steps has; `none` removes it from all.
    fn set_of_steps<T: FromStr>(
        &self,
        field: &mut Vec<T>,
        name: &str,
        expected: &'static str,
        steps: usize,
    ) -> Result<(), PolicyError> {
        match self.list(name, expected)? {
            Setting::Absent => {}
            Setting::None => field.clear(),
            Setting::Value(values) if values.len() <= steps => *field = values,
            Setting::Value(_) => {
                let text = self.annotations.get(&self.key(name)).unwrap_or_default();
                return Err(self.invalid(name, "at most one value for each step of the canaries", text));
            }
        }
        Ok(())
    }

    fn set_selector(&self, field: &mut Option<SelectorExpression>, name: &str) -> Result<(), PolicyError> {
        match self.text(name) {
            Setting::Absent => {}
            Setting::None => *field = None,
            Setting::Value(text) => {
                let read = text.parse();
                let unread = |error| PolicyError::Selector { annotation: self.key(name), text: text.into(), error };
                *field = Some(read.map_err(unread)?);
            }
        }
        Ok(())
    }

    fn is_none(&self, name: &str) -> bool {
        matches!(self.text(name), Setting::None)
    }

    /// Expects that none of these sets anything, because `needed` is missing.
    fn expect_none_of(&self, names: &[&str], needed: &str) -> Result<(), PolicyError> {
        match names.iter().find(|name| matches!(self.text(name), Setting::Value(_))) {
            Some(name) => Err(PolicyError::Alone { annotation: self.key(name), needed: self.key(needed) }),
            None => Ok(()),
        }
    }

    fn groups(&self, before: Option<Groups>) -> Result<Option<Groups>, PolicyError> {
        let (mut groups, label) = match self.text(GROUPS) {
            Setting::Absent => (before, None),
            Setting::None => (None, None),
            Setting::Value("") => return Err(self.invalid(GROUPS, "a node label", "")),
            Setting::Value(label) => (before.or_else(|| Some(Groups::by(label))), Some(label)),
        };
        let Some(groups) = &mut groups else {
            self.expect_none_of(&[GROUP_PACE, GROUP_ORDER, GROUP_MAX_UNAVAILABLE], GROUPS)?;
            return Ok(None);
        };
        groups.label = label.map_or_else(|| groups.label.clone(), Text::from);
        self.set(&mut groups.pace, GROUP_PACE, "one-at-a-time or spread")?;
        match self.text(GROUP_ORDER) {
            Setting::Absent => {}
            Setting::None => groups.first.clear(),
            Setting::Value(first) => groups.first = first.split(',').map(|name| name.trim().into()).collect(),
        }
        self.set_or_none(&mut groups.max_unavailable, GROUP_MAX_UNAVAILABLE, NODES)?;
        Ok(Some(groups.clone()))
    }

    fn canary(&self, before: Option<Canary>) -> Result<Option<Canary>, PolicyError> {
        let mut matching = None;
        self.set_selector(&mut matching, CANARY_NODES)?;
        let nodes = match (self.steps()?, matching) {
            (Some(_), Some(_)) => {
                let [annotation, other] = [CANARY_NODES, CANARY].map(|name| self.key(name));
                return Err(PolicyError::Contradiction { annotation, other });
            }
            (Some(steps), None) => Some(CanaryNodes::Steps(steps)),
            (None, Some(selector)) => Some(CanaryNodes::Matching(selector)),
            (None, None) => None,
        };
        let before = before.filter(|_| !self.is_none(CANARY) && !self.is_none(CANARY_NODES));
        let Some(mut canary) = before.or_else(|| nodes.clone().map(Canary::on)) else {
            self.expect_none_of(&[CANARY_BAKE, CANARY_APPROVAL, CANARY_TIMEOUT], CANARY)?;
            return Ok(None);
        };
        canary.nodes = nodes.unwrap_or(canary.nodes);
        let steps = canary.steps();
        let mut bake: Vec<_> = canary.bake.iter().copied().map(Span).collect();
        self.set_of_steps(&mut bake, CANARY_BAKE, DURATION, steps)?;
        canary.bake = bake.into_iter().map(|Span(bake)| bake).collect();
        self.set_of_steps(&mut canary.approval, CANARY_APPROVAL, "manual or automatic", steps)?;
        self.set_or_none(&mut canary.approved, CANARY_APPROVED, "the hash of a revision, or HASH/STEP")?;
        let mut promoted = canary.promoted.map(RevisionHash);
        self.set_or_none(&mut promoted, CANARY_PROMOTED, "the hash of a revision")?;
        canary.promoted = promoted.map(|RevisionHash(hash)| hash);
        self.set_limit(&mut canary.timeout, CANARY_TIMEOUT)?;
        if let Some(timeout) = canary.timeout.filter(|timeout| *timeout <= canary.longest_bake()) {
            // Every template would fail.
            return Err(self.invalid(CANARY_TIMEOUT, "more than canary-bake", &Span(timeout).to_string()));
        }
        Ok(Some(canary))
    }

    /// The numbers of canaries by step, ascending: numbers and percentages cannot be compared with each other.
    fn steps(&self) -> Result<Option<Vec<IntOrPercent>>, PolicyError> {
        let expected = "numbers of nodes or percentages, in ascending order";
        let Setting::Value(steps) = self.list(CANARY, expected)? else { return Ok(None) };
        let ascends = |pair: &[IntOrPercent]| match pair {
            [IntOrPercent::Int(first), IntOrPercent::Int(next)]
            | [IntOrPercent::Percent(first), IntOrPercent::Percent(next)] => first < next,
            _ => true,
        };
        if steps.windows(2).all(ascends) {
            return Ok(Some(steps));
        }
        Err(self.invalid(CANARY, expected, &list(steps)))
    }

    fn failure(&self, before: Option<FailurePolicy>) -> Result<Option<FailurePolicy>, PolicyError> {
        let mut then = None;
        self.set_or_none(&mut then, ON_FAILURE, "pause or roll-back")?;
        let before = before.filter(|_| !self.is_none(ON_FAILURE));
        let Some(mut failure) = before.or_else(|| then.map(FailurePolicy::then)) else {
            let needy = [PAUSE_RESTARTS, MAX_RESTARTS, START_GRACE, AVAILABLE_WITHIN, MAX_FAILURES];
            self.expect_none_of(&needy, ON_FAILURE)?;
            return Ok(None);
        };
        failure.then = then.unwrap_or(failure.then);
        let default = FailurePolicy::then(OnFailure::Pause);
        let restarts = "a number of restarts";
        self.set_or(&mut failure.pause_restarts, PAUSE_RESTARTS, restarts, default.pause_restarts)?;
        self.set_or(&mut failure.max_restarts, MAX_RESTARTS, restarts, default.max_restarts)?;
        self.set_or(&mut failure.max_failures, MAX_FAILURES, NODES, default.max_failures)?;
        self.set_span(&mut failure.start_grace, START_GRACE, default.start_grace)?;
        self.set_limit(&mut failure.available_within, AVAILABLE_WITHIN)?;
        Ok(Some(failure))
    }
}

/// `plain` or `by-reason`, the latter as `true`.
#[derive(Default)]
struct BackoffRule(bool);

impl FromStr for BackoffRule {
    type Err = fmt::Error;

    fn from_str(text: &str) -> Result<Self, fmt::Error> {
        match text {
            "by-reason" => Ok(Self(true)),
            "plain" => Ok(Self(false)),
            _ => Err(fmt::Error),
        }
    }
}

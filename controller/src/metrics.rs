//! Prometheus metrics.

use std::{fmt, time::Duration};

use daemonplan::Key;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::{
    state::{Moment, State},
    watched::Watch,
};

/// All metrics of the controller.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Plans made.
    pub plans: Counter,
    /// Actions by kind, reason and result.
    pub actions: Family<ActionLabels, Counter>,
    /// Failed writes by action and HTTP status.
    pub errors: Family<ErrorLabels, Counter>,
    /// Time to make a plan, in seconds.
    pub plan_time: Histogram,
    /// Time from the response to a write until the watch shows it, in seconds.
    pub watch_lag: Histogram,
    /// Time from a change of the status until it was written, in seconds.
    status_delay: Histogram,
    /// Attempts to carry out a plan that failed, by DaemonSet.
    pub failed_attempts: Family<DaemonSetLabels, Counter>,
    update_nodes_left: Family<DaemonSetLabels, Gauge>,
    /// Watch events received.
    pub watch_events: Family<KindLabel, Counter>,
    /// Failed watches.
    pub watch_errors: Family<KindLabel, Counter>,
    /// Invalid objects.
    pub unreadable: Family<KindLabel, Counter>,
    /// Writes that no watch showed in time.
    pub never_shown: Counter,
    /// Kubernetes Events dropped by the rate limit or a full queue.
    pub events_dropped: Counter,
    /// Whether this replica is the leader: 0 or 1.
    pub leads: Gauge,
    stale: Gauge,
    in_flight: Gauge,
    expected: Gauge,
}

/// Labels of an action: kind, reason and result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ActionLabels {
    /// The action, such as `CreatePod`.
    pub action: &'static str,
    /// The planner's reason, such as `NoPod`.
    pub reason: &'static str,
    /// `done`, `failed`, or `dry-run`.
    pub result: &'static str,
}

/// Labels of a failed write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    /// The action.
    pub action: &'static str,
    /// The HTTP status, or a word such as `unanswered`.
    pub code: String,
}

/// The labels of a DaemonSet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DaemonSetLabels {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub daemonset: String,
}

impl DaemonSetLabels {
    /// Returns the labels of the DaemonSet `key`.
    pub fn of(key: &Key) -> Self {
        Self { namespace: key.namespace.to_string(), daemonset: key.name.to_string() }
    }
}

/// The label of a watched kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// The kind, such as `Pod`.
    pub kind: &'static str,
}

impl KindLabel {
    /// Returns the label of `T`.
    pub fn of<T: Watch>() -> Self {
        Self { kind: T::NAMES.0 }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = |first, count| Histogram::new(exponential_buckets(first, 4.0, count));
        let mut metrics = Self {
            registry: Registry::with_prefix("daemonplan"),
            plans: Counter::default(),
            actions: Family::default(),
            errors: Family::default(),
            plan_time: seconds(1e-6, 12),
            watch_lag: seconds(1e-3, 10),
            status_delay: seconds(1e-2, 8),
            failed_attempts: Family::default(),
            update_nodes_left: Family::default(),
            watch_events: Family::default(),
            watch_errors: Family::default(),
            unreadable: Family::default(),
            never_shown: Counter::default(),
            events_dropped: Counter::default(),
            leads: Gauge::default(),
            stale: Gauge::default(),
            in_flight: Gauge::default(),
            expected: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("plans", "Plans made", metrics.plans.clone());
        registry.register("actions", "Actions by kind, reason and result", metrics.actions.clone());
        registry.register("write_errors", "Failed writes by action and HTTP status", metrics.errors.clone());
        let lag = metrics.watch_lag.clone();
        registry.register_with_unit("plan_time", "Time to make a plan", Unit::Seconds, metrics.plan_time.clone());
        registry.register_with_unit(
            "watch_lag",
            "Time from the response to a write until the watch shows it",
            Unit::Seconds,
            lag,
        );
        registry.register_with_unit(
            "status_delay",
            "Time from a change of a DaemonSet's status until it was written",
            Unit::Seconds,
            metrics.status_delay.clone(),
        );
        registry.register(
            "failed_attempts",
            "Attempts to carry out a plan that failed",
            metrics.failed_attempts.clone(),
        );
        registry.register(
            "update_nodes_left",
            "Nodes that an update still has to reach, unless its policy holds it; of the leader",
            metrics.update_nodes_left.clone(),
        );
        registry.register("watch_events", "Watch events received", metrics.watch_events.clone());
        registry.register("watch_errors", "Failed watches", metrics.watch_errors.clone());
        registry.register("unreadable_objects", "Invalid objects", metrics.unreadable.clone());
        registry.register("writes_never_shown", "Writes that no watch showed in time", metrics.never_shown.clone());
        registry.register(
            "events_dropped",
            "Kubernetes Events dropped by the rate limit or a full queue",
            metrics.events_dropped.clone(),
        );
        registry.register("leader", "Whether this replica is the leader", metrics.leads.clone());
        registry.register("queue_depth", "DaemonSets whose plan may have changed", metrics.stale.clone());
        registry.register("in_flight", "DaemonSets with a job in flight", metrics.in_flight.clone());
        registry.register("writes_not_shown", "Writes that the watches do not show yet", metrics.expected.clone());
        metrics
    }
}

impl Metrics {
    /// Encodes all metrics in the `OpenMetrics` text format; those of the state are read now.
    ///
    /// # Errors
    /// If encoding fails, which writing to a string does not.
    pub fn text(&self, state: &State, now: Moment) -> Result<String, fmt::Error> {
        let load = state.load(now);
        let set = |gauge: &Gauge, count: usize| gauge.set(count.try_into().unwrap_or(i64::MAX));
        set(&self.stale, load.stale);
        set(&self.in_flight, load.in_flight);
        set(&self.expected, load.expected);
        self.update_nodes_left.clear();
        for (key, left) in state.updates().filter(|_| self.leads.get() == 1) {
            set(&self.update_nodes_left.get_or_create(&DaemonSetLabels::of(key)), left);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Observes the time from a change of a status until it was written.
    pub fn status_delay(&self, delay: Duration) {
        self.status_delay.observe(delay.as_secs_f64());
    }

    /// Observes the time from a write until the watch showed it.
    pub fn lagged(&self, lag: Duration) {
        self.watch_lag.observe(lag.as_secs_f64());
    }
}

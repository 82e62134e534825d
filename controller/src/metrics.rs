//! What Prometheus is told.

use std::{fmt, time::Duration};

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

use crate::{state::Load, watched::Watch};

/// All metrics, to be counted up anywhere.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Plans made.
    pub plans: Counter,
    /// Actions carried out or not.
    pub actions: Family<ActionLabels, Counter>,
    /// Requests that came to nothing.
    pub errors: Family<ErrorLabels, Counter>,
    /// How long a plan takes.
    pub plan_time: Histogram,
    /// How long it takes until a write shows in the watch.
    pub watch_lag: Histogram,
    /// Events of the watches.
    pub watch_events: Family<KindLabel, Counter>,
    /// Watches that broke off.
    pub watch_errors: Family<KindLabel, Counter>,
    /// Objects that could not be read.
    pub unreadable: Family<KindLabel, Counter>,
    /// Writes that were never seen in the watch.
    pub never_shown: Counter,
    /// Events that were not emitted, being too many.
    pub events_dropped: Counter,
    /// Whether this one leads: 0 or 1.
    pub leads: Gauge,
    stale: Gauge,
    in_flight: Gauge,
    expected: Gauge,
}

/// An action by what it is, why, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ActionLabels {
    /// The action, such as `CreatePod`.
    pub action: &'static str,
    /// The planner's reason, such as `NoPod`.
    pub reason: &'static str,
    /// `done`, `failed`, or `dry-run`.
    pub result: &'static str,
}

/// What failed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    /// The action.
    pub action: &'static str,
    /// The HTTP status, or `unanswered`.
    pub code: String,
}

/// A kind of objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// Such as `Pod`.
    pub kind: &'static str,
}

impl KindLabel {
    /// That of a kind that is watched.
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
        registry.register(
            "write_errors",
            "Writes that came to nothing, by action and HTTP status",
            metrics.errors.clone(),
        );
        let lag = metrics.watch_lag.clone();
        registry.register_with_unit("plan_time", "Time to make a plan", Unit::Seconds, metrics.plan_time.clone());
        registry.register_with_unit(
            "watch_lag",
            "Time from the answer to a write until the watch shows it",
            Unit::Seconds,
            lag,
        );
        registry.register("watch_events", "Events of the watches", metrics.watch_events.clone());
        registry.register("watch_errors", "Watches that broke off", metrics.watch_errors.clone());
        registry.register("unreadable_objects", "Objects that could not be read", metrics.unreadable.clone());
        registry.register("writes_never_shown", "Writes that no watch has shown in time", metrics.never_shown.clone());
        registry.register(
            "events_dropped",
            "Kubernetes Events not emitted, being too many",
            metrics.events_dropped.clone(),
        );
        registry.register("leader", "Whether this one leads", metrics.leads.clone());
        registry.register("queue_depth", "DaemonSets whose plan may have changed", metrics.stale.clone());
        registry.register("in_flight", "DaemonSets that are being worked for", metrics.in_flight.clone());
        registry.register("writes_not_shown", "Writes that the watches do not show yet", metrics.expected.clone());
        metrics
    }
}

impl Metrics {
    /// In the text format `OpenMetrics`.
    ///
    /// # Errors
    /// None that the registry could have.
    pub fn text(&self, load: Load) -> Result<String, fmt::Error> {
        let set = |gauge: &Gauge, count: usize| gauge.set(count.try_into().unwrap_or(i64::MAX));
        set(&self.stale, load.stale);
        set(&self.in_flight, load.in_flight);
        set(&self.expected, load.expected);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A write shows so long after it was done.
    pub fn lagged(&self, lag: Duration) {
        self.watch_lag.observe(lag.as_secs_f64());
    }
}

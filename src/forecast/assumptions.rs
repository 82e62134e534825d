//! The assumptions of a forecast about pods and nodes.

use std::{fmt, time::Duration};

use oorandom::Rand64;
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{
    adoption::claim::controls_pod,
    model::Readiness,
    planner::Snapshot,
    util::{duration, fnv::Fnv},
};

/// The assumptions of a forecast about pods and nodes.
///
/// ```
/// use std::time::Duration;
/// use daemonplan::forecast::{Assumptions, Delay};
/// let startup = Delay::LogNormal { median: Duration::from_secs(8), p90: Duration::from_secs(30) };
/// let assumptions = Assumptions::default().seed(7).startup(startup).failure_rate(0.01);
/// assert_eq!(assumptions.to_string(), "pods start within 8s (p50) to 30s (p90) and stop within 5s; \
///     1 % never start; not Ready after 10m counts as failed; seed 7");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Assumptions {
    pub(super) seed: u64,
    pub(super) startup: Delay,
    pub(super) shutdown: Delay,
    pub(super) failure_rate: f64,
    #[serde(serialize_with = "super::in_seconds", rename = "patienceSeconds")]
    pub(super) patience: Duration,
    #[serde(serialize_with = "super::in_seconds", rename = "horizonSeconds")]
    pub(super) horizon: Duration,
}

/// The distribution of the time that something takes.
///
/// ```
/// use std::time::Duration;
/// use daemonplan::forecast::Delay;
/// let delay = Delay::LogNormal { median: Duration::from_secs(8), p90: Duration::from_secs(70) };
/// assert_eq!(delay.to_string(), "within 8s (p50) to 1m 10s (p90)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Delay {
    /// Always the same time.
    Fixed(Duration),
    /// A log-normal distribution: mostly near the median, sometimes much longer.
    LogNormal {
        /// The p50: half of the times are shorter.
        median: Duration,
        /// The p90: 90 % of the times are shorter.
        p90: Duration,
    },
}

impl Default for Assumptions {
    /// Pods start within 10 s (p50) to 30 s (p90), stop within 5 s, and never fail. A pod that is not ready after
    /// 10 minutes counts as failed. The seed is 1, the horizon 30 days.
    fn default() -> Self {
        Self {
            seed: 1,
            startup: Delay::LogNormal { median: Duration::from_secs(10), p90: Duration::from_secs(30) },
            shutdown: Delay::Fixed(Duration::from_secs(5)),
            failure_rate: 0.0,
            patience: Duration::from_secs(10 * 60),
            horizon: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

impl Assumptions {
    /// New pods start and stop at once and never fail. Nodes that do not report stay so, and so do pods that have not been
    /// ready, or have been terminating, for longer than the patience.
    pub(crate) fn ideal() -> Self {
        let none = Delay::Fixed(Duration::ZERO);
        Self { startup: none, shutdown: none, ..Self::default() }
    }

    /// Sets the seed. Equal seeds produce equal forecasts.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets how long a pod takes from its creation until it is ready.
    #[must_use]
    pub fn startup(self, startup: Delay) -> Self {
        Self { startup, ..self }
    }

    /// Sets how long a pod takes from its deletion until it no longer exists.
    #[must_use]
    pub fn shutdown(self, shutdown: Delay) -> Self {
        Self { shutdown, ..self }
    }

    /// Sets the share of new pods that never become ready, from 0 (none) to 1 (all).
    #[must_use]
    pub fn failure_rate(self, failure_rate: f64) -> Self {
        Self { failure_rate, ..self }
    }

    /// Sets the age at which existing pods count as stuck. A pod that is not ready by then never becomes ready. A pod
    /// that has been terminating for this long stays.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Sets how far the forecast looks ahead.
    #[must_use]
    pub fn horizon(self, horizon: Duration) -> Self {
        Self { horizon, ..self }
    }
}

impl Delay {
    /// Returns how long the DaemonSet's pods took from their creation until they were ready; `None` if fewer than three
    /// are ready.
    ///
    /// A pod that became ready again also counts from its creation. A few such pods affect only the p90.
    pub fn observed(snapshot: &Snapshot<'_>) -> Option<Self> {
        const FEWEST: usize = 3;
        let own = snapshot.pods.iter().filter(|pod| controls_pod(snapshot.daemonset, pod));
        let times = own.filter_map(|pod| match (pod.ready, pod.created) {
            (Readiness::Ready { since: Some(since) }, Some(created)) => {
                Duration::try_from(since.duration_since(created)).ok()
            }
            _ => None,
        });
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        let percentile = |percent: usize| times.get((times.len() * percent).div_ceil(100).checked_sub(1)?).copied();
        let (median, p90) = (percentile(50)?, percentile(90)?);
        (times.len() >= FEWEST).then_some(if p90 > median && !median.is_zero() {
            Self::LogNormal { median, p90 }
        } else {
            Self::Fixed(median)
        })
    }

    /// Draws a time, in whole milliseconds.
    pub(super) fn sample(self, random: &mut Rand64) -> Duration {
        const LONGEST: f64 = 1e10;
        /// The p90 of the standard normal distribution.
        const Z90: f64 = 1.281_551_565_544_600_5;
        match self {
            Self::Fixed(duration) => duration,
            Self::LogNormal { median, p90 } => {
                let sigma = (p90.as_secs_f64() / median.as_secs_f64()).ln().max(0.0) / Z90;
                // The Box–Muller transform yields a normally distributed number.
                let (radius, angle) = (1.0 - random.rand_float(), random.rand_float() * std::f64::consts::TAU);
                let z = (-2.0 * radius.ln()).sqrt() * angle.cos();
                let milliseconds = (median.as_secs_f64() * (sigma * z).exp() * 1e3).round();
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped, and not negative
                Duration::from_millis(milliseconds.clamp(0.0, LONGEST) as u64)
            }
        }
    }
}

/// Returns the generator for the `number`-th draw on a node. It is independent of all other nodes.
pub(super) fn rng(seed: u64, node: &str, number: usize) -> Rand64 {
    let mut hash = Fnv::new();
    hash.write(node.as_bytes());
    Rand64::new((u128::from(seed) << 64 | u128::from(hash.finish())).wrapping_add(number as u128 * 0x9e37_79b9))
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(duration) => write!(f, "within {}", duration::words(*duration)),
            Self::LogNormal { median, p90 } => {
                write!(f, "within {} (p50) to {} (p90)", duration::words(*median), duration::words(*p90))
            }
        }
    }
}

impl fmt::Display for Assumptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pods start {} and stop {}; ", self.startup, self.shutdown)?;
        if self.failure_rate > 0.0 {
            write!(f, "{} % never start; ", self.failure_rate * 100.0)?;
        }
        write!(f, "not Ready after {} counts as failed; seed {}", duration::words(self.patience), self.seed)
    }
}

impl Serialize for Delay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (median, p90) = match self {
            Self::Fixed(duration) => (duration, duration),
            Self::LogNormal { median, p90 } => (median, p90),
        };
        let mut fields = serializer.serialize_struct("Delay", 2)?;
        fields.serialize_field("medianSeconds", &median.as_secs_f64())?;
        fields.serialize_field("p90Seconds", &p90.as_secs_f64())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_follow_the_distribution() {
        let (median, p90) = (Duration::from_secs(8), Duration::from_secs(30));
        let sample = |number| Delay::LogNormal { median, p90 }.sample(&mut rng(1, "node", number));
        let all: Vec<_> = (0..10_000).map(sample).collect();
        let below = |limit| all.iter().filter(|time| **time < limit).count();
        assert!((4_850..5_150).contains(&below(median)), "{}", below(median));
        assert!((8_900..9_100).contains(&below(p90)), "{}", below(p90));
        assert_eq!(all, (0..10_000).map(sample).collect::<Vec<_>>());
        assert_ne!(sample(1), Delay::LogNormal { median, p90 }.sample(&mut rng(2, "node", 1)));
        assert_ne!(sample(1), Delay::LogNormal { median, p90 }.sample(&mut rng(1, "other", 1)));
    }

    #[test]
    fn a_distribution_without_spread_is_a_fixed_time() {
        let second = Duration::from_secs(1);
        assert_eq!(Delay::LogNormal { median: second, p90: second }.sample(&mut rng(1, "node", 1)), second);
        assert_eq!(Delay::LogNormal { median: second, p90: Duration::ZERO }.sample(&mut rng(1, "node", 1)), second);
        let zero = Delay::LogNormal { median: Duration::ZERO, p90: Duration::ZERO };
        assert_eq!(zero.sample(&mut rng(1, "node", 1)), Duration::ZERO);
    }
}

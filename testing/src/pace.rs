//! How fast a cluster is.

use std::time::Duration;

/// Timing and faults of the nodes.
#[derive(Clone, Debug)]
pub struct Pace {
    /// The time from binding a pod until it is ready.
    pub start: Duration,
    /// The time from a pod's deletion until it is gone.
    pub stop: Duration,
    /// How often everything looks for what to do.
    pub tick: Duration,
    /// The percentage of pods that fail instead of becoming ready.
    pub failures: u8,
    /// Whether the garbage collectors and the namespace controller run.
    pub collects: bool,
}

impl Default for Pace {
    fn default() -> Self {
        let [start, stop, tick] = [30, 20, 5].map(Duration::from_millis);
        Self { start, stop, tick, failures: 0, collects: true }
    }
}

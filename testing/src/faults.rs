//! What goes wrong in the API server and on the way to it.

use std::time::Duration;

/// Faults of the API server, most with a probability from 0 to 1. None by default.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use daemonplan_testing::{Faults, Server};
/// let server = Server::start().await?;
/// server.store().faults = Faults { conflict: 0.1, done_and_failed: 0.05, ..Faults::default() };
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A request fails with 500 and is not done.
    pub refused: f64,
    /// A write is done and fails with 500.
    pub done_and_failed: f64,
    /// A request fails with 429.
    pub too_many: f64,
    /// A write fails with 409 and is not done; not for Events.
    pub conflict: f64,
    /// A write is done and the connection is closed.
    pub done_and_dropped: f64,
    /// A watch ends after an event.
    pub watch_ends: f64,
    /// How long a watch delays events.
    pub watch_lag: Duration,
    /// Watches of this resource show nothing, as if they hung.
    pub holds: Option<&'static str>,
    /// Reads of this resource are refused with 403.
    pub forbidden: Option<&'static str>,
    /// How many more creations of pods find their name taken by a pod of another owner, and the status of the response: 409, or
    /// 500 as before Kubernetes 1.23 where `generateName` is set.
    pub name_taken: Option<(u16, usize)>,
    /// How many more writes get a response; later ones hang until the client goes away. Leases and Events do not count.
    pub writes_left: Option<u64>,
}

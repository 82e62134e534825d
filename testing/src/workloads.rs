//! What else lives in a cluster: the scheduler, the kubelets and the garbage collectors.

use std::sync::Arc;

use tokio::{task::AbortHandle, time};

use crate::{garbage, kubelet::Kubelets, pace::Pace, scheduler::Scheduler, server::Server};

/// The scheduler, the kubelets and the garbage collectors of a cluster, which run until this is dropped.
///
/// A pod is bound by the rules of the default scheduler, becomes ready, and goes after its deletion. One whose image ends with
/// `:crashes` crashes for ever.
#[derive(Debug)]
#[must_use = "they stop when this is dropped"]
pub struct Workloads(AbortHandle);

impl Workloads {
    /// Starts them on the current Tokio runtime.
    pub fn start(server: &Server, pace: Pace) -> Self {
        let shared = Arc::clone(&server.shared);
        let running = tokio::spawn(async move {
            let (mut scheduler, mut kubelets) = (Scheduler::default(), Kubelets::default());
            let mut collected = 0;
            loop {
                {
                    let mut store = shared.store();
                    scheduler.schedule(&mut store);
                    kubelets.step(&mut store, &pace);
                    // What is collected can make more garbage.
                    let before = store.version();
                    if pace.collects && garbage::may_have_come(&store, collected) {
                        garbage::collect(&mut store);
                    }
                    collected = before;
                }
                time::sleep(pace.tick).await;
            }
        });
        Self(running.abort_handle())
    }
}

impl Drop for Workloads {
    fn drop(&mut self) {
        self.0.abort();
    }
}

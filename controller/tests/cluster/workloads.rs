//! The scheduler and the kubelets: bind pods, start them, let them crash, and remove deleted ones.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{
    garbage::collect_garbage,
    server::Server,
    store::{Id, Store, id, node_of, now},
};

/// Timing and faults of the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time from binding a pod until it is ready.
    pub start: Duration,
    /// Time from a pod's deletion until it is removed.
    pub stop: Duration,
    /// Interval of the simulation.
    pub tick: Duration,
    /// Percentage of pods that fail instead of becoming ready.
    pub failures: u8,
    /// Whether the garbage collectors run.
    pub collects: bool,
}

impl Default for Pace {
    fn default() -> Self {
        let [start, stop, tick] = [30, 20, 5].map(Duration::from_millis);
        Self { start, stop, tick, failures: 0, collects: true }
    }
}

/// Simulates kubelets and controllers until the token is cancelled.
pub fn live(server: &Server, pace: Pace) -> CancellationToken {
    let (end, server) = (CancellationToken::new(), server.clone());
    let ended = end.clone();
    tokio::spawn(async move {
        let mut life = Life::default();
        while !ended.is_cancelled() {
            life.step(&mut server.store(), pace);
            time::sleep(pace.tick).await;
        }
    });
    end
}

#[derive(Default)]
struct Life {
    /// When a pod was bound (`false`) or its deletion began (`true`), by uid.
    since: HashMap<(String, bool), Instant>,
}

impl Life {
    fn step(&mut self, store: &mut Store, pace: Pace) {
        let nodes: HashSet<String> = store.all("nodes").into_iter().map(|((.., name), _)| name).collect();
        for (id, pod) in store.all("pods") {
            self.pod(store, pace, &nodes, &id, &pod);
        }
        if pace.collects {
            collect_garbage(store);
        }
        for (id, namespace) in store.all("namespaces") {
            let empty = ["pods", "daemonsets", "controllerrevisions"]
                .iter()
                .all(|plural| store.all(plural).iter().all(|((_, space, _), _)| *space != id.2));
            if namespace["metadata"].get("deletionTimestamp").is_some() && empty {
                store.remove(&id);
            }
        }
    }

    fn pod(&mut self, store: &mut Store, pace: Pace, nodes: &HashSet<String>, id: &Id, pod: &Value) {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let being_deleted = pod["metadata"].get("deletionTimestamp").is_some();
        let mut waited = |what| self.since.entry((uid.clone(), what)).or_insert_with(Instant::now).elapsed();
        match pod["spec"]["nodeName"].as_str() {
            // The pod garbage collector.
            Some(node) if !nodes.contains(node) && (pace.collects || being_deleted) => store.remove(id),
            Some(node) if !nodes.contains(node) => {}
            // The kubelet.
            Some(_) if being_deleted => {
                if waited(true) >= pace.stop {
                    store.remove(id);
                }
            }
            Some(_) if pod["status"]["phase"] == "Pending" && waited(false) >= pace.start && crashes(pod) => {
                store.edit(id, |pod| {
                    let waiting = json!({"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
                    pod["status"] = json!({"phase": "Running", "containerStatuses": [waiting]});
                });
            }
            Some(_) if pod["status"]["phase"] == "Pending" && waited(false) >= pace.start => {
                let fails = fastrand::u8(..100) < pace.failures;
                store.edit(id, |pod| pod["status"] = if fails { json!({"phase": "Failed"}) } else { ready(true) });
            }
            Some(_) => {}
            // The scheduler.
            None => {
                if let Some(node) = node_of(pod).filter(|node| nodes.contains(node)) {
                    store.edit(id, |pod| pod["spec"]["nodeName"] = json!(node));
                }
            }
        }
    }
}

/// Returns whether a pod's image crashes.
fn crashes(pod: &Value) -> bool {
    pod["spec"]["containers"][0]["image"].as_str().is_some_and(|image| image.ends_with(":crashes"))
}

/// Returns the status of a running pod.
pub fn ready(ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": now()}]})
}

//! The kubelets: start pods, let them crash, and remove deleted ones.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{id::Id, objects::running, pace::Pace, store::Store, strategy};

/// What the kubelets wait for.
#[derive(Debug, Default)]
pub(crate) struct Kubelets {
    /// When a pod was seen first (`false`) or with its deletion (`true`), by uid.
    since: HashMap<(String, bool), Instant>,
}

impl Kubelets {
    /// Does what is due on all nodes.
    pub(crate) fn step(&mut self, store: &mut Store, pace: &Pace) {
        let nodes: HashSet<String> = store.range("nodes").map(|(id, _)| id.name.clone()).collect();
        let waits = |pod: &Value| strategy::is_being_deleted(pod) || pod["status"]["phase"] == "Pending";
        let bound = store.range("pods").filter(|(_, pod)| waits(pod));
        let bound = bound.filter(|(_, pod)| pod["spec"]["nodeName"].as_str().is_some_and(|node| nodes.contains(node)));
        let bound: Vec<Id> = bound.map(|(id, _)| id.clone()).collect();
        let mut waiting = HashSet::new();
        for id in bound {
            let Some(pod) = store.get(&id) else { continue };
            let being_deleted = strategy::is_being_deleted(pod);
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            let key = (uid, being_deleted);
            let waited = self.since.entry(key.clone()).or_insert_with(Instant::now).elapsed();
            waiting.insert(key);
            if being_deleted && waited >= pace.stop {
                store.end(&id);
            } else if !being_deleted && waited >= pace.start {
                let status = started(pod, pace);
                store.edit(&id, |pod| pod["status"] = status);
            }
        }
        self.since.retain(|key, _| waiting.contains(key));
    }
}

/// Returns the status of a pod that was started.
fn started(pod: &Value, pace: &Pace) -> Value {
    let containers = pod["spec"]["containers"].as_array().map_or(&[][..], Vec::as_slice);
    let crashes = |container: &Value| container["image"].as_str().is_some_and(|image| image.ends_with(":crashes"));
    if containers.iter().any(crashes) {
        let waiting = json!({"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
        return json!({"phase": "Running", "containerStatuses": [waiting]});
    }
    if fastrand::u8(..100) < pace.failures {
        return json!({"phase": "Failed"});
    }
    running(true)
}

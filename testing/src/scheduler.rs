//! The scheduler: binds pods to nodes by the rules of the default one.

use std::collections::HashMap;

use daemonplan::{
    model::{Namespace, Node, Pod},
    scheduling::{ClusterState, Feasibility, SchedulingObjects, SchedulingVerdict},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{id::Id, objects, store::Store};

/// The nodes, as they were read last.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    nodes: HashMap<String, (Value, Node)>,
}

impl Scheduler {
    /// Binds the pods that wait, each to the node with the fewest pods of those that it fits, and says of the others why they
    /// fit nowhere. It preempts no pod, and knows no volumes.
    pub(crate) fn schedule(&mut self, store: &mut Store) {
        let waits = |pod: &Value| pod["spec"]["nodeName"].is_null() && pod["metadata"]["deletionTimestamp"].is_null();
        let waiting: Vec<Id> = store.range("pods").filter(|(_, pod)| waits(pod)).map(|(id, _)| id.clone()).collect();
        if waiting.is_empty() {
            return;
        }
        self.read_nodes(store);
        let namespaces: Vec<Namespace> = store.range("namespaces").filter_map(|(_, object)| read(object)).collect();
        for id in waiting {
            let Some(object) = store.get(&id) else { continue };
            let Some(pod) = read::<Pod>(object) else { continue };
            let meant = objects::node_of(object);
            let nodes: Vec<&Node> = match &meant {
                // What other nodes hold matters only to pods that look at others.
                Some(node) if object["spec"]["affinity"]["podAffinity"].is_null() => {
                    self.nodes.get(node).map(|(_, node)| node).into_iter().collect()
                }
                _ => self.nodes.values().map(|(_, node)| node).collect(),
            };
            let pods: Vec<Pod> = nodes
                .iter()
                .flat_map(|node| store.pods_on(&node.name).filter_map(|(_, pod)| read(pod)).collect::<Vec<_>>())
                .collect();
            let objects = SchedulingObjects::default();
            let state = ClusterState::new(nodes.iter().copied(), &pods, &namespaces, &objects);
            let Feasibility { verdict, message, .. } = state.feasibility(&pod);
            let place = (verdict == SchedulingVerdict::Fits).then(|| {
                let fits = nodes.iter().filter(|node| state.blockers(&pod, &node.name).is_empty());
                fits.min_by_key(|node| (store.pods_on(&node.name).count(), &node.name))
                    .map(|node| node.name.to_string())
            });
            match (place.flatten(), message) {
                (Some(node), _) => store.edit(&id, |pod| {
                    pod["spec"]["nodeName"] = json!(node);
                    objects::set_condition(pod, "PodScheduled", "True", None);
                }),
                (None, Some(message)) => refuse(store, &id, &message),
                (None, None) => {}
            }
        }
    }

    fn read_nodes(&mut self, store: &Store) {
        let mut known = std::mem::take(&mut self.nodes);
        for (id, object) in store.range("nodes") {
            let version = &object["metadata"]["resourceVersion"];
            let node = match known.remove(&id.name) {
                Some((read, node)) if read == *version => Some(node),
                _ => read(object),
            };
            if let Some(node) = node {
                self.nodes.insert(id.name.clone(), (version.clone(), node));
            }
        }
    }
}

/// Says why a pod fits nowhere, unless the same was said before.
fn refuse(store: &mut Store, id: &Id, message: &str) {
    let says = |condition: &Value| condition["type"] == "PodScheduled" && condition["message"] == message;
    let conditions = store.get(id).and_then(|pod| pod["status"]["conditions"].as_array());
    if !conditions.is_some_and(|conditions| conditions.iter().any(says)) {
        store.edit(id, |pod| objects::set_condition(pod, "PodScheduled", "False", Some(("Unschedulable", message))));
    }
}

/// Reads an object as the planner's type. What cannot be read is no pod or node that a real API server would hold.
fn read<T: DeserializeOwned>(object: &Value) -> Option<T> {
    serde_json::from_value(object.clone()).ok()
}

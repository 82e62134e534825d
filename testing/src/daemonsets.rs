//! What must hold for the pods of DaemonSets under any controller.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::{
    id::Id,
    objects::{controller_of, node_of},
    store::{Change, Store},
    strategy,
};

/// Starts a rollout by setting another image.
pub fn roll_out(store: &mut Store, daemonset: &Id, image: &str) {
    store.edit(daemonset, |daemonset| {
        daemonset["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    });
}

/// An [`Invariant`](crate::Invariant): a new pod is the only active one of its DaemonSet on its node, or one of two if it
/// updates by surge.
pub fn one_pod_on_each_node(store: &Store, change: &Change) -> Option<String> {
    let Change { id, before: None, after: Some(pod), .. } = change else { return None };
    if id.resource != "pods" {
        return None;
    }
    let (owner, node) = (controller_of(pod)?, node_of(pod)?);
    let daemonset = store.get(&Id::new("daemonsets", &id.namespace, owner["name"].as_str()?))?;
    // Pods of a DaemonSet that is gone are garbage.
    if daemonset["metadata"]["uid"] != owner["uid"] {
        return None;
    }
    let surge = &daemonset["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"];
    let surges = !surge.is_null() && *surge != 0 && *surge != "0%";
    let is_active = |pod: &Value| {
        !matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded")) && !strategy::is_being_deleted(pod)
    };
    let is_of_it = |pod: &Value| controller_of(pod).is_some_and(|other| other["uid"] == owner["uid"]);
    let together = store.pods_on(&node).filter(|(_, pod)| is_active(pod) && is_of_it(pod)).count();
    (is_active(pod) && together > if surges { 2 } else { 1 })
        .then(|| format!("{together} pods of {} on {node}", owner["name"]))
}

/// Returns why the DaemonSets are not settled, or `None` if they are.
///
/// A settled DaemonSet has one ready pod of the newest template on each node that is `wanted`, none elsewhere, and a status that
/// says so.
pub fn unsettled(store: &Store, wanted: impl Fn(&Id, &str) -> bool) -> Option<String> {
    store.range("daemonsets").find_map(|(id, daemonset)| {
        let wanted: HashSet<String> =
            store.range("nodes").map(|(node, _)| node.name.clone()).filter(|node| wanted(id, node)).collect();
        unsettled_daemonset(store, id, daemonset, &wanted)
    })
}

fn unsettled_daemonset(store: &Store, id: &Id, daemonset: &Value, wanted: &HashSet<String>) -> Option<String> {
    let meta = &daemonset["metadata"];
    if strategy::is_being_deleted(daemonset) {
        return Some(format!("{id} is being deleted"));
    }
    let own = |object: &Value| controller_of(object).is_some_and(|owner| owner["uid"] == meta["uid"]);
    let revisions = store.range("controllerrevisions").filter(|(_, one)| own(one));
    let Some((_, newest)) = revisions.max_by_key(|(_, one)| one["revision"].as_i64()) else {
        return Some(format!("{id} has no revision"));
    };
    if newest["data"]["spec"]["template"]["spec"] != daemonset["spec"]["template"]["spec"] {
        return Some(format!("{id}: the newest revision has another template"));
    }
    let mut running = HashSet::new();
    for (pod_id, pod) in store.range("pods").filter(|(_, pod)| own(pod)) {
        let node = node_of(pod).unwrap_or_default();
        let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        let is_ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
        if strategy::is_being_deleted(pod) || !is_ready {
            return Some(format!("{pod_id} on {node} is being deleted or not ready"));
        }
        // As in Kubernetes, either label makes a pod updated.
        let labels = &pod["metadata"]["labels"];
        let hash = &newest["metadata"]["labels"]["controller-revision-hash"];
        let generation = &meta["annotations"]["deprecated.daemonset.template.generation"];
        if labels["controller-revision-hash"] != *hash && labels["pod-template-generation"] != *generation {
            return Some(format!("{pod_id} on {node} is outdated"));
        }
        if !wanted.contains(&node) || !running.insert(node.clone()) {
            return Some(format!("{pod_id} should not be on {node}"));
        }
    }
    if running != *wanted {
        return Some(format!("{id} runs on {} of {} nodes", running.len(), wanted.len()));
    }
    wrong_status(id, daemonset, wanted.len())
}

fn wrong_status(id: &Id, daemonset: &Value, count: usize) -> Option<String> {
    let status = &daemonset["status"];
    for field in ["desiredNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"] {
        if status[field].as_u64() != u64::try_from(count).ok() && !(count == 0 && status[field].is_null()) {
            return Some(format!("{id}: {field} is {}, expected {count}", status[field]));
        }
    }
    (status["observedGeneration"] != daemonset["metadata"]["generation"])
        .then(|| format!("{id}: the generation is not observed"))
}

//! Objects to start with, and what is often asked of one.

use jiff::Timestamp;
use serde_json::{Value, json};

/// Returns a namespace.
pub fn namespace(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}, "status": {"phase": "Active"}})
}

/// Returns a Ready node with 4 CPUs and 16 GiB for 110 pods.
pub fn node(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"}}})
}

/// Returns a DaemonSet as the API server stores it: with its defaults, an image, and one pod at a time in an update.
pub fn daemonset(namespace: &str, name: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name, "labels": {"app": name},
            "annotations": {"deprecated.daemonset.template.generation": "1"}},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "registry/agent:1", "resources": {}}], "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always", "securityContext": {}, "terminationGracePeriodSeconds": 30}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "revisionHistoryLimit": 10},
        "status": {"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}})
}

/// Returns the status of a pod that runs, `ready` or not.
pub fn running(ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": now()}]})
}

/// Returns the owner reference that is the controller.
pub fn controller_of(object: &Value) -> Option<&Value> {
    object["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)
}

/// Returns the node that a pod is bound to, or meant for by an affinity with `metadata.name`.
pub fn node_of(pod: &Value) -> Option<String> {
    let bound = pod["spec"]["nodeName"].as_str();
    let terms = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let meant = terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0].as_str();
    bound.or(meant).map(str::to_owned)
}

/// Returns the time as Kubernetes writes it, in whole seconds.
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Sets a condition of an object's status, with a message if there is one to give.
pub(crate) fn set_condition(object: &mut Value, kind: &str, status: &str, problem: Option<(&str, &str)>) {
    let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": now()});
    if let Some((reason, message)) = problem {
        condition["reason"] = json!(reason);
        condition["message"] = json!(message);
    }
    let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|one| one["type"] != kind);
    conditions.push(condition);
    object["status"]["conditions"] = json!(conditions);
}

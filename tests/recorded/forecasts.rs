//! Forecasts of roll-outs to the recorded clusters: none is done where the scheduler refuses the pod.

use daemonplan::{
    Snapshot,
    forecast::{Assumptions, Outcome, StuckCause, StuckNode},
    model::{DaemonSet, Namespace, Node, Pod, PodTemplate},
    scheduling::ClusterState,
};
use serde_json::{Value, json};

use crate::scheduling::{cases, objects, read};

/// A DaemonSet whose pod the pending one is: its template is the pod's spec, for the pod's node alone.
fn daemonset(pending: &Value, target: &str) -> DaemonSet {
    let mut spec = pending["spec"].clone();
    spec.as_object_mut().unwrap().remove("affinity");
    if let Some(affinity) = pending["spec"].get("affinity") {
        let mut affinity = affinity.clone();
        let name = json!({"key": "metadata.name", "operator": "In", "values": [target]});
        affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": [{"matchFields": [name]}]});
        spec["affinity"] = affinity;
    }
    let metadata = &pending["metadata"];
    let mut labels = metadata["labels"].clone();
    labels.as_object_mut().unwrap().retain(|key, _| key == "app" || key == "tier");
    let namespace = metadata["namespace"].as_str().unwrap();
    let mut daemonset = DaemonSet::new(namespace, "agent", [("app", "agent")]).unwrap();
    daemonset.uid = metadata["ownerReferences"][0]["uid"].as_str().unwrap().into();
    daemonset.template =
        serde_json::from_value::<PodTemplate>(json!({"metadata": {"labels": labels}, "spec": spec})).unwrap();
    daemonset
}

#[test]
fn no_forecast_is_done_where_the_scheduler_refuses_the_pod() {
    let (mut refused, mut fitting) = (0, 0);
    for case in cases() {
        let (name, target, expect) = (&case["name"], case["target"].as_str().unwrap(), &case["expect"]);
        let is_preempting =
            !expect["preemption"]["dryRun"]["victims"].is_null() && expect["preemption"]["eligible"] != false;
        let volumes = case["pending"]["spec"]["volumes"].as_array().into_iter().flatten();
        // The claims of ephemeral volumes are of one pod, and another scheduler decides otherwise.
        let is_special = volumes.into_iter().any(|volume| volume.get("ephemeral").is_some());
        let nodes = read::<Node>(&case, "nodes");
        let is_there = nodes.iter().any(|node| node.name == *target);
        if is_special || !is_there || expect["verdict"] == "otherScheduler" || case["nonStandard"] == true {
            continue;
        }
        let objects = objects(&case);
        let namespaces = read::<Namespace>(&case, "namespaces");
        let daemonset = daemonset(&case["pending"], target);
        let namespace = namespaces.iter().find(|own| own.name == daemonset.namespace).unwrap();
        // Other pods of the case may have the labels of the DaemonSet; they are not its own.
        let pods: Vec<Pod> = read::<Pod>(&case, "pods");
        let own: Vec<Pod> = Vec::new();
        let state = ClusterState::new(&nodes, &pods, &namespaces, &objects);
        let snapshot = Snapshot::new(&daemonset, &nodes, &own, namespace).revisions(&[]).scheduling(&state);
        let wants = snapshot.placement(target).unwrap().verdict.should_run();
        let forecast = snapshot.forecast(&Assumptions::default());
        if !wants {
            continue;
        }
        if expect["verdict"] == "fits" {
            // On a node that does not report, no pod starts.
            let is_of_kubelet = |stuck: &StuckNode| matches!(stuck.cause, StuckCause::NodeNotReady { .. });
            assert!(forecast.stuck.iter().all(is_of_kubelet), "{name}: {:?}", forecast.stuck);
            fitting += 1;
        } else if !is_preempting {
            assert_ne!(forecast.outcome, Outcome::Done, "{name}");
            refused += 1;
        }
    }
    assert_eq!((refused, fitting), (682, 67));
}

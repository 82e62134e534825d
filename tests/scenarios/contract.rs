//! Actions as JSON: the contract of the README.

use daemonplan::Action;
use serde_json::{Value, json};

use crate::common::*;

/// Returns the actions of a plan as JSON, except the status update.
fn written(cluster: &Cluster) -> Vec<Value> {
    let plan = cluster.plan();
    let actions = plan.actions.iter().filter(|action| !matches!(action, Action::UpdateStatus { .. }));
    actions.map(|action| serde_json::to_value(action).unwrap()).collect()
}

#[test]
fn a_deletion_has_pod_uid_node_reason_and_message() {
    let cluster = cluster([tainted("a", &["dedicated=db:NoExecute"])]).with_pod(pod("x", "a"));
    assert_eq!(
        written(&cluster),
        [json!({
            "type": "DeletePod", "pod": "x", "uid": "uid-x", "node": "a",
            "reason": "NotPlaced", "message": "taint dedicated=db:NoExecute is not tolerated",
            "placement": {"rule": "Taint", "taint": {"key": "dedicated", "value": "db", "effect": "NoExecute"}},
        })]
    );
}

#[test]
fn a_deletion_of_an_unbound_pod_has_a_null_node_and_no_placement() {
    let mut cluster = cluster([]).with_pod(pod("x", "a").but(|pod| pod.node = daemonplan::model::PodNode::None));
    cluster.daemonset.deleted = Some(cluster.now);
    assert_eq!(
        written(&cluster)[0],
        json!({
            "type": "DeletePod", "pod": "x", "uid": "uid-x", "node": null,
            "reason": "OwnerDeleted", "message": "its DaemonSet is being deleted",
        })
    );
}

#[test]
fn a_creation_has_the_whole_pod() {
    let action = &written(&cluster([node("a")]))[0];
    let told = ["type", "node", "reason", "message"].map(|field| action[field].as_str().unwrap());
    assert_eq!(told, ["CreatePod", "a", "NoPod", "no pod on this node"]);
    let pod = &action["pod"];
    assert_eq!((&pod["kind"], &pod["metadata"]["generateName"]), (&json!("Pod"), &json!("agent-")));
    assert_eq!(pod["spec"]["containers"], json!([{"name": "agent", "image": "agent:1"}]));
}

#[test]
fn a_claim_has_object_and_uid() {
    let orphan = pod("x", "a").but(|pod| pod.controller = None);
    assert_eq!(
        written(&cluster([node("a")]).with_pod(orphan)),
        [json!({
            "type": "AdoptPod", "pod": "x", "uid": "uid-x",
            "reason": "OrphanMatches", "message": "orphan: no controller, and its labels match the selector",
        })]
    );
}

#[test]
fn a_new_revision_has_number_hash_and_the_whole_object() {
    let mut cluster = cluster([]);
    cluster.revisions.clear();
    let action = &written(&cluster)[0];
    let hash = &*cluster.plan().hash;
    assert_eq!((&action["type"], &action["number"]), (&json!("CreateRevision"), &json!(1)));
    assert_eq!((&action["hash"], &action["revision"]), (&json!(hash), &json!(format!("agent-{hash}"))));
    let manifest = &action["manifest"];
    assert_eq!((&manifest["kind"], &manifest["revision"]), (&json!("ControllerRevision"), &json!(1)));
    assert_eq!(manifest["metadata"]["labels"]["controller-revision-hash"], json!(hash));
    assert_eq!(manifest["data"]["spec"]["template"]["$patch"], "replace");
}

#[test]
fn duplicate_revisions_cause_a_relabelling_and_a_deletion() {
    let mut cluster = cluster([node("a")]).with_pod(pod("x", "a")).with_strategy(json!({"type": "OnDelete"}));
    cluster.revisions.push(cluster.revision("two", 2));
    let actions = written(&cluster);
    let told = actions.iter().map(|action| {
        let fields = ["type", "pod", "revision", "hash", "reason"];
        fields.into_iter().filter_map(|field| action[field].as_str()).collect::<Vec<_>>().join(" ")
    });
    assert_eq!(told.collect::<Vec<_>>(), ["RelabelPod x two DuplicateRevision", "DeleteRevision agent-one Duplicate"]);
}

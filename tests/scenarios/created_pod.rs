//! The created pod.

use daemonplan::{Action, model::Labels};
use serde_json::{Value, json};

use crate::common::*;

fn created(cluster: &Cluster) -> Value {
    let plan = cluster.plan();
    let created = plan.actions.iter().find_map(|action| match action {
        Action::CreatePod { node, blueprint, .. } => Some(blueprint.manifest(node)),
        _ => None,
    });
    created.unwrap()
}

#[test]
fn it_has_an_owner_reference_and_the_revision_labels() {
    let cluster = cluster([node("a")]).with(|daemonset| {
        daemonset.annotations = Labels::from_iter([("deprecated.daemonset.template.generation", "3")]);
    });
    let pod = created(&cluster);
    assert_eq!(
        pod["metadata"],
        json!({
            "generateName": "agent-",
            "namespace": "prod",
            "labels": {"app": "agent", "pod-template-generation": "3", "controller-revision-hash": "one"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "uid-agent",
                "controller": true, "blockOwnerDeletion": true
            }]
        })
    );
    assert_eq!((&pod["apiVersion"], &pod["kind"]), (&json!("v1"), &json!("Pod")));
}

#[test]
fn required_node_affinity_is_replaced_and_other_affinity_is_kept() {
    let spec = json!({"affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "Exists"}]},
                {"matchExpressions": [{"key": "role", "operator": "Exists"}]}
            ]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {}}]
        },
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}
    }});
    let pod = created(&cluster([labelled("a", &[("zone", "z")])]).with_spec(spec));
    assert_eq!(
        pod["spec"]["affinity"],
        json!({
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}
                ]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {}}]
            },
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}
        })
    );
    assert_eq!(pod["spec"].get("nodeName"), None);
}

#[test]
fn absent_or_null_affinity_is_created() {
    for spec in [json!({}), json!({"affinity": null}), json!({"affinity": {"nodeAffinity": null}})] {
        let pod = created(&cluster([node("a")]).with_spec(spec));
        let required = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
        let expected = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]);
        assert_eq!(pod.pointer(required), Some(&expected));
    }
}

#[test]
fn automatic_tolerations_are_added_or_replace_equal_ones() {
    let spec = json!({"hostNetwork": true, "tolerations": [
        {"key": "own", "operator": "Exists"},
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30},
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoSchedule"}
    ]});
    let automatic =
        |key: &str, effect| json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": effect});
    assert_eq!(
        created(&cluster([node("a")]).with_spec(spec))["spec"]["tolerations"],
        json!([
            {"key": "own", "operator": "Exists"},
            automatic("not-ready", "NoExecute"),
            automatic("unreachable", "NoSchedule"),
            automatic("unreachable", "NoExecute"),
            automatic("disk-pressure", "NoSchedule"),
            automatic("memory-pressure", "NoSchedule"),
            automatic("pid-pressure", "NoSchedule"),
            automatic("unschedulable", "NoSchedule"),
            automatic("network-unavailable", "NoSchedule"),
        ])
    );
}

#[test]
fn unknown_fields_of_the_template_are_kept() {
    let text = r#"{"metadata": {"labels": {"app": "agent"}, "annotations": {"z": "1", "a": "2"}, "finalizers": ["x/y"]},
        "spec": {"zeta": {"b": 1, "a": [null, 2.5]}, "containers": [], "alpha": "new in 2030"}}"#;
    let cluster = cluster([node("a")]).with(|daemonset| daemonset.template = serde_json::from_str(text).unwrap());
    let pod = created(&cluster);
    assert_eq!(pod["spec"]["zeta"], json!({"b": 1, "a": [null, 2.5]}));
    assert_eq!(pod["spec"]["alpha"], "new in 2030");
    assert_eq!(pod["metadata"]["annotations"], json!({"z": "1", "a": "2"}));
    assert_eq!(pod["metadata"]["finalizers"], json!(["x/y"]));
}

#[test]
fn the_daemonset_itself_never_changes() {
    let cluster = cluster([node("a")]);
    let before = cluster.daemonset.clone();
    created(&cluster);
    assert_eq!(cluster.daemonset, before);
}

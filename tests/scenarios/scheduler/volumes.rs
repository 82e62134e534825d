//! Whether the claims of pods can be served.

use daemonplan::{explain::SchedulingExplanation, model::Pod, scheduling::UnknownFact};
use serde_json::{Value, json};

use super::{node, objects, on, pod, read, state};

/// A class whose volumes are bound when a pod is scheduled, and that makes none.
fn local() -> Value {
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local"},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"})
}

fn volume(name: &str, size: &str, claim: Option<Value>) -> Value {
    json!({"kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"storageClassName": "local", "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
            "claimRef": claim},
        "status": {"phase": "Available"}})
}

fn claim(name: &str, size: &str) -> Value {
    json!({"kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}")},
        "spec": {"storageClassName": "local", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}}},
        "status": {"phase": "Pending"}})
}

/// A claim that is bound to the volume of its name.
pub(super) fn bound(name: &str, mode: &str) -> [Value; 2] {
    let claim = json!({"kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "shop",
        "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": name, "accessModes": [mode]}, "status": {"phase": "Bound"}});
    [claim, json!({"kind": "PersistentVolume", "metadata": {"name": name}, "status": {"phase": "Bound"}})]
}

fn using(claims: &[&str], fields: Value) -> Pod {
    let volumes = claims.iter().map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}));
    let mut fields = fields;
    fields["volumes"] = volumes.collect();
    pod("new", "1m", fields)
}

fn fits(all: Vec<Value>, claims: &[&str]) -> bool {
    let (objects, nodes) = (objects(all.into_iter().chain([local()])), [node("a", "1")]);
    state(&nodes, [], &objects).feasibility(&using(claims, json!({}))).would_fit
}

#[test]
fn a_volume_that_is_kept_for_a_claim_is_for_no_other() {
    let data = claim("data", "1Gi");
    let kept = |namespace: &str, name: &str, uid: &str| {
        let own = json!({"namespace": namespace, "name": name, "uid": uid});
        fits(vec![data.clone(), volume("disk", "1Gi", Some(own))], &["data"])
    };
    assert!(fits(vec![data.clone(), volume("disk", "1Gi", None)], &["data"]));
    assert!(kept("shop", "data", "uid-data") && kept("shop", "data", ""));
    assert!(!kept("shop", "data", "uid-of-one-before"));
    assert!(!kept("shop", "other", "") && !kept("bank", "data", ""));
    assert!(!kept("shop", "other", "uid-data") && !kept("bank", "data", "uid-data"));
}

#[test]
fn claims_get_the_smallest_volumes_that_are_large_enough() {
    let volumes = [volume("a", "2Gi", None), volume("b", "1Gi", None)];
    let of = |claims: [Value; 2]| fits(claims.into_iter().chain(volumes.clone()).collect(), &["large", "small"]);
    assert!(of([claim("large", "2Gi"), claim("small", "1Gi")]));
    assert!(!of([claim("large", "2Gi"), claim("small", "2Gi")]));
    let volumes = [volume("a", "1Gi", None), volume("b", "2Gi", None)];
    let of = |claims: [Value; 2]| fits(claims.into_iter().chain(volumes.clone()).collect(), &["large", "small"]);
    assert!(of([claim("large", "2Gi"), claim("small", "1Gi")]));
}

#[test]
fn claims_that_get_their_volumes_with_the_pod_are_shared_by_those_alike() {
    let (objects, nodes) = (objects([local(), claim("data", "1Gi"), volume("disk", "1Gi", None)]), [node("a", "1")]);
    let (state, new) = (state(&nodes, [], &objects), using(&["data"], json!({})));
    assert_eq!(state.pods_like(&new).on("a").unknown, [UnknownFact::OwnPods]);
}

#[test]
fn only_claims_of_the_mode_read_write_once_pod_are_for_one_pod() {
    let fits = |mode: &str| {
        let (objects, nodes) = (objects(bound("data", mode)), [node("a", "1")]);
        let mut user = using(&["data"], on("a"));
        user.name = "user".into();
        state(&nodes, [&user], &objects).feasibility(&using(&["data"], json!({}))).would_fit
    };
    assert_eq!([fits("ReadWriteOnce"), fits("ReadWriteOncePod")], [true, false]);
}

#[test]
fn a_claim_of_the_same_name_in_another_namespace_is_another_one() {
    let (objects, nodes) = (objects(bound("data", "ReadWriteOncePod")), [node("a", "1")]);
    let (mut user, mut foreign) = (using(&["data"], on("a")), using(&["data"], on("a")));
    (user.name, foreign.namespace) = ("user".into(), "bank".into());
    let state = state(&nodes, [&user, &foreign], &objects);
    let new = using(&["data"], json!({}));
    let mut alike = state.pods_like(&new);
    let mut fits = |leave: &[&Pod]| alike.refusal_after("a", leave).is_none();
    assert_eq!([fits(&[]), fits(&[&foreign]), fits(&[&user])], [false, false, true]);
}

#[test]
fn the_claim_of_an_ephemeral_volume_belongs_to_its_pod() {
    let fits = |owner: Option<&str>, uid: &str| {
        let [mut claim, volume] = bound("new-scratch", "ReadWriteOnce");
        if let Some(owner) = owner {
            claim["metadata"]["ownerReferences"] =
                json!([{"kind": "Pod", "name": "new", "uid": owner, "controller": true}]);
        }
        let (objects, nodes) = (objects([claim, volume]), [node("a", "1")]);
        let mut value = serde_json::to_value(pod(
            "new",
            "1m",
            json!({
                "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}],
            }),
        ))
        .unwrap();
        value["metadata"]["uid"] = json!(uid);
        state(&nodes, [], &objects).feasibility(&read(value)).would_fit
    };
    assert!(fits(Some("uid-1"), "uid-1"));
    assert!(!fits(Some("uid-2"), "uid-1") && !fits(None, "uid-1") && !fits(None, ""));
}

#[test]
fn what_several_plugins_say_of_a_missing_claim_is_told_once_with_what_to_do() {
    let (objects, nodes) = (objects([local()]), [node("a", "1")]);
    let waiting = using(&["data"], on("a"));
    let explanation = SchedulingExplanation::new(&state(&nodes, [], &objects), &waiting);
    let plugins = "VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone";
    assert_eq!(explanation.causes(), [format!("{plugins}: the claim data does not exist")]);
    assert_eq!(explanation.help(), ["create the claim data, or name another one in the pod's volumes"]);
    let missing = "persistentvolumeclaim \"data\" not found";
    assert_eq!(explanation.reasons(), format!("{missing}, looking up PVC shop/data: {missing}"));
}

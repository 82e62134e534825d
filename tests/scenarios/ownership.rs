//! Ownership of pods: adopted, released, ignored.

use std::sync::Arc;

use daemonplan::model::PodNode;

use crate::common::*;

#[test]
fn an_orphan_whose_labels_match_is_adopted_and_counts_at_once() {
    let cluster = cluster([node("a")]).with_pod(pod("left", "a").but(|pod| pod.controller = None));
    assert_eq!(cluster.actions(), ["adopt pod left: orphan: no controller, and its labels match the selector"]);
    assert_eq!(cluster.plan().status.unwrap().current_number_scheduled, 1);
}

#[test]
fn a_recreated_daemonset_adopts_the_pods_of_its_predecessor() {
    let left = pod("left", "a").of("long-gone").but(|pod| pod.controller = None);
    let cluster = cluster([node("a")]).with_strategy(serde_json::json!({"type": "OnDelete"})).with_pod(left);
    assert_eq!(cluster.actions(), ["adopt pod left: orphan: no controller, and its labels match the selector"]);
}

#[test]
fn an_orphan_being_deleted_is_not_adopted() {
    let left = pod("left", "a").but(|pod| pod.controller = None).being_deleted();
    assert_eq!(cluster([node("a")]).with_pod(left).actions(), ["create pod on a: no pod on this node"]);
}

#[test]
fn an_owned_pod_whose_labels_no_longer_match_is_released() {
    let strayed = pod("strayed", "a").but(|pod| pod.labels = pod.labels.with("app", "other"));
    assert_eq!(
        cluster([node("a")]).with_pod(strayed).actions(),
        ["release pod strayed: its labels do not match the selector", "create pod on a: no pod on this node"]
    );
}

#[test]
fn pods_of_other_controllers_are_ignored() {
    let other = |name, change: fn(&mut daemonplan::model::ControllerRef)| {
        pod(name, "a").but(|pod| change(Arc::make_mut(pod.controller.as_mut().unwrap())))
    };
    let cluster = cluster([node("a")]).with_pods([
        other("replica", |owner| owner.kind = "ReplicaSet".into()),
        other("of-the-daemonset-before", |owner| owner.uid = "uid-before".into()),
        other("renamed", |owner| owner.name = "other".into()),
    ]);
    assert_eq!(cluster.actions(), ["create pod on a: no pod on this node"]);
}

#[test]
fn pods_of_another_namespace_are_ignored() {
    let far = pod("far", "a").but(|pod| pod.namespace = "elsewhere".into());
    let orphan = pod("orphan", "a").but(|pod| (pod.namespace, pod.controller) = ("elsewhere".into(), None));
    assert_eq!(cluster([node("a")]).with_pods([far, orphan]).actions(), ["create pod on a: no pod on this node"]);
}

#[test]
fn an_unbound_pod_counts_for_the_node_in_its_affinity() {
    let waiting = pod("waiting", "a").but(|pod| pod.node = PodNode::Intended("a".into()));
    assert_eq!(cluster([node("a")]).with_pod(waiting).actions(), [""; 0]);
    let lost = pod("lost", "a").but(|pod| pod.node = PodNode::None);
    assert_eq!(cluster([node("a")]).with_pod(lost).actions(), ["create pod on a: no pod on this node"]);
}

#[test]
fn a_terminal_pod_being_deleted_is_ignored() {
    let ended = pod("ended", "a").phase(daemonplan::model::PodPhase::Failed).being_deleted();
    assert_eq!(cluster([node("a")]).with_pod(ended).actions(), ["create pod on a: no pod on this node"]);
}

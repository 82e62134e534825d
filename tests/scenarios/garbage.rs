//! Garbage collection.

use std::sync::Arc;

use daemonplan::{
    gc::orphans,
    model::{PodNode, PodPhase},
};
use serde_json::json;

use crate::common::*;

#[test]
fn pods_bound_to_a_missing_node_are_deleted_unless_left_to_the_cluster() {
    let cluster = cluster([node("a")]).with_pods([pod("x", "a"), pod("lost", "gone")]);
    assert_eq!(cluster.actions(), ["delete pod lost on gone: its node does not exist"]);
    let left = cluster.with_settings(|settings| settings.collect_pods_on_missing_nodes = false);
    assert_eq!(left.actions(), [""; 0]);
}

#[test]
fn unbound_pods_of_a_missing_node_are_deleted_even_if_being_deleted() {
    let waiting = |name| pod(name, "gone").but(|pod| pod.node = PodNode::Intended("gone".into()));
    let cluster = cluster([]).with_pods([waiting("x"), waiting("y").being_deleted()]);
    let cluster = cluster.with_settings(|settings| settings.collect_pods_on_missing_nodes = false);
    assert_eq!(cluster.actions(), ["x", "y"].map(|pod| format!("delete pod {pod} on gone: its node does not exist")));
}

#[test]
fn pods_of_a_missing_node_do_not_block_an_update() {
    let cluster = cluster([node("a"), node("b")]).with_new_template().rolling(json!(1), json!(0)).with_pods([
        pod("x", "a"),
        pod("y", "b"),
        pod("lost", "gone").of("two"),
    ]);
    assert_eq!(cluster.actions(), ["delete pod x on a: outdated", "delete pod lost on gone: its node does not exist"]);
}

#[test]
fn a_surge_on_a_missing_node_deletes_each_of_its_pods_once() {
    let pods = [pod("old", "gone"), pod("new", "gone").of("two")];
    let cluster = cluster([node("a")]).with_new_template().rolling(json!(0), json!(1)).with_pods(pods);
    let cluster = cluster.with_pod(pod("here", "a").of("two"));
    assert_eq!(
        cluster.actions(),
        ["delete pod new on gone: its node does not exist", "delete pod old on gone: its node does not exist"]
    );
    let left_alone = cluster.with_settings(|settings| settings.collect_pods_on_missing_nodes = false);
    assert_eq!(
        left_alone.actions(),
        ["delete pod old on gone: outdated, and the new pod is available"],
        "as the built-in controller does"
    );
}

#[test]
fn a_missing_node_does_not_block_a_surge() {
    let cluster = cluster([node("a")])
        .with_new_template()
        .rolling(json!(0), json!(1))
        .with_pods([pod("x", "a"), pod("lost", "gone").unready()])
        .with_settings(|settings| settings.collect_pods_on_missing_nodes = false);
    assert_eq!(
        cluster.actions(),
        ["create pod on a: the update surges to this node next", "delete pod lost on gone: outdated and not available"]
    );
}

#[test]
fn a_daemonset_being_deleted_deletes_its_pods_and_revisions() {
    let cluster = cluster([node("a"), node("b")])
        .with_pods([
            pod("x", "a"),
            pod("leaving", "b").being_deleted(),
            pod("orphan", "b").but(|pod| pod.controller = None),
        ])
        .with(|daemonset| daemonset.deleted = Some("2026-01-02T03:00:00Z".parse().unwrap()));
    let plan = cluster.plan();
    assert_eq!(
        lines(&plan),
        [
            "delete pod x on a: its DaemonSet is being deleted",
            "delete revision agent-one: its DaemonSet is being deleted",
        ]
    );
    assert_eq!(plan.status, None);
}

#[test]
fn a_daemonset_with_the_orphan_finalizer_releases_its_pods() {
    let cluster = cluster([node("a")])
        .with_pods([pod("x", "a"), pod("ended", "a").phase(PodPhase::Failed).being_deleted()])
        .with(|daemonset| {
            daemonset.deleted = Some("2026-01-02T03:00:00Z".parse().unwrap());
            daemonset.finalizers = vec!["orphan".into()];
        });
    let reason = "its DaemonSet is being deleted and orphans its dependents";
    assert_eq!(
        cluster.actions(),
        ["pod ended", "pod x", "revision agent-one"].map(|object| format!("release {object}: {reason}"))
    );
}

#[test]
fn a_daemonset_that_waits_for_other_finalizers_keeps_its_pods() {
    let deleting = |finalizers: &[&str]| {
        cluster([node("a")]).with_pod(pod("x", "a")).with(|daemonset| {
            daemonset.deleted = Some("2026-01-02T03:00:00Z".parse().unwrap());
            daemonset.finalizers = finalizers.iter().map(|name| (*name).into()).collect();
        })
    };
    let waiting = deleting(&["example.com/wait"]);
    assert_eq!(waiting.actions(), [""; 0]);
    let codes: Vec<_> = waiting.plan().warnings.iter().map(daemonplan::Warning::code).collect();
    assert_eq!(codes, ["WaitsForFinalizers"]);
    assert_eq!(waiting.snapshot().explain().nodes[0].pods.len(), 1);
    assert_eq!(daemonplan::gc::dependents(&waiting.daemonset, &waiting.pods, &waiting.revisions), []);
    let foreground = deleting(&["example.com/wait", "foregroundDeletion"]);
    assert_eq!(foreground.actions().len(), 2, "the pod and the revision are deleted first");
}

#[test]
fn dependents_of_a_missing_daemonset_are_found_by_uid() {
    let foreign = pod("web", "a").but(|pod| Arc::make_mut(pod.controller.as_mut().unwrap()).kind = "ReplicaSet".into());
    let orphan = pod("orphan", "a").but(|pod| pod.controller = None);
    let cluster = cluster([]).with_pods([pod("y", "a"), pod("x", "a"), foreign, orphan]);
    let other = cluster.clone().with(|daemonset| daemonset.uid = "uid-other".into()).daemonset;
    let found = orphans([&other], &cluster.pods, &cluster.revisions);
    assert_eq!(found.pods.iter().map(|pod| &*pod.name).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(found.revisions.len(), 1);
    let found = orphans([&cluster.daemonset], &cluster.pods, &cluster.revisions);
    assert!(found.pods.is_empty() && found.revisions.is_empty());
}

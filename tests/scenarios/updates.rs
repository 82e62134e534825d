//! Updates: pods of an older template.

use std::time::Duration;

use daemonplan::{
    backoff::{BackoffEntry, BackoffKey},
    model::{HASH_LABEL, Labels, Pod, PodPhase},
};
use serde_json::{Value, json};

use crate::common::*;

/// Returns nodes a, b, c, … with a new template and these pods.
fn update(nodes: usize, max_unavailable: Value, max_surge: Value, pods: impl IntoIterator<Item = Pod>) -> Cluster {
    let names = ["a", "b", "c", "d", "e", "f"].into_iter().take(nodes);
    cluster(names.map(node)).with_new_template().rolling(max_unavailable, max_surge).with_pods(pods)
}

fn old(node: &str) -> Pod {
    pod(&format!("old-{node}"), node)
}

fn new(node: &str) -> Pod {
    pod(&format!("new-{node}"), node).of("two")
}

#[test]
fn on_delete_keeps_old_pods_until_they_are_deleted() {
    let cluster = cluster([node("a"), node("b")]).with_new_template().with_strategy(json!({"type": "OnDelete"}));
    assert_eq!(cluster.clone().with_pods([old("a"), old("b").unready()]).actions(), [""; 0]);
    let plan = cluster.plan();
    assert_eq!((lines(&plan).len(), &*plan.hash), (2, "two"), "replacements have the new template");
}

#[test]
fn candidates_are_updated_by_node_name_within_max_unavailable() {
    assert_eq!(
        update(3, json!(2), json!(0), [old("c"), old("b"), old("a")]).actions(),
        ["delete pod old-a on a: outdated", "delete pod old-b on b: outdated"]
    );
}

#[test]
fn percentages_are_of_desired_nodes_and_rounded_up() {
    let pods = || [old("a"), old("b"), old("c"), old("d"), old("e")];
    assert_eq!(update(5, json!("21%"), json!(0), pods()).actions().len(), 2);
    assert_eq!(update(5, json!("20%"), json!(0), pods()).actions().len(), 1);
}

#[test]
fn unavailable_new_pods_use_up_the_budget() {
    assert_eq!(update(3, json!(1), json!(0), [new("a").unready(), old("b"), old("c")]).actions(), [""; 0]);
    assert_eq!(update(3, json!(2), json!(0), [new("a").unready(), old("b"), old("c")]).actions().len(), 1);
}

#[test]
fn a_node_whose_pod_is_being_deleted_uses_up_the_budget() {
    assert_eq!(update(2, json!(1), json!(0), [old("a").being_deleted(), old("b")]).actions(), [""; 0]);
}

#[test]
fn unavailable_old_pods_are_always_deleted_and_use_up_the_budget() {
    let pods = [old("a").unready(), old("b").unready(), old("c")];
    let reason = "outdated and not available";
    assert_eq!(
        update(3, json!(1), json!(0), pods).actions(),
        [format!("delete pod old-a on a: {reason}"), format!("delete pod old-b on b: {reason}")]
    );
}

#[test]
fn several_pods_of_one_kind_on_a_node_use_up_the_budget() {
    let actions = |max_unavailable, max_surge| {
        let failed = ["one", "more"].map(|name| pod(name, "a").phase(PodPhase::Failed));
        let mut cluster = update(2, max_unavailable, max_surge, failed).with_pod(old("b"));
        let key = BackoffKey::new("uid-agent", 0, "a");
        cluster.backoff = [(key, BackoffEntry::new(Duration::from_mins(1), cluster.now))].into_iter().collect();
        let nodes_with_action = |action: &String| action.split(" on ").nth(1).map(|rest| rest[..1].to_owned());
        cluster.actions().iter().filter_map(nodes_with_action).collect::<Vec<_>>()
    };
    assert_eq!(actions(json!(1), json!(0)), [""; 0]);
    assert_eq!(actions(json!(2), json!(0)), ["b"]);
}

#[test]
fn both_bounds_zero_means_one_unavailable() {
    assert_eq!(update(2, json!(0), json!(0), [old("a"), old("b")]).actions().len(), 1);
}

#[test]
fn an_update_waits_for_missing_and_surplus_pods() {
    assert_eq!(update(2, json!(2), json!(0), [old("a")]).actions(), ["create pod on b: no pod on this node"]);
}

/// Returns an update identified by its template generation, and an old pod with that generation.
fn by_generation(cluster: Cluster) -> Cluster {
    let generation = [("deprecated.daemonset.template.generation", "2")];
    cluster.with(|daemonset| daemonset.annotations = Labels::from_iter(generation))
}

fn of_the_generation(pod: Pod) -> Pod {
    pod.but(|pod| pod.labels = pod.labels.with("pod-template-generation", "2"))
}

#[test]
fn a_pod_of_the_template_generation_is_up_to_date_whatever_its_hash() {
    let cluster = by_generation(update(1, json!(1), json!(0), [of_the_generation(old("a"))]));
    assert_eq!(cluster.actions(), [""; 0]);
}

#[test]
fn two_new_pods_on_a_node_count_as_a_surge() {
    let surging = |surge: u32| {
        let pods = [of_the_generation(old("a")), new("a").unready(), old("b")];
        by_generation(update(2, json!(0), json!(surge), pods)).actions()
    };
    assert_eq!(surging(1), [""; 0]);
    assert_eq!(surging(2), ["create pod on b: the update surges to this node next"]);
}

#[test]
fn a_pod_without_any_hash_is_old() {
    let bare = pod("bare", "a").but(|pod| pod.labels = Labels::from_iter([("app", "agent")]));
    assert_eq!(bare.labels.get(HASH_LABEL), None);
    assert_eq!(update(1, json!(1), json!(0), [bare]).actions(), ["delete pod bare on a: outdated"]);
}

#[test]
fn a_surge_creates_new_pods_beside_available_old_ones_within_max_surge() {
    assert_eq!(
        update(3, json!(0), json!(1), [old("c"), old("b"), old("a")]).actions(),
        ["create pod on a: the update surges to this node next"]
    );
    assert_eq!(
        update(3, json!(0), json!("50%"), [old("a"), new("a").unready(), old("b"), old("c")]).actions(),
        ["create pod on b: the update surges to this node next"]
    );
}

#[test]
fn a_surge_replaces_unavailable_old_pods_at_once() {
    assert_eq!(
        update(3, json!(0), json!(1), [old("a").unready(), old("b").unready(), old("c")]).actions(),
        [
            "create pod on a: the outdated pod is not available",
            "create pod on b: the outdated pod is not available",
            "create pod on c: the update surges to this node next",
        ]
    );
}

#[test]
fn a_surge_deletes_a_misscheduled_available_pod_once_enough_others_are_available() {
    let not_wanted = |pods: Vec<Pod>| {
        let nodes = [node("a"), tainted("b", &["x:NoSchedule"])];
        cluster(nodes).with_new_template().rolling(json!(0), json!(1)).with_pods(pods).actions()
    };
    assert_eq!(
        not_wanted(vec![new("a"), old("b")]),
        ["delete pod old-b on b: outdated, and the node should no longer run a pod"]
    );
    assert_eq!(not_wanted(vec![new("a").unready(), old("b")]), [""; 0]);
    assert_eq!(not_wanted(vec![new("a"), old("b").unready()]), ["delete pod old-b on b: outdated and not available"]);
}

#[test]
fn a_surging_rollout_ends_with_one_new_pod_on_every_node() {
    let mut cluster = update(4, json!(0), json!(2), ["a", "b", "c", "d"].map(old));
    cluster.settle();
    let mut hashes: Vec<_> = cluster.pods.iter().map(|pod| (pod.node.name(), pod.labels.get(HASH_LABEL))).collect();
    hashes.sort();
    assert_eq!(hashes.len(), 4);
    assert!(hashes.iter().all(|(_, hash)| *hash == Some("two")), "{hashes:?}");
}

#[test]
fn a_misscheduled_terminal_pod_uses_up_the_budget_until_it_is_gone() {
    let away = pod("leaving", "b").being_deleted();
    let mut cluster = update(2, json!(1), json!(0), [old("a"), away]);
    cluster.nodes[1].taints.push(taint("gone:NoExecute"));
    assert_eq!(cluster.actions(), [""; 0], "node b has no live pod");
    cluster.pods.pop();
    assert_eq!(cluster.actions(), ["delete pod old-a on a: outdated"]);
}

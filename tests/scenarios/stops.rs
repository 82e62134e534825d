//! Plans that stop early, and independence from the input's order.

use daemonplan::{Warning, model::LabelSelector};
use serde_json::json;

use crate::common::*;

#[test]
fn a_selector_that_selects_all_pods_stops_everything() {
    let cluster = cluster([node("a")]).with(|daemonset| daemonset.selector = Some(LabelSelector::default()));
    let plan = cluster.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.warnings, [Warning::SelectsAllPods]);
    assert_eq!(plan.events[0].reason, "SelectingAll");
}

#[test]
fn a_missing_selector_matches_nothing() {
    let cluster = cluster([node("a")]).with(|daemonset| daemonset.selector = None).with_pod(pod("x", "a"));
    let plan = cluster.plan();
    assert_eq!(plan.warnings, [Warning::SelectsNoPods]);
    assert_eq!(lines(&plan)[0], "release pod x: its labels do not match the selector");
}

#[test]
fn the_order_of_nodes_pods_and_revisions_makes_no_difference() {
    let mut cluster = cluster(["c", "a", "b", "d"].map(node))
        .with_new_template()
        .rolling(json!(2), json!(0))
        .with_pods(["d", "b", "c", "a"].map(|node| pod(&format!("old-{node}"), node)))
        .with_pod(pod("orphan", "a").but(|pod| pod.controller = None));
    let before = cluster.plan().actions;
    cluster.nodes.reverse();
    cluster.pods.reverse();
    cluster.revisions.reverse();
    assert_eq!(cluster.plan().actions, before);
}

#[test]
fn of_two_nodes_with_one_name_the_same_one_counts_in_any_order() {
    let twice = |name| [labelled(name, &[("role", "x")]), labelled(name, &[("role", "y")])];
    let nodes = [twice("b"), twice("a")].concat();
    let mut cluster = cluster(nodes).with_spec(json!({"nodeSelector": {"role": "y"}}));
    let before = lines(&cluster.plan());
    let warnings = ["a", "b"].map(|node| Warning::DuplicateNode { node: node.into() });
    assert_eq!(cluster.plan().warnings, warnings);
    cluster.nodes.reverse();
    assert_eq!(lines(&cluster.plan()), before);
    assert_eq!(cluster.plan().warnings, warnings);
}

#[test]
fn a_node_listed_twice_counts_once() {
    let cluster = cluster([node("a"), node("a")]);
    assert_eq!(cluster.plan().warnings, []);
    assert_eq!(cluster.actions(), ["create pod on a: no pod on this node"]);
}

#[test]
fn the_short_form_returns_the_same_actions() {
    let cluster = cluster([node("a")]).with_pod(pod("stray", "gone"));
    let short = daemonplan::plan(&cluster.daemonset, &cluster.nodes, &cluster.pods, &cluster.namespace);
    let long = daemonplan::Snapshot::new(&cluster.daemonset, &cluster.nodes, &cluster.pods, &cluster.namespace).plan();
    assert_eq!(short, long.actions);
    assert_eq!(short.len(), 3, "a creation, a deletion, and the status: {short:?}");
}

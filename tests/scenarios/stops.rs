//! When a plan stops early, and what it may not depend on.

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
fn of_two_nodes_with_one_name_one_counts_whichever_comes_first() {
    let twice = [labelled("a", &[("role", "x")]), labelled("a", &[("role", "y")])];
    let mut cluster = cluster(twice).with_spec(json!({"nodeSelector": {"role": "y"}}));
    let before = lines(&cluster.plan());
    assert_eq!(cluster.plan().warnings, [Warning::DuplicateNode { node: "a".into() }]);
    cluster.nodes.reverse();
    assert_eq!(lines(&cluster.plan()), before);
}

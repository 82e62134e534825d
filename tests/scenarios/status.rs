//! The status, and when to plan again.

use std::time::Duration;

use daemonplan::{
    Action, Snapshot, Warning,
    model::{DaemonSetCondition, DaemonSetStatus, Readiness},
};
use serde_json::json;

use crate::common::*;

#[test]
fn it_counts_nodes_before_the_plan_takes_effect() {
    let cluster = cluster([
        node("empty"),
        node("ready"),
        node("unready"),
        tainted("stays", &["x:NoSchedule"]),
        tainted("leaves", &["x:NoExecute"]),
    ])
    .with_new_template()
    .with_pods([
        pod("1", "ready").of("two"),
        pod("2", "unready").unready(),
        pod("3", "stays"),
        pod("4", "leaves"),
    ]);
    assert_eq!(
        cluster.plan().status.unwrap(),
        DaemonSetStatus {
            desired_number_scheduled: 3,
            current_number_scheduled: 2,
            number_misscheduled: 2,
            number_ready: 1,
            number_available: 1,
            number_unavailable: 2,
            updated_number_scheduled: 1,
            observed_generation: 2,
            ..DaemonSetStatus::default()
        }
    );
}

#[test]
fn an_update_that_its_policy_holds_up_shows_in_the_conditions() {
    let paused = |text: &'static str| {
        let cluster = cluster([node("a")]).with_new_template().with_pods([pod("1", "a")]);
        cluster.with(|daemonset| daemonset.annotations = [("daemonplan/paused", text)].into_iter().collect())
    };
    let foreign: DaemonSetCondition = serde_json::from_value(json!({"type": "Mine", "status": "True"})).unwrap();
    let mut cluster = paused("true").with(|daemonset| daemonset.status.conditions = vec![foreign.clone()]);
    let plan = cluster.plan();
    let conditions = plan.status.clone().unwrap().conditions;
    assert_eq!(
        serde_json::to_value(&conditions[1]).unwrap(),
        json!({"type": "Progressing", "status": "False", "reason": "Paused", "message": "the update is paused, as the policy paused says",
            "lastTransitionTime": cluster.now})
    );
    // A strategic merge patch keeps those of others.
    let patch = plan.actions.iter().find_map(|action| match action {
        Action::UpdateStatus { .. } => action.patch(),
        _ => None,
    });
    assert_eq!(patch.unwrap()["status"]["conditions"], json!([conditions[1]]));
    assert_eq!((conditions.len(), &conditions[0]), (2, &foreign));
    // It does not change with the time.
    cluster.daemonset.status = plan.status.unwrap();
    cluster.now += jiff::SignedDuration::from_mins(1);
    assert!(cluster.plan().actions.is_empty());
    cluster.daemonset.annotations = paused("false").daemonset.annotations;
    let resumed = cluster.plan().status.unwrap().conditions[1].clone();
    let expected = ("True", "NoPolicy", Some(cluster.now));
    assert_eq!((&*resumed.status, &*resumed.reason, resumed.last_transition), expected);
}

#[test]
fn a_condition_of_another_controller_is_kept_as_it_is() {
    let of = |reason: &str, paused: &'static str| {
        let json = json!({"type": "Progressing", "status": "Unknown", "reason": reason, "message": "mine"});
        let condition: DaemonSetCondition = serde_json::from_value(json).unwrap();
        let cluster = cluster([node("a")]).with_new_template().with_pods([pod("1", "a")]);
        let cluster = cluster.with(|daemonset| {
            daemonset.annotations = [("daemonplan/paused", paused)].into_iter().collect();
            daemonset.status.conditions = vec![condition];
        });
        let plan = cluster.plan();
        let patch = plan.actions.iter().find(|action| matches!(action, Action::UpdateStatus { .. })).unwrap().patch();
        let condition = plan.status.unwrap().conditions.remove(0);
        (condition.message.to_string(), patch.unwrap()["status"].get("conditions").is_some())
    };
    for paused in ["true", "false"] {
        assert_eq!(of("ReplicaSetUpdated", paused), ("mine".into(), false), "{paused}");
        assert_ne!(of("Rolling", paused), ("mine".into(), false), "{paused}");
    }
}

#[test]
fn an_update_that_nothing_holds_up_adds_no_condition() {
    for policy in ["daemonplan/order", "x"] {
        let cluster = cluster([node("a")]).with_new_template().with_pods([pod("1", "a")]);
        let cluster = cluster.with(|daemonset| daemonset.annotations = [(policy, "oldest-pod")].into_iter().collect());
        assert_eq!(cluster.plan().status.unwrap().conditions, []);
    }
}

#[test]
fn an_update_that_waits_for_canaries_of_which_there_are_none_is_held_up() {
    let cluster = cluster([node("a")]).with_new_template().with_pods([pod("1", "a")]);
    let cluster =
        cluster.with(|daemonset| daemonset.annotations = [("daemonplan/canary-nodes", "x=y")].into_iter().collect());
    let condition = cluster.plan().status.unwrap().conditions.remove(0);
    assert_eq!(
        (&*condition.status, &*condition.message),
        ("False", "no node that should run a pod matches canary-nodes")
    );
}

#[test]
fn a_condition_says_nothing_of_the_time_that_is_left() {
    let since = |cluster: &Cluster| cluster.now - jiff::SignedDuration::from_mins(4);
    let cluster = cluster([node("a"), node("b")]).with_new_template().with(|daemonset| {
        let policies = [("daemonplan/canary", "1"), ("daemonplan/canary-bake", "10m")];
        daemonset.annotations = policies.into_iter().collect();
    });
    let since = Readiness::Ready { since: Some(since(&cluster)) };
    let cluster = cluster.with_pods([pod("1", "a").of("two").but(|pod| pod.ready = since), pod("2", "b")]);
    let plan = cluster.plan();
    assert_eq!(plan.rollout.unwrap().phase.to_string(), "the canaries must be available for 6m more");
    assert_eq!(plan.status.unwrap().conditions[0].message, "the canaries must be available for longer");
}

#[test]
fn the_first_pod_of_a_node_counts_even_if_it_is_being_deleted() {
    let older =
        |pod: daemonplan::model::Pod| pod.but(|pod| pod.created = Some("2025-01-01T00:00:00Z".parse().unwrap()));
    let cluster = cluster([node("a")]).with_pods([older(pod("x", "a").unready().being_deleted()), pod("y", "a")]);
    assert_eq!(cluster.plan().status.unwrap().number_ready, 0);
}

#[test]
fn it_is_written_only_after_a_change() {
    let mut cluster = cluster([node("a")]).with_pod(pod("x", "a"));
    let actions = cluster.plan().actions;
    assert!(matches!(actions.as_slice(), [Action::UpdateStatus { .. }]));
    cluster.apply(&actions);
    assert_eq!(cluster.plan().actions, []);
    cluster.daemonset.generation = 2;
    assert!(matches!(cluster.plan().actions.as_slice(), [Action::UpdateStatus { .. }]));
}

#[test]
fn a_ready_pod_is_available_after_min_ready_seconds_and_the_plan_requeues_then() {
    let ready_since = |text: &str| Readiness::Ready { since: Some(text.parse().unwrap()) };
    let cluster = cluster([node("a"), node("b")]).with(|daemonset| daemonset.min_ready_seconds = 60).with_pods([
        pod("x", "a").but(|pod| pod.ready = ready_since("2026-01-02T03:03:05Z")),
        pod("y", "b").but(|pod| pod.ready = ready_since("2026-01-02T03:03:06Z")),
    ]);
    let plan = cluster.plan();
    assert_eq!(plan.status.as_ref().unwrap().number_available, 1);
    assert_eq!(plan.requeue_after, Some(Duration::from_secs(1)));
}

#[test]
fn without_a_clock_the_status_is_not_known_under_min_ready_seconds() {
    let cluster = cluster([node("a")]).with(|daemonset| daemonset.min_ready_seconds = 60).with_pod(pod("x", "a"));
    let timeless = Snapshot::new(&cluster.daemonset, &cluster.nodes, &cluster.pods, &cluster.namespace).plan();
    assert_eq!((timeless.status, timeless.actions.as_slice()), (None, [].as_slice()));
    assert!(timeless.warnings.contains(&Warning::ClockNotGiven));
    assert_eq!(timeless.requeue_after, Some(Duration::from_mins(1)));
    let known = cluster.with(|daemonset| daemonset.min_ready_seconds = 0);
    let timeless = Snapshot::new(&known.daemonset, &known.nodes, &known.pods, &known.namespace).plan();
    assert_eq!(timeless.status.unwrap().number_available, 1, "no time is needed");
    assert!(!timeless.warnings.contains(&Warning::ClockNotGiven));
}

#[test]
fn without_a_transition_time_a_pod_is_not_available_under_min_ready_seconds() {
    let timeless = pod("x", "a").but(|pod| pod.ready = Readiness::Ready { since: None });
    let cluster = cluster([node("a")]).with(|daemonset| daemonset.min_ready_seconds = 60).with_pod(timeless);
    assert_eq!(cluster.plan().status.unwrap().number_available, 0);
    assert_eq!(cluster.plan().requeue_after, Some(Duration::from_mins(1)));
}

#[test]
fn while_effects_are_unobserved_nothing_is_created_or_deleted_and_the_generation_stays() {
    let cluster = cluster([node("a"), tainted("b", &["x:NoExecute"])])
        .with(|daemonset| (daemonset.generation, daemonset.revision_history_limit) = (3, 0))
        .with_new_template()
        .rolling(json!(1), json!(0))
        .with_pods([pod("x", "b"), pod("orphan", "b").but(|pod| pod.controller = None)]);
    let plan = cluster.snapshot().expectations_unsatisfied().plan();
    assert_eq!(lines(&plan), ["adopt pod orphan: orphan: no controller, and its labels match the selector"]);
    let status = plan.status.unwrap();
    assert_eq!((status.number_misscheduled, status.observed_generation), (1, 0));
}

//! Revisions.

use std::sync::Arc;

use daemonplan::{
    Action, Snapshot,
    model::{HASH_LABEL, Labels, Pod, PodSpec, PodTemplate},
};
use serde_json::json;

use crate::common::*;

fn without_history(cluster: &Cluster) -> daemonplan::Plan {
    Snapshot::new(&cluster.daemonset, &cluster.nodes, &cluster.pods, &cluster.namespace).plan()
}

#[test]
fn a_template_without_a_revision_gets_one_with_the_next_number() {
    let mut cluster = cluster([]).with(|daemonset| daemonset.annotations = Labels::from_iter([("team", "a")]));
    cluster.revisions[0].data = json!({"spec": {"template": {"other": true}}}).into();
    cluster.revisions[0].revision = 6;
    let plan = cluster.plan();
    let Some(Action::CreateRevision { revision }) = plan.actions.first() else { panic!("{:?}", plan.actions) };
    assert_eq!(revision.name, format!("agent-{}", plan.hash).as_str());
    assert_eq!(revision.revision, 7);
    assert_eq!(revision.labels, Labels::from_iter([("app", "agent"), (HASH_LABEL, &*plan.hash)]));
    assert_eq!(revision.annotations.get("team"), Some("a"));
    assert_eq!(revision.controller, Some(owner()));
    assert_eq!(revision.data["spec"]["template"]["$patch"], "replace");
    assert_eq!(revision.data["spec"]["template"]["spec"]["containers"][0]["image"], "agent:1");
}

#[test]
fn the_current_revision_is_found_by_value_so_taking_over_restarts_no_pod() {
    let mut cluster = cluster([node("a")]).with_pod(pod("x", "a"));
    let data = r#"{"spec": {"template": {"$patch": "replace", "spec": {"containers": [{"image": "agent:1", "name": "agent",
        "env": null}]}, "metadata": {"creationTimestamp": null, "labels": {"app": "agent"}}}}}"#;
    cluster.revisions[0].data = serde_json::from_str::<serde_json::Value>(data).unwrap().into();
    assert_eq!(cluster.actions(), [""; 0]);
}

#[test]
fn name_collisions_raise_the_collision_count_until_a_name_is_free() {
    let mut cluster = cluster([]);
    cluster.revisions.clear();
    let first = cluster.plan().hash.to_string();
    let mut taken = cluster.revision(&first, 1);
    taken.data = json!({}).into();
    cluster.revisions.push(taken.clone());
    let plan = cluster.plan();
    assert_ne!(plan.hash, first.as_str());
    assert_eq!(plan.status.as_ref().unwrap().collision_count, Some(1));
    let second = plan.hash.to_string();
    drop(plan);

    taken.controller = None;
    taken.labels = Labels::default();
    taken.name = format!("agent-{second}").into();
    cluster.revisions.push(taken);
    let plan = cluster.plan();
    assert!(![first, second].contains(&plan.hash.to_string()));
    assert_eq!(plan.status.unwrap().collision_count, Some(2));
}

#[test]
fn a_revision_without_a_hash_label_uses_its_name_as_hash() {
    for labels in [Labels::from_iter([("app", "agent")]), Labels::from_iter([("app", "agent"), (HASH_LABEL, "")])] {
        let mut cluster = cluster([]);
        cluster.revisions[0].labels = labels;
        assert_eq!(cluster.actions(), ["update revision agent-one (number 1, hash agent-one): no hash label"]);
    }
}

#[test]
fn the_current_revision_must_have_the_highest_number() {
    let mut cluster = cluster([]).with_new_template();
    cluster.revisions[0].revision = 5;
    assert_eq!(
        cluster.actions(),
        ["update revision agent-two (number 6, hash two): the current revision must have the highest number"]
    );
}

#[test]
fn of_duplicate_revisions_the_highest_is_kept_and_pods_are_relabelled() {
    let mut cluster = cluster([node("a"), node("b")]).with_pods([pod("x", "a"), pod("y", "b").of("again")]);
    cluster.revisions.push(cluster.revision("again", 2));
    assert_eq!(
        cluster.actions(),
        [
            "relabel pod x (hash again): duplicate revisions: one is kept",
            "delete pod x on a: outdated",
            "delete revision agent-one: duplicate of agent-again",
        ]
    );
}

#[test]
fn unused_revisions_beyond_the_limit_are_deleted_lowest_number_first() {
    let mut cluster = cluster([node("a")])
        .with_strategy(json!({"type": "OnDelete"}))
        .with_pod(pod("x", "a").of("v1"))
        .with(|daemonset| daemonset.revision_history_limit = 1);
    cluster.revisions[0].revision = 10;
    for number in [4, 2, 1, 3] {
        let mut old = cluster.revision(&format!("v{number}"), number);
        old.data = json!({"number": number}).into();
        cluster.revisions.push(old);
    }
    let reason = "no pod uses it, and revisionHistoryLimit is 1";
    assert_eq!(cluster.actions(), ["v2", "v3", "v4"].map(|hash| format!("delete revision agent-{hash}: {reason}")));
}

#[test]
fn revisions_are_adopted_and_released_like_pods() {
    let mut cluster = cluster([]).with_new_template();
    cluster.revisions[0].controller = None;
    let mut strayed = cluster.revision("stray", 1);
    strayed.labels = Labels::default();
    let mut foreign = cluster.revision("foreign", 9);
    Arc::make_mut(foreign.controller.as_mut().unwrap()).uid = "uid-other".into();
    cluster.revisions.extend([strayed, foreign]);
    assert_eq!(
        cluster.actions(),
        [
            "adopt revision agent-one: orphan: no controller, and its labels match the selector",
            "release revision agent-stray: its labels do not match the selector",
        ]
    );
}

#[test]
fn unknown_history_differs_from_empty_history() {
    let cluster = cluster([node("a")]);
    let plan = without_history(&cluster);
    assert_eq!(lines(&plan), ["create pod on a: no pod on this node"]);
    assert_eq!(plan.warnings, [daemonplan::Warning::HistoryNotGiven]);
    let hash = plan.hash.to_string();
    let cluster = cluster.with_pod(pod("x", "a").of(&hash));
    assert_eq!(lines(&without_history(&cluster)), [""; 0], "pods with the template's own hash are updated");
    let cluster = cluster.with_pod(pod("y", "b"));
    let cluster = Cluster { nodes: vec![node("a"), node("b")], ..cluster };
    assert_eq!(lines(&without_history(&cluster)), ["delete pod y on b: outdated"]);
}

#[test]
fn a_relabelling_of_pods_of_another_template_is_warned_of() {
    let relabelled = |hash: &str| {
        let mut cluster = cluster([node("a"), node("b")]).with_new_template();
        cluster.daemonset.template = cluster.revisions[0].template().unwrap();
        let mut copy = cluster.revisions[0].clone();
        copy.name = "agent-copy".into();
        copy.labels = copy.labels.with(HASH_LABEL, "copy");
        cluster.revisions.push(copy);
        cluster.with_pods([pod("x", "a").of(hash), pod("y", "b").of(hash)]).plan()
    };
    let plan = relabelled("two");
    let codes: Vec<_> = plan.warnings.iter().map(daemonplan::Warning::code).collect();
    assert_eq!(codes, ["RelabelsOtherTemplate"]);
    assert!(plan.warnings[0].to_string().contains("1 pod of another template (y)"), "x is deleted next");
    assert!(lines(&plan).iter().any(|line| line.starts_with("relabel pod x")), "the decision is that of Kubernetes");
    for same in ["one", "copy"] {
        assert_eq!(relabelled(same).warnings, [], "{same}");
    }
}

#[test]
fn pods_that_have_the_current_label_and_run_another_image_are_named() {
    let runs = |name: &str, image: &str| {
        let spec = PodSpec::of(&PodTemplate::default().with_container("agent", image));
        pod(name, name).of("two").but(|pod| pod.spec = Some(spec.unwrap().into()))
    };
    let warnings = |pods: &[Pod]| {
        let cluster = cluster([node("a"), node("b")]).with_new_template().with_pods(pods.iter().cloned());
        let warnings = cluster.snapshot().explain().warnings;
        assert_eq!(cluster.snapshot().pod_warnings(), warnings);
        assert_eq!(lines(&cluster.plan()), [""; 0], "the decision is that of Kubernetes");
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(warnings(&[runs("a", "agent:2"), runs("b", "agent:2")]), [""; 0]);
    assert_eq!(
        warnings(&[runs("a", "agent:1"), runs("b", "agent:1")]),
        [
            "2 pods (a, …) with the label of the current template run agent:1, the image of the older revision agent-one, \
          not agent:2: they will not be updated, as the controller judges by the label alone; delete them by hand if they \
          are not meant to differ (kubernetes/kubernetes#111280)"
        ]
    );
    assert_eq!(
        warnings(&[runs("a", "agent:2"), runs("b", "edited:2")]),
        [
            "1 pod (b) with the label of the current template runs edited:2, not agent:2: it will not be updated, as the \
          controller judges by the label alone; delete it by hand if it is not meant to differ \
          (kubernetes/kubernetes#111280)"
        ]
    );
    assert_eq!(
        warnings(&[runs("a", "mirror/agent:2"), runs("b", "mirror/agent:2")]),
        [""; 0],
        "admission rewrites images"
    );
    assert_eq!(warnings(&[pod("a", "a").of("two"), runs("b", "agent:2")]), [""; 0], "what a pod runs may be unknown");
}

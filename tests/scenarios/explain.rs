//! Explanations.

mod update_state;

use daemonplan::{
    explain::{ClaimReason, UpdateState},
    lint::{Lint, lint},
    model::{ControllerRef, DaemonSet, Pod, PodPhase, Readiness},
};
use serde_json::{Value, json};

use crate::common::*;

fn sentence(cluster: &Cluster, node: &str) -> String {
    let explanation = cluster.snapshot().explain();
    explanation.nodes.iter().find(|explained| *explained.node == *node).unwrap().to_string()
}

/// Returns each rule about the first node, with `yes` or `no`.
fn checks(cluster: &Cluster) -> Vec<String> {
    let checks = cluster.snapshot().explain().nodes.swap_remove(0).checks;
    let line = |failure: bool, rule: String| format!("{} {rule}", if failure { "no" } else { "yes" });
    checks.iter().map(|check| line(check.failure.is_some(), check.rule.to_string())).collect()
}

fn remedies(cluster: &Cluster) -> Vec<String> {
    let remedies = cluster.snapshot().explain().nodes.swap_remove(0).remedies;
    remedies.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_are_listed_in_order_of_decision() {
    let spec = json!({
        "nodeSelector": {"role": "worker"},
        "affinity": affinity(json!([{"matchExpressions": [
            {"key": "zone", "operator": "In", "values": ["a"]}, {"key": "gone", "operator": "DoesNotExist"},
        ]}])),
    });
    let cluster = cluster([labelled("a", &[("role", "infra"), ("zone", "a")])]).with_spec(spec);
    let cluster = cluster.annotated(&[("openshift.io/node-selector", "disk=ssd")]);
    assert_eq!(
        checks(&cluster),
        [
            "no node selector role=worker",
            "yes node affinity zone=a",
            "yes node affinity !gone",
            "yes all taints tolerated",
            "no annotation openshift.io/node-selector: disk=ssd",
        ]
    );
    assert_eq!(remedies(&cluster), ["the label role=worker", "the label disk=ssd"]);
    assert_eq!(
        sentence(&cluster, "a"),
        "no pod: node selector role=worker is required, the node has role=infra; \
         it would run with the label role=worker and the label disk=ssd"
    );
}

#[test]
fn the_failed_term_closest_to_matching_is_shown() {
    let require =
        |terms: Value| cluster([labelled("a", &[("zone", "a")])]).with_spec(json!({"affinity": affinity(terms)}));
    let cluster = require(json!([
        {"matchExpressions": [{"key": "x", "operator": "Exists"}, {"key": "y", "operator": "Exists"}]},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]},
        {"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]},
    ]));
    assert_eq!(checks(&cluster), ["no node affinity, one of 3 terms", "yes all taints tolerated"]);
    assert_eq!(remedies(&cluster), ["a value other than zone=a"]);
    for (requirement, remedy) in [
        (json!({"key": "n", "operator": "Gt", "values": ["4"]}), "the label n=5"),
        (json!({"key": "n", "operator": "Lt", "values": ["4"]}), "the label n=3"),
        (json!({"key": "zone", "operator": "DoesNotExist"}), "no label zone"),
        (json!({"key": "disk", "operator": "Exists"}), "a label disk"),
        (json!({"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}), "the label disk=ssd"),
    ] {
        assert_eq!(remedies(&require(json!([{"matchExpressions": [requirement]}]))), [remedy]);
    }
}

#[test]
fn each_failed_requirement_of_a_single_term_is_shown() {
    let terms = json!([{"matchExpressions": [
        {"key": "zone", "operator": "In", "values": ["b"]},
        {"key": "zone", "operator": "Exists"},
        {"key": "disk", "operator": "Exists"},
        {"key": "disk", "operator": "In", "values": ["ssd"]},
        {"key": "old", "operator": "DoesNotExist"},
    ]}]);
    let node = labelled("a", &[("old", "yes"), ("zone", "a"), ("rack", "7")]);
    let cluster = cluster([node]).with_spec(json!({"affinity": affinity(terms)}));
    let failures =
        cluster.snapshot().explain().nodes.swap_remove(0).checks.into_iter().filter_map(|check| check.failure);
    assert_eq!(
        failures.map(|failure| failure.to_string()).collect::<Vec<_>>(),
        [
            "node affinity: zone=b is required, the node has zone=a",
            "node affinity: disk is required, the node has no label disk",
            "node affinity: disk=ssd is required, the node has no label disk",
            "node affinity: !old is required, the node has old=yes",
        ]
    );
    // A label with a value is a label.
    assert_eq!(remedies(&cluster), ["the label zone=b", "the label disk=ssd", "no label old"]);
}

#[test]
fn no_remedy_is_shown_where_none_would_help() {
    let spec = json!({"nodeSelector": {"role": "worker"}, "nodeName": "b"});
    assert_eq!(remedies(&cluster([node("a")]).with_spec(spec)), [""; 0]);
    let contradiction = json!({
        "nodeSelector": {"role": "worker"},
        "affinity": affinity(json!([{"matchExpressions": [{"key": "role", "operator": "In", "values": ["infra"]}]}])),
    });
    assert_eq!(remedies(&cluster([node("a")]).with_spec(contradiction)), [""; 0]);
    assert_eq!(remedies(&cluster([node("a")]).with_spec(json!({"affinity": affinity(json!([]))}))), [""; 0]);
    assert_eq!(remedies(&cluster([node("a")])), [""; 0], "a pod should run there");
}

#[test]
fn a_node_condition_taint_suggests_a_healthy_node_and_any_other_a_toleration() {
    let taints =
        ["dedicated=db:NoSchedule", "node.kubernetes.io/network-unavailable:NoSchedule", "soft:PreferNoSchedule"];
    assert_eq!(
        remedies(&cluster([tainted("a", &taints)])),
        [
            "a toleration for dedicated=db:NoSchedule",
            "a healthy node (no taint node.kubernetes.io/network-unavailable:NoSchedule)",
        ]
    );
    assert_eq!(
        remedies(&cluster([tainted("a", &["dedicated=db:NoSchedule"])])),
        ["a toleration for dedicated=db:NoSchedule"]
    );
}

#[test]
fn a_pod_is_described_with_revision_state_and_deletion() {
    let rolling =
        |pods| cluster([node("a"), node("b")]).with_new_template().rolling(json!(1), json!(0)).with_pods(pods);
    let cluster = rolling(vec![pod("old", "a"), pod("new", "b").of("two").unready()]);
    assert_eq!(sentence(&cluster, "a"), "an outdated pod, available");
    assert_eq!(sentence(&cluster, "b"), "an up-to-date pod, not ready");
    let cluster = rolling(vec![pod("old", "a"), pod("new", "b").of("two")]);
    assert_eq!(sentence(&cluster, "a"), "an outdated pod, available, deleted next: outdated");
    let pods = &cluster.snapshot().explain().nodes[0].pods;
    assert_eq!((pods[0].revision.number, pods[0].revision.hash.as_deref()), (Some(1), Some("one")));
    let cluster = rolling(vec![pod("gone", "c")]);
    assert_eq!(sentence(&cluster, "a"), "a pod is created next: no pod on this node");
    assert!(!cluster.snapshot().explain().nodes[2].exists, "expected the missing node that has pods");
}

#[test]
fn a_toleration_that_misses_a_taint_is_shown_value_against_value() {
    let with = |toleration: Value| {
        let spec = json!({"tolerations": [toleration], "containers": [{"name": "a", "image": "a"}]});
        let cluster = cluster([tainted("a", &["dedicated=db:NoSchedule"])]).with_spec(spec);
        cluster.snapshot().placement("a").unwrap().reason.to_string()
    };
    let taint = "taint dedicated=db:NoSchedule is not tolerated";
    for (toleration, expected) in [
        (json!({"key": "other", "operator": "Exists"}), ""),
        (
            json!({"key": "dedicated", "value": "dp"}),
            r#": the toleration of dedicated has the value "dp", the taint has "db""#,
        ),
        (json!({"key": "dedicated"}), r#": the toleration of dedicated has no value, the taint has "db""#),
        (
            json!({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}),
            ": the toleration of dedicated is for the effect NoExecute",
        ),
        (json!({"key": "dedicated", "operator": "In"}), ": the toleration of dedicated has an unknown operator"),
        (
            json!({"key": "dedicated", "operator": "Gt", "value": "3"}),
            ": the toleration of dedicated is for values above 3, if the cluster compares them",
        ),
    ] {
        assert_eq!(with(toleration), format!("{taint}{expected}"));
    }
}

#[test]
fn a_taint_that_every_daemon_pod_tolerates_is_named_where_a_pod_should_run() {
    let cordoned = || cluster([tainted("a", &["node.kubernetes.io/unschedulable:NoSchedule"])]);
    assert_eq!(
        sentence(&cordoned(), "a"),
        "a pod is created next: no pod on this node; the node is cordoned \
         (node.kubernetes.io/unschedulable:NoSchedule), which daemon pods tolerate automatically"
    );
    let own = cordoned().with_spec(json!({"tolerations": [{"operator": "Exists"}]}));
    assert_eq!(sentence(&own, "a"), "a pod is created next: no pod on this node", "its own toleration covers it, too");
    let pressed = cluster([tainted("a", &["node.kubernetes.io/disk-pressure:NoSchedule"])]).with_pod(pod("x", "a"));
    assert!(sentence(&pressed, "a").ends_with(
        "; the node has the taint node.kubernetes.io/disk-pressure:NoSchedule, which daemon pods tolerate automatically"
    ));
}

#[test]
fn a_pod_that_has_ended_but_does_not_go_is_named() {
    let ended = pod("x", "a").phase(PodPhase::Failed).being_deleted();
    assert_eq!(
        sentence(&cluster([node("a")]).with_pod(ended), "a"),
        "a pod is created next: no pod on this node; pod x has ended and does not count, though its deletion is not over: \
         see its finalizers"
    );
}

#[test]
fn pods_that_count_by_their_template_generation_alone_are_named() {
    let cluster = cluster([node("a"), node("b")]).with_new_template().rolling(json!(1), json!(0)).with_pods([
        pod("old", "a").but(|pod| pod.labels = pod.labels.with("pod-template-generation", "7")),
        pod("new", "b").of("two"),
    ]);
    let warnings = |cluster: &Cluster| {
        let warnings = cluster.snapshot().explain().warnings;
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(warnings(&cluster), Vec::<String>::new());
    let generation = |daemonset: &mut DaemonSet| {
        let key = "deprecated.daemonset.template.generation";
        daemonset.annotations = daemonset.annotations.with(key, "7");
    };
    let counted = cluster.with(generation);
    assert_eq!(counted.snapshot().explain().update, UpdateState::Done, "as the built-in controller counts");
    assert_eq!(
        warnings(&counted),
        [
            "by the label pod-template-generation alone, 1 pod of an older revision (old) counts as up to date, and will not \
          be updated: delete it by hand"
        ]
    );
    let found = lint(&[counted.snapshot()]);
    assert!(found.iter().any(|finding| finding.lint == Lint::CountsByGeneration), "{found:#?}");
}

#[test]
fn a_pending_pod_says_what_the_scheduler_and_the_kubelet_say() {
    let read = |status: Value| {
        let pod = pod("x", "a");
        let mut json = serde_json::to_value(&pod).unwrap();
        json["status"] = status;
        let read: Pod = serde_json::from_value(json).unwrap();
        let again: Pod = serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
        assert_eq!(again, read);
        sentence(&cluster([node("a")]).with_pod(read), "a")
    };
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu.",
        "lastTransitionTime": "2026-01-02T03:00:00Z",
    });
    assert_eq!(
        read(json!({"phase": "Pending", "conditions": [condition]})),
        "an up-to-date pod, pending (0/1 nodes are available: 1 Insufficient cpu.)"
    );
    let waiting = |reason: &str| json!([{"restartCount": 7, "state": {"waiting": {"reason": reason}}, "lastState": {"terminated": {"exitCode": 137}}}]);
    assert_eq!(
        read(json!({"phase": "Running", "containerStatuses": waiting("CrashLoopBackOff")})),
        "an up-to-date pod, not ready (CrashLoopBackOff, 7 restarts, exit code 137)"
    );
    assert_eq!(
        read(json!({"phase": "Pending", "initContainerStatuses": waiting("CreateContainerConfigError")})),
        "an up-to-date pod, pending (init container: CreateContainerConfigError, 7 restarts, exit code 137)"
    );
}

#[test]
fn pods_whose_labels_and_controller_disagree_are_listed_with_their_claim() {
    let controlled = |kind: &str, name: &str| {
        let (kind, name) = (kind.into(), name.into());
        move |pod: &mut Pod| {
            pod.controller = Some(ControllerRef { kind, name, uid: "uid-other".into() }.into());
        }
    };
    let cluster = cluster([node("a")]).with_pods([
        pod("own", "a"),
        pod("adopted", "a").but(|pod| pod.controller = None),
        pod("dying", "a").but(|pod| pod.controller = None).being_deleted(),
        pod("left-behind", "a").but(controlled("DaemonSet", "agent")),
        pod("of-another", "a").but(controlled("DaemonSet", "other")),
        pod("of-others", "a").but(controlled("ReplicaSet", "agent")),
        pod("strayed", "a").but(|pod| pod.labels = pod.labels.with("app", "other")),
        pod("foreign", "a")
            .but(controlled("ReplicaSet", "web"))
            .but(|pod| pod.labels = pod.labels.with("app", "other")),
    ]);
    let claims = cluster.snapshot().explain().claims;
    assert_eq!(claims[0].reason.to_string(), "adopted: its labels match the selector, and it has no controller");
    let told: Vec<_> = claims.into_iter().map(|claim| (claim.pod.to_string(), claim.reason)).collect();
    let other = |kind: &str, name: &str| ClaimReason::OtherController { kind: kind.into(), name: name.into() };
    assert_eq!(
        told,
        [
            ("adopted".to_owned(), ClaimReason::Adopted),
            ("dying".to_owned(), ClaimReason::BeingDeleted),
            ("left-behind".to_owned(), ClaimReason::Predecessor),
            ("of-another".to_owned(), other("DaemonSet", "other")),
            ("of-others".to_owned(), other("ReplicaSet", "agent")),
            ("strayed".to_owned(), ClaimReason::Released),
        ]
    );
}

#[test]
fn every_pod_state_is_described() {
    let told = |pod: Pod| {
        let cluster = cluster([node("a")]).with(|daemonset| daemonset.min_ready_seconds = 60).with_pod(pod);
        cluster.snapshot().explain().nodes[0].pods[0].state.to_string()
    };
    let one = || pod("one", "a");
    let since = Some("2026-01-02T03:04:00.5Z".parse().unwrap());
    for (pod, state) in [
        (one(), "available"),
        (one().but(|pod| pod.ready = Readiness::Ready { since }), "ready, available in 56s"),
        (one().but(|pod| pod.ready = Readiness::Ready { since: None }), "ready, not yet available"),
        (one().unready(), "not ready"),
        (one().phase(PodPhase::Pending), "pending"),
        (one().phase(PodPhase::Succeeded), "completed"),
        (one().phase(PodPhase::Failed), "failed"),
        (one().being_deleted(), "being deleted"),
    ] {
        assert_eq!(told(pod), state);
    }
}

#[test]
fn nodes_with_equal_explanations_are_grouped_by_size_descending() {
    let cluster = cluster(["a", "b", "c"].map(node)).with_pods([pod("y", "b"), pod("z", "c")]);
    let explanation = cluster.snapshot().explain();
    let groups: Vec<_> = explanation.groups().into_iter().map(|(sentence, nodes)| (sentence, nodes.len())).collect();
    let [available, created] = ["an up-to-date pod, available", "a pod is created next: no pod on this node"];
    assert_eq!(groups, [(available.to_owned(), 2), (created.to_owned(), 1)]);
}

#[test]
fn a_pod_that_may_stay_is_described_unlike_one_that_must_be_deleted() {
    let placed = |taint: &str| cluster([tainted("a", &[taint])]).with_pod(pod("x", "a"));
    assert_eq!(
        sentence(&placed("dedicated=db:NoSchedule"), "a"),
        "an up-to-date pod, available; misscheduled: it stays, but no new pod would be created: \
         taint dedicated=db:NoSchedule is not tolerated"
    );
    assert_eq!(
        sentence(&placed("broken:NoExecute"), "a"),
        "an up-to-date pod, available, deleted next: taint broken:NoExecute is not tolerated"
    );
}

#[test]
fn nodes_whose_pods_become_available_at_different_times_are_one_group() {
    let since =
        |second: u32| Readiness::Ready { since: Some(format!("2026-01-02T03:04:{second:02}Z").parse().unwrap()) };
    let of = |seconds: [u32; 2]| {
        let pods = ["a", "b"].map(|name| pod(name, name)).into_iter().zip(seconds);
        let pods = pods.map(|(pod, second)| pod.but(|pod| pod.ready = since(second)));
        let cluster = cluster(["a", "b"].map(node)).with(|daemonset| daemonset.min_ready_seconds = 60);
        let explanation = cluster.with_pods(pods).snapshot().explain();
        explanation.groups().into_iter().map(|(sentence, nodes)| (sentence, nodes.len())).collect::<Vec<_>>()
    };
    assert_eq!(of([0, 4]), [("an up-to-date pod, ready, available in up to 59s".to_owned(), 2)]);
    assert_eq!(of([4, 4]), [("an up-to-date pod, ready, available in 59s".to_owned(), 2)]);
}

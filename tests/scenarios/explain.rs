//! Explanations.

use daemonplan::{
    explain::{BlockerCause, ClaimReason, PodState, UpdateState},
    lint::{Lint, lint},
    model::{ControllerRef, DaemonSet, LabelSelector, Pod, PodNode, PodPhase, Readiness},
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
fn a_blocked_update_lists_nodes_and_reasons() {
    let (broken, sound) = (["node.kubernetes.io/not-ready:NoExecute"], ["soft:PreferNoSchedule"]);
    let cluster = cluster([tainted("a", &broken), tainted("b", &sound), node("c"), node("d")])
        .with_new_template()
        .with(|daemonset| daemonset.min_ready_seconds = 60)
        .rolling(json!(2), json!(0))
        .with_pods([pod("new-a", "a").of("two").unready(), pod("old-c", "c"), pod("old-d", "d")]);
    let since = Some(cluster.now - jiff::SignedDuration::from_secs(20));
    let fresh = pod("new-b", "b").of("two").but(|pod| pod.ready = Readiness::Ready { since });
    let cluster = cluster.with_pod(fresh);
    let UpdateState::Waiting { old, limit, blocked_by } = cluster.snapshot().explain().update else { panic!() };
    assert_eq!((old, limit), (2, 2));
    let shown: Vec<_> = blocked_by.iter().map(|blocker| format!("{}: {blocker}", blocker.node)).collect();
    assert_eq!(
        shown,
        [
            "a: pod new-a is not ready, and the node is not ready (node.kubernetes.io/not-ready:NoExecute)",
            "b: pod new-b is ready, available in 40s",
        ]
    );
    assert!(matches!(&blocked_by[1].cause, BlockerCause::Pod { state: PodState::Ready { .. }, .. }));
}

#[test]
fn the_state_of_an_update_is_described_for_every_strategy() {
    let update = |cluster: &Cluster| cluster.snapshot().explain().update.to_string();
    let old = |strategy: Value| {
        cluster([node("a"), node("b")]).with_new_template().with_strategy(strategy).with_pod(pod("x", "a"))
    };
    assert_eq!(update(&cluster([node("a")])), "no pod is outdated");
    let on_delete = old(json!({"type": "OnDelete"}));
    assert_eq!(
        update(&on_delete),
        "1 node with an outdated pod: OnDelete replaces a pod only after kubectl delete pod removed it"
    );
    let rolling = old(json!({"type": "RollingUpdate"}));
    assert_eq!(
        update(&rolling),
        "1 node with an outdated pod: missing, failed and surplus pods come first, then the others"
    );
    let rolling = rolling.with_pod(pod("y", "b").of("two"));
    assert_eq!(update(&rolling), "1 node with an outdated pod: the update is in progress");
    let unobserved = rolling.snapshot().expectations_unsatisfied().explain().update.to_string();
    assert_eq!(unobserved, "1 node with an outdated pod: waiting for the effects of the last plan to show");
    let deleted = rolling.clone().with(|daemonset| daemonset.deleted = Some("2026-01-02T03:00:00Z".parse().unwrap()));
    assert_eq!(update(&deleted), "the DaemonSet is being deleted");
    assert_eq!(sentence(&deleted, "a"), "an outdated pod, available, deleted next: its DaemonSet is being deleted");
    let left_alone = rolling.with(|daemonset| daemonset.selector = Some(LabelSelector::default()));
    assert_eq!(update(&left_alone), "none, the DaemonSet is left alone");
    assert_eq!(sentence(&left_alone, "a"), "no pod, and none is created");
}

#[test]
fn a_deletion_waits_for_pods_on_nodes_that_do_not_report() {
    let mut cluster = cluster([node("a"), tainted("b", &["node.kubernetes.io/unreachable:NoExecute"])])
        .with(|daemonset| daemonset.deleted = Some("2026-01-02T03:00:00Z".parse().unwrap()))
        .with_pod(pod("x", "b").but(|pod| pod.deleted = Some("2026-01-02T00:04:05Z".parse().unwrap())));
    cluster.nodes[1].taints[0].added = Some("2026-01-02T00:00:00Z".parse().unwrap());
    let explanation = cluster.snapshot().explain();
    assert_eq!(explanation.update.to_string(), "the DaemonSet is being deleted, and waits for 1 node");
    let UpdateState::Deleting { blocked_by } = explanation.update else { panic!() };
    assert_eq!(
        blocked_by[0].to_string(),
        "pod x has been terminating for 3h, and the node does not report since 2026-01-02T00:00:00Z \
         (node.kubernetes.io/unreachable:NoExecute)"
    );
    assert_eq!(sentence(&cluster, "a"), "no pod, and none is created");
    assert_eq!(sentence(&cluster, "b"), "an up-to-date pod, being deleted");
}

#[test]
fn an_update_whose_next_steps_are_all_on_dead_nodes_waits_for_them() {
    let dead = ["node.kubernetes.io/unreachable:NoExecute"];
    let nodes = [tainted("a", &dead), tainted("b", &dead), node("c"), node("d")];
    let cluster = cluster(nodes).with_new_template().rolling(json!(1), json!(0)).with_pods([
        pod("old-a", "a").unready(),
        pod("old-b", "b").unready(),
        pod("old-c", "c"),
        pod("old-d", "d"),
    ]);
    assert_eq!(cluster.actions().len(), 2, "outdated pods that are not available are deleted whatever the budget says");
    let UpdateState::Waiting { limit, blocked_by, .. } = cluster.snapshot().explain().update else { panic!() };
    assert_eq!(limit, 1);
    let nodes: Vec<_> = blocked_by.iter().map(|blocker| blocker.node.as_str()).collect();
    assert_eq!(nodes, ["a", "b"]);
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
fn an_update_waits_for_the_live_pod_not_the_one_being_deleted() {
    let cluster = cluster([node("a"), node("b")]).with_new_template().rolling(json!(1), json!(0)).with_pods([
        pod("new-1", "a").of("two").unready().being_deleted(),
        pod("new-2", "a").of("two").unready(),
        pod("old", "b"),
    ]);
    let UpdateState::Waiting { blocked_by, .. } = cluster.snapshot().explain().update else { panic!() };
    assert_eq!(blocked_by[0].to_string(), "pod new-2 is not ready");
}

/// Returns the nodes that block an update, with reasons.
fn blocked_by(cluster: &Cluster) -> Vec<String> {
    match cluster.snapshot().explain().update {
        UpdateState::Waiting { blocked_by, .. } => {
            blocked_by.iter().map(|blocker| format!("{}: {blocker}", blocker.node)).collect()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn an_update_limited_only_by_the_burst_is_in_progress() {
    let cluster = cluster([node("a"), node("b")]).with_new_template().rolling(json!(1), json!(0));
    let cluster =
        cluster.with_pods([pod("old-a", "a"), pod("old-b", "b")]).with_settings(|settings| settings.burst = 0);
    assert_eq!(cluster.actions(), [""; 0]);
    assert_eq!(cluster.snapshot().explain().update, UpdateState::Moving { old: 2 });
}

#[test]
fn a_starting_surge_is_in_progress_and_a_started_one_blocks() {
    let surging = |pods: Vec<Pod>| {
        let nodes = [node("a"), node("b"), node("c"), tainted("d", &["dedicated=db:NoSchedule"])];
        cluster(nodes).with_new_template().rolling(json!(0), json!(1)).with_pods(pods)
    };
    let old = |node: &str| pod(&format!("old-{node}"), node);
    let new = |node: &str| pod(&format!("new-{node}"), node).of("two");
    let begins = surging(vec![old("a"), old("b"), new("c")]);
    assert_eq!(begins.snapshot().explain().update, UpdateState::Moving { old: 2 });
    // A node without an available pod does not use up maxSurge; nor does a misscheduled pod being deleted.
    let under_way = surging(vec![old("a"), new("a").unready(), old("b"), new("c").unready(), old("d").being_deleted()]);
    assert_eq!(blocked_by(&under_way), ["a: pod new-a is not ready"]);
    let unwanted = surging(vec![new("a"), new("b"), new("c").unready(), old("d")]);
    assert_eq!(
        blocked_by(&unwanted),
        ["c: pod new-c is not ready"],
        "the old pod goes once there are enough without it"
    );
}

#[test]
fn ignored_pods_on_a_missing_node_block_an_update() {
    let left_alone = |pods: Vec<Pod>| {
        let cluster = cluster([node("a")]).with_new_template().rolling(json!(1), json!(0)).with_pods(pods);
        cluster.with_pod(pod("old", "a")).with_settings(|settings| settings.collect_pods_on_missing_nodes = false)
    };
    let gone = |name: &str| pod(name, "gone");
    assert_eq!(blocked_by(&left_alone(vec![gone("x"), gone("y")])), ["gone: several pods"]);
    assert_eq!(blocked_by(&left_alone(vec![gone("x"), gone("y").of("two")])), ["gone: several pods"]);
    assert_eq!(blocked_by(&left_alone(vec![gone("x").being_deleted()])), ["gone: pod x has been terminating for 5s"]);
}

#[test]
fn a_percentage_surge_of_zero_nodes_behaves_like_no_surge() {
    let empty = cluster([]).with_new_template().rolling(json!(5), json!("1%"));
    let empty = empty.with_settings(|settings| settings.collect_pods_on_missing_nodes = false);
    let pair = empty.with_pods(vec![pod("old", "gone").unready(), pod("new", "gone").of("two")]);
    assert_eq!(blocked_by(&pair), ["gone: several pods"]);
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
fn a_new_pod_that_needs_the_port_of_the_old_one_blocks_the_update_with_the_way_out() {
    let spec = |image: &str| json!({"containers": [{"name": "a", "image": image, "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let mut cluster = cluster([node("a")]).with_spec(spec("a:1"));
    cluster.revisions = vec![cluster.revision("one", 1)];
    cluster.daemonset.template = template(spec("a:2"));
    let revision = cluster.revision("two", 2);
    cluster.revisions.push(revision);
    let waiting = pod("new", "a").of("two").phase(PodPhase::Pending).but(|pod| {
        pod.ready = Readiness::NotReady;
        pod.node = PodNode::Intended("a".into());
    });
    let cluster = cluster.rolling(json!(0), json!(1)).with_pods([pod("old", "a"), waiting]);
    let UpdateState::Waiting { blocked_by, .. } = cluster.snapshot().explain().update else { panic!("not waiting") };
    assert_eq!(
        blocked_by[0].to_string(),
        "pod new waits for port 80 of the node, which old keeps until new is available: it never starts; set maxSurge \
         to 0 and maxUnavailable to 1 or more"
    );
}

#[test]
fn a_failed_pod_is_replaced_before_the_update_goes_on_and_its_node_uses_the_budget_until_then() {
    let mut cluster = cluster(["a", "b", "c"].map(node)).with_new_template().rolling(json!(1), json!(0)).with_pods([
        pod("old-a", "a").phase(PodPhase::Failed),
        pod("old-b", "b"),
        pod("old-c", "c"),
    ]);
    let update = |cluster: &Cluster| cluster.snapshot().explain().update.to_string();
    assert_eq!(
        update(&cluster),
        "3 nodes with an outdated pod: missing, failed and surplus pods come first, then the others"
    );
    cluster.pods[0] = pod("new-a", "a").of("two").phase(PodPhase::Pending);
    assert_eq!(
        update(&cluster),
        "2 nodes with an outdated pod: waits for 1 node; at most 1 may be unavailable or surge at a time"
    );
    assert_eq!(blocked_by(&cluster), ["a: pod new-a has been pending for 1h 4m 5s"]);
    cluster.pods[0] = pod("new-a", "a").of("two");
    assert_eq!(update(&cluster), "2 nodes with an outdated pod: the update is in progress");
}

#[test]
fn a_pod_that_cannot_be_scheduled_blocks_an_update_with_the_words_of_the_scheduler_and_the_time() {
    let pending = pod("new-a", "a").of("two").but(|pod| {
        let mut json = serde_json::to_value(&*pod).unwrap();
        json["status"] = json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/2 nodes are available: 1 Insufficient memory.", "lastTransitionTime": "2026-01-02T01:04:05Z",
        }]});
        *pod = serde_json::from_value(json).unwrap();
    });
    let cluster = cluster(["a", "b"].map(node)).with_new_template().rolling(json!(1), json!(0));
    let cluster = cluster.with_pods([pending, pod("old-b", "b")]);
    assert_eq!(
        blocked_by(&cluster),
        ["a: pod new-a has been pending for 2h (0/2 nodes are available: 1 Insufficient memory.)"]
    );
    let found = lint(&[cluster.snapshot()]);
    let waits = found.iter().find(|finding| finding.lint == Lint::UpdateWaits).unwrap();
    assert!(waits.fix.ends_with("or raise maxUnavailable to 2 or more"), "{}", waits.fix);
}

#[test]
fn an_update_is_not_done_while_its_last_outdated_pod_is_being_deleted() {
    let last = cluster([node("a"), node("b")])
        .with_new_template()
        .rolling(json!(1), json!(0))
        .with_pods([pod("new", "a").of("two"), pod("old", "b").being_deleted()]);
    let update = last.snapshot().explain().update.to_string();
    assert!(update.starts_with("1 node with an outdated pod: waits for 1 node"), "{update}");
    let by_hand = last.with_strategy(json!({"type": "OnDelete"}));
    assert_eq!(by_hand.snapshot().explain().update, UpdateState::Done);
    // Also beside the new one.
    let beside = cluster([node("a")])
        .with_new_template()
        .rolling(json!(1), json!(0))
        .with_pods([pod("new", "a").of("two"), pod("old", "a").being_deleted()]);
    assert_eq!(blocked_by(&beside), ["a: pod old has been terminating for 5s"]);
}

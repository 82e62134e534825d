//! The state of an update, and what blocks it.

use daemonplan::{
    MissingFact,
    explain::{BlockerCause, PodState, UpdateState},
    lint::{Lint, lint},
    model::{LabelSelector, Pod, PodNode, PodPhase, PodProblem, Readiness},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::sentence;
use crate::common::*;

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
    let UpdateState::Waiting { old, limit, blocked_by, .. } = cluster.snapshot().explain().update else { panic!() };
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
fn an_update_waits_for_the_live_pod_not_the_one_being_deleted() {
    let cluster = cluster([node("a"), node("b")]).with_new_template().rolling(json!(1), json!(0)).with_pods([
        pod("new-1", "a").of("two").unready().being_deleted(),
        pod("new-2", "a").of("two").unready(),
        pod("old", "b"),
    ]);
    let UpdateState::Waiting { blocked_by, .. } = cluster.snapshot().explain().update else { panic!() };
    assert_eq!(blocked_by[0].to_string(), "pod new-2 is not ready");
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
fn a_new_pod_that_needs_the_port_of_the_old_one_blocks_the_update_with_the_way_out() {
    let spec = |image: &str| json!({"containers": [{"name": "a", "image": image, "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let mut cluster = cluster([node("a")]).with_spec(spec("a:1"));
    cluster.revisions = vec![cluster.revision("one", 1)];
    cluster.daemonset.template = template(spec("a:2"));
    let revision = cluster.revision("two", 2);
    cluster.revisions.push(revision);
    let waiting = pod("new", "a").of("two").phase(PodPhase::Pending).but(|pod| {
        pod.ready = Readiness::default();
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

#[test]
fn without_a_surge_a_node_without_a_pod_blocks_beside_one_whose_pod_is_not_ready() {
    let cluster =
        cluster([node("a"), node("b"), node("c")]).with_new_template().rolling(json!(1), json!(0)).with_pods([
            pod("old-a", "a"),
            pod("new-b", "b").of("two").being_deleted(),
            pod("new-c", "c").of("two").unready(),
        ]);
    assert_eq!(blocked_by(&cluster), ["b: pod new-b has been terminating for 5s", "c: pod new-c is not ready"]);
}

#[test]
fn an_update_whose_next_steps_rest_on_a_missing_fact_does_not_wait_for_its_nodes() {
    let cluster = cluster([node("a")]).with_new_template().with_pods([pod("old", "a").unready()]);
    let known = cluster.snapshot().explain().update;
    let unknown = cluster.snapshot().without(MissingFact::Namespace);
    assert!(!unknown.plan().unsupported.is_empty());
    assert_eq!((unknown.explain().update, known), (UpdateState::Moving { old: 1 }, UpdateState::Moving { old: 1 }));
    assert!(!lint(&[unknown]).iter().any(|finding| finding.lint == Lint::UpdateWaits));
}

#[test]
fn all_lost_nodes_are_named_that_keep_an_update_waiting() {
    let lost = |name: &str| tainted(name, &["node.kubernetes.io/unreachable:NoExecute"]);
    let cluster =
        cluster([lost("a"), lost("b"), node("c")]).with_new_template().rolling(json!(2), json!(0)).with_pods([
            pod("old-a", "a").unready().being_deleted(),
            pod("old-b", "b").unready().being_deleted(),
            pod("old-c", "c"),
        ]);
    let found = lint(&[cluster.snapshot()]);
    let waits = found.iter().find(|finding| finding.lint == Lint::UpdateWaits).unwrap();
    assert!(
        waits.fix.starts_with(
            "bring nodes a, b back, or if they are gone for good: kubectl delete node a b, or raise maxUnavailable to 3"
        ),
        "the pods that come for those that are deleted by force do not start either: {}",
        waits.fix
    );
}

/// What to do about an update that waits.
fn fix(cluster: &Cluster) -> String {
    let found = lint(&[cluster.snapshot()]);
    found.into_iter().find(|finding| finding.lint == Lint::UpdateWaits).unwrap().fix
}

fn crashing(name: &str, node: &str) -> Pod {
    let mut pod = pod(name, node).of("two").unready();
    let mut problem = PodProblem::default();
    (problem.waiting, problem.restarts) = ("CrashLoopBackOff".into(), 9);
    pod.problem = Some(Box::new(problem));
    pod
}

#[test]
fn an_update_whose_new_pods_all_fail_is_taken_back_and_not_spread() {
    let back = "go back: kubectl rollout undo -n prod daemonset/agent";
    let mut cluster = cluster([node("a"), node("b"), node("c")]).with_new_template().with_pods([
        crashing("new-a", "a"),
        pod("old-b", "b"),
        pod("old-c", "c"),
    ]);
    assert_eq!(fix(&cluster), format!("fix what kubectl describe pod -n prod new-a shows, or {back}"));
    cluster.pods[1] = pod("new-b", "b").of("two");
    assert!(fix(&cluster).ends_with("or raise maxUnavailable to 2 or more"), "it runs on another node");
}

#[test]
fn a_higher_limit_is_advised_only_if_it_exceeds_the_present_one_and_other_nodes_wait() {
    let unready =
        |name: &str, node: &str| pod(name, node).of("two").unready().but(|pod| pod.created = Some(Timestamp::MIN));
    let of = |limit: u32, pods: Vec<Pod>| {
        fix(&cluster([node("a"), node("b"), node("c")])
            .with_new_template()
            .rolling(json!(limit), json!(0))
            .with_pods(pods))
    };
    let two = vec![unready("new-a", "a"), unready("new-b", "b"), pod("old-c", "c")];
    assert!(of(1, two.clone()).ends_with("or raise maxUnavailable to 3 or more"));
    assert!(of(2, two).ends_with("or raise maxUnavailable to 3 or more"));
    let only =
        vec![pod("old-a", "a").unready().being_deleted(), pod("new-b", "b").of("two"), pod("new-c", "c").of("two")];
    let mut only = cluster([node("a"), node("b"), node("c")]).with_new_template().with_pods(only);
    only.pods[0].deleted = Some(only.now - jiff::SignedDuration::from_hours(1));
    assert!(!fix(&only).contains("raise"), "{}", fix(&only));
}

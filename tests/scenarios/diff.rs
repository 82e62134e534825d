//! Diffs: the effects of a change, without what would happen in any case.

use daemonplan::{Diff, Snapshot, forecast::Change, model::PodPhase};
use serde_json::json;

use super::common::{Cluster, PodExt, affinity, cluster, labelled, node, pod, taint, tainted, template};

fn workers() -> Cluster {
    let nodes = ["n1", "n2", "n3"];
    cluster(nodes.map(|name| labelled(name, &[("role", "worker")])))
        .with_pods(nodes.map(|node| pod(&format!("pod-{node}"), node)))
        .with_spec(json!({"nodeSelector": {"role": "worker"}}))
}

fn diff(before: &Cluster, change: impl FnOnce(&mut Cluster)) -> Diff {
    let mut after = before.clone();
    change(&mut after);
    Snapshot::diff(Some(&before.snapshot()), &after.snapshot())
}

fn lines(diff: &Diff) -> Vec<String> {
    diff.nodes.iter().map(ToString::to_string).collect()
}

#[test]
fn equal_clusters_have_no_diff_even_if_actions_are_pending() {
    let mut before = workers().with_new_template().with_pod(pod("lost", "gone"));
    before.pods[0].phase = PodPhase::Failed;
    let diff = diff(&before, |_| {});
    assert_eq!(lines(&diff), Vec::<String>::new());
    assert_eq!((diff.desired, diff.deletions()), (3, 0));
}

#[test]
fn a_change_that_a_policy_holds_up_says_so() {
    let with = |annotations: &[(&str, &str)]| {
        let diff = diff(&workers(), |after| {
            *after = after.clone().with_new_template();
            after.daemonset.annotations = annotations.iter().copied().collect();
        });
        diff.held_by.map(|phase| phase.to_string())
    };
    assert_eq!(with(&[]), None);
    assert!(with(&[("daemonplan/frozen", "true")]).unwrap().starts_with("the DaemonSet is frozen"));
    let typo = "the update is paused, since a policy cannot be read: annotation daemonplan/canry: unknown policy";
    assert_eq!(with(&[("daemonplan/canry", "1")]).unwrap(), typo);
    let kept = "the other nodes keep their pods (2 kept by the policy partition)";
    assert_eq!(with(&[("daemonplan/partition", "2")]).unwrap(), kept);
}

#[test]
fn a_label_added_adds_a_pod_and_a_label_removed_removes_one() {
    let mut before = workers();
    before.nodes.push(node("n4"));
    let diff = diff(&before, |after| {
        after.nodes[0].labels = [("role", "infra")].into_iter().collect();
        after.nodes[3].labels = [("role", "worker")].into_iter().collect();
    });
    assert_eq!(
        lines(&diff),
        [
            "n1: pod removed: node selector role=worker is required, the node has role=infra",
            "n4: pod added; before: node selector role=worker is required, the node has no label role",
        ]
    );
    assert_eq!(diff.nodes[0].pods, ["pod-n1"]);
    assert_eq!((diff.deletions(), diff.desired, diff.most_unavailable), (1, 3, 0));
}

#[test]
fn a_new_template_replaces_all_pods() {
    let before = workers().rolling(json!(2), json!(0));
    let diff = diff(&before, |after| *after = after.clone().with_new_template());
    assert_eq!(lines(&diff)[0], "n1: pod replaced: outdated");
    assert_eq!((diff.nodes.len(), diff.deletions(), diff.most_unavailable), (3, 3, 2));
}

#[test]
fn under_on_delete_pods_become_outdated_and_a_rollback_makes_them_updated() {
    let before = workers().with_strategy(json!({"type": "OnDelete"}));
    let outdated = diff(&before, |after| *after = after.clone().with_new_template());
    assert_eq!(lines(&outdated)[0], "n1: pod kept, outdated from then on");
    let edited = before.clone().with_new_template();
    let back = diff(&edited, |after| after.daemonset = before.daemonset.clone());
    assert_eq!(lines(&back)[0], "n1: pod kept, up to date from then on");
    assert_eq!((outdated.deletions(), back.deletions()), (0, 0));
}

#[test]
fn a_rollback_during_an_update_keeps_old_pods() {
    let mut before = workers();
    let old = before.daemonset.clone();
    before = before.with_new_template();
    before.pods[0] = pod("new-n1", "n1").of("two");
    let diff = diff(&before, |after| after.daemonset = old);
    assert_eq!(
        lines(&diff),
        [
            "n1: pod replaced: outdated",
            "n2: pod kept, which would have been deleted",
            "n3: pod kept, which would have been deleted",
        ]
    );
}

#[test]
fn nodes_are_added_and_removed() {
    let mut before = workers();
    before.nodes.push(labelled("n5", &[("role", "worker")]));
    let diff = diff(&before, |after| {
        after.nodes.remove(3);
        after.nodes.remove(0);
        after.nodes.push(labelled("n4", &[("role", "worker")]));
    });
    assert_eq!(
        lines(&diff),
        [
            "n1: pod removed: its node does not exist",
            "n4: pod added: the node is new",
            "n5: pod not created: the node is removed"
        ]
    );
}

#[test]
fn a_no_schedule_taint_keeps_existing_pods() {
    let mut before = workers();
    before.pods.remove(1);
    let diff = diff(&before, |after| {
        after.nodes[0].taints = vec![taint("dedicated=db:NoSchedule")];
        after.nodes[1].taints = vec![taint("dedicated=db:NoSchedule")];
        after.nodes[2].taints = vec![taint("dedicated=db:NoExecute")];
    });
    assert_eq!(
        lines(&diff),
        [
            "n1: pod kept, but no new one would be created: taint dedicated=db:NoSchedule is not tolerated",
            "n2: pod not created: taint dedicated=db:NoSchedule is not tolerated",
            "n3: pod removed: taint dedicated=db:NoExecute is not tolerated",
        ]
    );
}

#[test]
fn a_new_daemonset_adds_all_its_pods() {
    let mut after = workers();
    after.pods.clear();
    let diff = Snapshot::diff(None, &after.snapshot());
    assert_eq!(lines(&diff)[2], "n3: pod added: the DaemonSet is new");
    assert_eq!((diff.nodes.len(), diff.most_unavailable), (3, 0));
}

#[test]
fn a_project_selector_removes_pods() {
    let diff = diff(&workers(), |after| {
        after.nodes[0].labels = [("role", "worker"), ("zone", "a")].into_iter().collect();
        *after = after.clone().annotated(&[("openshift.io/node-selector", "zone=a")]);
    });
    let lost = "annotation openshift.io/node-selector: zone=a is required, the node has no label zone";
    assert_eq!(lines(&diff)[0], format!("n2: pod removed: {lost}"));
    assert_eq!(diff.nodes.iter().map(|node| &*node.node).collect::<Vec<_>>(), ["n2", "n3"]);
}

#[test]
fn a_selector_that_does_not_match_the_template_never_settles() {
    let restless = diff(&workers(), |after| {
        after.daemonset.selector = Some(super::common::selector("app", "another"));
    });
    assert!(restless.is_restless);
}

#[test]
fn a_diff_serializes_to_json() {
    let diff = diff(&workers(), |after| *after = after.clone().with_spec(json!({"affinity": affinity(json!([]))})));
    assert!(diff.nodes.iter().all(|node| matches!(node.change, Change::Lost(_))));
    let json = serde_json::to_value(&diff).unwrap();
    assert_eq!(json["nodes"][0]["change"], "Lost");
    assert_eq!(json["nodes"][0]["reason"], "NotPlaced");
    assert_eq!(json["nodes"][0]["pods"], json!(["pod-n1"]));
    assert_eq!(json["nodes"][0]["placement"]["rule"], "NodeAffinity");
    assert_eq!(json["mostUnavailable"], 0);
}

#[test]
fn a_pod_that_an_update_takes_where_none_may_follow_is_lost_for_the_reason_of_the_rule() {
    let tolerating = |tolerates: bool| {
        let tolerations = if tolerates { json!([{"key": "x", "operator": "Exists"}]) } else { json!([]) };
        let mut cluster = cluster([node("a"), tainted("b", &["x:NoSchedule"])])
            .with_spec(json!({"containers": [{"name": "agent", "image": "agent:1"}], "tolerations": tolerations}));
        cluster.revisions = vec![cluster.revision("one", 1)];
        cluster.with_pods([pod("p", "a"), pod("q", "b")])
    };
    let before = tolerating(true);
    let mut after = before.clone();
    after.daemonset.template = tolerating(false).daemonset.template;
    let diff = Snapshot::diff(Some(&before.snapshot()), &after.snapshot());
    let lines: Vec<_> = diff.nodes.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["a: pod replaced: outdated", "b: pod removed: taint x:NoSchedule is not tolerated"]);
}

#[test]
fn an_update_under_way_elsewhere_does_not_count_against_a_change() {
    let under_way = cluster(["a", "b", "c", "d"].map(node))
        .with_new_template()
        .rolling(json!(3), json!(0))
        .with_pods(["a", "b", "c", "d"].map(|node| pod(&format!("p-{node}"), node)));
    let mut after = under_way.clone();
    after.nodes.remove(3);
    let diff = Snapshot::diff(Some(&under_way.snapshot()), &after.snapshot());
    assert_eq!((diff.nodes.len(), diff.most_unavailable), (1, 0), "only d is touched, and no pod should run there");
}

#[test]
fn under_on_delete_a_node_that_is_no_longer_wanted_loses_its_pod_at_once() {
    let before = workers().with_strategy(json!({"type": "OnDelete"}));
    let spread =
        json!([{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["n2"]}]}]);
    let diff = diff(&before, |after| {
        after.nodes[1].labels = after.nodes[1].labels.with("kubernetes.io/hostname", "n2");
        after.daemonset.template = template(json!({"affinity": affinity(spread)}));
    });
    let changes: Vec<_> = diff.nodes.iter().map(|node| (node.node.as_str(), node.change.code())).collect();
    assert_eq!(changes, [("n1", "Outdated"), ("n2", "Lost"), ("n3", "Outdated")]);
}

#[test]
fn an_input_that_lacks_facts_has_no_difference_from_itself_only() {
    let before = workers();
    let snapshot = || before.snapshot().without(daemonplan::MissingFact::Pods);
    let same = Snapshot::diff(Some(&snapshot()), &snapshot());
    assert_eq!((same.missing, same.rests_on.len(), same.nodes.len()), (None, 0, 0));
    let after = before.clone().with_new_template();
    let other = Snapshot::diff(Some(&snapshot()), &after.snapshot());
    assert_eq!(other.missing, Some(daemonplan::MissingFact::Pods));
    assert_eq!(other.rests_on, [daemonplan::MissingFact::Pods]);
}

#[test]
fn pods_that_a_blocked_update_would_never_reach_are_deleted_by_a_change_that_frees_it() {
    let mut before = workers().with_new_template();
    before.pods[0] = pod("new-n1", "n1").of("two").unready();
    let freed = diff(&before, |after| *after = after.clone().rolling(json!("100%"), json!(0)));
    assert_eq!(lines(&freed), ["n2: pod replaced: outdated", "n3: pod replaced: outdated"]);
    assert_eq!((freed.deletions(), freed.most_unavailable), (2, 2));
}

#[test]
fn an_update_that_a_change_makes_faster_counts_all_that_it_takes_at_a_time() {
    let before = workers().with_new_template();
    let faster = diff(&before, |after| *after = after.clone().rolling(json!("100%"), json!(0)));
    assert_eq!(lines(&faster), [""; 0], "each pod is replaced anyway");
    assert_eq!((faster.deletions(), faster.most_unavailable), (0, 3));
    let slower = diff(&before.rolling(json!(2), json!(0)), |after| *after = after.clone().rolling(json!(1), json!(0)));
    assert_eq!(slower.most_unavailable, 0);
}

#[test]
fn the_new_pod_of_a_surge_that_is_rolled_back_is_deleted() {
    let mut before = workers();
    let old = before.daemonset.clone();
    before = before.with_new_template().rolling(json!(0), json!(1));
    before.pods.push(pod("new-n1", "n1").of("two").unready());
    let back = diff(&before, |after| after.daemonset.template = old.template);
    assert_eq!(lines(&back)[0], "n1: pod deleted, another one stays: outdated and not ready, and a new pod exists");
    assert_eq!(back.deletions(), 1);
}

#[test]
fn a_new_daemonset_adopts_or_replaces_the_pods_that_are_there() {
    let mut cluster = workers();
    cluster.pods.iter_mut().for_each(|pod| pod.controller = None);
    cluster.pods[1] = cluster.pods[1].clone().of("other");
    cluster.nodes[2].taints = tainted("n3", &["a:NoExecute"]).taints;
    let diff = Snapshot::diff(None, &cluster.snapshot());
    assert_eq!(
        lines(&diff),
        [
            "n1: pod adopted: the DaemonSet is new",
            "n2: pod replaced: outdated",
            "n3: pod removed: taint a:NoExecute is not tolerated"
        ]
    );
    assert_eq!(diff.deletions(), 2);
}

#[test]
fn a_pod_that_a_change_keeps_is_not_added() {
    let mut before = workers();
    before.nodes[0].taints = tainted("n1", &["a:NoExecute"]).taints;
    let kept = diff(&before, |after| after.nodes[0].taints.clear());
    assert_eq!(lines(&kept), ["n1: pod kept, which would have been deleted"]);
}

#[test]
fn what_happens_anyway_is_no_deletion_of_the_change() {
    let taint = |after: &mut Cluster| after.nodes[0].taints = tainted("n1", &["x:NoExecute"]).taints;
    let mut failed = workers();
    failed.pods[0] = failed.pods[0].clone().phase(PodPhase::Failed);
    assert_eq!(diff(&failed, taint).deletions(), 0, "it failed");
    let duplicate = workers().with_pod(pod("second", "n1"));
    assert_eq!(diff(&duplicate, taint).deletions(), 1, "one of the two is deleted anyway");
}

#[test]
fn a_pod_that_is_there_only_with_the_change_is_added_and_not_spared() {
    let mut before = workers();
    before.nodes[0].labels = [("role", "infra")].into_iter().collect();
    before.pods.remove(0);
    let diff = diff(&before, |after| *after = workers());
    assert_eq!(lines(&diff), ["n1: pod added; before: node selector role=worker is required, the node has role=infra"]);
}

//! Which nodes an update reaches at all.

use super::*;

/// Returns the phase in which so many nodes are kept by the partition, not selected, and away.
fn held([partition, not_selected, away]: [usize; 3]) -> RolloutPhase {
    RolloutPhase::Held { partition, not_selected, away }
}

#[test]
fn a_partition_keeps_nodes_at_the_older_template() {
    let cluster = update(plain(&["a", "b", "c", "d"]), &[("partition", "50%")]);
    assert_eq!(next_nodes(&cluster.clone().with_pods([new("a"), old("b"), old("c"), old("d")])), ["b"]);
    let done = cluster.with_pods([new("a"), new("b"), old("c"), old("d")]);
    assert_eq!((next_nodes(&done), phase(&done)), (vec![], held([2, 0, 0])));
}

#[test]
fn a_held_update_says_what_holds_each_of_the_other_nodes() {
    let mut nodes: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| labelled(name, &[("pool", "blue")])).into();
    nodes[3].labels = nodes[3].labels.with("pool", "green");
    let cordoned = tainted("e", &["node.kubernetes.io/unschedulable:NoSchedule"]);
    nodes[4].taints = cordoned.taints;
    let policy = [("partition", "2"), ("update-nodes", "pool=blue"), ("away", "cordoned"), ("max-away", "5")];
    let cluster = update(nodes, &policy).with_pods([new("a"), new("b"), old("d"), old("e")]);
    let of = |cluster: &Cluster| {
        let rollout = cluster.plan().rollout.unwrap();
        (rollout.phase.to_string(), rollout.waits_for)
    };
    let (told, waits_for) = of(&cluster.clone().with_pods([new("c")]));
    assert_eq!(told, "the other nodes keep their pods (1 not selected by update-nodes, 1 excused by away)");
    assert_eq!(waits_for, ["e"]);
    let (told, _) = of(&cluster.with_pods([old("c")]).with(|daemonset| {
        daemonset.annotations = daemonset.annotations.with("daemonplan/partition", "3");
    }));
    assert_eq!(
        told,
        "the other nodes keep their pods (1 kept by the policy partition, 1 not selected by update-nodes, 1 excused by away)"
    );
}

#[test]
fn missing_pods_in_the_partition_get_the_older_template() {
    let cluster = update(plain(&["a", "b", "c"]), &[("partition", "2")]).with_pods([new("a"), old("b")]);
    assert_eq!(cluster.actions().len(), 1);
    assert_eq!(created_image(&cluster), "agent:1");
    let not_held = update(plain(&["a", "b", "c"]), &[("partition", "1")]).with_pods([new("a"), old("b")]);
    assert_eq!(created_image(&not_held), "agent:2");
}

#[test]
fn without_any_of_its_pods_the_older_template_is_unknown() {
    let cluster = update(plain(&["a"]), &[("partition", "1")]);
    assert_eq!(created_image(&cluster), "agent:2");
}

#[test]
fn only_selected_nodes_are_updated() {
    let nodes = [labelled("a", &[("pool", "green")]), labelled("b", &[("pool", "blue")])];
    let cluster = update(nodes, &[("update-nodes", "pool=blue")]);
    assert_eq!(next_nodes(&cluster.clone().with_pods([old("a"), old("b")])), ["b"]);
    let done = cluster.with_pods([old("a"), new("b")]);
    assert_eq!((next_nodes(&done), phase(&done)), (vec![], held([0, 1, 0])));
    let explanation = done.snapshot().explain();
    assert!(
        explanation.nodes[0]
            .to_string()
            .contains("; the policy does not select the node for updates: a pod stays as it is")
    );
}

#[test]
fn a_paused_update_stops_and_new_nodes_get_the_older_template() {
    let cluster = update(plain(&["a", "b", "c"]), &[("paused", "true")]).with_pods([new("a"), old("b").unready()]);
    assert_eq!(next_nodes(&cluster), ["c"]);
    assert_eq!((created_image(&cluster), phase(&cluster)), ("agent:1".to_owned(), RolloutPhase::Paused));
    let explanation = cluster.with_pods([old("c")]).snapshot().explain();
    assert_eq!(
        explanation.update.to_string(),
        "2 nodes with an outdated pod: the update is paused, as the policy paused says"
    );
}

#[test]
fn a_pod_of_the_older_template_is_not_of_the_current_templates_generation() {
    let mut cluster = update(plain(&["a", "b"]), &[("partition", "1")]).with_pods([new("a")]).with(|daemonset| {
        daemonset.annotations = daemonset.annotations.with("deprecated.daemonset.template.generation", "2");
    });
    cluster.pods.push(old("b"));
    cluster.nodes.push(node("c"));
    // One of three nodes keeps the older template, a is updated, and one of the others is next.
    cluster.daemonset.annotations = cluster.daemonset.annotations.with("daemonplan/partition", "2");
    let actions = cluster.plan().actions.clone();
    cluster.apply(&actions);
    let created = cluster.pods.last().unwrap();
    assert_eq!(
        (created.labels.get("controller-revision-hash"), created.labels.get("pod-template-generation")),
        (Some("one"), None)
    );
    assert_eq!((cluster.actions().len(), phase(&cluster)), (0, held([2, 0, 0])));
    assert_eq!(cluster.plan().rollout.unwrap().old, 2);
}

#[test]
fn a_node_that_is_deselected_after_its_update_keeps_its_pod_and_gets_the_older_template_next() {
    let nodes = [labelled("a", &[("pool", "green")]), node("b"), node("c")];
    let cluster = update(nodes, &[("update-nodes", "pool=blue")]).with_pods([new("a"), old("b"), old("c")]);
    assert_eq!((next_nodes(&cluster), phase(&cluster)), (vec![], held([0, 2, 0])));
    let told = cluster.snapshot().explain().nodes[0].to_string();
    assert!(told.starts_with("an up-to-date pod, available; the policy does not select the node"), "{told}");
    assert!(told.ends_with("one created later has the older template while that is in use"), "{told}");
    let mut lost = cluster.clone();
    lost.pods.remove(0);
    assert_eq!(created_image(&lost), "agent:1");
}

#[test]
fn a_paused_update_keeps_the_older_template_even_if_all_pods_are_gone() {
    let cluster = update(plain(&["a", "b"]), &[("paused", "true")]);
    assert_eq!(
        (next_nodes(&cluster).len(), created_image(&cluster), phase(&cluster)),
        (2, "agent:1".into(), RolloutPhase::Paused)
    );
    // Where a pod of the current template is left, the update may have been over.
    let updated = update(plain(&["a", "b"]), &[("paused", "true")]).with_pods([new("a")]);
    assert_eq!(created_image(&updated), "agent:2");
}

#[test]
fn a_template_that_works_nowhere_is_not_kept_by_a_partition() {
    let cluster = update(plain(&["a", "b", "c"]), &[("partition", "1")]);
    let broken_there = cluster.clone().with_pods([new("a"), new("b"), broken("c")]);
    assert_eq!(next_nodes(&broken_there), ["c"]);
    let unready = cluster.clone().with_pods([new("a"), new("b"), old("c").unready()]);
    assert_eq!(next_nodes(&unready), [""; 0]);
    let works_elsewhere = cluster.clone().with_pods([new("a"), old("b"), broken("c")]).rolling(json!(1), json!(0));
    assert_eq!((next_nodes(&works_elsewhere), phase(&works_elsewhere).code()), (vec!["c".into()], "Rolling"));
    let none_works = cluster.with_pods([new("a").unready(), new("b").unready(), broken("c")]);
    assert_eq!(next_nodes(&none_works), [""; 0]);
}

#[test]
fn a_frozen_daemonset_neither_creates_nor_deletes_pods() {
    let cluster = update(plain(&["a", "b", "c", "d"]), &[("frozen", "true"), ("on-failure", "roll-back")]);
    let duplicate = pod("another", "c");
    let cluster = cluster.with_pods([crashing("a"), old("b").unready(), old("c"), duplicate, old("gone")]);
    assert_eq!(next_nodes(&cluster), ["gone"], "the pods of missing nodes are collected");
    assert_eq!(
        phase(&cluster).to_string(),
        "the DaemonSet is frozen, as the policy frozen says: on existing nodes no pod is created or deleted"
    );
    let settled = update(plain(&["a", "b"]), &[("frozen", "true")]).with_pods([new("a")]);
    assert_eq!((next_nodes(&settled), phase(&settled)), (vec![], RolloutPhase::Frozen));
    let surging =
        update(plain(&["a"]), &[("frozen", "true")]).rolling(json!(0), json!(1)).with_pods([old("a"), new("a")]);
    assert_eq!(next_nodes(&surging), [""; 0]);
}

#[test]
fn a_frozen_daemonset_says_so_even_if_no_pod_is_outdated() {
    let cluster = update(plain(&["a"]), &[("frozen", "true")]).with_pods([new("a")]);
    let update = cluster.snapshot().explain().update;
    assert_eq!(
        update.to_string(),
        "the DaemonSet is frozen, as the policy frozen says: on existing nodes no pod is created or deleted"
    );
}

#[test]
fn an_update_whose_last_outdated_pods_are_being_deleted_is_not_held() {
    let going = old("a").but(|pod| pod.deleted = Some(minutes_ago(0)));
    let phase_of = |policy| {
        phase(&update(plain(&["a"]), &[policy]).rolling(json!(0), json!(1)).with_pods([new("a"), going.clone()]))
    };
    assert_eq!(phase_of(("strict-budget", "true")).code(), "Rolling");
    assert_eq!(phase_of(("update-nodes", "zone=b")).code(), "Held");
}

//! Nodes that are updated before all others.

use super::*;

#[test]
fn canaries_are_updated_first_and_bake() {
    let cluster = update(plain(&["a", "b", "c"]), &[("canary", "1"), ("canary-bake", "10m")]);
    let all_old = cluster.clone().with_pods([old("a"), old("b"), old("c")]);
    assert_eq!(
        (next_nodes(&all_old), phase(&all_old)),
        (vec!["a".into()], RolloutPhase::CanaryStarting { available: 0, wanted: 1 })
    );
    let since = |minutes: i64| {
        let at = cluster.now - SignedDuration::from_mins(minutes);
        new("a").but(|pod| pod.ready = Readiness::Ready { since: Some(at) })
    };
    let baking = cluster.clone().with_pods([since(4), old("b"), old("c")]);
    assert_eq!(phase(&baking).to_string(), "the canaries must be available for 6m more");
    assert_eq!((next_nodes(&baking), baking.plan().requeue_after.unwrap().as_secs()), (vec![], 360));
    assert_eq!(next_nodes(&cluster.clone().with_pods([since(10), old("b"), old("c")])), ["b", "c"]);
}

#[test]
fn canaries_can_be_selected_by_labels() {
    let nodes = [node("a"), node("b"), labelled("c", &[("canary", "yes")])];
    let cluster = update(nodes, &[("canary-nodes", "canary=yes"), ("groups", "zone")]);
    assert_eq!(next_nodes(&cluster.clone().with_pods([old("a"), old("b"), old("c")])), ["c"]);
    assert_eq!(next_nodes(&cluster.with_pods([old("a"), old("b"), new("c")])), ["a", "b"]);
}

#[test]
fn a_canary_selector_that_matches_no_node_blocks_the_update() {
    let cluster = update(plain(&["a"]), &[("canary-nodes", "canary=yes")]).with_pods([old("a")]);
    assert_eq!((next_nodes(&cluster), phase(&cluster).to_string()), (vec![], "no node is a canary".into()));
    let findings = lint(&[cluster.snapshot()]);
    assert!(
        findings.iter().any(|finding| finding.field == "metadata.annotations[daemonplan/canary-nodes]"),
        "{findings:?}"
    );
}

#[test]
fn canaries_can_require_approval() {
    let approved = |hash: &str| {
        let cluster =
            update(plain(&["a", "b"]), &[("canary", "1"), ("canary-approval", "manual"), ("canary-approved", hash)]);
        cluster.with_pods([new("a"), old("b")])
    };
    assert_eq!(
        phase(&approved("one")),
        RolloutPhase::AwaitingApproval { hash: "two".into(), annotation: "daemonplan/canary-approved".into() }
    );
    assert_eq!((next_nodes(&approved("one")), next_nodes(&approved("two"))), (vec![], vec!["b".into()]));
}

#[test]
fn an_update_without_canaries_can_require_approval() {
    let cluster = update(plain(&["a", "b"]), &[("canary", "0"), ("canary-approval", "manual")]);
    let cluster = cluster.with_pods([old("a"), old("b")]);
    assert_eq!((next_nodes(&cluster), phase(&cluster).code()), (vec![], "AwaitingApproval"));
    let approved = [("canary", "0"), ("canary-approval", "manual"), ("canary-approved", "two")];
    assert_eq!(next_nodes(&update(plain(&["a", "b"]), &approved).with_pods([old("a"), old("b")])), ["a", "b"]);
}

#[test]
fn more_canaries_than_the_partition_allows_are_not_waited_for() {
    let cluster = update(plain(&["a", "b"]), &[("canary", "2"), ("partition", "1")]).with_pods([new("a"), old("b")]);
    assert_eq!(phase(&cluster), RolloutPhase::Held);
}

#[test]
fn the_selection_can_move_on_after_the_canaries() {
    let pools = || ["a", "b", "c", "d"].into_iter().zip(["blue", "blue", "green", "green"]);
    let nodes = || pools().map(|(name, pool)| labelled(name, &[("pool", pool)]));
    let pods = || [new("a"), new("b"), old("c"), old("d")];
    for canary in [("canary", "1"), ("canary-nodes", "pool=blue")] {
        let cluster = update(nodes(), &[canary, ("update-nodes", "pool=green")]).with_pods(pods());
        assert_eq!(
            (next_nodes(&cluster), phase(&cluster).code()),
            (vec!["c".into(), "d".into()], "Rolling"),
            "{canary:?}"
        );
    }
}

#[test]
fn canaries_that_are_not_selected_are_named() {
    let nodes = [labelled("a", &[("pool", "canary")]), labelled("b", &[("pool", "blue")])];
    let cluster = update(nodes, &[("canary-nodes", "pool=canary"), ("update-nodes", "pool=blue")]);
    let cluster = cluster.with_pods([old("a"), old("b")]);
    assert_eq!((next_nodes(&cluster), phase(&cluster).to_string()), (vec![], "0 of 1 canaries are available".into()));
    assert_eq!(cluster.plan().rollout.unwrap().waits_for, ["a"]);
    let findings = lint(&[cluster.snapshot()]);
    let finding = findings.iter().find(|finding| finding.lint.code() == "idle-policy").unwrap();
    assert_eq!(finding.message, "the update waits for canaries that update-nodes does not select: a");
}

#[test]
fn the_first_canary_is_a_node_whose_pod_works_if_the_budget_allows_that() {
    let pods = || [old("a"), old("b"), broken("c")];
    let canary = |max: u32| {
        let cluster = update(plain(&["a", "b", "c"]), &[("canary", "1")]).rolling(json!(max), json!(0));
        next_nodes(&cluster.with_pods(pods()))
    };
    assert_eq!((canary(2), canary(1)), (vec!["a".into()], vec!["c".into()]));
    let surging = update(plain(&["a", "b", "c"]), &[("canary", "1")]).rolling(json!(0), json!(1)).with_pods(pods());
    assert_eq!(next_nodes(&surging), ["a"]);
}

#[test]
fn canaries_can_be_promoted_before_their_time() {
    for canary in [("canary", "1"), ("canary-nodes", "pool=blue")] {
        let next = |hash: &str| {
            let annotations = [canary, ("canary-bake", "1h"), ("canary-approval", "manual"), ("canary-promoted", hash)];
            let mut cluster =
                update(plain(&["a", "b", "c"]), &annotations).with_pods([new("a").unready(), old("b"), old("c")]);
            cluster.nodes[0].labels = [("pool", "blue")].into_iter().collect();
            next_nodes(&cluster)
        };
        assert_eq!((next("two"), next("one")), (vec!["b".into()], vec![]), "{canary:?}");
    }
}

//! The order of an update, and its groups.

use daemonplan::CreateReason;

use super::*;

#[test]
fn oldest_pods_can_be_updated_first() {
    let aged = |node: &str, hours| {
        old(node).but(|pod| {
            pod.created =
                Some("2026-01-02T00:00:00Z".parse::<jiff::Timestamp>().unwrap() - SignedDuration::from_hours(hours));
        })
    };
    let cluster = update(plain(&["a", "b", "c"]), &[("order", "oldest-pod")]);
    assert_eq!(next_nodes(&cluster.with_pods([aged("a", 1), aged("b", 3), aged("c", 2)])), ["b", "c"]);
}

#[test]
fn nodes_can_be_updated_by_priority_descending_and_without_priority_last() {
    let nodes = [node("a"), labelled("b", &[("tier", "1")]), labelled("c", &[("tier", "-7")])];
    let cluster = update(nodes, &[("order", "priority=tier")]).with_pods([old("a"), old("b"), old("c")]);
    assert_eq!(next_nodes(&cluster), ["b", "c"]);
}

#[test]
fn a_random_order_is_deterministic_for_a_seed() {
    let chosen = |seed: &str| {
        let cluster = update(plain(&["a", "b", "c", "d"]), &[("order", seed)]).rolling(json!(1), json!(0));
        next_nodes(&cluster.with_pods([old("a"), old("b"), old("c"), old("d")]))
    };
    assert_eq!(chosen("random=1"), chosen("random=1"));
    let all: std::collections::BTreeSet<_> = (0..20).flat_map(|seed| chosen(&format!("random={seed}"))).collect();
    assert_eq!(all.len(), 4, "each node is first for some seed");
}

#[test]
fn one_zone_at_a_time_is_updated() {
    let cluster = update(zoned(), &[("groups", "zone")]);
    let all_old = cluster.clone().with_pods([old("a"), old("b"), old("c"), old("d")]);
    assert_eq!(next_nodes(&all_old), ["a", "c"]);
    assert_eq!(phase(&all_old), RolloutPhase::Rolling { group: Some("east".into()) });
    let unfinished = cluster.clone().with_pods([new("a"), old("b"), new("c").unready(), old("d")]);
    assert_eq!(next_nodes(&unfinished), [""; 0], "the next zone waits, though one more node may be unavailable");
    assert_eq!(
        unfinished.snapshot().explain().update.to_string(),
        "2 nodes with an outdated pod: waits for 1 node, whose group comes first"
    );
    let finished = cluster.with_pods([new("a"), old("b"), new("c"), old("d")]);
    assert_eq!(next_nodes(&finished), ["b", "d"]);
}

#[test]
fn zones_can_have_an_order_and_a_limit() {
    let annotations = [("groups", "zone"), ("group-order", "west, east"), ("group-max-unavailable", "1")];
    let cluster = update(zoned(), &annotations).with_pods([old("a"), old("b"), old("c"), old("d")]);
    assert_eq!(next_nodes(&cluster), ["b"]);
}

#[test]
fn an_update_can_be_spread_over_zones() {
    let cluster = update(zoned(), &[("groups", "zone"), ("group-pace", "spread")]);
    assert_eq!(next_nodes(&cluster.clone().with_pods([old("a"), old("b"), old("c"), old("d")])), ["a", "b"]);
    let east_first = cluster.with_pods([new("a").unready(), old("b"), old("c"), old("d")]);
    assert_eq!(next_nodes(&east_first), ["b"], "a node in the east is being updated");
}

#[test]
fn nodes_without_the_label_are_the_last_group() {
    let nodes = [node("a"), labelled("b", &[("zone", "west")])];
    let cluster = update(nodes, &[("groups", "zone")]).with_pods([old("a"), old("b")]);
    assert_eq!(next_nodes(&cluster), ["b"]);
}

#[test]
fn a_pod_that_flaps_does_not_take_the_turn_back_to_its_group() {
    // The update has deleted the pod of b.
    let comes_to_b = |age: i64, unready: i64| {
        let nodes = [("a", "1"), ("b", "2"), ("c", "2")].map(|(name, zone)| labelled(name, &[("zone", zone)]));
        let flapping = new("a").but(|pod| {
            pod.created = Some(minutes_ago(age));
            pod.ready = Readiness::NotReady { since: Some(minutes_ago(unready)) };
        });
        let plan = update(nodes, &[("groups", "zone")]).with_pods([flapping, old("c")]).plan();
        plan.actions.into_iter().find_map(|action| match action {
            Action::CreatePod { reason, .. } => Some(reason),
            _ => None,
        })
    };
    assert_eq!(comes_to_b(20, 1), Some(CreateReason::NoPod));
    assert_eq!(comes_to_b(9, 1), Some(CreateReason::HeldBack), "it may never have been available");
    assert_eq!(comes_to_b(20, 11), Some(CreateReason::HeldBack), "that is no flap");
}

//! How many nodes an update may make unavailable.

use super::*;

#[test]
fn a_strict_budget_counts_unavailable_old_pods_and_replaces_them_first() {
    let cluster = update(plain(&["a", "b", "c", "d"]), &[("strict-budget", "true")]);
    let broken = cluster.clone().with_pods([old("a"), old("b").unready(), old("c").unready(), old("d").unready()]);
    assert_eq!(next_nodes(&broken), ["b", "c"]);
    let at_work = cluster.with_pods([old("a"), new("b").unready(), old("c").unready(), old("d")]);
    assert_eq!(next_nodes(&at_work), ["c"]);
}

#[test]
fn a_strict_budget_holds_for_surges_too() {
    let cluster = update(plain(&["a", "b", "c"]), &[("strict-budget", "true")]).rolling(json!(0), json!(1));
    assert_eq!(next_nodes(&cluster.with_pods([old("a"), old("b").unready(), old("c").unready()])), ["b"]);
}

#[test]
fn the_limit_of_a_group_holds_for_broken_pods_too() {
    let nodes = ["a", "b", "c"].map(|name| labelled(name, &[("zone", "east")]));
    let cluster = update(nodes, &[("groups", "zone"), ("group-max-unavailable", "1")]).rolling(json!(3), json!(0));
    assert_eq!(next_nodes(&cluster.clone().with_pods([broken("a"), broken("b"), old("c")])), ["a"]);
    let surging = cluster.rolling(json!(0), json!(3)).with_pods([broken("a"), broken("b"), old("c")]);
    assert_eq!(next_nodes(&surging), ["a"]);
}

#[test]
fn a_slow_start_takes_more_nodes_at_a_time_as_it_goes_well() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let next = |strategy: [u32; 2], updated: &[&str], annotations: &[(&str, &str)]| {
        let pods = names.map(|name| if updated.contains(&name) { new(name) } else { old(name) });
        let [unavailable, surge] = strategy.map(|max| json!(max));
        next_nodes(&update(plain(&names), annotations).rolling(unavailable, surge).with_pods(pods)).len()
    };
    let slow = [("slow-start", "1")];
    for strategy in [[4, 0], [0, 4]] {
        assert_eq!([&[][..], &["a"], &["a", "b"]].map(|updated| next(strategy, updated, &slow)), [1, 2, 3]);
        assert_eq!(next(strategy, &[], &[("slow-start", "50%")]), 3);
        assert_eq!(next(strategy, &[], &[("slow-start", "0")]), 1, "it starts nevertheless");
    }
    assert_eq!(next([2, 0], &["a", "b", "c"], &slow), 2, "maxUnavailable is the most");
    // One that is not available stops it.
    let stopped = update(plain(&names), &slow).rolling(json!(4), json!(0));
    let stopped = stopped.with_pods([new("a").unready(), old("b"), old("c"), old("d"), old("e"), old("f")]);
    assert_eq!(next_nodes(&stopped), [""; 0]);
}

#[test]
fn the_limit_of_a_group_is_never_below_one_node() {
    let nodes = ["a", "b"].map(|name| labelled(name, &[("zone", "east")]));
    let cluster = update(nodes, &[("groups", "zone"), ("group-max-unavailable", "0")]).with_pods([old("a"), old("b")]);
    assert_eq!(next_nodes(&cluster), ["a"]);
}

#[test]
fn a_slow_start_that_waits_for_a_pod_is_what_to_raise() {
    let fix = |annotations: &[(&str, &str)], most: u32| {
        let pods = [new("a").unready().but(|pod| pod.created = Some(minutes_ago(60))), old("b"), old("c"), old("d")];
        let cluster = update(plain(&["a", "b", "c", "d"]), annotations).rolling(json!(most), json!(0)).with_pods(pods);
        let findings = lint(&[cluster.snapshot()]);
        findings.into_iter().find(|finding| finding.lint.code() == "update-waits").unwrap().fix
    };
    let of_strategy = fix(&[("strict-budget", "true")], 1);
    assert!(of_strategy.contains("raise maxUnavailable to 2 or more"), "{of_strategy}");
    let of_policy = fix(&[("slow-start", "1")], 3);
    assert!(of_policy.contains("raise the policy slow-start to 2 or more"), "{of_policy}");
}

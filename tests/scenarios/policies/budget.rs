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

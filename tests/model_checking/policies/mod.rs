//! What policies for updates promise, checked in every state that a small cluster can reach.
//!
//! A few nodes in two zones run pods of a template that is edited again and again, to good ones and to bad ones, whose pods
//! never become available. Pods start, stop, lose their readiness and vanish, in any order; of each plan all actions are
//! carried out, or any one of them. In every reachable state the promise holds; there is no way round in a circle; and
//! where nothing happens any more the nodes have what they should.

mod explorer;
mod world;

use explorer::{Explored, explore, try_to_explore};
use world::{Kind, Scenario, World};

/// Zones are `a` and `b`, by turns; nodes are named so that those of one zone are not neighbours.
const ZONES: &str = "daemonplan/groups";

fn strict() -> Scenario {
    Scenario::new(3).annotated("daemonplan/strict-budget", "true")
}

#[test]
fn three_bad_updates_in_a_row_take_down_no_more_than_max_unavailable() {
    for surge in [false, true] {
        let scenario = strict().edits(&[Kind::Bad, Kind::Bad, Kind::Bad]).surging(surge);
        let limit = usize::from(!surge);
        let explored = explore(&scenario, |world| world.lacking() <= limit);
        assert_eq!(explored.rests.iter().map(World::lacking).max(), Some(limit), "surge: {surge}");
    }
}

#[test]
fn pods_that_others_broke_are_replaced_within_the_budget_only_if_it_is_strict() {
    let upset = |scenario: Scenario| scenario.edits(&[Kind::Bad]).upsets(2);
    let at_work = |world: &World| world.is_first_template() || world.at_work() <= 1;
    explore(&upset(strict()), at_work);
    let lenient = upset(Scenario::new(3).annotated("daemonplan/order", "random=1"));
    assert!(try_to_explore(&lenient, at_work).is_err(), "the built-in controller replaces all that are not available");
}

#[test]
fn a_zone_is_finished_before_the_next_one_begins() {
    for surge in [false, true] {
        let (max, edits): (_, &[_]) = if surge { (1, &[Kind::Good]) } else { (2, &[Kind::Good, Kind::Good]) };
        let scenario = Scenario::new(4).annotated(ZONES, "zone").max(max).surging(surge).edits(edits);
        let explored = explore(&scenario, |world| {
            let at_work = world.zones_at_work();
            at_work.len() <= 1
        });
        assert!(explored.rests.iter().all(World::is_up_to_date), "surge: {surge}");
    }
}

#[test]
fn a_zone_has_no_more_nodes_at_work_than_it_may() {
    for pace in ["spread", "one-at-a-time"] {
        let scenario = Scenario::new(4)
            .annotated(ZONES, "zone")
            .annotated("daemonplan/group-pace", pace)
            .annotated("daemonplan/group-max-unavailable", "1")
            .max(4)
            .edits(&[Kind::Good, Kind::Good]);
        let explored = explore(&scenario, |world| ["a", "b"].iter().all(|zone| world.lacking_in(zone) <= 1));
        assert!(explored.rests.iter().all(World::is_up_to_date), "{pace}");
    }
}

#[test]
fn a_partition_keeps_its_nodes_at_the_older_template_whatever_happens_to_their_pods() {
    for surge in [false, true] {
        // As long as a pod of it is left, it is known which template that is.
        let scenario = Scenario::new(4)
            .annotated("daemonplan/partition", "2")
            .edits(if surge { &[Kind::Good] } else { &[Kind::Good, Kind::Good] })
            .surging(surge)
            .losses(1);
        let Explored { rests, .. } = explore(&scenario, |world| world.is_first_template() || world.up_to_date() <= 2);
        assert!(
            rests.iter().filter(|world| !world.is_first_template()).all(|world| world.up_to_date() == 2),
            "{surge}"
        );
    }
}

#[test]
fn a_bad_template_goes_no_further_than_the_canary() {
    let scenario = Scenario::new(3).annotated("daemonplan/canary", "1").edits(&[Kind::Bad, Kind::Bad]).max(2).losses(1);
    let explored = explore(&scenario, |world| world.is_first_template() || world.up_to_date() <= 1);
    assert!(explored.rests.iter().any(|world| world.up_to_date() == 1 && !world.is_first_template()));
}

#[test]
fn the_others_follow_once_the_canaries_have_been_available_for_long_enough() {
    for nodes in [("daemonplan/canary", "1"), ("daemonplan/canary-nodes", "zone=b")] {
        let scenario = Scenario::new(3)
            .annotated(nodes.0, nodes.1)
            .annotated("daemonplan/canary-bake", "10m")
            .edits(&[Kind::Good])
            .max(2)
            .upsets(1);
        let explored = explore(&scenario, |world| {
            // A pod that lost its readiness meanwhile has been one of those that were available.
            world.is_first_template() || world.up_to_date() <= 1 || world.has_baked() || world.upset()
        });
        assert!(explored.rests.iter().all(World::is_up_to_date), "{nodes:?}");
    }
}

#[test]
fn a_template_that_fails_is_rolled_back_and_all_nodes_are_well_again() {
    for canary in [None, Some("1")] {
        let mut scenario =
            Scenario::new(3).annotated("daemonplan/on-failure", "roll-back").edits(&[Kind::Bad, Kind::Bad]).losses(1);
        scenario = canary.map_or(scenario.clone(), |count| scenario.annotated("daemonplan/canary", count));
        let explored = explore(&scenario, |world| world.lacking() <= 1 + world.losses_used());
        assert!(explored.rolled_back, "it fails sooner or later");
        assert!(explored.rests.iter().all(|world| world.is_first_template() && world.lacking() == 0));
    }
}

#[test]
fn a_node_that_is_away_does_not_hold_the_others_up_and_is_caught_up_with() {
    for surge in [false, true] {
        let scenario = Scenario::new(3)
            .annotated("daemonplan/away", "unreachable")
            .edits(&[Kind::Good])
            .surging(surge)
            .absences(1);
        let explored = explore(&scenario, |world| world.lacking_here() <= 1 + world.returned());
        assert!(explored.rests.iter().all(World::is_up_to_date_but_for_absent_nodes), "surge: {surge}");
        assert!(explored.rests.iter().any(World::is_up_to_date), "surge: {surge}");
    }
}

#[test]
fn nothing_goes_on_while_the_update_is_paused() {
    let scenario = Scenario::new(3).annotated("daemonplan/paused", "true").edits(&[Kind::Good, Kind::Bad]).losses(1);
    let explored = explore(&scenario, |world| world.is_first_template() || world.up_to_date() == 0);
    assert!(explored.rests.iter().all(|world| world.lacking() == 0));
}

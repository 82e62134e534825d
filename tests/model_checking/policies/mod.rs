//! The promises of rollout policies, checked in every reachable state of a small cluster.
//!
//! A few nodes in two zones run pods of a template that is edited repeatedly, to good templates and to bad ones, whose
//! pods never become available. Pods start, stop, lose their readiness and disappear, in any order. Of each plan all
//! actions are carried out, or any single one. In every reachable state the promise holds, no path is a cycle, and
//! every final state is settled.

mod explorer;
mod world;

use explorer::{Explored, explore, try_to_explore};
use world::{Kind, Scenario, World};

/// Nodes alternate between the zones `a` and `b`, so that those of one zone are not neighbours by name.
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
        assert_eq!(explored.final_states.iter().map(World::lacking).max(), Some(limit), "surge: {surge}");
    }
}

#[test]
fn only_a_strict_budget_limits_the_replacement_of_unavailable_pods() {
    let upset = |scenario: Scenario| scenario.edits(&[Kind::Bad]).upsets(2);
    let in_progress = |world: &World| world.is_first_template() || world.in_progress() <= 1;
    explore(&upset(strict()), in_progress);
    let lenient = upset(Scenario::new(3).annotated("daemonplan/order", "random=1"));
    assert!(try_to_explore(&lenient, in_progress).is_err(), "the built-in controller replaces all unavailable pods");
}

#[test]
fn a_zone_is_updated_before_the_next_zone_starts() {
    for surge in [false, true] {
        let (max, edits): (_, &[_]) = if surge { (1, &[Kind::Good]) } else { (2, &[Kind::Good, Kind::Good]) };
        let scenario = Scenario::new(4).annotated(ZONES, "zone").max(max).surging(surge).edits(edits);
        let explored = explore(&scenario, |world| {
            let in_progress = world.zones_in_progress();
            in_progress.len() <= 1
        });
        assert!(explored.final_states.iter().all(World::is_up_to_date), "surge: {surge}");
    }
}

#[test]
fn each_zone_keeps_to_its_own_limit() {
    for pace in ["spread", "one-at-a-time"] {
        let scenario = Scenario::new(4)
            .annotated(ZONES, "zone")
            .annotated("daemonplan/group-pace", pace)
            .annotated("daemonplan/group-max-unavailable", "1")
            .max(4)
            .edits(&[Kind::Good, Kind::Good]);
        let explored = explore(&scenario, |world| ["a", "b"].iter().all(|zone| world.lacking_in(zone) <= 1));
        assert!(explored.final_states.iter().all(World::is_up_to_date), "{pace}");
    }
}

#[test]
fn a_partition_keeps_its_nodes_at_the_older_template() {
    for surge in [false, true] {
        // The older template is known only while one of its pods exists.
        let scenario = Scenario::new(4)
            .annotated("daemonplan/partition", "2")
            .edits(if surge { &[Kind::Good] } else { &[Kind::Good, Kind::Good] })
            .surging(surge)
            .losses(1);
        let Explored { final_states, .. } =
            explore(&scenario, |world| world.is_first_template() || world.up_to_date() <= 2);
        assert!(
            final_states.iter().filter(|world| !world.is_first_template()).all(|world| world.up_to_date() == 2),
            "{surge}"
        );
    }
}

#[test]
fn a_bad_template_reaches_only_the_canary() {
    let scenario = Scenario::new(3).annotated("daemonplan/canary", "1").edits(&[Kind::Bad, Kind::Bad]).max(2).losses(1);
    let explored = explore(&scenario, |world| world.is_first_template() || world.up_to_date() <= 1);
    assert!(explored.final_states.iter().any(|world| world.up_to_date() == 1 && !world.is_first_template()));
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
            // A pod that lost its readiness was available before.
            world.is_first_template() || world.up_to_date() <= 1 || world.has_baked() || world.upset()
        });
        assert!(explored.final_states.iter().all(World::is_up_to_date), "{nodes:?}");
    }
}

#[test]
fn a_failing_template_is_rolled_back_and_all_nodes_become_available_again() {
    for canary in [None, Some("1")] {
        let mut scenario =
            Scenario::new(3).annotated("daemonplan/on-failure", "roll-back").edits(&[Kind::Bad, Kind::Bad]).losses(1);
        scenario = canary.map_or(scenario.clone(), |count| scenario.annotated("daemonplan/canary", count));
        let explored = explore(&scenario, |world| world.lacking() <= 1 + world.losses_used());
        assert!(explored.rolled_back, "expected a rollback on some path");
        assert!(explored.final_states.iter().all(|world| world.is_first_template() && world.lacking() == 0));
    }
}

#[test]
fn an_absent_node_blocks_no_other_and_is_updated_when_it_is_back() {
    for surge in [false, true] {
        let scenario = Scenario::new(3)
            .annotated("daemonplan/away", "unreachable")
            .edits(&[Kind::Good])
            .surging(surge)
            .absences(1);
        let explored = explore(&scenario, |world| world.lacking_here() <= 1 + world.returned());
        assert!(explored.final_states.iter().all(World::is_up_to_date_but_for_absent_nodes), "surge: {surge}");
        assert!(explored.final_states.iter().any(World::is_up_to_date), "surge: {surge}");
    }
}

#[test]
fn a_paused_update_makes_no_progress() {
    let scenario = Scenario::new(3).annotated("daemonplan/paused", "true").edits(&[Kind::Good, Kind::Bad]).losses(1);
    let explored = explore(&scenario, |world| world.is_first_template() || world.up_to_date() == 0);
    assert!(explored.final_states.iter().all(|world| world.lacking() == 0));
}

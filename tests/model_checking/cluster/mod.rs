//! Eventually stable reconciliation, checked in every state that a small cluster can reach.
//!
//! The planner runs inside a model: a controller carries out a plan's actions one by one, may crash between any two,
//! and may plan from caches that lag; an environment adds and removes nodes, flips labels, taints, edits the template,
//! deletes the DaemonSet orphaning its pods and recreates it, and lets pods fail, end, become unready or disappear.
//!
//! In every reachable state the checks of [`safety`] hold. Each step of the environment and each crash uses up an
//! allowance, so an endless path would be a cycle of the other steps; the search finds none. In every state without a
//! further step the cluster is settled. So once the environment is quiet, every path ends in a settled cluster.
//!
//! `MODEL_NODES` and `MODEL_EVENTS` change the bounds; the counts are printed with `--nocapture`.

mod check;
mod planner;
mod safety;
mod steps;
mod world;

use check::{explore, find_cycle};
use daemonplan::model::{IntOrPercent, UpdateStrategy};
use planner::Planner;
use steps::Model;
use world::{Act, Event, Left, Step, Why};

fn rolling(max_unavailable: IntOrPercent, max_surge: IntOrPercent) -> UpdateStrategy {
    UpdateStrategy::RollingUpdate { max_unavailable, max_surge }
}

fn strategies() -> [(&'static str, UpdateStrategy); 3] {
    let [none, one] = [IntOrPercent::Int(0), IntOrPercent::Int(1)];
    [("OnDelete", UpdateStrategy::OnDelete), ("RollingUpdate", rolling(one, none)), ("surge", rolling(none, one))]
}

/// Explores with each update strategy, and checks that only the right one makes the planner update or surge.
fn explore_all(what: &str, events: fn(Event) -> bool, change: fn(&mut Model)) {
    for (name, strategy) in strategies() {
        let make = || {
            let mut model = Model::new(strategy, events);
            change(&mut model);
            model
        };
        let actions = explore(&format!("{what}, {name}"), make);
        let turns = actions.iter().any(|act| matches!(act, Act::Delete { reason: Why::Turn, .. }));
        let surges = actions.iter().any(|act| matches!(act, Act::Delete { reason: Why::SurgeFinished, .. }));
        let edited = events(Event::TemplateIsEdited);
        assert_eq!((turns, surges), (edited && name == "RollingUpdate", edited && name == "surge"), "{what}, {name}");
        let adopts = actions.iter().any(|act| matches!(act, Act::Adopt { .. }));
        assert_eq!(adopts, events(Event::DaemonSetIsDeletedLeavingItsPods), "{what}, {name}");
    }
}

fn is_lag(event: Event) -> bool {
    matches!(event, Event::NodesLag | Event::PodsLag | Event::RestLags)
}

#[test]
fn with_current_caches_the_cluster_is_safe_and_settles() {
    explore_all("current caches", |event| !is_lag(event), |_| {});
}

#[test]
fn pods_may_become_available_late() {
    let slow = |model: &mut Model| model.planner = Planner::new(model.planner.strategy, 60, true);
    explore_all("minReadySeconds", |event| !is_lag(event), slow);
}

#[test]
fn with_lagging_caches_the_cluster_settles_once_they_catch_up() {
    let lagging = |model: &mut Model| model.left.stale_plans = 1;
    explore_all("lagging caches", |_| true, lagging);
}

#[test]
fn the_cluster_settles_even_without_expectations() {
    let heedless = |model: &mut Model| {
        model.left.stale_plans = 1;
        model.heeds_effects = false;
    };
    explore_all("heedless", |_| true, heedless);
}

#[test]
fn the_namespace_selector_may_be_removed_at_any_time() {
    let events = |event| {
        matches!(event, Event::SelectorIsRemoved | Event::LabelFlips(_) | Event::NodeComes(_) | Event::NodeGoes(_))
    };
    explore_all("namespace selector", events, |model| model.selector = true);
}

#[test]
fn a_planner_without_the_namespace_selector_creates_and_deletes_forever() {
    let model = |knows_selector| Model {
        planner: Planner::new(strategies()[1].1, 0, knows_selector),
        left: Left { events: 0, crashes: 0, stale_plans: 0 },
        admission: true,
        selector: true,
        ..Model::new(strategies()[1].1, |_| false)
    };
    let cycle = find_cycle(&model(false))
        .expect("expected a cycle: the cluster rejects each pod on node-1, and the planner recreates it");
    assert!(cycle.contains(&Step::Plan) && cycle.contains(&Step::CarryOutOne), "{cycle:?}");
    explore("admission plugin, planner knows the selector", || model(true));
}

//! Eventually stable reconciliation, checked in every state that a small cluster can reach.
//!
//! The planner runs inside a model: a controller carries out a plan's actions one by one, may crash between any two, and
//! may plan from caches that lag; an environment adds and removes nodes, flips labels, taints, edits the template,
//! deletes the DaemonSet leaving its pods behind and creates it again, and lets pods fail, end, become unready or go.
//!
//! In every reachable state the checks of [`safety`] hold. Each step of the environment and each crash
//! uses up an allowance, so an endless path would have to be a cycle of the other steps: there is none, and where no step
//! is left the cluster is as it should be. So whatever happened, once the environment is quiet every path ends well.
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

/// Explores with each strategy, and checks that the planner asked for what only that strategy asks for.
fn explore_all(what: &str, events: fn(Event) -> bool, change: fn(&mut Model)) {
    for (name, strategy) in strategies() {
        let make = || {
            let mut model = Model::new(strategy, events);
            change(&mut model);
            model
        };
        let asked = explore(&format!("{what}, {name}"), make);
        let turns = asked.iter().any(|act| matches!(act, Act::Delete { reason: Why::Turn, .. }));
        let surges = asked.iter().any(|act| matches!(act, Act::Delete { reason: Why::SurgeFinished, .. }));
        let edited = events(Event::TemplateIsEdited);
        assert_eq!((turns, surges), (edited && name == "RollingUpdate", edited && name == "surge"), "{what}, {name}");
        let adopts = asked.iter().any(|act| matches!(act, Act::Adopt { .. }));
        assert_eq!(adopts, events(Event::DaemonSetIsDeletedLeavingItsPods), "{what}, {name}");
    }
}

fn is_lag(event: Event) -> bool {
    matches!(event, Event::NodesLag | Event::PodsLag | Event::RestLags)
}

#[test]
fn with_current_caches_it_is_safe_and_settles_whatever_happens() {
    explore_all("current caches", |event| !is_lag(event), |_| {});
}

#[test]
fn pods_may_take_their_time_to_become_available() {
    let slow = |model: &mut Model| model.planner = Planner::new(model.planner.strategy, 60, true);
    explore_all("minReadySeconds", |event| !is_lag(event), slow);
}

#[test]
fn with_caches_that_lag_it_settles_as_soon_as_they_catch_up() {
    let lagging = |model: &mut Model| model.left.stale_plans = 1;
    explore_all("lagging caches", |_| true, lagging);
}

#[test]
fn it_settles_even_if_the_controller_does_not_heed_that_its_effects_do_not_show() {
    let heedless = |model: &mut Model| {
        model.left.stale_plans = 1;
        model.heeds_effects = false;
    };
    explore_all("heedless", |_| true, heedless);
}

#[test]
fn the_namespaces_selector_may_go_at_any_time() {
    let events = |event| {
        matches!(event, Event::SelectorIsRemoved | Event::LabelFlips(_) | Event::NodeComes(_) | Event::NodeGoes(_))
    };
    explore_all("namespace selector", events, |model| model.selector = true);
}

#[test]
fn a_planner_that_is_not_told_the_namespaces_selector_creates_and_deletes_without_end() {
    let model = |told| Model {
        planner: Planner::new(strategies()[1].1, 0, told),
        left: Left { events: 0, crashes: 0, stale_plans: 0 },
        admission: true,
        selector: true,
        ..Model::new(strategies()[1].1, |_| false)
    };
    let cycle =
        find_cycle(&model(false)).expect("the cluster rejects each pod on node-1, and the planner creates it anew");
    assert!(cycle.contains(&Step::Plan) && cycle.contains(&Step::CarryOutOne), "{cycle:?}");
    explore("admission plugin, planner told", || model(true));
}

//! Visits every state: checks safety and final states by stateright's breadth-first search, and finds cycles
//! depth-first.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use stateright::{Checker, Model as _};

use super::{
    steps::Model,
    world::{Act, Step, World},
};

/// Checks the model's properties in every reachable state, and that every path ends. Returns all actions that the
/// planner ever asked for.
pub fn explore(name: &str, model: impl Fn() -> Model) -> HashSet<Act> {
    let checker = model().checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    let model = model();
    let cycle = find_cycle(&model);
    assert_eq!(cycle, None, "{name}: the model has a cycle");
    println!("{name}: {} states, at most {} steps deep, no cycle", checker.unique_state_count(), checker.max_depth());
    model.planner.all_acts()
}

/// Finds a cycle, if one exists.
pub fn find_cycle(model: &Model) -> Option<Vec<Step>> {
    struct Visit {
        state: u64,
        step: Option<Step>,
        left: Vec<(Step, World)>,
    }
    let hasher = RandomState::new();
    let mut finished = HashMap::<u64, bool>::new();
    let mut path: Vec<Visit> = Vec::new();
    for start in model.init_states() {
        let state = hasher.hash_one(&start);
        finished.insert(state, false);
        path.push(Visit { state, step: None, left: model.next_steps(&start) });
        while let Some(visit) = path.last_mut() {
            let Some((step, next)) = visit.left.pop() else {
                finished.insert(visit.state, true);
                path.pop();
                continue;
            };
            let state = hasher.hash_one(&next);
            match finished.get(&state) {
                Some(true) => {}
                Some(false) => {
                    let from = path.iter().position(|visit| visit.state == state)?;
                    let steps = path.iter().skip(from + 1).filter_map(|visit| visit.step);
                    return Some(steps.chain([step]).collect());
                }
                None => {
                    finished.insert(state, false);
                    path.push(Visit { state, step: Some(step), left: model.next_steps(&next) });
                }
            }
        }
    }
    None
}

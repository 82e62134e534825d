//! Visits every reachable state, depth first.

use std::collections::HashMap;

use super::world::{Scenario, World};

/// The result of an exploration.
#[derive(Default)]
pub struct Explored {
    /// The final states, without a next step.
    pub final_states: Vec<World>,
    /// Whether a template was rolled back.
    pub rolled_back: bool,
}

/// Checks that `promise` holds in every state, and that no path is a cycle.
pub fn explore(scenario: &Scenario, promise: impl Fn(&World) -> bool) -> Explored {
    try_to_explore(scenario, promise).unwrap_or_else(|path| panic!("{path}"))
}

/// Like [`explore`], but returns the path to a violation as an error.
pub fn try_to_explore(scenario: &Scenario, promise: impl Fn(&World) -> bool) -> Result<Explored, String> {
    struct Visit {
        world: World,
        left: Vec<World>,
    }
    let mut explored = Explored::default();
    let mut finished = HashMap::<World, bool>::new();
    let mut path = Vec::new();
    let report = |path: &[Visit], last: &World, what| {
        let before: Vec<_> = path.iter().map(|visit| visit.world.to_string()).collect();
        format!("{scenario}\n{}\n{last}: {what}", before.join("\n"))
    };
    let visit = |world: World, path: &mut Vec<Visit>, explored: &mut Explored| {
        if !promise(&world) {
            return Err(report(path, &world, "the promise is broken"));
        }
        let (left, rolled_back) = scenario.next(&world);
        explored.rolled_back |= rolled_back;
        if left.is_empty() {
            explored.final_states.push(world.clone());
        }
        path.push(Visit { world, left });
        Ok(())
    };
    finished.insert(scenario.start(), false);
    visit(scenario.start(), &mut path, &mut explored)?;
    while let Some(last) = path.last_mut() {
        let Some(next) = last.left.pop() else {
            finished.insert(last.world.clone(), true);
            path.pop();
            continue;
        };
        match finished.get(&next) {
            Some(true) => {}
            Some(false) => return Err(report(&path, &next, "the path is a cycle")),
            None => {
                finished.insert(next.clone(), false);
                visit(next, &mut path, &mut explored)?;
            }
        }
    }
    println!("{scenario}: {} states", finished.len());
    assert!(!explored.final_states.is_empty(), "expected a final state");
    Ok(explored)
}

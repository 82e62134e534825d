//! §6: the rolling update.

use serde_json::Value;

use super::{
    Wishes,
    facts::{Facts, Pod},
    nodes::NodeState,
};

/// Resolves a number, or a percentage of the desired nodes, rounded up.
pub fn resolve(bound: &Value, nodes: usize) -> usize {
    match bound.as_str() {
        None => bound.as_u64().unwrap().try_into().unwrap(),
        Some(percentage) => {
            let percent: usize = percentage.strip_suffix('%').unwrap().parse().unwrap();
            (nodes * percent).div_ceil(100)
        }
    }
}

pub fn max_surge(facts: &Facts<'_>, nodes: usize) -> usize {
    match &facts.daemonset["spec"]["updateStrategy"]["rollingUpdate"] {
        Value::Null => 0,
        bounds => resolve(&bounds["maxSurge"], nodes),
    }
}

pub fn wishes(facts: &Facts<'_>, nodes: &[NodeState]) -> Wishes {
    let bounds = &facts.daemonset["spec"]["updateStrategy"]["rollingUpdate"];
    if bounds.is_null() {
        return Wishes::default(); // OnDelete
    }
    let desired = nodes.iter().filter(|state| state.run).count();
    let surge = max_surge(facts, desired);
    let concerned: Vec<_> = nodes.iter().filter(|state| state.run || !state.pods.is_empty()).collect();
    if surge > 0 {
        return with_surge(&concerned, surge, desired);
    }
    let unavailable = resolve(&bounds["maxUnavailable"], desired);
    let at_least = usize::from(desired > 0);
    without_surge(&concerned, unavailable.max(at_least))
}

pub fn pods_of(state: &NodeState) -> (Vec<Pod>, Vec<Pod>) {
    state.live().into_iter().partition(|pod| !pod.updated)
}

fn without_surge(nodes: &[&NodeState], max_unavailable: usize) -> Wishes {
    let mut wishes = Wishes::default();
    let mut unavailable = 0;
    let mut candidates = Vec::new();
    for state in nodes {
        match (&*pods_of(state).0, &*pods_of(state).1) {
            ([], [new]) if new.available => {}
            ([old], []) if old.available => candidates.push((*state, old.clone())),
            ([old], []) if old.unknown => unavailable += 1,
            ([old], []) => {
                unavailable += 1;
                if state.collected().is_empty() {
                    wishes.delete.push((old.clone(), "OutdatedUnavailable"));
                }
            }
            _ => unavailable += 1,
        }
    }
    candidates.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    for (state, old) in candidates {
        if state.collected().is_empty() && unavailable < max_unavailable {
            wishes.delete.push((old, "Outdated"));
            unavailable += 1;
        }
    }
    wishes
}

fn with_surge(nodes: &[&NodeState], max_surge: usize, desired: usize) -> Wishes {
    let mut wishes = Wishes::default();
    let (mut surges, mut available) = (0, 0);
    let (mut candidates, mut unwanted) = (Vec::new(), Vec::new());
    for state in nodes {
        let stays = state.collected().is_empty();
        match (&*pods_of(state).0, &*pods_of(state).1) {
            ([], []) => {}
            ([], [new]) => available += usize::from(new.available),
            ([old], []) if !stays => drop(old.clone()),
            ([old], []) if old.available => {
                available += 1;
                if state.run { candidates.push(*state) } else { unwanted.push((*state, old.clone())) }
            }
            ([old], []) if old.unknown => {}
            ([_], []) if state.run => wishes.create.push((state.name.clone(), "ReplacesUnavailable")),
            ([old], []) => wishes.delete.push((old.clone(), "OutdatedUnavailable")),
            ([old], [new]) => {
                available += usize::from(old.available);
                if new.available && stays {
                    wishes.delete.push((old.clone(), "SurgeFinished"));
                } else if !new.available {
                    surges += 1;
                }
            }
            _ => surges += 1,
        }
    }
    unwanted.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    for (_, old) in unwanted {
        if available > desired {
            wishes.delete.push((old, "NotWanted"));
            available -= 1;
        }
    }
    candidates.sort_by(|a, b| a.name.cmp(&b.name));
    for state in candidates {
        if surges < max_surge {
            wishes.create.push((state.name.clone(), "Surge"));
            surges += 1;
        }
    }
    wishes
}

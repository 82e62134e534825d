//! A readable reference implementation of the rules, from Kubernetes' JSON to the plan, without regard for speed.
//!
//! It shares no code with the planner. Section numbers are those of the page `rules`. The hash of a template, which the
//! rules leave open, is an input.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking
#![allow(unreachable_pub)] // tests have no public API

mod compare;
mod facts;
mod history;
mod nodes;
mod policy;
mod selectors;
mod template;
mod update;

use std::collections::BTreeSet;

pub use compare::check_agreement;
use facts::Facts;
use nodes::{NodeState, node_states};
use serde_json::{Value, json};

use self::{
    facts::{Pod, is_owner, number},
    history::History,
    policy::{Policy, Progress},
    selectors::selects,
};

/// The plan by the rules. Actions have the fields of the JSON contract except messages and uids.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    hash: String,
    actions: Vec<Value>,
    status: Option<Value>,
    /// Node, should run, may keep running, and the deciding rule.
    placements: Vec<(String, bool, bool, &'static str)>,
    /// Reason and pod.
    events: Vec<(&'static str, String)>,
    /// Node and delay in seconds.
    backoff: Vec<(String, i64)>,
    requeue_after: Option<i64>,
    /// Creations and deletions.
    held_back: (usize, usize),
    /// The rollout status by the policy, without the failing nodes.
    rollout: Option<Value>,
}

/// Creations and deletions on the nodes, before the burst limit.
#[derive(Default)]
struct Wishes {
    /// Node and reason.
    create: Vec<(String, &'static str)>,
    /// Pod and reason.
    delete: Vec<(Pod, &'static str)>,
    /// Number of further creations and deletions, beyond any burst limit.
    more: (usize, usize),
}

/// Computes the plan by the rules.
fn plan(facts: &Facts<'_>) -> Outcome {
    let mut outcome = Outcome { hash: (facts.template_hash)(0), ..Outcome::default() };
    let mut names: Vec<_> = facts.nodes.iter().collect();
    names.sort_by_key(|node| node["metadata"]["name"].as_str());
    for node in names {
        let (run, keep, rule) = nodes::placement(facts, node);
        outcome.placements.push((node["metadata"]["name"].as_str().unwrap().to_owned(), run, keep, rule));
    }
    if facts.daemonset["spec"]["selector"] == json!({}) {
        outcome.events.push(("SelectingAll", String::new()));
    } else if !facts.daemonset["metadata"]["deletionTimestamp"].is_null() {
        collect_dependents(facts, &mut outcome);
    } else {
        reconcile(facts, &mut outcome);
    }
    outcome
}

/// §8: the DaemonSet is being deleted.
fn collect_dependents(facts: &Facts<'_>, outcome: &mut Outcome) {
    let orphan = facts.daemonset["metadata"]["finalizers"] == json!(["orphan"]);
    let mut pods: Vec<_> = facts.pods().into_iter().filter(|pod| is_owner(facts, &pod.json)).collect();
    let mut revisions: Vec<_> = facts.revisions.clone().unwrap_or_default();
    revisions.retain(|revision| history::is_owned(facts, revision));
    let name = |revision: &Value| revision["metadata"]["name"].clone();
    if orphan {
        for pod in pods {
            outcome.actions.push(json!({"type": "ReleasePod", "pod": pod.name, "reason": "Orphaned"}));
        }
        for revision in revisions {
            outcome.actions.push(json!({"type": "ReleaseRevision", "revision": name(&revision), "reason": "Orphaned"}));
        }
    } else if facts.expectations_satisfied {
        pods.retain(|pod| !pod.deleting);
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let burst = facts.burst();
        outcome.held_back.1 = pods.len().saturating_sub(burst);
        for pod in pods.into_iter().take(burst) {
            outcome.actions.push(delete(&pod, "OwnerDeleted"));
        }
        for revision in revisions.iter().filter(|revision| revision["metadata"]["deletionTimestamp"].is_null()) {
            outcome
                .actions
                .push(json!({"type": "DeleteRevision", "revision": name(revision), "reason": "OwnerDeleted"}));
        }
    }
}

fn reconcile(facts: &Facts<'_>, outcome: &mut Outcome) {
    // §3.
    let mut claimed = Vec::new();
    for pod in facts.pods() {
        let fits = selects(&facts.daemonset["spec"]["selector"], &pod.labels);
        let orphan = pod.controller().is_none() && !pod.deleting;
        if is_owner(facts, &pod.json) && !fits {
            outcome.actions.push(json!({"type": "ReleasePod", "pod": pod.name, "reason": "LabelsDoNotMatch"}));
        } else if is_owner(facts, &pod.json) {
            claimed.push(pod);
        } else if fits && orphan {
            outcome.actions.push(json!({"type": "AdoptPod", "pod": pod.name, "reason": "OrphanMatches"}));
            claimed.push(pod);
        }
    }

    // §7.
    let history = History::of(facts);
    outcome.hash.clone_from(&history.hash);
    outcome.actions.extend(history.changes.clone());
    if !history.duplicates.is_empty() {
        for pod in claimed.iter().filter(|pod| pod.hash() != Some(&history.hash)) {
            let hash = &history.hash;
            outcome
                .actions
                .push(json!({"type": "RelabelPod", "pod": pod.name, "hash": hash, "reason": "DuplicateRevision"}));
        }
    }

    // §4 and §6.
    let nodes = node_states(facts, &claimed, &history.hash);
    let policy = Policy::of(facts);
    let progress = policy.as_ref().map(|policy| Progress::of(policy, facts, &nodes, &history));
    let rolls_back = progress.as_ref().and_then(|progress| progress.rolls_back_to.clone());
    outcome.rollout = progress.as_ref().map(Progress::status);
    match rolls_back.filter(|_| facts.expectations_satisfied) {
        Some((name, to)) => {
            let record = progress.as_ref().unwrap().record_of_roll_back(facts, &history, &to);
            let (withdrawn, reason) = (policy.as_ref().unwrap().approval_of(&history.hash), "TemplateFails");
            outcome.actions.push(json!({"type": "RollBack", "revision": name, "record": record, "withdrawn": withdrawn, "reason": reason}));
            outcome.events.push(("RolledBack", String::new()));
            let rollout = outcome.rollout.as_mut().unwrap().as_object_mut().unwrap();
            rollout.insert("phase".to_owned(), json!("RollingBack"));
            rollout.remove("isPaused");
            rollout.remove("isEverywhere");
            rollout.remove("stillFails");
            rollout.remove("noRollBack");
        }
        None if facts.expectations_satisfied => {
            pods_to_create_and_delete(facts, &nodes, &history, progress.as_ref(), outcome);
        }
        // Whether there is a roll-back is decided later.
        None => {
            let rollout = outcome.rollout.as_mut().and_then(Value::as_object_mut);
            rollout.map(|rollout| rollout.remove("noRollBack"));
        }
    }

    // §7: cleanup.
    for duplicate in &history.duplicates {
        outcome.actions.push(json!({"type": "DeleteRevision", "revision": duplicate, "reason": "Duplicate"}));
    }
    if facts.expectations_satisfied {
        let in_use: BTreeSet<_> = claimed.iter().filter(|pod| pod.node.is_some()).filter_map(Pod::hash).collect();
        let limit = usize::try_from(number(&facts.daemonset["spec"]["revisionHistoryLimit"])).unwrap();
        let excess = history.old.len().saturating_sub(limit);
        let unused = history.old.iter().filter(|(_, hash)| !in_use.contains(hash));
        for (name, _) in unused.take(excess) {
            outcome.actions.push(json!({"type": "DeleteRevision", "revision": name, "reason": "BeyondLimit"}));
        }
    }

    // §9.
    let mut status = status(facts, &nodes, history.collision_count);
    let goes_on = ["Settled", "Verifying", "Rolling", "CanaryStarting", "RollingBack"];
    let phase = outcome.rollout.as_ref().and_then(|rollout| rollout["phase"].as_str());
    let has_no_canary = outcome.rollout.as_ref().is_some_and(|rollout| rollout["wanted"] == json!(0));
    let is_held = phase.is_some_and(|phase| !goes_on.contains(&phase) || has_no_canary);
    if let Some(phase) = phase.filter(|_| is_held) {
        status["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": phase}]);
    }
    let before = &facts.daemonset["status"];
    let same = |field: &str| number(&status[field]) == number(&before[field]);
    let fields = ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"];
    let more = ["updatedNumberScheduled", "numberAvailable", "numberUnavailable"];
    let behind = number(&before["observedGeneration"]) < number(&status["observedGeneration"]);
    let changed = !fields.into_iter().chain(more).all(same) || before["collisionCount"] != status["collisionCount"];
    let unknown = nodes.iter().any(|state| state.run && state.pods.first().is_some_and(|first| first.unknown));
    if (changed || behind || is_held) && !unknown {
        outcome.actions.push(json!({"type": "UpdateStatus", "status": status, "reason": "StatusChanged"}));
    }
    outcome.requeue_after = requeue_after(facts, &nodes, &status, progress.as_ref());
    outcome.status = Some(status).filter(|_| !unknown);
}

fn pods_to_create_and_delete(
    facts: &Facts<'_>,
    nodes: &[NodeState],
    history: &History,
    progress: Option<&Progress<'_>>,
    outcome: &mut Outcome,
) {
    let mut wishes = Wishes::default();
    let mut replaced = Vec::new();
    for state in nodes {
        state.add_wishes(&mut wishes);
    }
    if progress.is_some_and(Progress::is_frozen) {
        wishes = Wishes::default();
    } else if wishes.create.is_empty() && wishes.delete.is_empty() {
        match progress {
            Some(progress) => (wishes, replaced) = progress.wishes(),
            None => wishes = update::wishes(facts, nodes),
        }
    } else if let Some(progress) = progress {
        progress.hold_creations_back(&mut wishes, &history.hash);
    }
    let record = progress.and_then(|progress| progress.new_record(facts, history, &replaced));
    outcome
        .actions
        .extend(record.map(|(record, reason)| json!({"type": "RecordRollout", "record": record, "reason": reason})));
    for state in nodes {
        wishes.delete.extend(state.collected().into_iter().map(|pod| (pod, "NodeGone")));
    }
    wishes.create.sort();
    wishes.delete.sort_by(|(a, _), (b, _)| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
    let burst = facts.burst();
    let (creations, deletions) = (wishes.create.len() + wishes.more.0, wishes.delete.len() + wishes.more.1);
    outcome.held_back = (creations.saturating_sub(burst), deletions.saturating_sub(burst));
    for (node, reason) in wishes.create.into_iter().take(burst) {
        let older = progress.and_then(|progress| progress.older.as_ref()).filter(|_| reason == "HeldBack");
        let pod = match older {
            Some((_, hash, template)) => template::pod(facts, template, &node, hash),
            None => template::pod(facts, &facts.daemonset["spec"]["template"], &node, &history.hash),
        };
        outcome.actions.push(json!({"type": "CreatePod", "node": node, "reason": reason, "pod": pod}));
    }
    for (pod, reason) in wishes.delete.into_iter().take(burst) {
        outcome.actions.push(delete(&pod, reason));
        let node = pod.node.clone().unwrap_or_default();
        match reason {
            "Succeeded" => outcome.events.push(("SucceededDaemonPod", pod.name)),
            "Failed" => {
                if facts.now.is_some() {
                    outcome.backoff.push((node.clone(), facts.next_delay(&node, &pod.reason)));
                }
                outcome.events.push(("FailedDaemonPod", pod.name));
            }
            _ => {}
        }
    }
}

fn delete(pod: &Pod, reason: &str) -> Value {
    json!({"type": "DeletePod", "pod": pod.name, "node": pod.node, "reason": reason})
}

/// §9: over all nodes, before this plan's effects.
fn status(facts: &Facts<'_>, nodes: &[NodeState], collision_count: Option<i64>) -> Value {
    let count = |fits: &dyn Fn(&NodeState) -> bool| nodes.iter().filter(|state| fits(state)).count();
    let first = |state: &NodeState, fits: &dyn Fn(&Pod) -> bool| state.run && state.pods.first().is_some_and(fits);
    let desired = count(&|state| state.run);
    let available = count(&|state| first(state, &|pod| pod.available));
    let mut status = json!({
        "desiredNumberScheduled": desired,
        "currentNumberScheduled": count(&|state| first(state, &|_| true)),
        "numberMisscheduled": count(&|state| state.exists && !state.run && !state.pods.is_empty()),
        "numberReady": count(&|state| first(state, &|pod| pod.ready)),
    });
    let updated = count(&|state| first(state, &|pod| pod.updated));
    let observed = if facts.expectations_satisfied {
        number(&facts.daemonset["metadata"]["generation"])
    } else {
        number(&facts.daemonset["status"]["observedGeneration"])
    };
    let optional = [
        ("updatedNumberScheduled", updated.try_into().unwrap()),
        ("numberAvailable", available.try_into().unwrap()),
        ("numberUnavailable", (desired - available).try_into().unwrap()),
        ("observedGeneration", observed),
    ];
    for (field, value) in optional.into_iter().filter(|(_, value)| *value != 0) {
        status[field] = json!(value);
    }
    if let Some(count) = collision_count {
        status["collisionCount"] = json!(count);
    }
    status
}

/// §4 and §9: when the first back-off ends, or the first ready pod becomes available.
fn requeue_after(
    facts: &Facts<'_>,
    nodes: &[NodeState],
    status: &Value,
    progress: Option<&Progress<'_>>,
) -> Option<i64> {
    let turns = progress.into_iter().flat_map(|progress| progress.times.iter().copied());
    let waits = nodes.iter().filter_map(NodeState::wait).chain(turns).filter(|_| facts.expectations_satisfied);
    let pods = nodes.iter().flat_map(|state| &state.pods).filter(|pod| pod.ready && !pod.available);
    let until_available = pods.filter_map(|pod| Some(pod.becomes_available? - facts.now?.as_second())).min();
    let unknown = number(&status["numberReady"]) != number(&status["numberAvailable"]);
    let until_available = until_available.or(unknown.then(|| facts.min_ready_seconds()));
    waits.chain(until_available).min()
}

//! Converts the planner's plan to the reference's terms, and compares both.

use daemonplan::{OwnedSnapshot, Snapshot};
use serde_json::Value;

use super::{Facts, Outcome, plan, policy::plain};

/// Converts a plan to the reference's terms.
fn outcome_of(snapshot: &Snapshot<'_>) -> Outcome {
    let plan = snapshot.plan();
    let placements = snapshot.placements().map(|placement| {
        let rule = serde_json::to_value(&placement.reason).unwrap()["rule"].as_str().unwrap().to_owned();
        let rule = RULES.iter().find(|known| **known == rule).unwrap();
        let verdict = placement.verdict;
        (placement.node.to_string(), verdict.should_run(), verdict.may_keep_running(), *rule)
    });
    let pod_in = |message: &str| {
        let after = message.split_once("daemon pod prod/").map(|(_, rest)| rest.split(' ').next().unwrap());
        after.unwrap_or_default().to_owned()
    };
    Outcome {
        hash: plan.hash.to_string(),
        actions: plan.actions.iter().map(|action| without_words(serde_json::to_value(action).unwrap())).collect(),
        status: plan.status.as_ref().map(|status| conditions_without_words(serde_json::to_value(status).unwrap())),
        placements: placements.collect(),
        events: plan.events.iter().map(|event| (event.reason, pod_in(&event.message))).collect(),
        backoff: plan
            .backoff
            .iter()
            .map(|(key, entry)| (key.node.to_string(), entry.delay.as_secs().try_into().unwrap()))
            .collect(),
        requeue_after: plan.requeue_after.map(|after| after.as_secs().try_into().unwrap()),
        held_back: (plan.held_back.creations, plan.held_back.deletions),
        rollout: plan.rollout.as_ref().map(|rollout| {
            let mut rollout = serde_json::to_value(rollout).unwrap();
            rollout.as_object_mut().unwrap().retain(|key, value| {
                let is_approval = value.as_str().is_some_and(|annotation| annotation.ends_with("canary-approved"));
                !(["nodes", "reason", "error"].contains(&key.as_str()) || key == "annotation" && !is_approval)
            });
            rollout
        }),
    }
}

const RULES: [&str; 6] = ["AllRulesHold", "NodeName", "NodeSelector", "NodeAffinity", "Taint", "NamespaceNodeSelector"];

fn without_words(mut action: Value) -> Value {
    let fields = action.as_object_mut().unwrap();
    if let Some(record) = fields.get_mut("record") {
        *record = plain(record);
    }
    if let Some(status) = fields.get_mut("status") {
        *status = conditions_without_words(status.take());
    }
    if fields["type"] == "RollBack" {
        fields.retain(|name, _| !["number", "hash"].contains(&name.as_str()));
    }
    fields.retain(|name, _| {
        !["uid", "message", "placement", "daemonSet", "generation", "failing", "patch"].contains(&name.as_str())
    });
    action
}

fn conditions_without_words(mut status: Value) -> Value {
    for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        condition.as_object_mut().unwrap().retain(|key, _| !["message", "lastTransitionTime"].contains(&key.as_str()));
    }
    status
}

/// Sorts actions within each phase; the reference does not define that order.
fn by_phase(mut outcome: Outcome) -> Outcome {
    let phase = |action: &Value| match action["type"].as_str().unwrap() {
        "AdoptPod" | "ReleasePod" | "AdoptRevision" | "ReleaseRevision" => 0,
        "CreateRevision" | "UpdateRevision" | "RelabelPod" => 1,
        "RollBack" | "RecordRollout" | "CreatePod" => 2,
        "DeletePod" => 3,
        "DeleteRevision" => 4,
        _ => 5,
    };
    let name = |action: &Value| ["node", "pod", "revision"].map(|field| action[field].as_str().map(str::to_owned));
    outcome.actions.sort_by_key(|action| (phase(action), name(action)));
    outcome.events.sort();
    outcome
}

/// Plans both ways and compares.
pub fn check_agreement(facts: &OwnedSnapshot) {
    let planned = outcome_of(&facts.snapshot());
    let stated = plan(&Facts::from(facts));
    assert_eq!(by_phase(planned), by_phase(stated), "left: the plan, right: the rules");
}

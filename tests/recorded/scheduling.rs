//! Verdicts of the default scheduler, compared with what it answered itself: see `README.md`.

use std::io::{BufRead, BufReader};

use daemonplan::{
    model::{Namespace, Node, Pod},
    scheduling::{ClusterState, Feasibility, Preemption, SchedulingObject, SchedulingObjects},
};
use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub(crate) fn cases() -> impl Iterator<Item = Value> {
    let text = BufReader::new(GzDecoder::new(&include_bytes!("scheduling.jsonl.gz")[..]));
    text.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

pub(crate) fn read<T: DeserializeOwned>(case: &Value, field: &str) -> Vec<T> {
    serde_json::from_value(case[field].clone()).unwrap()
}

fn add<T: SchedulingObject + DeserializeOwned>(objects: &mut SchedulingObjects, case: &Value, field: &str) {
    for object in read::<T>(case, field) {
        objects.add(object);
    }
}

pub(crate) fn objects(case: &Value) -> SchedulingObjects {
    use daemonplan::model as m;
    let mut objects = SchedulingObjects::default();
    add::<m::PersistentVolume>(&mut objects, case, "pvs");
    add::<m::PersistentVolumeClaim>(&mut objects, case, "pvcs");
    add::<m::StorageClass>(&mut objects, case, "storageClasses");
    add::<m::CsiNode>(&mut objects, case, "csiNodes");
    add::<m::CsiDriver>(&mut objects, case, "csiDrivers");
    add::<m::CsiStorageCapacity>(&mut objects, case, "csiStorageCapacities");
    add::<m::VolumeAttachment>(&mut objects, case, "volumeAttachments");
    add::<m::PodDisruptionBudget>(&mut objects, case, "pdbs");
    add::<m::PriorityClass>(&mut objects, case, "priorityClasses");
    objects
}

/// What the recording says of each plugin.
fn plugins(feasibility: &Feasibility) -> Value {
    let plugins = feasibility.blockers.iter().map(|blocker| {
        let answer = json!({"stage": blocker.stage, "code": blocker.code, "reasons": blocker.reasons()});
        (blocker.plugin.to_string(), answer)
    });
    Value::Object(plugins.collect())
}

fn expected_plugins(expect: &Value) -> Value {
    let plugins = expect["plugins"].as_object().unwrap().iter();
    let plugins = plugins.map(|(name, answer)| {
        let fields = ["stage", "code", "reasons"].map(|field| (field.to_owned(), answer[field].clone()));
        (name.clone(), Value::Object(Map::from_iter(fields)))
    });
    Value::Object(plugins.collect())
}

fn assert_preemption(name: &str, found: Option<&Preemption>, expect: &Value) {
    let expected = &expect["preemption"];
    let victims = found.map(|preemption| preemption.victims().iter().map(ToString::to_string).collect::<Vec<_>>());
    let is_possible = expected["dryRun"]["code"] == "Success" && expected["eligible"] != false;
    if is_possible {
        let Some(Preemption::Preempts { budget_violations, .. }) = found else { panic!("{name}: {found:?}") };
        assert_eq!(json!(budget_violations), *expected["dryRun"].get("pdbViolations").unwrap_or(&json!(0)), "{name}");
        assert_eq!(json!(victims), expected["dryRun"]["victims"], "{name}");
    } else {
        assert_eq!(victims.unwrap_or_default(), [""; 0], "{name}");
    }
    let reason = match found {
        Some(Preemption::Never) => json!("not eligible due to preemptionPolicy=Never."),
        Some(Preemption::Waits { .. }) => json!("not eligible due to a terminating pod on the nominated node."),
        _ => Value::Null,
    };
    assert_eq!(reason, expected["notEligible"], "{name}");
}

#[test]
fn verdicts_are_those_of_the_scheduler_word_for_word() {
    let mut count = 0;
    for case in cases() {
        let (name, expect) = (case["name"].as_str().unwrap(), &case["expect"]);
        let objects = objects(&case);
        let (nodes, pods) = (read::<Node>(&case, "nodes"), read::<Pod>(&case, "pods"));
        let namespaces = read::<Namespace>(&case, "namespaces");
        let pending: Pod = serde_json::from_value(case["pending"].clone()).unwrap();
        let state = ClusterState::new(&nodes, &pods, &namespaces, &objects);
        let found = state.feasibility(&pending);
        assert_eq!(json!(found.verdict), expect["verdict"], "{name}");
        assert_eq!(found.would_fit, expect["wouldFit"], "{name}");
        assert_eq!(plugins(&found), expected_plugins(expect), "{name}");
        assert_eq!(json!(found.message), expect["conditionMessage"], "{name}");
        assert_preemption(name, found.preemption.as_ref(), expect);
        count += 1;
    }
    assert_eq!(count, 1100);
}

//! Conversions from the types of k8s-openapi: no field that the planner reads is lost, and templates stay whole.

use std::fs;

use daemonplan::{
    OwnedSnapshot, Placement, Plan, Snapshot,
    manifest::Manifests,
    model::{ControllerRevision, ConversionError, DaemonSet, Namespace, Node, Pod},
    strategies::clusters,
};
use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

const DUMPS: [&str; 2] = ["examples/pending.json", "examples/quiet.json"];

/// Returns every object of a dump, with its kind.
fn items(file: &str) -> Vec<(String, Value)> {
    let list: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let items = list["items"].as_array().unwrap().clone();
    items.into_iter().map(|item| (item["kind"].as_str().unwrap().to_owned(), item)).collect()
}

/// Checks that deserializing k8s-openapi's type and converting it equals deserializing our type.
fn assert_same<Ours, Theirs>(json: &Value)
where
    Ours: TryFrom<Theirs, Error = ConversionError> + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    Theirs: serde::de::DeserializeOwned,
{
    let theirs: Theirs = serde_json::from_value(json.clone()).unwrap();
    let read: Ours = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(Ours::try_from(theirs).unwrap(), read, "{json}");
}

#[test]
fn dumps_convert_to_the_same_objects() {
    let mut compared = 0;
    for (kind, item) in DUMPS.iter().flat_map(|dump| items(dump)) {
        match &*kind {
            "DaemonSet" => assert_same::<DaemonSet, apps::DaemonSet>(&item),
            "ControllerRevision" => assert_same::<ControllerRevision, apps::ControllerRevision>(&item),
            "Node" => assert_same::<Node, core::Node>(&item),
            "Pod" => assert_same::<Pod, core::Pod>(&item),
            "Namespace" => assert_same::<Namespace, core::Namespace>(&item),
            _ => continue,
        }
        compared += 1;
    }
    assert!(compared > 50, "only {compared} objects");
}

#[test]
fn an_invalid_field_is_named() {
    let theirs: apps::DaemonSet = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "agent"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "agent"}]}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "half"}},
        },
    }))
    .unwrap();
    let error = DaemonSet::try_from(theirs).unwrap_err();
    assert!(error.to_string().starts_with("DaemonSet: "), "{error}");
    assert!(error.to_string().contains("half"), "{error}");
}

#[test]
fn a_created_pod_is_a_valid_k8s_openapi_pod() {
    let mut manifests = Manifests::default();
    manifests.read("pending.json", fs::File::open("examples/pending.json").unwrap()).unwrap();
    let mut created = 0;
    for plan in manifests.snapshots().map(Snapshot::plan) {
        for action in &plan.actions {
            let daemonplan::Action::CreatePod { node, blueprint, .. } = action else { continue };
            let manifest = blueprint.manifest(node);
            let theirs: core::Pod = serde_json::from_value(manifest.clone()).unwrap();
            let back = serde_json::to_value(&theirs).unwrap();
            assert_eq!(back["spec"]["affinity"], manifest["spec"]["affinity"]);
            assert_eq!(back["spec"]["tolerations"], manifest["spec"]["tolerations"]);
            assert_eq!(
                Pod::try_from(&theirs).unwrap_err().to_string(),
                "Pod: metadata.name: expected a name, found none"
            );
            created += 1;
        }
    }
    assert!(created > 0, "expected the dump to need pods");
}

/// Reads objects as k8s-openapi's types, and converts them.
fn returned<Ours, Theirs>(ours: &[Ours]) -> Vec<Ours>
where
    Theirs: DeserializeOwned,
    for<'a> Ours: Serialize + TryFrom<&'a Theirs, Error = ConversionError>,
{
    let theirs = ours.iter().map(|one| serde_json::from_value::<Theirs>(serde_json::to_value(one).unwrap()).unwrap());
    theirs.map(|one| Ours::try_from(&one).unwrap()).collect()
}

fn outcome(facts: &OwnedSnapshot) -> (Plan, Vec<Placement>) {
    (facts.snapshot().plan(), facts.snapshot().placements().collect())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_converted_cluster_has_the_same_plan(mut facts in clusters(0..12)) {
        // The API server requires a selector and 32-bit numbers.
        facts.daemonset.selector.get_or_insert_default();
        let most = u32::try_from(i32::MAX).unwrap();
        facts.daemonset.min_ready_seconds = facts.daemonset.min_ready_seconds.min(most);
        facts.daemonset.revision_history_limit = facts.daemonset.revision_history_limit.min(most);
        let [daemonset] = <[_; 1]>::try_from(returned::<DaemonSet, apps::DaemonSet>(&[facts.daemonset.clone()])).unwrap();
        // k8s-openapi's templates have only the fields of their version.
        let mut known = facts.clone();
        known.daemonset.template = daemonset.template.clone();
        prop_assert_eq!(&known.daemonset, &daemonset);
        let again = returned::<DaemonSet, apps::DaemonSet>(std::slice::from_ref(&daemonset));
        prop_assert_eq!(&again[0], &daemonset, "a template with known fields only is preserved");

        let [namespace] = <[_; 1]>::try_from(returned::<Namespace, core::Namespace>(&[facts.namespace.clone()])).unwrap();
        let nodes = returned::<Node, core::Node>(&facts.nodes);
        let pods = returned::<Pod, core::Pod>(&facts.pods);
        let mut converted = OwnedSnapshot::new(daemonset, nodes, pods, namespace);
        let revisions = facts.revisions.as_deref().map(returned::<ControllerRevision, apps::ControllerRevision>);
        converted.revisions = revisions;
        (converted.now, converted.settings, converted.backoff, converted.expectations_satisfied) =
            (facts.now, facts.settings, facts.backoff, facts.expectations_satisfied);
        prop_assert_eq!(outcome(&converted), outcome(&known));
    }
}

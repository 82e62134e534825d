//! What the API server stores, it stores again as it is.

use daemonplan::{
    api_server::{stored, unknown_fields, validate},
    manifest::Manifests,
    model::DaemonSet,
    strategies::clusters,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The paths of all values, as JSON pointers.
fn pointers(value: &Value, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                pointers(value, &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{path}/{index}"), all);
            }
        }
        _ => {}
    }
}

/// The DaemonSet after a manifest is applied to the live one, to which another manifest was applied before.
fn applied(live: &DaemonSet, before: &Value, given: &Value) -> DaemonSet {
    let mut live = live.clone();
    live.annotations = live.annotations.with("kubectl.kubernetes.io/last-applied-configuration", before.to_string());
    let read = |manifest: &Value| {
        let mut manifests = Manifests::default();
        manifests.read("x.json", manifest.to_string().as_bytes()).unwrap();
        assert!(manifests.problems().is_empty(), "{:?}", manifests.problems());
        manifests
    };
    let changed = read(&serde_json::to_value(live).unwrap()).with(read(given));
    changed.daemonsets().next().unwrap().clone()
}

/// A DaemonSet as its manifest in Git.
fn manifest(daemonset: &DaemonSet) -> Value {
    let mut manifest = serde_json::to_value(daemonset).unwrap();
    manifest.as_object_mut().unwrap().remove("status");
    let metadata = manifest["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _| ["name", "namespace", "labels", "annotations"].contains(&field.as_str()));
    manifest
}

proptest! {
    #[test]
    fn a_manifest_that_was_applied_changes_nothing_when_it_is_applied_again(a in clusters(0..=0), b in clusters(0..=0)) {
        let [mut live, other] = [a, b].map(|facts| facts.daemonset);
        (live.deleted, live.finalizers) = (None, Vec::new());
        let [before, given] = [&live, &other].map(manifest);
        let once = applied(&live, &before, &given);
        let again = applied(&once, &given, &given);
        prop_assert_eq!(&again.template, &once.template);
        prop_assert_eq!((again.generation, again.update_strategy), (once.generation, once.update_strategy));
        // What the manifest says holds.
        prop_assert_eq!(once.template.tolerations(), other.template.tolerations());
        for (key, value) in other.template.node_selector() {
            prop_assert_eq!(once.template.node_selector().get(key), Some(value.as_str()));
        }
    }

    #[test]
    fn what_is_stored_is_stored_as_it_is(facts in clusters(0..=1)) {
        let manifest = serde_json::to_value(&facts.daemonset).unwrap();
        let once = stored(&manifest);
        prop_assert_eq!(&stored(&once), &once);
        let known: daemonplan::model::DaemonSet = serde_json::from_value(once).unwrap();
        prop_assert_eq!(known.update_strategy, facts.daemonset.update_strategy);
        prop_assert_eq!(known.template.node_selector(), facts.daemonset.template.node_selector());
        prop_assert_eq!(known.template.tolerations(), facts.daemonset.template.tolerations());
    }

    #[test]
    fn a_damaged_manifest_is_refused_or_read_but_never_a_crash(
        facts in clusters(0..=0),
        place in any::<prop::sample::Index>(),
        kind in 0..9_usize,
    ) {
        let values =
            [json!(null), json!(true), json!(-1), json!(1.5), json!(1e30), json!(""), json!("x y"), json!([[], {}]), json!({"a": [7]})];
        let mut manifest = serde_json::to_value(&facts.daemonset).unwrap();
        let mut all = Vec::new();
        pointers(&manifest, "", &mut all);
        let place = place.get(&all);
        *manifest.pointer_mut(place).unwrap() = values[kind].clone();
        let refused = validate(&manifest, None);
        // What cannot be read stays unreadable; all else was accepted before.
        let again = validate(&manifest, Some(&manifest));
        prop_assert!(again.is_empty() || again == refused, "{}: {:?}", place, again);
        let known = unknown_fields(&stored(&manifest));
        prop_assert!(known.iter().all(|field| field.path.starts_with("status")), "{:?}", known);
    }
}

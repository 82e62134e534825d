//! A generated cluster written as JSON or YAML reads back equal; damaged text is read without panic.
#![no_main]

use daemonplan::manifest::{Manifests, write_yaml};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|input: (bool, Vec<(u16, u8)>, &[u8])| {
    let (yaml, damage, bytes) = input;
    let Some(mut facts) = daemonplan_fuzz::cluster(bytes) else { return };
    let revisions = facts.revisions.get_or_insert_default();
    revisions.retain(|revision| revision.namespace == facts.daemonset.namespace);
    facts.pods.retain(|pod| pod.namespace == facts.daemonset.namespace);
    let mut items =
        vec![serde_json::to_value(&facts.daemonset).unwrap(), serde_json::to_value(&facts.namespace).unwrap()];
    items.extend(facts.nodes.iter().map(|node| serde_json::to_value(node).unwrap()));
    items.extend(facts.pods.iter().map(|pod| serde_json::to_value(pod).unwrap()));
    items.extend(revisions.iter().map(|revision| serde_json::to_value(revision).unwrap()));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let mut text = Vec::new();
    if yaml {
        write_yaml(&mut text, &list).unwrap();
    } else {
        serde_json::to_writer(&mut text, &list).unwrap();
    }
    for (place, byte) in &damage {
        let place = usize::from(*place) % text.len();
        text[place] = *byte;
    }

    let mut manifests = Manifests::default();
    manifests.read("input", &*text).unwrap();
    let manifests = manifests.complete();
    let plans: Vec<_> = manifests.snapshots().map(|snapshot| snapshot.settings(&facts.settings).plan()).collect();
    if damage.is_empty() {
        assert!(manifests.problems().is_empty(), "{:?}", manifests.problems());
        facts.now = None;
        facts.backoff = daemonplan::Backoff::default();
        facts.expectations_satisfied = true;
        let expected = facts.snapshot().plan();
        assert_eq!(plans.len(), 1);
        assert_eq!(plans[0].actions, expected.actions);
        assert_eq!(plans[0].status, expected.status);
    }
});

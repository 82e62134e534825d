//! YAML that is written is read back as the same values.

use daemonplan::manifest::{Manifests, write_yaml};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

fn text() -> impl Strategy<Value = String> {
    const WORDS: &[&str] =
        &["yes", "On", "0o17", "1_000", "0x1F", "1e3", ".5", "~", "null", "2001-01-01", "12:30", "<<", "=", "- a"];
    prop_oneof![
        "[-+.:_#&*!|>%@`'\"{}\\[\\], 0-9a-fox]{0,8}",
        "[a-z \n\t\\\\]{0,60}",
        any::<String>(),
        proptest::sample::select(WORDS).prop_map(str::to_owned)
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((text(), inner), 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in value()) {
        let labels = json!({"app": "agent"});
        let daemonset = json!({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "agent"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"value": value}},
            },
        });
        let mut yaml = Vec::new();
        write_yaml(&mut yaml, &daemonset).unwrap();
        let mut manifests = Manifests::default();
        manifests.read("written", &*yaml).unwrap();
        let text = String::from_utf8_lossy(&yaml);
        prop_assert!(manifests.problems().is_empty(), "{:?}\n{text}", manifests.problems());
        let read = manifests.original(manifests.daemonsets().next().unwrap()).unwrap();
        prop_assert_eq!(read, &daemonset, "{}", text);
    }
}

//! YAML scalars, compared with what kubectl makes of them: `scalars.jsonl` holds a document and its JSON on each line.

use daemonplan::manifest::{Manifests, write_yaml};
use serde_json::{Value, json};

/// Reads a document as kubectl does: as the pod's spec of a DaemonSet, which keeps every field.
fn read(yaml: &str) -> Option<Value> {
    let indented = yaml.lines().flat_map(|line| ["      ", line, "\n"]).collect::<String>();
    let labels = "app: agent";
    let text = format!(
        "kind: DaemonSet\nmetadata: {{name: agent}}\nspec:\n  selector: {{matchLabels: {{{labels}}}}}\n  template:\n    \
         metadata: {{labels: {{{labels}}}}}\n    spec:\n{indented}"
    );
    let mut manifests = Manifests::default();
    manifests.read("scalars", text.as_bytes()).unwrap();
    let daemonset = manifests.daemonsets().next()?;
    Some(manifests.original(daemonset).unwrap()["spec"]["template"]["spec"].clone())
}

fn cases() -> Vec<Value> {
    let cases: Vec<_> = include_str!("scalars.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(cases.len(), 143);
    cases
}

/// Compares values; Go writes the number 1e21 as an integer, and zero with its sign.
fn equals(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equals(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equals(value, other)))
        }
        _ => a == b,
    }
}

#[test]
fn scalars_are_read_as_by_kubectl() {
    for case in cases() {
        let yaml = case["yaml"].as_str().unwrap();
        let expected = case["json"].as_str().map(|json| serde_json::from_str::<Value>(json).unwrap());
        let read = read(yaml);
        let is_equal = match (&read, &expected) {
            (Some(read), Some(expected)) => equals(read, expected),
            (read, expected) => read.is_none() && expected.is_none(),
        };
        assert!(is_equal, "{yaml:?}: expected {expected:?}, found {read:?}");
    }
}

#[test]
fn every_spelling_of_a_scalar_survives_as_a_string() {
    let spellings: Vec<_> = cases()
        .iter()
        .filter_map(|case| Some(case["yaml"].as_str()?.strip_prefix("value: ")?.trim_end().to_owned()))
        .collect();
    assert!(spellings.len() > 130);
    for text in spellings {
        let value = json!({"value": text, "list": [text, {text.clone(): 1}]});
        let mut yaml = Vec::new();
        write_yaml(&mut yaml, &value).unwrap();
        let yaml = String::from_utf8(yaml).unwrap();
        assert_eq!(read(&yaml), Some(value), "{yaml}");
    }
}

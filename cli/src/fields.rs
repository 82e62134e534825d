//! The fields in which two DaemonSets differ.

use std::{collections::BTreeSet, ops::Range};

use daemonplan::model::{DaemonSet, DaemonSetStatus, well_known::LAST_APPLIED_ANNOTATION};
use serde::Serialize;
use serde_json::Value;

/// A changed field.
#[derive(Serialize)]
pub(super) struct Field {
    pub(super) path: String,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

/// The fields of the spec and of the metadata in which two DaemonSets differ.
pub(super) fn fields(before: &DaemonSet, after: &DaemonSet) -> Vec<Field> {
    let written = |daemonset: &DaemonSet| {
        let mut daemonset = daemonset.clone();
        (daemonset.status, daemonset.generation) = (DaemonSetStatus::default(), 0);
        serde_json::to_value(daemonset).unwrap_or_default()
    };
    let mut fields = Vec::new();
    compare("", Some(&written(before)), Some(&written(after)), &mut fields);
    // The API server maintains the template's generation, and kubectl its annotation.
    let kept_by_others = ["daemonset.template.generation]".to_owned(), format!("{LAST_APPLIED_ANNOTATION}]")];
    fields.retain(|field| !kept_by_others.iter().any(|kept| field.path.ends_with(kept)));
    fields
}

/// Adds the fields at `path` in which two values differ.
fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, fields: &mut Vec<Field>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let added = after.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(added) {
                compare(&child(path, key), before.get(key), after.get(key), fields);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => lists(path, before, after, fields),
        _ => fields.push(Field { path: path.to_owned(), before: before.cloned(), after: after.cloned() }),
    }
}

/// Compares lists item by item: by their names if they have some, otherwise by their places between what is the same at
/// both ends. A path has the index in the new list, or the old index of what is gone.
fn lists(path: &str, before: &[Value], after: &[Value], fields: &mut Vec<Field>) {
    let at = |index: usize| format!("{path}[{index}]");
    let names = |items: &[Value]| items.iter().map(|item| item.get("name")?.as_str().map(str::to_owned)).collect();
    let (old, new): (Option<Vec<String>>, Option<Vec<String>>) = (names(before), names(after));
    let is_set = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    if let (Some(old), Some(new)) = (old, new)
        && is_set(&old)
        && is_set(&new)
    {
        let count = fields.len();
        for (index, item) in
            before.iter().enumerate().filter(|(index, _)| !old.get(*index).is_some_and(|name| new.contains(name)))
        {
            compare(&at(index), Some(item), None, fields);
        }
        for (index, (name, item)) in new.iter().zip(after).enumerate() {
            let known = old.iter().position(|other| other == name).and_then(|known| before.get(known));
            compare(&at(index), known, Some(item), fields);
        }
        if fields.len() == count {
            fields.push(Field { path: path.to_owned(), before: Some(old.into()), after: Some(new.into()) });
        }
        return;
    }
    let same = |(a, b): &(&Value, &Value)| a == b;
    let start = before.iter().zip(after).take_while(same).count();
    let (old, new) = (before.get(start..).unwrap_or_default(), after.get(start..).unwrap_or_default());
    let end = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    let middle = |items: &[Value]| start..start + items.len() - end;
    for index in start..middle(old).end.max(middle(new).end) {
        let item = |items: &[Value], range: Range<usize>| items.get(index).filter(|_| range.contains(&index)).cloned();
        let (old, new) = (item(before, middle(old)), item(after, middle(new)));
        compare(&at(index), old.as_ref(), new.as_ref(), fields);
    }
}

/// Writes the path of a field as Kubernetes does, such as `spec.template.spec.containers[0].image`.
fn child(path: &str, key: &str) -> String {
    if key.contains(['.', '/']) || key.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{path}[{key}]")
    } else if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The differences of two values, each as `path before after`.
    fn found(before: &Value, after: &Value) -> Vec<String> {
        let mut fields = Vec::new();
        compare("at", Some(before), Some(after), &mut fields);
        let text = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
        fields.iter().map(|field| format!("{} {} {}", field.path, text(&field.before), text(&field.after))).collect()
    }

    #[test]
    fn items_that_are_gone_have_their_old_index() {
        assert_eq!(found(&json!([1, 2, 3, 4]), &json!([1])), ["at[1] 2 -", "at[2] 3 -", "at[3] 4 -"]);
        assert_eq!(found(&json!([1, 2, 3]), &json!([0, 1, 2, 3])), ["at[0] - 0"]);
        assert_eq!(found(&json!([1, 2, 3]), &json!([1, 5, 3])), ["at[1] 2 5"]);
    }

    #[test]
    fn named_items_are_compared_by_their_names() {
        let item = |name: &str, value: u8| json!({"name": name, "value": value});
        let before = json!([item("a", 1), item("b", 2)]);
        assert_eq!(
            found(&before, &json!([item("new", 0), item("a", 1), item("b", 3)])),
            ["at[0] - {\"name\":\"new\",\"value\":0}", "at[2].value 2 3",]
        );
        assert_eq!(found(&before, &json!([item("b", 2)])), ["at[0] {\"name\":\"a\",\"value\":1} -"]);
        assert_eq!(found(&before, &json!([item("b", 2), item("a", 1)])), ["at [\"a\",\"b\"] [\"b\",\"a\"]"]);
    }

    #[test]
    fn keys_with_dots_are_in_brackets() {
        assert_eq!(child("metadata.labels", "app.kubernetes.io/name"), "metadata.labels[app.kubernetes.io/name]");
        assert_eq!(child("", "spec"), "spec");
    }
}

//! The three-way merge of kubectl apply: the strategic merge patch that it computes, applied to the live object.
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/#how-apply-calculates-differences-and-merges-changes>

use serde_json::{Map, Value};

/// Merges a manifest into the `live` value of its `field`: what the manifest has is set, what it says is null or what was
/// `applied` before and is gone is removed, and what others set stays.
pub(crate) fn apply(field: &str, live: &Value, applied: &Value, given: &Value) -> Value {
    match (live, given) {
        (Value::Object(live), Value::Object(given)) => Value::Object(object(live, applied, given)),
        (Value::Array(live), Value::Array(given)) => match merge_key(field) {
            Some(key) => Value::Array(list(field, key, live, applied, given)),
            None => given.clone().into(),
        },
        _ => without_nulls(given),
    }
}

fn object(live: &Map<String, Value>, applied: &Value, given: &Map<String, Value>) -> Map<String, Value> {
    let was_applied = |key: &String| applied.get(key).unwrap_or(&Value::Null);
    let kept = live.iter().filter_map(|(key, value)| match given.get(key) {
        Some(Value::Null) => None,
        Some(given) => Some((key.clone(), apply(key, value, was_applied(key), given))),
        None => was_applied(key).is_null().then(|| (key.clone(), value.clone())),
    });
    let added = given.iter().filter(|(key, value)| !live.contains_key(*key) && !value.is_null());
    kept.chain(added.map(|(key, value)| (key.clone(), without_nulls(value)))).collect()
}

/// Merges a list whose items are identified by a field. Of several items with one key, each is merged with the live one of
/// its number; one more than there are is merged into the first.
fn list(field: &str, key: &str, live: &[Value], applied: &Value, given: &[Value]) -> Vec<Value> {
    let is_same = |item: &Value, other: &Value| other.get(key) == item.get(key);
    let place = |items: &[Value], item: &Value| items.iter().position(|other| is_same(item, other));
    let applied = applied.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_foreign = |item: &&Value| place(given, item).is_none() && place(applied, item).is_none();
    let mut foreign = live.iter().enumerate().filter(|(_, item)| is_foreign(item)).peekable();
    let mut merged: Vec<Value> = Vec::new();
    for (index, item) in given.iter().enumerate() {
        let earlier = given.iter().take(index).filter(|other| is_same(item, other)).count();
        let known = live.iter().enumerate().filter(|(_, other)| is_same(item, other)).nth(earlier);
        let first = place(&merged, item).filter(|_| known.is_none());
        if let Some(first) = first.and_then(|first| merged.get_mut(first)) {
            *first = apply("", first, &Value::Null, item);
            continue;
        }
        // What others added stays before the items that it was before.
        while let Some((_, other)) = foreign.next_if(|(index, _)| known.is_some_and(|(known, _)| *index < known)) {
            merged.push(other.clone());
        }
        let mut before = applied.iter().filter(|other| is_same(item, other));
        let before = before.nth(earlier).unwrap_or(&Value::Null);
        merged.push(match known {
            Some((_, live)) if field == "volumes" => apply("", &only(live, item), before, item),
            Some((_, live)) => apply("", live, before, item),
            None => without_nulls(item),
        });
    }
    merged.extend(foreign.map(|(_, item)| item.clone()));
    merged
}

/// The fields of a volume that its manifest has: a volume has one source, and another one replaces it.
fn only(live: &Value, given: &Value) -> Value {
    let fields = live.as_object().into_iter().flatten().filter(|(key, _)| given.get(*key).is_some());
    Value::Object(fields.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// The field that identifies the items of a list of a pod's spec; `None` if the list is replaced as a whole. They are the
/// tags `patchMergeKey` of the types in `k8s.io/api/core/v1`.
fn merge_key(field: &str) -> Option<&'static str> {
    Some(match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "imagePullSecrets"
        | "env"
        | "schedulingGates"
        | "resourceClaims" => "name",
        "ports" => "containerPort",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        _ => return None,
    })
}

/// A new value: null means that there is none.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_set_stays_and_what_was_applied_goes() {
        let live = json!({"a": 1, "b": 2, "c": 3, "deep": {"x": 1, "y": 2}});
        let applied = json!({"a": 1, "b": 2, "deep": {"x": 1}});
        assert_eq!(apply("", &live, &applied, &json!({"a": 5, "deep": {}})), json!({"a": 5, "c": 3, "deep": {"y": 2}}));
        assert_eq!(apply("", &live, &applied, &json!({"a": 1, "b": 2})), json!({"a": 1, "b": 2, "c": 3}));
    }

    #[test]
    fn null_removes_what_anybody_set() {
        let live = json!({"a": 1, "list": [1], "map": {"x": 1}});
        let given = json!({"a": null, "list": null, "map": {"x": null}, "new": {"y": null, "z": 1}, "none": null});
        assert_eq!(apply("", &live, &json!(null), &given), json!({"map": {}, "new": {"z": 1}}));
    }

    #[test]
    fn items_are_merged_by_their_key_and_stay_where_they_are() {
        let item = |name: &str, value: u8| json!({"name": name, "value": value});
        let live = json!([item("a", 1), item("other", 1), item("b", 1), item("old", 1), item("last", 1)]);
        let applied = json!([item("a", 1), item("b", 1), item("old", 1)]);
        let given = json!([{"name": "a"}, item("new", 1), item("b", 2)]);
        assert_eq!(
            apply("env", &live, &applied, &given),
            json!([{"name": "a"}, item("new", 1), item("other", 1), item("b", 2), item("last", 1)])
        );
        assert_eq!(apply("tolerations", &live, &applied, &given), given, "a list without a key is replaced");
        assert_eq!(apply("env", &json!(null), &json!(null), &given), given);
    }

    #[test]
    fn ports_of_one_number_stay_but_another_one_is_merged_into_the_first() {
        let port = |protocol: &str| json!({"containerPort": 53, "protocol": protocol});
        let (one, both) = (json!([port("TCP")]), json!([port("TCP"), port("UDP")]));
        assert_eq!(apply("ports", &both, &both, &both), both);
        assert_eq!(apply("ports", &json!(null), &json!(null), &both), both);
        assert_eq!(apply("ports", &one, &one, &both), json!([port("UDP")]), "kubectl loses one");
    }

    #[test]
    fn another_source_of_a_volume_replaces_the_one_before() {
        let live = json!([{"name": "v", "configMap": {"name": "c", "defaultMode": 256}}]);
        let apply = |given: Value| apply("volumes", &live, &json!([]), &given);
        assert_eq!(apply(json!([{"name": "v", "emptyDir": {}}])), json!([{"name": "v", "emptyDir": {}}]));
        assert_eq!(apply(json!([{"name": "v", "configMap": {"name": "c"}}])), live, "others set the mode");
    }
}

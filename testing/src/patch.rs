//! Patches of every media type but server-side apply.

use axum::http::StatusCode;
use json_patch::PatchOperation;
use serde_json::{Map, Value, json};

use crate::refusal::Refusal;

pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// Returns the patched object.
pub(crate) fn patch(before: &Value, media_type: &str, patch: &Value) -> Result<Value, Refusal> {
    let mut after = before.clone();
    match media_type {
        "application/merge-patch+json" => json_patch::merge(&mut after, patch),
        "application/strategic-merge-patch+json" => merge(&mut after, patch, ""),
        JSON_PATCH => {
            let patch: json_patch::Patch =
                serde_json::from_value(patch.clone()).map_err(|error| Refusal::bad_request(error.to_string()))?;
            // As the API server has it, a missing field is null to a test: kube's finalizers rely on that.
            let is_given = |operation: &PatchOperation| {
                let PatchOperation::Test(test) = operation else { return true };
                !test.value.is_null() || before.pointer(test.path.as_str()).is_some()
            };
            let operations: Vec<_> = patch.0.into_iter().filter(is_given).collect();
            json_patch::patch(&mut after, &operations).map_err(|error| Refusal::invalid(error.to_string()))?;
        }
        other => return Err(unknown_format(other)),
    }
    Ok(after)
}

/// Refuses a body in a format that this server does not read.
pub(crate) fn unknown_format(media_type: &str) -> Refusal {
    let message = format!("the body of the request was in an unknown format: {media_type}");
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
}

/// The key by which the items of a list are matched; `None` for a list that is replaced as a whole.
///
/// These are the lists of Kubernetes' own types with a merge key (`patchMergeKey`), by the name of their field; a list of
/// plain values is never matched here.
pub(crate) fn merge_key(field: &str, items: &[Value]) -> Option<&'static str> {
    let has = |key: &str| !items.is_empty() && items.iter().all(|item| item.get(key).is_some());
    let keys: &[&str] = match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims"
        | "secrets" => &["name"],
        "conditions" | "addresses" => &["type"],
        "ownerReferences" => &["uid"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey"],
        "ports" => &["containerPort", "port"],
        _ => &[],
    };
    keys.iter().copied().find(|key| has(key))
}

/// Applies a strategic merge patch to the value of a field.
///
/// It differs from a merge patch in lists with a merge key, in lists of finalizers, and in the directives `$patch`,
/// `$deleteFromPrimitiveList`, `$setElementOrder` (which is ignored: no order is asked for that the result does not have) and
/// `$retainKeys`.
fn merge(target: &mut Value, patch: &Value, field: &str) {
    match patch {
        Value::Object(fields) => merge_object(target, fields),
        Value::Array(items) => {
            let key = merge_key(field, items);
            if field == "finalizers" {
                let mut all = target.as_array().cloned().unwrap_or_default();
                all.extend(items.iter().filter(|item| !all.contains(item)).cloned().collect::<Vec<_>>());
                *target = json!(all);
            } else if let Some(key) = key {
                merge_list(target, items, key);
            } else {
                *target = patch.clone();
            }
        }
        _ => *target = patch.clone(),
    }
}

fn merge_object(target: &mut Value, fields: &Map<String, Value>) {
    if !target.is_object() || fields.get("$patch").is_some_and(|directive| directive == "replace") {
        *target = json!({});
    }
    let Some(object) = target.as_object_mut() else { return };
    if let Some(kept) = fields.get("$retainKeys").and_then(Value::as_array) {
        object.retain(|key, _| kept.iter().any(|kept| kept == key));
    }
    for (name, value) in fields {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().map_or(&[][..], Vec::as_slice);
            if let Some(items) = object.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !gone.contains(item));
            }
        } else if name.starts_with('$') {
        } else if value.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name.clone()).or_insert(Value::Null), value, name);
        }
    }
}

fn merge_list(target: &mut Value, items: &[Value], key: &str) {
    let replaces = items.iter().any(|item| item["$patch"] == "replace");
    let mut all = if replaces { Vec::new() } else { target.as_array().cloned().unwrap_or_default() };
    for item in items {
        let same = all.iter().position(|one| one.get(key) == item.get(key));
        match (item["$patch"].as_str(), same) {
            (Some("delete"), Some(at)) => drop(all.remove(at)),
            (Some(_), _) => {}
            (None, at) => {
                let mut merged = at.and_then(|at| all.get(at).cloned()).unwrap_or(Value::Null);
                merge(&mut merged, item, "");
                match at.and_then(|at| all.get_mut(at)) {
                    Some(one) => *one = merged,
                    None => all.push(merged),
                }
            }
        }
    }
    *target = json!(all);
}

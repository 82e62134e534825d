//! Server-side apply: every manager owns the fields that it applies.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{objects::now, patch::merge_key, refusal::Refusal};

/// A step from an object to a field or an item of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Field(String),
    /// The item with this value of its merge key, in JSON.
    Item(&'static str, String),
}

type Path = Vec<Step>;

/// Applies a configuration. The fields that the manager has applied before and that it no longer names go, unless another
/// manager owns them, too.
///
/// Ownership is kept for managers that apply, not for those that write in another way: their fields are free for all.
pub(crate) fn apply(object: &mut Value, configuration: &Value, manager: &str, force: bool) -> Result<(), Refusal> {
    if !matches!(configuration["metadata"]["managedFields"], Value::Null) {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    let mut configuration = configuration.clone();
    if let Some(fields) = configuration.as_object_mut() {
        fields.retain(|name, _| !matches!(name.as_str(), "kind" | "apiVersion"));
    }
    let mut wanted = Vec::new();
    leaves(&configuration, &mut Vec::new(), "", &mut wanted);
    wanted.retain(|(path, _)| !is_identity(path));
    let mut entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let mut owned = BTreeSet::new();
    let mut others = Vec::new();
    for entry in entries.iter().filter(|entry| entry["operation"] == "Apply") {
        let mut paths = BTreeSet::new();
        read_fields(&entry["fieldsV1"], &mut Vec::new(), &mut paths);
        if entry["manager"] == manager {
            owned = paths;
        } else {
            others.push((entry["manager"].as_str().unwrap_or_default().to_owned(), paths));
        }
    }
    let conflict = wanted.iter().find_map(|(path, value)| {
        let (other, _) = others.iter().find(|(_, paths)| paths.contains(path))?;
        (at(object, path) != Some(value)).then(|| format!("conflict with {other:?}: {}", text(path)))
    });
    if let Some(conflict) = conflict.as_ref().filter(|_| !force) {
        return Err(Refusal::conflict(format!("Apply failed with 1 conflict: {conflict}")));
    }
    let paths: BTreeSet<Path> = wanted.iter().map(|(path, _)| path.clone()).collect();
    // Backwards: the key of a list's item is looked up until the rest of the item is gone.
    let mut lost: Vec<_> = owned.difference(&paths).collect();
    lost.sort_by_key(|path| std::cmp::Reverse((path.len(), !is_key(path))));
    for path in lost.into_iter().filter(|path| !others.iter().any(|(_, paths)| paths.contains(*path))) {
        remove(object, path);
    }
    for (path, value) in &wanted {
        put(object, path, value.clone());
    }
    // A forced conflict takes the field from the others.
    for (other, theirs) in &others {
        let lost = theirs.iter().any(|path| paths.contains(path) && conflict.is_some());
        if lost {
            let kept: BTreeSet<_> = theirs.difference(&paths).cloned().collect();
            for entry in entries.iter_mut().filter(|entry| entry["operation"] == "Apply" && entry["manager"] == *other)
            {
                entry["fieldsV1"] = write_fields(&kept);
            }
        }
    }
    entries.retain(|entry| entry["operation"] != "Apply" || entry["manager"] != manager);
    entries.push(json!({"manager": manager, "operation": "Apply", "time": now(), "fieldsType": "FieldsV1",
        "fieldsV1": write_fields(&paths)}));
    object["metadata"]["managedFields"] = json!(entries);
    Ok(())
}

/// Whether the path leads to the key of a list's item.
fn is_key(path: &Path) -> bool {
    matches!(path.as_slice(), [.., Step::Item(key, _), Step::Field(name)] if name == key)
}

/// Whether the field has no owner: it says which object it is.
fn is_identity(path: &Path) -> bool {
    let fields: Vec<_> =
        path.iter().map(|step| if let Step::Field(name) = step { name.as_str() } else { "" }).collect();
    matches!(
        fields.as_slice(),
        ["metadata", "name" | "namespace" | "uid" | "resourceVersion" | "creationTimestamp" | "generation"]
    )
}

/// Collects the paths of the values that a manager owns: those that are no objects and no lists with a merge key.
fn leaves(value: &Value, path: &mut Path, field: &str, found: &mut Vec<(Path, Value)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                path.push(Step::Field(name.clone()));
                leaves(value, path, name, found);
                path.pop();
            }
        }
        Value::Array(items) => match merge_key(field, items) {
            Some(key) => {
                for item in items {
                    path.push(Step::Item(key, item[key].to_string()));
                    leaves(item, path, "", found);
                    path.pop();
                }
            }
            None => found.push((path.clone(), value.clone())),
        },
        _ => found.push((path.clone(), value.clone())),
    }
}

fn find_item<'a>(list: &'a Value, key: &str, wanted: &str) -> Option<(usize, &'a Value)> {
    let wanted: Value = serde_json::from_str(wanted).ok()?;
    list.as_array()?.iter().enumerate().find(|(_, item)| item[key] == wanted)
}

fn at<'a>(object: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(object, |object, step| match step {
        Step::Field(name) => object.get(name),
        Step::Item(key, wanted) => find_item(object, key, wanted).map(|(_, item)| item),
    })
}

fn put(object: &mut Value, path: &[Step], value: Value) {
    match path {
        [] => *object = value,
        [Step::Field(name), rest @ ..] => {
            if !object.is_object() {
                *object = json!({});
            }
            put(&mut object[name.as_str()], rest, value);
        }
        [Step::Item(key, wanted), rest @ ..] => {
            if !object.is_array() {
                *object = json!([]);
            }
            let found = find_item(object, key, wanted).map(|(at, _)| at);
            let Some(items) = object.as_array_mut() else { return };
            let place = found.unwrap_or_else(|| {
                items.push(json!({*key: serde_json::from_str::<Value>(wanted).unwrap_or_default()}));
                items.len() - 1
            });
            if let Some(item) = items.get_mut(place) {
                put(item, rest, value);
            }
        }
    }
}

/// Removes a field, and the objects and items around it that are empty then.
fn remove(object: &mut Value, path: &[Step]) {
    match path {
        [] => {}
        [Step::Field(name)] => drop(object.as_object_mut().map(|object| object.remove(name))),
        [Step::Field(name), rest @ ..] => {
            if let Some(inner) = object.get_mut(name) {
                remove(inner, rest);
                let is_empty = inner.as_object().is_some_and(serde_json::Map::is_empty)
                    || inner.as_array().is_some_and(Vec::is_empty);
                if is_empty {
                    drop(object.as_object_mut().map(|object| object.remove(name)));
                }
            }
        }
        [Step::Item(key, wanted), rest @ ..] => {
            let found = find_item(object, key, wanted).map(|(at, _)| at);
            let Some((items, at)) = object.as_array_mut().zip(found) else { return };
            if let Some(item) = items.get_mut(at) {
                remove(item, rest);
                if item.as_object().is_some_and(serde_json::Map::is_empty) {
                    items.remove(at);
                }
            }
        }
    }
}

fn text(path: &[Step]) -> String {
    let steps = path.iter().map(|step| match step {
        Step::Field(name) => format!(".{name}"),
        Step::Item(key, value) => format!("[{key}={value}]"),
    });
    steps.collect()
}

/// Writes paths as `fieldsV1` does.
fn write_fields(paths: &BTreeSet<Path>) -> Value {
    let mut fields = json!({});
    for path in paths {
        let names = path.iter().map(|step| match step {
            Step::Field(name) => format!("f:{name}"),
            Step::Item(key, value) => format!("k:{{\"{key}\":{value}}}"),
        });
        let end = names.fold(&mut fields, |fields, name| {
            if fields.is_null() {
                *fields = json!({});
            }
            &mut fields[name]
        });
        if end.is_null() {
            *end = json!({});
        }
    }
    fields
}

fn read_fields(fields: &Value, path: &mut Path, found: &mut BTreeSet<Path>) {
    let Some(fields) = fields.as_object().filter(|fields| !fields.is_empty()) else {
        found.insert(path.clone());
        return;
    };
    for (name, inner) in fields {
        let step = match (name.strip_prefix("f:"), name.strip_prefix("k:")) {
            (Some(name), _) => Some(Step::Field(name.to_owned())),
            (None, Some(item)) => read_item(item),
            _ => None,
        };
        if let Some(step) = step {
            path.push(step);
            read_fields(inner, path, found);
            path.pop();
        }
    }
}

fn read_item(text: &str) -> Option<Step> {
    let item: Value = serde_json::from_str(text).ok()?;
    let (key, value) = item.as_object()?.iter().next()?;
    let keys = ["name", "type", "uid", "mountPath", "devicePath", "ip", "topologyKey", "containerPort", "port"];
    Some(Step::Item(keys.into_iter().find(|known| known == key)?, value.to_string()))
}

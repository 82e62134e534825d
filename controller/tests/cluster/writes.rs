//! Creations, patches and deletions.

use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{
    server::{Target, refusal, reply},
    store::{Id, Store, Write, id, now},
};

pub(super) fn write(store: &mut Store, verb: &Method, target: &Target, media_type: &str, body: &[u8]) -> Response {
    let body: Value = match body {
        [] => json!({}),
        body => match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => return refusal(400, "BadRequest", &error.to_string()),
        },
    };
    let name = target.name.as_deref().or(body["metadata"]["name"].as_str()).unwrap_or_default().to_owned();
    let id = id(&target.plural, &target.namespace, &name);
    let before = store.objects.get(&id).cloned();
    let response = match (verb.clone(), &before) {
        (Method::POST, _) => create(store, target, &name, body.clone()),
        (_, None) => refusal(404, "NotFound", &format!("{} \"{name}\" not found", target.plural)),
        (Method::PUT, Some(before)) => replace(store, &id, before, body.clone()),
        (Method::PATCH, Some(before)) => patch(store, &id, before, target.status, media_type, &body),
        (Method::DELETE, Some(before)) => delete(store, &id, before, &body),
        _ => refusal(405, "MethodNotAllowed", "no such verb"),
    };
    let object = before.map_or(body, |before| Value::clone(&before));
    let code = response.status().as_u16();
    store.writes.push(Write { verb: verb.clone(), id, status: target.status, object, code });
    response
}

pub(super) fn create(store: &mut Store, target: &Target, name: &str, mut object: Value) -> Response {
    let namespace = store.get(&id("namespaces", "", &target.namespace));
    let known = ["leases", "events"].contains(&target.plural.as_str());
    match namespace {
        None if !known => return refusal(404, "NotFound", &format!("namespaces \"{}\" not found", target.namespace)),
        Some(namespace) if namespace["metadata"].get("deletionTimestamp").is_some() => {
            return refusal(
                403,
                "NamespaceTerminating",
                "unable to create new content: the namespace is being terminated",
            );
        }
        _ => {}
    }
    if name.is_empty() {
        return refusal(422, "Invalid", "metadata.name: Required value");
    }
    if object["metadata"].get("resourceVersion").is_some() {
        return refusal(400, "BadRequest", "resourceVersion should not be set on objects to be created");
    }
    if target.plural == "pods"
        && let Some((code, left)) = store.faults.name_taken.filter(|(_, left)| *left > 0)
    {
        store.faults.name_taken = Some((code, left - 1));
        store.create(
            "pods",
            json!({"metadata": {"namespace": target.namespace, "name": name}, "spec": {"nodeName": "node-0000"}}),
        );
        let reason = if code == 409 { "AlreadyExists" } else { "ServerTimeout" };
        return refusal(code, reason, "the name is taken");
    }
    if store.get(&id(&target.plural, &target.namespace, name)).is_some() {
        return refusal(409, "AlreadyExists", &format!("{} \"{name}\" already exists", target.plural));
    }
    if target.plural == "pods" {
        if object["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
            return refusal(422, "Invalid", "spec.containers: Required value");
        }
        object["status"] = json!({"phase": "Pending"});
    }
    object["metadata"]["namespace"] = json!(target.namespace);
    let id = store.create(&target.plural, object);
    reply(StatusCode::CREATED, store.get(&id).unwrap())
}

pub(super) fn replace(store: &mut Store, id: &Id, before: &Value, mut object: Value) -> Response {
    let given = &object["metadata"]["resourceVersion"];
    if !given.is_null() && *given != before["metadata"]["resourceVersion"] {
        return refusal(409, "Conflict", "the object has been modified");
    }
    object["metadata"]["uid"] = before["metadata"]["uid"].clone();
    store.edit(id, |stored| *stored = object);
    reply(StatusCode::OK, store.get(id).unwrap())
}

pub(super) fn patch(
    store: &mut Store,
    id: &Id,
    before: &Value,
    status: bool,
    media_type: &str,
    patch: &Value,
) -> Response {
    for precondition in ["uid", "resourceVersion"] {
        let given = &patch["metadata"][precondition];
        if !given.is_null() && *given != before["metadata"][precondition] {
            return refusal(409, "Conflict", &format!("Precondition failed: {precondition} in precondition: {given}"));
        }
    }
    let mut after = before.clone();
    match media_type {
        "application/merge-patch+json" => merge(&mut after, patch),
        "application/strategic-merge-patch+json" => {
            let mut rest = patch.clone();
            let owners = rest["metadata"].as_object_mut().and_then(|metadata| metadata.remove("ownerReferences"));
            merge(&mut after, &rest);
            merge_owners(&mut after, owners.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice));
        }
        other => return refusal(415, "UnsupportedMediaType", other),
    }
    store.edit(id, |object| {
        if status {
            object["status"] = after["status"].clone();
        } else {
            let kept = object.get("status").cloned();
            *object = after;
            match (kept, object.as_object_mut()) {
                (Some(kept), Some(object)) => drop(object.insert("status".to_owned(), kept)),
                (None, Some(object)) => drop(object.remove("status")),
                _ => {}
            }
        }
    });
    store.get(id).map_or_else(|| refusal(404, "NotFound", "gone by this write"), |object| reply(StatusCode::OK, object))
}

/// Applies a JSON merge patch (RFC 7396).
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let target = target.as_object_mut().unwrap();
    // A directive of strategic merge patches.
    if fields.get("$patch").is_some_and(|directive| directive == "replace") {
        target.clear();
    }
    for (key, value) in fields.iter().filter(|(key, _)| *key != "$patch") {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Merges owner references by uid.
pub(super) fn merge_owners(object: &mut Value, changes: &[Value]) {
    if changes.is_empty() {
        return;
    }
    let mut owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    for change in changes {
        owners.retain(|owner| owner["uid"] != change["uid"]);
        if change["$patch"] != "delete" {
            owners.push(change.clone());
        }
    }
    object["metadata"]["ownerReferences"] = json!(owners);
}

pub(super) fn delete(store: &mut Store, id: &Id, before: &Value, options: &Value) -> Response {
    for precondition in ["uid", "resourceVersion"] {
        let given = &options["preconditions"][precondition];
        if !given.is_null() && *given != before["metadata"][precondition] {
            return refusal(409, "Conflict", &format!("Precondition failed: {precondition} in precondition: {given}"));
        }
    }
    if options["propagationPolicy"] == "Orphan" {
        store.edit(id, |object| object["metadata"]["finalizers"] = json!(["orphan"]));
    }
    store.delete(id);
    reply(StatusCode::OK, store.get(id).unwrap_or(before))
}

//! Creations, updates, patches and deletions, as requests ask for them.

use std::collections::HashMap;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    apply,
    id::Id,
    objects, patch,
    refusal::Refusal,
    selection::Selection,
    store::{Store, Write},
    strategy,
    target::Target,
};

type Outcome = Result<(StatusCode, Option<Value>), Refusal>;

/// Carries out a write and records it.
pub(crate) fn write(
    store: &mut Store,
    verb: &Method,
    target: &Target,
    query: &HashMap<String, String>,
    media_type: &str,
    body: &[u8],
) -> Outcome {
    if media_type.contains("protobuf") {
        return Err(patch::unknown_format(media_type));
    }
    let parse = |text: &[u8]| serde_json::from_slice(text).map_err(|error| Refusal::bad_request(error.to_string()));
    let body: Value = if body.is_empty() { json!({}) } else { parse(body)? };
    if !(is_readable(&body) || body.is_array() && media_type == patch::JSON_PATCH) {
        return Err(Refusal::bad_request("expected an object"));
    }
    if *verb == Method::DELETE && target.name.is_none() {
        return delete_collection(store, target, query, &body);
    }
    let name = target.name.as_deref().or_else(|| body["metadata"]["name"].as_str()).unwrap_or_default();
    let mut id = target.id(name);
    let before = store.get(&id).cloned();
    let object = before.clone().unwrap_or_else(|| body.clone());
    let outcome = match (verb.as_str(), target.name.is_some(), target.subresource.as_deref(), before) {
        ("POST", false, None, _) => create(store, target, body),
        ("PATCH", true, None, None) if media_type == patch::APPLY => apply_new(store, target, &id, query, &body),
        ("POST" | "PUT" | "PATCH" | "DELETE", true, _, None) => Err(Refusal::not_found(&id)),
        ("POST", true, Some("binding"), Some(_)) if id.resource == "pods" => bind(store, &id, &body),
        ("POST", true, Some("eviction"), Some(before)) if id.resource == "pods" => evict(store, &id, &before, &body),
        ("PUT", true, None | Some("status"), Some(before)) => replace(store, target, &id, &before, body),
        ("PATCH", true, None | Some("status"), Some(before)) => {
            let patched = patched(&before, query, media_type, &body);
            patched.and_then(|patched| replace(store, target, &id, &before, patched))
        }
        ("DELETE", true, None, Some(before)) => delete(store, &id, &before, &body),
        (_, _, Some(subresource), _) => Err(Refusal::not_found(format!("the subresource {subresource}"))),
        _ => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "no such verb here")),
    };
    if let (true, Ok((_, Some(created)))) = (id.name.is_empty(), &outcome) {
        created["metadata"]["name"].as_str().unwrap_or_default().clone_into(&mut id.name);
    }
    let code = outcome.as_ref().map_or_else(|refusal| refusal.code, |(code, _)| *code).as_u16();
    store.writes.push(Write { verb: verb.clone(), id, subresource: target.subresource.clone(), object, code });
    outcome
}

/// Whether a value is an object whose parts are objects.
fn is_readable(value: &Value) -> bool {
    let parts = ["metadata", "spec", "status"];
    value.is_object() && parts.iter().all(|part| matches!(value[*part], Value::Null | Value::Object(_)))
}

fn create(store: &mut Store, target: &Target, mut object: Value) -> Outcome {
    let resource = &target.resource;
    let expected = (json!(resource.kind), json!(resource.api_version()));
    let is_of_kind = |field: &str, expected: &Value| object[field].is_null() || object[field] == *expected;
    if !is_of_kind("kind", &expected.0) || !is_of_kind("apiVersion", &expected.1) {
        return Err(Refusal::bad_request(format!("expected kind {} of {}", expected.0, expected.1)));
    }
    if resource.is_namespaced {
        let given = object["metadata"]["namespace"].as_str().unwrap_or(&target.namespace);
        if given != target.namespace || target.namespace.is_empty() {
            return Err(Refusal::bad_request("the namespace of the object does not match that of the request"));
        }
        match store.get(&Id::new("namespaces", "", &target.namespace)) {
            // Leases and Events are kept without their namespace, so that a test need not make one for them.
            None if matches!(&*resource.kind, "Lease" | "Event") => {}
            None => return Err(Refusal::not_found(format!("namespaces {:?}", target.namespace))),
            Some(namespace) if strategy::is_being_deleted(namespace) => {
                return Err(Refusal::terminating(&target.namespace));
            }
            Some(_) => {}
        }
        object["metadata"]["namespace"] = json!(target.namespace);
    }
    let meta = &object["metadata"];
    if meta["name"].as_str().unwrap_or_default().is_empty()
        && meta["generateName"].as_str().unwrap_or_default().is_empty()
    {
        return Err(Refusal::invalid("metadata.name: Required value: name or generateName is required"));
    }
    if !matches!(meta["resourceVersion"].as_str(), None | Some("")) {
        return Err(Refusal::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let name = meta["name"].as_str().unwrap_or_default().to_owned();
    if resource.kind == "Pod" {
        if object["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
            return Err(Refusal::invalid("spec.containers: Required value"));
        }
        take_name(store, &target.namespace, &name)?;
    }
    let id = target.id(&name);
    if store.get(&id).is_some() {
        return Err(Refusal::new(StatusCode::CONFLICT, "AlreadyExists", format!("{id} already exists")));
    }
    strategy::reset_status(resource, &mut object);
    let id = store.create(&resource.name(), object);
    Ok((StatusCode::CREATED, store.get(&id).cloned()))
}

/// Lets somebody else take the name of a new pod, if that fault is set.
fn take_name(store: &mut Store, namespace: &str, name: &str) -> Result<(), Refusal> {
    let Some((code, left)) = store.faults.name_taken.filter(|(_, left)| *left > 0) else { return Ok(()) };
    store.faults.name_taken = Some((code, left - 1));
    let node = store.range("nodes").next().map(|(id, _)| id.name.clone());
    store.create("pods", json!({"metadata": {"namespace": namespace, "name": name}, "spec": {"nodeName": node}}));
    let (code, reason) = match code {
        500 => (StatusCode::INTERNAL_SERVER_ERROR, "ServerTimeout"),
        _ => (StatusCode::CONFLICT, "AlreadyExists"),
    };
    Err(Refusal::new(code, reason, "the name is taken"))
}

/// Stores `object` in place of `before`: its status alone for the subresource, all but the status otherwise.
fn replace(store: &mut Store, target: &Target, id: &Id, before: &Value, mut object: Value) -> Outcome {
    let given = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if !given.is_empty() && *given != before["metadata"]["resourceVersion"] {
        return Err(Refusal::conflict(format!("{id} has been modified; apply your changes to the latest version")));
    }
    if !object["metadata"]["uid"].is_null() && object["metadata"]["uid"] != before["metadata"]["uid"] {
        return Err(Refusal::conflict(format!(
            "Precondition failed: UID in precondition: {}",
            object["metadata"]["uid"]
        )));
    }
    if !object["metadata"]["name"].is_null() && object["metadata"]["name"] != before["metadata"]["name"] {
        return Err(Refusal::bad_request("the name of the object does not match that of the request"));
    }
    if target.subresource.is_some() {
        if !target.resource.has_status {
            return Err(Refusal::not_found("the subresource status"));
        }
        let mut after = before.clone();
        after["status"] = object["status"].take();
        object = after;
    } else {
        set(&mut object, &[], "kind", None);
        set(&mut object, &[], "apiVersion", None);
        if target.resource.has_status {
            set(&mut object, &[], "status", before.get("status").cloned());
        }
        // What a request cannot change.
        let fixed = [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ];
        for field in fixed {
            set(&mut object, &["metadata"], field, before["metadata"].get(field).cloned());
        }
    }
    store.edit(id, |stored| *stored = object.clone());
    // Removing the last finalizer may have ended it.
    Ok((StatusCode::OK, Some(store.get(id).cloned().unwrap_or(object))))
}

/// Sets a field of the object at `path`, or removes it.
fn set(object: &mut Value, path: &[&str], field: &str, value: Option<Value>) {
    let at = path.iter().fold(object, |object, name| &mut object[*name]);
    match value {
        Some(value) => at[field] = value,
        None => drop(at.as_object_mut().map(|object| object.remove(field))),
    }
}

fn patched(before: &Value, query: &HashMap<String, String>, media_type: &str, body: &Value) -> Result<Value, Refusal> {
    if media_type == patch::APPLY {
        let mut after = before.clone();
        apply::apply(&mut after, body, &manager(query)?, query.get("force").is_some_and(|force| force == "true"))?;
        Ok(after)
    } else {
        let after = patch::patch(before, media_type, body)?;
        if is_readable(&after) { Ok(after) } else { Err(Refusal::invalid("the patch leaves no object")) }
    }
}

/// Creates an object by a server-side apply.
fn apply_new(store: &mut Store, target: &Target, id: &Id, query: &HashMap<String, String>, body: &Value) -> Outcome {
    let mut object = json!({"metadata": {"name": id.name}});
    apply::apply(&mut object, body, &manager(query)?, true)?;
    create(store, target, object)
}

fn manager(query: &HashMap<String, String>) -> Result<String, Refusal> {
    let manager = query.get("fieldManager").filter(|manager| !manager.is_empty()).cloned();
    manager.ok_or_else(|| Refusal::bad_request("fieldManager is required for apply patch"))
}

/// Binds a pod to a node, as the scheduler does.
fn bind(store: &mut Store, id: &Id, binding: &Value) -> Outcome {
    let bound = store.get(id).is_some_and(|pod| pod["spec"]["nodeName"].is_string());
    if bound {
        return Err(Refusal::conflict(format!("{id} is already assigned to a node")));
    }
    store.edit(id, |pod| {
        pod["spec"]["nodeName"] = binding["target"]["name"].clone();
        objects::set_condition(pod, "PodScheduled", "True", None);
    });
    Ok((StatusCode::CREATED, None))
}

/// Deletes a pod unless a `PodDisruptionBudget` allows none to be disrupted.
fn evict(store: &mut Store, id: &Id, pod: &Value, eviction: &Value) -> Outcome {
    let labels = serde_json::from_value(pod["metadata"]["labels"].clone()).unwrap_or_default();
    let covers = |budget: &Value| {
        let selector = serde_json::from_value::<daemonplan::model::LabelSelector>(budget["spec"]["selector"].clone());
        selector.is_ok_and(|selector| selector.matches(&labels))
    };
    let budgets: Vec<_> = store
        .all("poddisruptionbudgets")
        .into_iter()
        .filter(|(budget, object)| budget.namespace == id.namespace && covers(object))
        .collect();
    if budgets.iter().any(|(_, budget)| budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0) == 0) {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        return Err(Refusal::too_many(message, None));
    }
    for (budget, _) in budgets {
        store.edit(&budget, |budget| {
            let allowed = &mut budget["status"]["disruptionsAllowed"];
            *allowed = json!(allowed.as_i64().unwrap_or(0) - 1);
        });
    }
    delete(store, id, pod, &eviction["deleteOptions"])?;
    Ok((StatusCode::CREATED, None))
}

fn delete(store: &mut Store, id: &Id, before: &Value, options: &Value) -> Outcome {
    for precondition in ["uid", "resourceVersion"] {
        let given = &options["preconditions"][precondition];
        if !given.is_null() && *given != before["metadata"][precondition] {
            let message = format!("Precondition failed: {precondition} in precondition: {given}");
            return Err(Refusal::conflict(message));
        }
    }
    let finalizer = match options["propagationPolicy"].as_str() {
        Some("Orphan") => Some("orphan"),
        Some("Foreground") => Some("foregroundDeletion"),
        _ => None,
    };
    let has = |finalizer: &str| {
        before["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!(finalizer)))
    };
    if let Some(finalizer) = finalizer.filter(|finalizer| !has(finalizer)) {
        store.edit(id, |object| {
            let mut finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            finalizers.push(json!(finalizer));
            object["metadata"]["finalizers"] = json!(finalizers);
        });
    }
    store.delete(id);
    if options["gracePeriodSeconds"] == 0 && id.resource == "pods" {
        store.end(id);
    }
    Ok((StatusCode::OK, Some(store.get(id).unwrap_or(before).clone())))
}

/// Deletes all selected objects of a namespace, or of all.
fn delete_collection(store: &mut Store, target: &Target, query: &HashMap<String, String>, options: &Value) -> Outcome {
    let selection = Selection::of(target, query)?;
    let found = store.all(&target.resource.name()).into_iter().filter(|(id, object)| selection.has(id, object));
    for (id, object) in found.collect::<Vec<_>>() {
        delete(store, &id, &object, options)?;
        let write = Write { verb: Method::DELETE, id, subresource: None, object: Value::clone(&object), code: 200 };
        store.writes.push(write);
    }
    Ok((StatusCode::OK, None))
}

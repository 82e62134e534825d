//! The garbage collectors: dependents of owners that are gone, pods of nodes that are gone, namespaces.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::{id::Id, store::Store, strategy};

/// Whether anything has changed since a version that can make garbage: leases, which are renewed all the time, and Events do
/// not.
pub(crate) fn may_have_come(store: &Store, version: u64) -> bool {
    let Some(mut changes) = store.changes_since(version) else { return true };
    changes.any(|change| !matches!(&*change.id.resource, "leases" | "events"))
}

/// Removes what is no longer needed.
pub(crate) fn collect(store: &mut Store) {
    end_owners(store);
    collect_dependents(store);
    collect_pods(store);
    empty_namespaces(store);
}

fn owners(object: &Value) -> &[Value] {
    object["metadata"]["ownerReferences"].as_array().map_or(&[], Vec::as_slice)
}

fn finalizers(object: &Value) -> &[Value] {
    object["metadata"]["finalizers"].as_array().map_or(&[], Vec::as_slice)
}

/// Carries out the propagation policies `Orphan` and `Foreground` of owners that are being deleted.
fn end_owners(store: &mut Store) {
    let waits = |object: &Value| {
        strategy::is_being_deleted(object)
            && finalizers(object).iter().any(|one| *one == "orphan" || *one == "foregroundDeletion")
    };
    let ending: Vec<(Id, Value)> = store
        .objects()
        .filter(|(_, object)| waits(object))
        .map(|(id, object)| (id.clone(), Value::clone(object)))
        .collect();
    for (id, owner) in ending {
        let uid = &owner["metadata"]["uid"];
        let of_owner = |object: &Value| owners(object).iter().any(|reference| reference["uid"] == *uid);
        let dependents: Vec<Id> =
            store.objects().filter(|(_, object)| of_owner(object)).map(|(id, _)| id.clone()).collect();
        let orphans = finalizers(&owner).contains(&json!("orphan"));
        for dependent in &dependents {
            if orphans {
                store.edit(dependent, |object| drop_owners(object, |reference| reference["uid"] == *uid));
            } else {
                store.delete(dependent);
            }
        }
        let blocks = |id: &Id| {
            let references = store.get(id).map_or(&[][..], owners);
            references.iter().any(|reference| reference["uid"] == *uid && reference["blockOwnerDeletion"] == true)
        };
        if orphans || !dependents.iter().any(blocks) {
            let done = if orphans { "orphan" } else { "foregroundDeletion" };
            store.edit(&id, |object| {
                let left: Vec<_> = finalizers(object).iter().filter(|one| **one != done).cloned().collect();
                object["metadata"]["finalizers"] = json!(left);
            });
        }
    }
}

fn drop_owners(object: &mut Value, gone: impl Fn(&Value) -> bool) {
    let left: Vec<_> = owners(object).iter().filter(|reference| !gone(reference)).cloned().collect();
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("ownerReferences");
        if !left.is_empty() {
            meta.insert("ownerReferences".to_owned(), json!(left));
        }
    }
}

/// Deletes what has lost all its owners.
fn collect_dependents(store: &mut Store) {
    fn uid(object: &Value) -> &str {
        object["uid"].as_str().unwrap_or_default()
    }
    let uids: HashSet<String> = store.objects().map(|(_, object)| uid(&object["metadata"]).to_owned()).collect();
    let is_gone = |reference: &Value| !uids.contains(uid(reference));
    let with_gone = store.objects().filter(|(_, object)| owners(object).iter().any(is_gone));
    let with_gone: Vec<(Id, bool)> =
        with_gone.map(|(id, object)| (id.clone(), owners(object).iter().all(is_gone))).collect();
    for (id, lost_all) in with_gone {
        if lost_all {
            store.delete(&id);
        } else {
            store.edit(&id, |object| drop_owners(object, is_gone));
        }
    }
}

/// Removes the pods of nodes that are gone.
fn collect_pods(store: &mut Store) {
    let nodes: HashSet<&str> = store.range("nodes").map(|(id, _)| id.name.as_str()).collect();
    let is_lost = |pod: &Value| pod["spec"]["nodeName"].as_str().is_some_and(|node| !nodes.contains(node));
    let lost: Vec<Id> = store.range("pods").filter(|(_, pod)| is_lost(pod)).map(|(id, _)| id.clone()).collect();
    for id in lost {
        store.delete(&id);
        store.end(&id);
    }
}

/// Deletes what is in namespaces that are being deleted, and the namespaces once they are empty.
fn empty_namespaces(store: &mut Store) {
    let ending = store.range("namespaces").filter(|(_, namespace)| strategy::is_being_deleted(namespace));
    let mut content: HashMap<String, Vec<Id>> = ending.map(|(id, _)| (id.name.clone(), Vec::new())).collect();
    if content.is_empty() {
        return;
    }
    for (id, _) in store.objects() {
        if let Some(content) = content.get_mut(&id.namespace) {
            content.push(id.clone());
        }
    }
    for (namespace, content) in content {
        for id in &content {
            store.delete(id);
        }
        let id = Id::new("namespaces", "", &namespace);
        let finalizers = store.get(&id).is_some_and(strategy::has_finalizers);
        if !content.iter().any(|id| store.get(id).is_some()) && !finalizers {
            store.remove(&id);
        }
    }
}

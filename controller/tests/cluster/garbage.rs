//! The garbage collectors: pods of missing nodes, dependents of deleted owners.

use std::collections::HashSet;

use serde_json::json;

use super::store::{Store, node_of, owner};

/// Deletes the dependents of deleted DaemonSets, and orphans those of DaemonSets with the finalizer `orphan`.
pub(super) fn collect_garbage(store: &mut Store) {
    let mut owners = HashSet::new();
    for (id, daemonset) in store.all("daemonsets") {
        let uid = daemonset["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let being_deleted = daemonset["metadata"].get("deletionTimestamp").is_some();
        if being_deleted && daemonset["metadata"]["finalizers"] == json!(["orphan"]) {
            for (dependent, object) in store.all("pods").into_iter().chain(store.all("controllerrevisions")) {
                if owner(&object).is_some_and(|owner| owner["uid"] == *uid) {
                    store.edit(&dependent, |object| {
                        object["metadata"].as_object_mut().unwrap().remove("ownerReferences");
                    });
                }
            }
            store.edit(&id, |daemonset| daemonset["metadata"]["finalizers"] = json!([]));
        } else {
            owners.insert(uid);
        }
    }
    for (id, object) in store.all("pods").into_iter().chain(store.all("controllerrevisions")) {
        let of_daemonset = owner(&object).filter(|owner| owner["kind"] == "DaemonSet");
        if of_daemonset.is_some_and(|owner| !owners.contains(owner["uid"].as_str().unwrap_or_default())) {
            store.delete(&id);
        }
    }
}

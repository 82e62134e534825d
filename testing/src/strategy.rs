//! What the API server does to an object besides what a request asks for.

use serde_json::{Value, json};

use crate::{id::Id, objects::now, resource::Resource};

/// The annotation that counts the templates of a DaemonSet.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Sets what a new object starts with.
pub(crate) fn prepare_creation(resource: Option<&Resource>, object: &mut Value) {
    if resource.is_some_and(|resource| resource.has_generation) {
        object["metadata"]["generation"] = json!(1);
    }
}

/// Counts the generation, and the template generation of a DaemonSet.
pub(crate) fn prepare_update(resource: Option<&Resource>, before: &Value, after: &mut Value) {
    let Some(resource) = resource.filter(|resource| resource.has_generation && content(before) != content(after))
    else {
        return;
    };
    after["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
    if resource.kind == "DaemonSet" && before["spec"]["template"] != after["spec"]["template"] {
        let number = before["metadata"]["annotations"][TEMPLATE_GENERATION].as_str().and_then(|text| text.parse().ok());
        after["metadata"]["annotations"][TEMPLATE_GENERATION] = json!((number.unwrap_or(0_i64) + 1).to_string());
    }
}

/// Returns what a generation counts the changes of.
fn content(object: &Value) -> Vec<(&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status")).collect()
}

/// Sets the status of an object that a request creates.
pub(crate) fn reset_status(resource: &Resource, object: &mut Value) {
    match &*resource.kind {
        "Pod" => object["status"] = json!({"phase": "Pending"}),
        "Namespace" => object["status"] = json!({"phase": "Active"}),
        "Node" => {} // a kubelet registers its node with a status
        _ if resource.has_status => drop(object.as_object_mut().map(|object| object.remove("status"))),
        _ => {}
    }
}

/// Whether the deletion of an object has begun.
pub(crate) fn is_being_deleted(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

pub(crate) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// Whether the object cannot go at once, but waits for another party: the one that set a finalizer, a pod's kubelet, the namespace
/// controller.
pub(crate) fn is_held(id: &Id, object: &Value) -> bool {
    let has_kubelet = id.resource == "pods" && object["spec"]["nodeName"].is_string();
    has_finalizers(object) || has_kubelet || id.resource == "namespaces"
}

/// Marks an object as being deleted.
pub(crate) fn begin_deletion(object: &mut Value) {
    object["metadata"]["deletionTimestamp"] = json!(now());
    if let Some(generation) = object["metadata"]["generation"].as_i64() {
        object["metadata"]["generation"] = json!(generation + 1);
    }
    object["metadata"]["deletionGracePeriodSeconds"] =
        object["spec"].get("terminationGracePeriodSeconds").cloned().unwrap_or(json!(0));
    if object["status"]["phase"] == "Active" {
        object["status"]["phase"] = json!("Terminating");
    }
}

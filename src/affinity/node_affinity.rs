//! The node affinity that ties a pod to one node.

use serde_json::{Map, Value, json};

use crate::model::{affinity_to, required_affinity_to};

/// Replaces the required node affinity of a pod's spec with `metadata.name In [node]`.
pub(super) fn rewrite_affinity(spec: &mut Map<String, Value>, node: &str) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let Some(affinity) = spec.get_mut("affinity").and_then(Value::as_object_mut) else {
        spec.insert("affinity".into(), affinity_to(node));
        return;
    };
    let node_affinity = affinity.entry("nodeAffinity").or_insert(Value::Null);
    if node_affinity.is_null() {
        *node_affinity = json!({});
    }
    if let Some(node_affinity) = node_affinity.as_object_mut() {
        node_affinity.insert(REQUIRED.into(), required_affinity_to(node));
    }
}

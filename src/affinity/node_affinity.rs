//! The node affinity that ties a pod to one node.

use serde_json::{Map, Value, json};

use crate::model::{Pod, PodTemplate, Text, affinity_to, required_affinity_to};

/// Returns the affinity of a template's pod for `node`: the template's, with `metadata.name In [node]` as the required
/// node affinity. Preferred node affinity, pod affinity and pod anti-affinity are kept.
///
/// ```
/// use daemonplan::{affinity::rewrite, model::PodTemplate};
/// let affinity = rewrite(&PodTemplate::default(), "node-7");
/// let required = &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
/// assert_eq!(required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0], "node-7");
/// ```
pub fn rewrite(template: &PodTemplate, node: &str) -> Value {
    let affinity = template.json().get("spec").and_then(|spec| spec.get("affinity"));
    rewritten(affinity.and_then(Value::as_object).cloned(), node)
}

/// Replaces the required node affinity of a pod's spec.
pub(super) fn rewrite_in(spec: &mut Map<String, Value>, node: &str) {
    let affinity = match spec.get_mut("affinity").map(Value::take) {
        Some(Value::Object(affinity)) => Some(affinity),
        _ => None,
    };
    spec.insert("affinity".into(), rewritten(affinity, node));
}

fn rewritten(affinity: Option<Map<String, Value>>, node: &str) -> Value {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let Some(mut affinity) = affinity else { return affinity_to(node) };
    let node_affinity = affinity.entry("nodeAffinity").or_insert(Value::Null);
    if node_affinity.is_null() {
        *node_affinity = json!({});
    }
    if let Some(node_affinity) = node_affinity.as_object_mut() {
        node_affinity.insert(REQUIRED.into(), required_affinity_to(node));
    }
    affinity.into()
}

/// Returns the node that a pod is for: the one that it is bound to, or else the one that its required node affinity
/// names (`metadata.name In [node]`).
///
/// ```
/// use daemonplan::{affinity::target_node, model::{Pod, PodNode}};
/// let mut pod = Pod::new("prod", "agent-x2k");
/// assert_eq!(target_node(&pod), None);
/// pod.node = PodNode::Intended("node-7".into());
/// assert_eq!(target_node(&pod).unwrap(), "node-7");
/// ```
pub fn target_node(pod: &Pod) -> Option<&Text> {
    pod.node.name()
}

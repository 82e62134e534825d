//! The pod to create: the template with labels, an owner reference, tolerations and a node affinity.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{node_affinity::rewrite_affinity, tolerations::with_automatic};
use crate::model::{ControllerRef, DaemonSet, HASH_LABEL, Pod, PodNode, PodTemplate, TEMPLATE_GENERATION_LABEL, Text};

/// A pod to create, without the node. All creations of a template share one blueprint.
///
/// Cloning only increments a reference count.
///
/// ```
/// use daemonplan::{Action, model::{DaemonSet, Namespace, Node}, plan};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let actions = plan(&daemonset, &[Node::new("node-7")], &[], &namespace);
/// let Action::CreatePod { node, blueprint, .. } = &actions[0] else { unreachable!() };
/// assert_eq!(blueprint.manifest(node)["metadata"]["generateName"], "agent-");
/// assert_eq!(blueprint.pod(node.clone(), "agent-x2k").labels.get("app"), Some("agent"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PodBlueprint(Arc<Value>);

impl PodBlueprint {
    /// Returns the blueprint of `template`, which may be older than the DaemonSet's current template.
    pub(crate) fn new(daemonset: &DaemonSet, template: &PodTemplate, hash: &Text) -> Self {
        let json = template.json();
        let mut spec = object(json.get("spec"));
        let tolerations = with_automatic(spec.get("tolerations"), template.host_network());
        spec.insert("tolerations".into(), tolerations);
        Self(Arc::new(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata(daemonset, json, hash),
            "spec": spec,
        })))
    }

    /// Returns the pod for `node` as the API server first stores it: pending and not bound.
    ///
    /// The pod has no uid and no creation timestamp. This is useful for simulators.
    pub fn pod(&self, node: impl Into<Text>, name: impl Into<Text>) -> Pod {
        let metadata = self.0.get("metadata");
        let text = |value: Option<&Value>| Text::from(value.and_then(Value::as_str).unwrap_or_default());
        let field = |name| metadata.and_then(|metadata| metadata.get(name));
        let labels = field("labels").and_then(Value::as_object).into_iter().flatten();
        let owner = field("ownerReferences").and_then(|owners| owners.get(0));
        let mut pod = Pod::new(text(field("namespace")), name);
        pod.labels = labels.map(|(key, value)| (key.as_str(), text(Some(value)))).collect();
        pod.controller = owner.map(|owner| ControllerRef {
            kind: text(owner.get("kind")),
            name: text(owner.get("name")),
            uid: text(owner.get("uid")),
        });
        pod.node = PodNode::Intended(node.into());
        pod
    }

    /// Returns the complete pod manifest for `node`.
    ///
    /// `metadata.name In [node]` replaces the template's required node affinity. Preferred node affinity, pod affinity
    /// and pod anti-affinity are kept.
    pub fn manifest(&self, node: &str) -> Value {
        let mut manifest = Value::clone(&self.0);
        if let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut) {
            rewrite_affinity(spec, node);
        }
        manifest
    }
}

fn metadata(daemonset: &DaemonSet, template: &Map<String, Value>, hash: &Text) -> Value {
    let from_template = object(template.get("metadata"));
    let mut labels = object(from_template.get("labels"));
    // The generation of an older template is not known.
    let is_current = daemonset.template.json() == template;
    if let Some(generation) = daemonset.template_generation().filter(|_| is_current) {
        labels.insert(TEMPLATE_GENERATION_LABEL.into(), generation.to_string().into());
    }
    labels.insert(HASH_LABEL.into(), (&**hash).into());
    let mut metadata = Map::new();
    metadata.insert("generateName".into(), format!("{}-", daemonset.name).into());
    metadata.insert("namespace".into(), (&*daemonset.namespace).into());
    metadata.insert("labels".into(), labels.into());
    for field in ["annotations", "finalizers"] {
        if let Some(value) = from_template.get(field).filter(|value| !value.is_null()) {
            metadata.insert(field.into(), value.clone());
        }
    }
    metadata.insert("ownerReferences".into(), json!([owner_reference(daemonset)]));
    Value::Object(metadata)
}

fn owner_reference(daemonset: &DaemonSet) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "name": daemonset.name,
        "uid": daemonset.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

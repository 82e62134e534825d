//! The pod to create: the template with labels, an owner reference, tolerations and a node affinity.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{node_affinity::rewrite_in, node_resources::NodeResources, tolerations::tolerations};
use crate::{
    model::{
        ControllerRef, DaemonSet, HASH_LABEL, Labels, Pod, PodNode, PodSpec, PodTemplate, TEMPLATE_GENERATION_LABEL,
        Text,
    },
    selector::PerNode,
};

/// A pod to create, without the node. All creations of a template share one blueprint.
///
/// Cloning only increments a reference count.
///
/// ```
/// use daemonplan::{affinity::PodBlueprint, model::DaemonSet};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let blueprint = PodBlueprint::new(&daemonset, &daemonset.template, "6d5f");
/// assert_eq!(blueprint.manifest("node-7")["metadata"]["generateName"], "agent-");
/// assert_eq!(blueprint.pod("node-7", "agent-x2k").labels.get("app"), Some("agent"));
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PodBlueprint(Arc<Blueprint>);

#[derive(Debug, PartialEq)]
struct Blueprint {
    manifest: Value,
    labels: Labels,
    /// What the pods have in common; `None` if it cannot be read.
    spec: Option<Arc<PodSpec>>,
}

impl PodBlueprint {
    /// Returns the blueprint of `template`, which may be older than the DaemonSet's current template. `hash` is the label
    /// `controller-revision-hash` of the template's revision.
    pub fn new(daemonset: &DaemonSet, template: &PodTemplate, hash: &str) -> Self {
        let json = template.json();
        let mut spec = object(json.get("spec"));
        spec.insert("tolerations".into(), tolerations(template));
        let metadata = metadata(daemonset, json, hash);
        let labels = metadata.get("labels").and_then(Value::as_object).into_iter().flatten();
        let labels = labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect();
        Self::of(metadata, labels, spec.into())
    }

    fn of(metadata: Value, labels: Labels, spec: Value) -> Self {
        let pod_spec = PodSpec::of_pod(&spec, true, &labels);
        // Moved: `json!` would serialize both again.
        let manifest = [("apiVersion", "v1".into()), ("kind", "Pod".into()), ("metadata", metadata), ("spec", spec)];
        Self(Arc::new(Blueprint { spec: pod_spec, labels, manifest: manifest.into_iter().collect() }))
    }

    /// Returns the same for nodes on which the containers request something else.
    ///
    /// ```
    /// use daemonplan::{affinity::{NodeResources, PodBlueprint}, model::DaemonSet};
    /// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
    /// daemonset.template = daemonset.template.with_container("agent", "example.com/agent:1");
    /// let mut large = NodeResources::new(daemonset.key(), "size=large".parse().unwrap());
    /// large.containers.entry("agent".into()).or_default().requests.set("cpu".into(), 2_i64.into());
    /// let blueprint = PodBlueprint::new(&daemonset, &daemonset.template, "6d5f").with_resources(&large);
    /// assert_eq!(blueprint.manifest("node-7")["spec"]["containers"][0]["resources"]["requests"]["cpu"], "2");
    /// # use daemonplan::Resource;
    /// # Ok::<(), daemonplan::model::RequirementError>(())
    /// ```
    #[must_use]
    pub fn with_resources(&self, resources: &NodeResources) -> Self {
        let Blueprint { manifest, labels, .. } = &*self.0;
        let mut spec = object(manifest.get("spec"));
        resources.apply(&mut spec);
        Self::of(manifest.get("metadata").cloned().unwrap_or_default(), labels.clone(), spec.into())
    }

    /// Returns the blueprints of all nodes: it, and those of nodes on which the containers request something else.
    pub(crate) fn on_nodes<'r>(self, resources: impl IntoIterator<Item = &'r NodeResources>) -> PerNode<Self> {
        let all = PerNode::from(self);
        resources.into_iter().fold(all, |all, resources| {
            let special = all.general().with_resources(resources);
            all.with(resources.nodes.clone(), special)
        })
    }

    /// Returns the pod for `node` as the API server first stores it: pending, and not bound unless the template sets
    /// `spec.nodeName`.
    ///
    /// The pod has no uid and no creation timestamp. This is useful for simulators.
    pub fn pod(&self, node: impl Into<Text>, name: impl Into<Text>) -> Pod {
        let manifest = &self.0.manifest;
        let metadata = manifest.get("metadata");
        let text = |value: Option<&Value>| Text::from(value.and_then(Value::as_str).unwrap_or_default());
        let field = |name| metadata.and_then(|metadata| metadata.get(name));
        let owner = field("ownerReferences").and_then(|owners| owners.get(0));
        let mut pod = Pod::new(text(field("namespace")), name);
        pod.labels = self.0.labels.clone();
        pod.controller = owner.map(|owner| {
            let (kind, name, uid) = (text(owner.get("kind")), text(owner.get("name")), text(owner.get("uid")));
            ControllerRef { kind, name, uid }.into()
        });
        let node_name = text(manifest.get("spec").and_then(|spec| spec.get("nodeName")));
        let place = if node_name.is_empty() { PodNode::Intended } else { PodNode::Bound };
        pod.node = place(node.into());
        pod.spec.clone_from(&self.0.spec);
        pod
    }

    /// Returns the complete pod manifest for `node`.
    ///
    /// `metadata.name In [node]` replaces the template's required node affinity. Preferred node affinity, pod affinity
    /// and pod anti-affinity are kept.
    pub fn manifest(&self, node: &str) -> Value {
        let mut manifest = self.0.manifest.clone();
        if let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut) {
            rewrite_in(spec, node);
        }
        manifest
    }
}

fn metadata(daemonset: &DaemonSet, template: &Map<String, Value>, hash: &str) -> Value {
    let from_template = object(template.get("metadata"));
    let mut labels = object(from_template.get("labels"));
    // The generation of an older template is not known.
    let is_current = daemonset.template.json() == template;
    if let Some(generation) = daemonset.template_generation().filter(|_| is_current) {
        labels.insert(TEMPLATE_GENERATION_LABEL.into(), generation.to_string().into());
    }
    labels.insert(HASH_LABEL.into(), hash.into());
    let mut metadata = Map::new();
    metadata.insert("generateName".into(), format!("{}-", daemonset.name).into());
    metadata.insert("namespace".into(), (&*daemonset.namespace).into());
    metadata.insert("labels".into(), labels.into());
    for field in ["annotations", "finalizers"] {
        if let Some(value) = from_template.get(field).filter(|value| !value.is_null()) {
            metadata.insert(field.into(), value.clone());
        }
    }
    metadata.insert("ownerReferences".into(), json!([owner_reference(&daemonset.name, &daemonset.uid)]));
    Value::Object(metadata)
}

/// The owner reference of a DaemonSet's pods and revisions.
pub(crate) fn owner_reference(name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "name": name,
        "uid": uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

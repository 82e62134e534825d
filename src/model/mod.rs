//! The facts, as Kubernetes writes them: only the fields that a planner reads, typed and checked as they are read.
//!
//! All types read from and write to Kubernetes' JSON (and, with the feature `yaml`, YAML). What exists as a value is
//! well-formed, so planning cannot fail: what Kubernetes itself would refuse is an error here, at the field that has it;
//! what Kubernetes accepts and then ignores, such as a malformed node affinity term, is kept as such and reported.

mod controller_revision;
mod daemon_set;
mod label_selector;
mod labels;
mod metadata;
mod namespace;
mod node;
mod node_selector;
mod pod;
mod pod_template;
mod requirement;
mod syntax;
mod taint;
mod text;

pub use controller_revision::ControllerRevision;
pub use daemon_set::{DaemonSet, DaemonSetStatus, IntOrPercent, UpdateStrategy};
pub use label_selector::LabelSelector;
pub use labels::Labels;
pub use metadata::ControllerRef;
pub use namespace::Namespace;
pub use node::Node;
pub use node_selector::{FieldRequirement, NodeSelector, NodeSelectorTerm};
pub use pod::{Pod, PodNode, PodPhase, Readiness};
pub use pod_template::{PodTemplate, PodTemplateError};
pub(crate) use requirement::parse_bound;
pub use requirement::{Operator, Requirement, RequirementError};
pub use taint::{Taint, TaintEffect, Toleration, TolerationOperator};
pub use text::Text;

/// The label that ties a pod to the revision that it was made from.
pub const HASH_LABEL: &str = "controller-revision-hash";

/// The label with the template generation, from before there were revisions.
pub const TEMPLATE_GENERATION_LABEL: &str = "pod-template-generation";

/// An affinity that allows one node only: `metadata.name In [node]`.
pub(crate) fn affinity_to(node: &str) -> serde_json::Value {
    serde_json::json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required_affinity_to(node)}})
}

pub(crate) fn required_affinity_to(node: &str) -> serde_json::Value {
    let requirement = serde_json::json!({"key": "metadata.name", "operator": "In", "values": [node]});
    serde_json::json!({"nodeSelectorTerms": [{"matchFields": [requirement]}]})
}

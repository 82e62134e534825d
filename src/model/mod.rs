//! The Kubernetes objects that planning depends on: only the fields that matter to it, typed and validated.
//!
//! All types read and write Kubernetes' JSON and, with the feature `manifest`, YAML. Every value is well-formed, so
//! planning cannot fail:
//!
//! - What plans read and cannot be read is an error here, such as a malformed selector or a percentage without digits. What
//!   plans do not read is not checked, so not all that the API server refuses is an error. The reader of
//!   [`manifest`](crate::manifest) names file, object and field of each error.
//! - Input that Kubernetes accepts and then ignores, such as a malformed node affinity term, is kept and reported.

mod admission;
mod controller_revision;
mod daemon_set;
mod daemon_set_status;
mod interner;
mod label_selector;
mod labels;
mod metadata;
mod namespace;
mod node;
mod node_selector;
mod pod;
mod pod_scheduling;
mod pod_spec;
mod pod_template;
mod pod_wire;
mod quantity;
mod reported_event;
mod requirement;
mod resource;
mod storage;
mod syntax;
mod taint;
mod text;
pub mod well_known;

pub use admission::{
    LimitRange, LimitRangeItem, PodDisruptionBudget, PriorityClass, QuotaScope, ResourceQuota, RuntimeClass,
    SchedulerConfig,
};
pub use controller_revision::ControllerRevision;
pub use daemon_set::{DaemonSet, IntOrPercent, InvalidIntOrPercent, UpdateStrategy};
pub use daemon_set_status::{DaemonSetCondition, DaemonSetStatus};
pub use interner::Interner;
pub use label_selector::LabelSelector;
pub(crate) use labels::LabelLookup;
pub use labels::Labels;
pub use metadata::ControllerRef;
pub use namespace::Namespace;
pub use node::Node;
pub use node_selector::{FieldRequirement, NodeSelector, NodeSelectorTerm};
pub(crate) use node_selector::{affinity_to, required_affinity_to};
pub use pod::{Pod, PodNode, PodPhase, PodProblem, Readiness};
pub use pod_scheduling::{ActualResources, AssignedResources, PodScheduling};
pub use pod_spec::{
    Container, HostPort, PodAffinityTerm, PodSpec, PodVolume, PreemptionPolicy, ResourceList, ResourceRequirements,
    TopologySpreadConstraint, WeightedPodAffinityTerm,
};
pub use pod_template::{PodTemplate, PodTemplateError};
pub use quantity::{InvalidQuantity, Quantity};
pub use reported_event::ReportedEvent;
pub(crate) use requirement::parse_bound;
pub use requirement::{Operator, Requirement, RequirementError};
pub(crate) use resource::api_group;
pub use resource::{ConversionError, Key, Kind, Object, ObjectRef, Resource, UnknownKind};
pub use storage::{
    ClaimRef, CsiDriver, CsiNode, CsiStorageCapacity, PersistentVolume, PersistentVolumeClaim, StorageClass,
    VolumeAttachment,
};
pub use taint::{Taint, TaintEffect, Toleration, TolerationOperator};
pub use text::Text;
pub use well_known::{HASH_LABEL, TEMPLATE_GENERATION_LABEL};

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::{Serialize, de::DeserializeOwned};
    use serde_json::json;

    use super::*;

    fn assert_round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(object: &T) {
        let written = serde_json::to_string(object).unwrap();
        assert_eq!(&serde_json::from_str::<T>(&written).unwrap(), object, "{written}");
    }

    #[test]
    fn objects_with_every_field_set_survive_a_round_trip() {
        let labels = Labels::from_iter([("app", "agent"), ("zone", "a")]);
        let time = Some("2026-01-02T03:04:05Z".parse().unwrap());
        let controller =
            Some(ControllerRef { kind: "DaemonSet".into(), name: "agent".into(), uid: "uid-agent".into() }.into());

        let mut namespace = Namespace::new("prod");
        namespace.annotations = labels.clone();
        assert_round_trip(&namespace);

        let mut node = Node::new("node-7");
        (node.uid, node.labels) = ("uid-node".into(), labels.clone());
        let effects = [TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute];
        let taint = |effect| Taint::new("dedicated", "db", effect);
        node.taints = effects.into_iter().chain([TaintEffect::Unknown]).map(taint).collect();
        assert_round_trip(&node);

        let mut pod = Pod::new("prod", "agent-x2k");
        (pod.uid, pod.labels, pod.created, pod.deleted) = ("uid-pod".into(), labels.clone(), time, time);
        (pod.controller, pod.phase) = (controller.clone(), PodPhase::Running);
        pod.ready = Readiness::Ready { since: time };
        let container = |name: &str| Container::new(name, "example.com/agent:1");
        let (init_containers, containers) = (vec![container("set-up")], vec![container("agent")]);
        let mut spec = PodSpec::default();
        (spec.init_containers, spec.containers) = (init_containers, containers);
        pod.started = time;
        for node in [PodNode::Bound("node-7".into()), PodNode::Intended("node-7".into()), PodNode::None] {
            spec.is_for_one_node = node.name().is_some();
            assert_round_trip(&Pod { node, spec: Some(spec.clone().into()), ..pod.clone() });
        }

        let mut revision = ControllerRevision::new("prod", "agent-one", 7, json!({"spec": {"template": {}}}));
        (revision.uid, revision.labels, revision.annotations) = ("uid-one".into(), labels.clone(), labels.clone());
        (revision.deleted, revision.controller) = (time, controller);
        assert_round_trip(&revision);

        let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
        (daemonset.uid, daemonset.generation, daemonset.annotations) = ("uid-agent".into(), 3, labels.clone());
        (daemonset.deleted, daemonset.finalizers) = (time, vec!["orphan".into()]);
        let newer = Requirement::new("version", Operator::NotIn(vec!["1".into(), "2".into()])).unwrap();
        daemonset.selector = Some(LabelSelector::new(labels, vec![newer]).unwrap());
        daemonset.template = serde_json::from_value(json!({"spec": {"hostNetwork": true, "new": [1]}})).unwrap();
        (daemonset.min_ready_seconds, daemonset.revision_history_limit) = (5, 6);
        daemonset.status = DaemonSetStatus {
            current_number_scheduled: 1,
            number_misscheduled: 2,
            desired_number_scheduled: 3,
            number_ready: 4,
            observed_generation: 5,
            updated_number_scheduled: 6,
            number_available: 7,
            conditions: vec![
                serde_json::from_value(json!({"type": "Progressing", "status": "False", "reason": "Paused",
                    "message": "the update is paused", "lastTransitionTime": "2026-01-02T03:04:05Z"}))
                .unwrap(),
            ],
            number_unavailable: 8,
            collision_count: Some(9),
        };
        let bounds = (IntOrPercent::Percent(10), IntOrPercent::Int(2));
        let rolling = UpdateStrategy::RollingUpdate { max_unavailable: bounds.0, max_surge: bounds.1 };
        for update_strategy in [UpdateStrategy::OnDelete, rolling] {
            assert_round_trip(&DaemonSet { update_strategy, ..daemonset.clone() });
        }
    }
}

//! What a pod has from its template: containers, resources, and what the scheduler and admission look at.

mod affinity;
mod requests;
mod resources;
mod volume;
mod wire;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Labels, Node, NodeSelector, PodTemplate, Text, Toleration, well_known::OS_LABEL};

pub use affinity::{PodAffinityTerm, TopologySpreadConstraint, WeightedPodAffinityTerm};
pub use resources::{HostPort, ResourceList, ResourceRequirements};
pub use volume::PodVolume;
pub(super) use wire::PodSpecWire;

/// The parts of a pod's spec that it has in common with the other pods of its template.
///
/// ```
/// use daemonplan::model::Pod;
/// let pod: Pod = serde_json::from_str(r#"{
///     "metadata": {"name": "agent-x2k"}, "spec": {"containers": [{"name": "agent", "image": "example.com/agent:2"}]}
/// }"#)?;
/// assert_eq!(pod.spec.unwrap().containers[0].image, "example.com/agent:2");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PodSpec {
    /// `spec.initContainers`.
    pub init_containers: Vec<Container>,
    /// `spec.containers`.
    pub containers: Vec<Container>,
    /// `spec.resources`: those of the pod itself, which replace what its containers request.
    pub resources: ResourceRequirements,
    /// `spec.overhead`: what the RuntimeClass adds.
    pub overhead: ResourceList,
    /// `spec.nodeSelector`.
    pub node_selector: Labels,
    /// The required node affinity; `None` if any node will do.
    pub node_affinity: Option<NodeSelector>,
    /// Whether each term of `node_affinity` also requires the node of [`Pod::node`](super::Pod::node), as in the pods of a
    /// DaemonSet. That requirement is left out of the terms, so that pods for different nodes can share them.
    pub is_for_one_node: bool,
    /// `spec.tolerations`.
    pub tolerations: Vec<Toleration>,
    /// The required pod affinity.
    pub pod_affinity: Vec<PodAffinityTerm>,
    /// The required pod anti-affinity.
    pub pod_anti_affinity: Vec<PodAffinityTerm>,
    /// The preferred pod affinity.
    pub preferred_pod_affinity: Vec<WeightedPodAffinityTerm>,
    /// The preferred pod anti-affinity.
    pub preferred_pod_anti_affinity: Vec<WeightedPodAffinityTerm>,
    /// The constraints of `spec.topologySpreadConstraints` with `whenUnsatisfiable: DoNotSchedule`.
    pub topology_spread: Vec<TopologySpreadConstraint>,
    /// The volumes that can keep a pod off a node.
    pub volumes: Vec<PodVolume>,
    /// The names in `spec.resourceClaims`: claims of devices, which the scheduler allocates.
    pub resource_claims: Vec<Text>,
    /// `spec.schedulerName`; empty for the default scheduler.
    pub scheduler: Text,
    /// `spec.os.name`: the operating system that the pod is for; empty if it does not say. The scheduler does not look at it, and
    /// the kubelet does.
    pub os: Text,
    /// The names in `spec.schedulingGates`.
    pub scheduling_gates: Vec<Text>,
    /// `spec.priority`, which admission sets from the PriorityClass.
    pub priority: Option<i32>,
    /// `spec.priorityClassName`; often empty.
    pub priority_class: Text,
    /// `spec.preemptionPolicy`, which admission sets from the PriorityClass.
    pub preemption_policy: Option<PreemptionPolicy>,
    /// `spec.runtimeClassName`; often empty.
    pub runtime_class: Text,
}

/// Whether a pod that fits nowhere takes the place of pods of lower priority.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#non-preempting-priority-class>
///
/// ```
/// use daemonplan::model::PreemptionPolicy;
/// assert_eq!(serde_json::from_str::<PreemptionPolicy>(r#""Never""#)?, PreemptionPolicy::Never);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PreemptionPolicy {
    /// It does.
    #[default]
    PreemptLowerPriority,
    /// It waits.
    Never,
}

/// A container of a [`PodSpec`].
///
/// ```
/// use daemonplan::model::{PodSpec, PodTemplate};
/// let template = PodTemplate::default().with_container("agent", "example.com/agent:1");
/// let container = &PodSpec::of(&template)?.containers[0];
/// assert_eq!((&*container.name, &*container.image), ("agent", "example.com/agent:1"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Container {
    /// The name.
    pub name: Text,
    /// The image. An update of a pod can change it, and of the other fields here only the resources.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/#pod-update-and-replacement>
    pub image: Text,
    /// The requests and limits.
    pub resources: ResourceRequirements,
    /// The ports of the node that the container takes.
    pub host_ports: Vec<HostPort>,
    /// Whether an init container keeps running beside the containers: its `restartPolicy` is `Always`.
    pub is_sidecar: bool,
}

/// The name of the default scheduler.
const DEFAULT_SCHEDULER: &str = "default-scheduler";

impl PodSpec {
    /// Returns what a template says, with the API server's defaults.
    ///
    /// # Errors
    /// If a field has the wrong type, such as a quantity that cannot be read. The API server refuses such a template.
    pub fn of(template: &PodTemplate) -> Result<Self, serde_json::Error> {
        let spec = template.json().get("spec").unwrap_or(&Value::Null);
        Ok(Option::<PodSpecWire>::deserialize(spec)?.unwrap_or_default().into_spec(false))
    }

    /// Returns what the created pods with these labels have in common, as the API server stores them. `None` if the spec
    /// cannot be read.
    pub(crate) fn of_pod(spec: &Value, is_of_daemonset: bool, labels: &Labels) -> Option<Arc<Self>> {
        let mut spec = PodSpecWire::deserialize(spec).ok()?.into_spec(is_of_daemonset);
        if is_of_daemonset {
            // The name of the node replaces the required node affinity.
            spec.node_affinity = None;
        }
        let preferred = spec.preferred_pod_affinity.iter_mut().chain(&mut spec.preferred_pod_anti_affinity);
        let preferred = preferred.map(|preferred| &mut preferred.term);
        for term in spec.pod_affinity.iter_mut().chain(&mut spec.pod_anti_affinity).chain(preferred) {
            term.merge_label_keys(labels);
        }
        for constraint in &mut spec.topology_spread {
            constraint.merge_label_keys(labels);
        }
        Some(Arc::new(spec))
    }

    /// Whether the pod never takes the place of others.
    pub fn never_preempts(&self) -> bool {
        self.preemption_policy == Some(PreemptionPolicy::Never)
    }

    /// Whether the default scheduler is to bind the pod.
    pub fn is_of_default_scheduler(&self) -> bool {
        self.scheduler.is_empty()
    }

    /// Whether the scheduler decides about two pods alike on a node without taints: what does not count for it, such as images, may
    /// differ.
    pub(crate) fn is_scheduled_as(&self, other: &Self) -> bool {
        let of = |spec: &Self| Self {
            init_containers: Vec::new(),
            containers: Vec::new(),
            resources: ResourceRequirements::default(),
            overhead: ResourceList::default(),
            tolerations: Vec::new(),
            priority: Some(spec.priority.unwrap_or_default()),
            preemption_policy: Some(spec.preemption_policy.unwrap_or_default()),
            priority_class: Text::default(),
            runtime_class: Text::default(),
            ..spec.clone()
        };
        let is_alike = || self.requests() == other.requests() && self.host_ports().eq(other.host_ports());
        self == other || is_alike() && of(self) == of(other)
    }

    /// Whether the pod is for another operating system than a node has by its label.
    pub(crate) fn excludes_system_of(&self, node: &Node) -> bool {
        !self.os.is_empty() && node.labels.get(OS_LABEL).is_some_and(|system| *self.os != *system)
    }

    /// Whether the pod has volumes that claims stand for.
    pub(crate) fn has_claims(&self) -> bool {
        let mut volumes = self.volumes.iter();
        volumes.any(|volume| matches!(volume, PodVolume::Claim { .. } | PodVolume::Ephemeral { .. }))
    }

    /// Iterates over all containers, init containers first.
    pub(crate) fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }

    /// Iterates over the ports of the node that the pod takes: those of its containers and sidecars.
    pub fn host_ports(&self) -> impl Iterator<Item = &HostPort> {
        let sidecars = self.init_containers.iter().filter(|container| container.is_sidecar);
        self.containers.iter().chain(sidecars).flat_map(|container| &container.host_ports)
    }
}

impl Container {
    /// Returns a container without resources and ports.
    pub fn new(name: impl Into<Text>, image: impl Into<Text>) -> Self {
        Self { name: name.into(), image: image.into(), ..Self::default() }
    }
}

use serde::{Deserialize, Serialize};

use crate::model::{ResourceList, Text};

/// What the status of a pod says about its place on a node, where it differs from what the spec says.
///
/// ```
/// use daemonplan::model::Pod;
/// let text = r#"{"metadata": {"name": "agent-x2k"}, "status": {"nominatedNodeName": "node-7"}}"#;
/// let pod: Pod = serde_json::from_str(text)?;
/// assert_eq!(pod.scheduling.unwrap().nominated_node, "node-7");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PodScheduling {
    /// `status.nominatedNodeName` of a pod without a node: the node that the scheduler keeps free for it. Often empty.
    pub nominated_node: Text,
    /// Whether the scheduler has preempted the pod: the condition `DisruptionTarget` has the reason `PreemptionByScheduler`.
    pub is_preempted: bool,
    /// Whether the kubelet can never do the resize that the spec asks for: the condition `PodResizePending` has the reason
    /// `Infeasible`.
    pub resize_is_infeasible: bool,
    /// The resources that the kubelet reports for containers, if any differ from those of the spec.
    /// <https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/>
    pub containers: Vec<AssignedResources>,
    /// The resources that the kubelet reports for the pod itself, if they differ from those of the spec.
    pub pod: Option<AssignedResources>,
}

/// The resources that the kubelet reports for a container or a pod: those of the last resize.
///
/// ```
/// use daemonplan::model::AssignedResources;
/// let status = r#"{"name": "agent", "allocatedResources": {"cpu": "2"}, "resources": {"requests": {"cpu": "1"}}}"#;
/// let assigned: AssignedResources = serde_json::from_str(status)?;
/// assert_eq!(assigned.allocated.get("cpu").to_string(), "2");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AssignedResources {
    /// The name of the container; empty for the pod itself.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub name: Text,
    /// `allocatedResources`: what the kubelet has set aside.
    #[serde(default, rename = "allocatedResources", skip_serializing_if = "ResourceList::is_empty")]
    pub allocated: ResourceList,
    /// `resources`: what the container runs with; `None` if it is not reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ActualResources>,
}

/// The resources that a container runs with.
///
/// ```
/// use daemonplan::model::ActualResources;
/// let actual: ActualResources = serde_json::from_str(r#"{"requests": {"cpu": "1"}}"#)?;
/// assert_eq!(actual.requests.get("cpu").to_string(), "1");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ActualResources {
    /// What is reserved for it.
    #[serde(default, skip_serializing_if = "ResourceList::is_empty")]
    pub requests: ResourceList,
}

impl AssignedResources {
    /// Whether the kubelet reports other amounts than these requests.
    pub(super) fn differs_from(&self, requests: &ResourceList) -> bool {
        let differs =
            |reported: &ResourceList| reported.iter().any(|(resource, amount)| requests.get(resource) != *amount);
        differs(&self.allocated) || self.resources.as_ref().is_some_and(|resources| differs(&resources.requests))
    }
}

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    ControllerRef, Labels, Text,
    metadata::{Metadata, MissingName, unless_default},
    node_selector::RawSelector,
};

/// A pod: the fields by which a DaemonSet knows its own, finds their node and judges their state.
///
/// ```
/// use daemonplan::model::{Pod, PodNode, Readiness};
/// let mut pod = Pod::new("monitoring", "agent-x2k");
/// pod.node = PodNode::Bound("node-7".into());
/// pod.ready = Readiness::Ready { since: None };
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
#[non_exhaustive]
pub struct Pod {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
    /// `metadata.uid`.
    pub uid: Text,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `metadata.creationTimestamp`; `None` sorts before any time.
    pub created: Option<Timestamp>,
    /// `metadata.deletionTimestamp`: set once the pod is being deleted.
    pub deleted: Option<Timestamp>,
    /// The owner reference with `controller: true`.
    pub controller: Option<ControllerRef>,
    /// Where the pod runs or is meant to run.
    pub node: PodNode,
    /// `status.phase`.
    pub phase: PodPhase,
    /// The condition `Ready`.
    pub ready: Readiness,
    /// What is wrong with it, if anything is.
    pub problem: Option<Box<PodProblem>>,
}

/// What the kubelet, or whoever ended the pod, says is wrong with it.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>
///
/// ```
/// use daemonplan::model::Pod;
/// let pod: Pod = serde_json::from_str(r#"{
///     "metadata": {"name": "agent-x2k"},
///     "status": {"containerStatuses": [{"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}
/// }"#)?;
/// let problem = pod.problem.unwrap();
/// assert_eq!((problem.restarts, &*problem.waiting), (3, "CrashLoopBackOff"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PodProblem {
    /// `status.reason`, such as `Evicted`, `OutOfcpu` or `NodeAffinity`; often empty.
    pub reason: Text,
    /// `status.message`; often empty.
    pub message: Text,
    /// How often its containers were restarted, those that initialise it included: all `restartCount` in sum.
    pub restarts: u32,
    /// Why its first container that waits does so, such as `CrashLoopBackOff` or `ImagePullBackOff`; empty if none waits, or
    /// only because the pod is being started (`ContainerCreating`, `PodInitializing`).
    pub waiting: Text,
}

/// Which node a pod is on.
///
/// ```
/// use daemonplan::model::PodNode;
/// assert_eq!(PodNode::Intended("node-7".into()).name().map(|name| &**name), Some("node-7"));
/// assert_eq!(PodNode::None.name(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PodNode {
    /// Bound by the scheduler: `spec.nodeName`.
    Bound(Text),
    /// Not bound yet, but its required node affinity names this one node (`metadata.name In [node]`).
    Intended(Text),
    /// Neither: the pod is on no node.
    #[default]
    None,
}

/// `status.phase` of a pod.
///
/// ```
/// use daemonplan::model::PodPhase;
/// assert_eq!(serde_json::from_str::<PodPhase>(r#""Failed""#)?, PodPhase::Failed);
/// assert_eq!(serde_json::from_str::<PodPhase>(r#""Brooding""#)?, PodPhase::Unknown);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum PodPhase {
    /// Accepted, not all containers run yet.
    #[default]
    Pending,
    /// At least one container runs.
    Running,
    /// All containers ended well. A DaemonSet deletes such a pod.
    Succeeded,
    /// A container ended badly, or the kubelet rejected the pod. A DaemonSet deletes such a pod, with back-off.
    Failed,
    /// The node does not report.
    #[serde(other)]
    Unknown,
}

/// The condition `Ready` of a pod.
///
/// ```
/// use daemonplan::model::{Pod, Readiness};
/// let mut pod = Pod::new("prod", "agent-x2k");
/// assert!(!pod.is_ready());
/// pod.ready = Readiness::Ready { since: Some("2026-01-02T03:04:05Z".parse().unwrap()) };
/// assert!(pod.is_ready());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Readiness {
    /// No such condition, or its status is not `True`.
    #[default]
    NotReady,
    /// Ready.
    Ready {
        /// `lastTransitionTime`: since when.
        since: Option<Timestamp>,
    },
}

impl fmt::Display for PodProblem {
    /// In a few words, such as `Evicted: The node was low on resource: memory` or `CrashLoopBackOff, 3 restarts`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restarts = match self.restarts {
            0 => String::new(),
            1 => "1 restart".to_owned(),
            count => format!("{count} restarts"),
        };
        let reason = match (&*self.reason, &*self.message) {
            ("", message) => message.to_owned(),
            (reason, "") => reason.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        };
        let parts = [reason, self.waiting.to_string(), restarts];
        f.write_str(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "))
    }
}

impl Pod {
    /// A pending pod on no node, without labels and controller.
    pub fn new(namespace: impl Into<Text>, name: impl Into<Text>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            uid: Text::default(),
            labels: Labels::default(),
            created: None,
            deleted: None,
            controller: None,
            node: PodNode::None,
            phase: PodPhase::default(),
            ready: Readiness::default(),
            problem: None,
        }
    }

    /// Whether the pod has a deletion timestamp.
    pub fn is_being_deleted(&self) -> bool {
        self.deleted.is_some()
    }

    /// Whether the pod has ended, well or badly.
    pub fn is_terminal(&self) -> bool {
        matches!(self.phase, PodPhase::Succeeded | PodPhase::Failed)
    }

    /// Since when the condition `Ready` is `True`, if it is and that is known.
    pub(crate) fn ready_since(&self) -> Option<Timestamp> {
        match self.ready {
            Readiness::Ready { since } => since,
            Readiness::NotReady => None,
        }
    }

    /// Whether the condition `Ready` is `True`.
    pub fn is_ready(&self) -> bool {
        matches!(self.ready, Readiness::Ready { .. })
    }
}

impl PodNode {
    /// The node's name, if there is one.
    pub fn name(&self) -> Option<&Text> {
        match self {
            Self::Bound(name) | Self::Intended(name) => Some(name),
            Self::None => None,
        }
    }

    /// Whether the scheduler has bound the pod.
    pub fn is_bound(&self) -> bool {
        matches!(self, Self::Bound(_))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename(serialize = "apiVersion"), skip_deserializing)]
    api: &'static str,
    #[serde(rename(serialize = "kind"), skip_deserializing)]
    kind: &'static str,
    #[serde(default)]
    metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<Text>,
    #[serde(skip_serializing)]
    affinity: Option<Affinity>,
    #[serde(rename(serialize = "affinity"), skip_deserializing, skip_serializing_if = "Option::is_none")]
    intended: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Affinity {
    node_affinity: Option<NodeAffinity>,
}

#[derive(Deserialize)]
struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<RawSelector>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<PodPhase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<Vec<Condition>>,
    #[serde(skip_serializing)]
    init_container_statuses: Option<Vec<ContainerStatus>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    restart_count: Option<u32>,
    state: Option<ContainerState>,
}

#[derive(Default, Serialize, Deserialize)]
struct ContainerState {
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Waiting>,
}

#[derive(Serialize, Deserialize)]
struct Waiting {
    reason: Option<Text>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    r#type: Text,
    #[serde(default)]
    status: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_transition_time: Option<Timestamp>,
}

impl TryFrom<Wire> for Pod {
    type Error = MissingName;

    fn try_from(mut wire: Wire) -> Result<Self, MissingName> {
        let name = wire.metadata.take_name()?;
        let namespace = wire.metadata.take_namespace();
        let mut status = wire.status.unwrap_or_default();
        let problem = status.take_trouble();
        let condition = status.conditions.unwrap_or_default().into_iter().find(|c| c.r#type == "Ready");
        Ok(Self {
            namespace,
            name,
            controller: wire.metadata.controller(),
            uid: wire.metadata.uid.unwrap_or_default(),
            labels: wire.metadata.labels.unwrap_or_default(),
            created: wire.metadata.creation_timestamp,
            deleted: wire.metadata.deletion_timestamp,
            node: wire.spec.unwrap_or_default().node(),
            phase: status.phase.unwrap_or_default(),
            ready: match condition {
                Some(condition) if condition.status == "True" => {
                    Readiness::Ready { since: condition.last_transition_time }
                }
                _ => Readiness::NotReady,
            },
            problem,
        })
    }
}

impl Status {
    fn take_trouble(&mut self) -> Option<Box<PodProblem>> {
        let containers = [&self.init_container_statuses, &self.container_statuses].into_iter().flatten().flatten();
        let mut problem = PodProblem::default();
        for ContainerStatus { restart_count, state } in containers {
            problem.restarts = problem.restarts.saturating_add(restart_count.unwrap_or_default());
            let reason = state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_ref());
            if let Some(reason) = reason.filter(|reason| !STARTING.contains(&&***reason) && problem.waiting.is_empty())
            {
                problem.waiting = reason.clone();
            }
        }
        problem.reason = self.reason.take().unwrap_or_default();
        problem.message = self.message.take().unwrap_or_default();
        (problem != PodProblem::default()).then(|| Box::new(problem))
    }

    fn set_trouble(&mut self, problem: PodProblem) {
        let PodProblem { reason, message, restarts, waiting } = problem;
        (self.reason, self.message) = (unless_default(reason), unless_default(message));
        if restarts > 0 || !waiting.is_empty() {
            let waiting = unless_default(waiting).map(|reason| Waiting { reason: Some(reason) });
            let state = Some(ContainerState { waiting });
            self.container_statuses = Some(vec![ContainerStatus { restart_count: Some(restarts), state }]);
        }
    }
}

/// Why containers wait while a pod is being started and all is well.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

impl Spec {
    fn node(self) -> PodNode {
        if let Some(node) = self.node_name.filter(|node| !node.is_empty()) {
            return PodNode::Bound(node);
        }
        let required = self.affinity.and_then(|affinity| affinity.node_affinity?.required);
        let terms = required.and_then(|selector| selector.node_selector_terms).unwrap_or_default();
        let mut fields = terms.into_iter().flat_map(|term| term.match_fields.unwrap_or_default());
        // The first such requirement decides, also when it does not name exactly one node.
        match fields.find(|field| field.key == "metadata.name" && field.operator == "In") {
            Some(field) => match <[Text; 1]>::try_from(field.values.unwrap_or_default()) {
                Ok([node]) => PodNode::Intended(node),
                Err(_) => PodNode::None,
            },
            None => PodNode::None,
        }
    }
}

impl From<Pod> for Wire {
    fn from(pod: Pod) -> Self {
        let mut metadata = Metadata {
            name: Some(pod.name),
            namespace: Some(pod.namespace),
            uid: unless_default(pod.uid),
            labels: unless_default(pod.labels),
            creation_timestamp: pod.created,
            deletion_timestamp: pod.deleted,
            ..Metadata::default()
        };
        metadata.set_controller(pod.controller);
        let mut spec = Spec::default();
        match pod.node {
            PodNode::Bound(node) => spec.node_name = Some(node),
            PodNode::Intended(node) => spec.intended = Some(super::affinity_to(&node)),
            PodNode::None => {}
        }
        let conditions = match pod.ready {
            Readiness::NotReady => None,
            Readiness::Ready { since } => {
                let (r#type, status) = ("Ready".into(), "True".into());
                Some(vec![Condition { r#type, status, last_transition_time: since }])
            }
        };
        let mut status = Status { phase: Some(pod.phase), conditions, ..Status::default() };
        status.set_trouble(pod.problem.map(|problem| *problem).unwrap_or_default());
        Self { api: "v1", kind: "Pod", metadata, spec: Some(spec), status: Some(status) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn the_first_metadata_name_in_decides_where_an_unbound_pod_is_meant_to_run() {
        let node = |fields: &[(&str, &str, &[&str])]| {
            let field = |(key, operator, values): &(&str, &str, &[&str])| json!({"key": key, "operator": operator, "values": values});
            let fields: Vec<_> = fields.iter().map(field).collect();
            let required = json!({"nodeSelectorTerms": [{"matchFields": fields}]});
            let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
            from_value::<Pod>(json!({"metadata": {"name": "x"}, "spec": {"affinity": affinity}})).unwrap().node
        };
        let name = "metadata.name";
        assert_eq!(node(&[(name, "In", &["a"]), (name, "In", &["b"])]), PodNode::Intended("a".into()));
        assert_eq!(node(&[(name, "NotIn", &["b"]), (name, "In", &["a"])]), PodNode::Intended("a".into()));
        assert_eq!(node(&[("metadata.uid", "In", &["b"]), (name, "In", &["a"])]), PodNode::Intended("a".into()));
        assert_eq!(
            node(&[(name, "In", &["a", "b"]), (name, "In", &["c"])]),
            PodNode::None,
            "it does not name one node"
        );
    }
}

use std::{fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::{
    Container, ControllerRef, Labels, PodSpec, Text,
    metadata::{Metadata, MissingName, unless_default},
    node_selector::RawSelector,
    resource::{ApiVersion, KindName},
};

/// A pod: the fields that decide whether a DaemonSet claims it, which node it runs on and whether it works.
///
/// ```
/// use daemonplan::model::{Pod, PodNode, Readiness};
/// let mut pod = Pod::new("monitoring", "agent-x2k");
/// pod.node = PodNode::Bound("node-7".into());
/// pod.ready = Readiness::Ready { since: None };
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PodWire", into = "PodWire")]
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
    /// `metadata.deletionTimestamp`; set while the pod is being deleted.
    pub deleted: Option<Timestamp>,
    /// The owner reference with `controller: true`.
    pub controller: Option<ControllerRef>,
    /// The node that the pod runs on or is meant for.
    pub node: PodNode,
    /// What the pod has from its template; `None` if that is not known.
    pub spec: Option<Arc<PodSpec>>,
    /// `status.phase`.
    pub phase: PodPhase,
    /// The condition `Ready`.
    pub ready: Readiness,
    /// The problem in the pod's status, if any.
    pub problem: Option<Box<PodProblem>>,
}

/// A problem that the kubelet or a controller reports in a pod's status.
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
    /// The number of restarts of all containers, init containers included: the sum of `restartCount`.
    pub restarts: u32,
    /// The reason why the first waiting container waits, such as `CrashLoopBackOff` or `ImagePullBackOff`.
    ///
    /// Empty if no container waits. The reasons of a normal start (`ContainerCreating`, `PodInitializing`) are ignored.
    pub waiting: Text,
    /// Whether the waiting container is an init container.
    pub is_init: bool,
    /// The exit code with which the waiting container ended last: `lastState.terminated.exitCode`.
    pub exit_code: Option<i32>,
    /// The message of the condition `PodScheduled` if it is `False`: why the scheduler does not bind the pod.
    pub unschedulable: Text,
    /// `lastTransitionTime` of that condition.
    pub unschedulable_since: Option<Timestamp>,
    /// `metadata.finalizers` of a pod that is being deleted: they keep it, even if its deletion is forced.
    pub finalizers: Vec<Text>,
}

/// The node of a pod.
///
/// ```
/// use daemonplan::model::PodNode;
/// assert_eq!(PodNode::Intended("node-7".into()).name().map(|name| &**name), Some("node-7"));
/// assert_eq!(PodNode::None.name(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PodNode {
    /// The scheduler bound the pod to this node (`spec.nodeName`).
    Bound(Text),
    /// The pod is not bound, but its required node affinity names exactly this node (`metadata.name In [node]`).
    Intended(Text),
    /// The pod is not bound and names no node.
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
    /// Accepted, but not all containers have started.
    #[default]
    Pending,
    /// At least one container is running.
    Running,
    /// All containers completed successfully. Daemon pods must keep running, so such a pod is deleted.
    Succeeded,
    /// A container failed, or the kubelet rejected the pod. Such a pod is deleted, with back-off.
    Failed,
    /// The node does not report the phase, or reports an unknown one.
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
    /// The condition is missing, or its status is not `True`.
    #[default]
    NotReady,
    /// The status of the condition is `True`.
    Ready {
        /// `lastTransitionTime`: the time when the pod became ready.
        since: Option<Timestamp>,
    },
}

impl fmt::Display for PodProblem {
    /// Writes a summary such as `Evicted: The node was low on resource: memory` or `CrashLoopBackOff, 3 restarts, exit
    /// code 1`.
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
        let waiting = if self.is_init { format!("init container: {}", self.waiting) } else { self.waiting.to_string() };
        let exit = self.exit_code.map(|code| format!("exit code {code}")).unwrap_or_default();
        let parts = [self.unschedulable.to_string(), reason, waiting, restarts, exit];
        f.write_str(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "))
    }
}

impl Pod {
    /// Returns a pending pod on no node, without labels and without a controller.
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
            spec: None,
            phase: PodPhase::default(),
            ready: Readiness::default(),
            problem: None,
        }
    }

    /// Whether the pod has a deletion timestamp.
    pub fn is_being_deleted(&self) -> bool {
        self.deleted.is_some()
    }

    /// Whether the pod has ended: its phase is `Succeeded` or `Failed`.
    pub fn is_terminal(&self) -> bool {
        matches!(self.phase, PodPhase::Succeeded | PodPhase::Failed)
    }

    /// Returns the time when the pod became ready, if it is ready and the time is known.
    pub(crate) fn ready_since(&self) -> Option<Timestamp> {
        match self.ready {
            Readiness::Ready { since } => since,
            Readiness::NotReady => None,
        }
    }

    /// Whether the pod is ready, and has been for `min_ready_seconds` at `now`: whether it counts as available.
    ///
    /// ```
    /// use daemonplan::model::{Pod, Readiness};
    /// let mut pod = Pod::new("prod", "agent-x2k");
    /// pod.ready = Readiness::Ready { since: Some("2026-01-02T03:04:05Z".parse().unwrap()) };
    /// let now = "2026-01-02T03:04:09Z".parse().unwrap();
    /// assert!(pod.is_available(4, now) && !pod.is_available(5, now));
    /// ```
    pub fn is_available(&self, min_ready_seconds: u32, now: Timestamp) -> bool {
        let Readiness::Ready { since } = self.ready else { return false };
        // A time beyond the year 9999 never comes.
        let at = || since?.checked_add(SignedDuration::from_secs(min_ready_seconds.into())).ok();
        min_ready_seconds == 0 || at().is_some_and(|at| at <= now)
    }

    /// Whether the condition `Ready` is `True`.
    pub fn is_ready(&self) -> bool {
        matches!(self.ready, Readiness::Ready { .. })
    }
}

impl PodNode {
    /// Returns the name of the node, bound or intended.
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
struct PodWire {
    #[serde(default)]
    api_version: ApiVersion<Pod>,
    #[serde(default)]
    kind: KindName<Pod>,
    #[serde(default)]
    metadata: Metadata,
    spec: Option<PodSpecWire>,
    status: Option<PodStatusWire>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpecWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<Text>,
    #[serde(skip_serializing)]
    affinity: Option<Affinity>,
    #[serde(rename(serialize = "affinity"), skip_deserializing, skip_serializing_if = "Option::is_none")]
    intended: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_containers: Option<Vec<Container>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<Vec<Container>>,
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
struct PodStatusWire {
    phase: Option<PodPhase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<Vec<ConditionWire>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_container_statuses: Option<Vec<ContainerStatus>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    restart_count: Option<u32>,
    state: Option<ContainerState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_state: Option<ContainerState>,
}

#[derive(Default, Serialize, Deserialize)]
struct ContainerState {
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Waiting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terminated: Option<Terminated>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    exit_code: Option<i32>,
}

#[derive(Serialize, Deserialize)]
struct Waiting {
    reason: Option<Text>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConditionWire {
    #[serde(default)]
    r#type: Text,
    #[serde(default)]
    status: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_transition_time: Option<Timestamp>,
}

impl TryFrom<PodWire> for Pod {
    type Error = MissingName;

    fn try_from(mut wire: PodWire) -> Result<Self, MissingName> {
        let name = wire.metadata.take_name()?;
        let namespace = wire.metadata.take_namespace();
        let mut status = wire.status.unwrap_or_default();
        let finalizers = wire.metadata.finalizers.take().filter(|_| wire.metadata.deletion_timestamp.is_some());
        let problem = status.take_problem(finalizers.unwrap_or_default());
        let mut spec = wire.spec.unwrap_or_default();
        let condition = status.conditions.unwrap_or_default().into_iter().find(|c| c.r#type == "Ready");
        Ok(Self {
            namespace,
            name,
            controller: wire.metadata.controller(),
            uid: wire.metadata.uid.unwrap_or_default(),
            labels: wire.metadata.labels.unwrap_or_default(),
            created: wire.metadata.creation_timestamp,
            deleted: wire.metadata.deletion_timestamp,
            spec: spec.take_shared(),
            node: spec.node(),
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

impl PodStatusWire {
    fn take_problem(&mut self, finalizers: Vec<Text>) -> Option<Box<PodProblem>> {
        let mut problem = PodProblem { finalizers, ..PodProblem::default() };
        let all = [(&self.init_container_statuses, true), (&self.container_statuses, false)];
        let containers = all
            .into_iter()
            .flat_map(|(containers, is_init)| containers.iter().flatten().map(move |container| (container, is_init)));
        for (ContainerStatus { restart_count, state, last_state }, is_init) in containers {
            problem.restarts = problem.restarts.saturating_add(restart_count.unwrap_or_default());
            let reason = state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_ref());
            if let Some(reason) = reason.filter(|reason| !STARTING.contains(&&***reason) && problem.waiting.is_empty())
            {
                let ended = last_state.as_ref().and_then(|state| state.terminated.as_ref());
                problem.waiting = reason.clone();
                (problem.is_init, problem.exit_code) = (is_init, ended.and_then(|ended| ended.exit_code));
            }
        }
        problem.reason = self.reason.take().unwrap_or_default();
        problem.message = self.message.take().unwrap_or_default();
        let mut conditions = self.conditions.iter_mut().flatten();
        if let Some(condition) = conditions.find(|c| c.r#type == "PodScheduled" && c.status == "False") {
            problem.unschedulable = condition.message.take().unwrap_or_default();
            problem.unschedulable_since = condition.last_transition_time;
        }
        (problem != PodProblem::default()).then(|| Box::new(problem))
    }

    fn set_problem(&mut self, problem: PodProblem) {
        let PodProblem { reason, message, restarts, waiting, is_init, exit_code, .. } = problem;
        let PodProblem { unschedulable, unschedulable_since, .. } = problem;
        (self.reason, self.message) = (unless_default(reason), unless_default(message));
        if restarts > 0 || !waiting.is_empty() {
            let waiting = unless_default(waiting).map(|reason| Waiting { reason: Some(reason) });
            let ended = exit_code.map(|code| Terminated { exit_code: Some(code) });
            let containers = Some(vec![ContainerStatus {
                restart_count: Some(restarts),
                state: Some(ContainerState { waiting, terminated: None }),
                last_state: ended.map(|terminated| ContainerState { waiting: None, terminated: Some(terminated) }),
            }]);
            *(if is_init { &mut self.init_container_statuses } else { &mut self.container_statuses }) = containers;
        }
        if !unschedulable.is_empty() || unschedulable_since.is_some() {
            self.conditions.get_or_insert_default().push(ConditionWire {
                r#type: "PodScheduled".into(),
                status: "False".into(),
                message: unless_default(unschedulable),
                last_transition_time: unschedulable_since,
            });
        }
    }
}

/// The reasons why containers wait during a normal start.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

impl PodSpecWire {
    /// What the pod has from its template. A pod always has containers; where they are left out, they are not known.
    fn take_shared(&mut self) -> Option<Arc<PodSpec>> {
        let containers = self.containers.take().filter(|containers| !containers.is_empty())?;
        let init_containers = self.init_containers.take().unwrap_or_default();
        Some(Arc::new(PodSpec { init_containers, containers }))
    }

    fn node(self) -> PodNode {
        if let Some(node) = self.node_name.filter(|node| !node.is_empty()) {
            return PodNode::Bound(node);
        }
        let required = self.affinity.and_then(|affinity| affinity.node_affinity?.required);
        let terms = required.and_then(|selector| selector.node_selector_terms).unwrap_or_default();
        let mut fields = terms.into_iter().flat_map(|term| term.match_fields.unwrap_or_default());
        // As in Kubernetes, the first such requirement decides, even if it does not name exactly one node.
        match fields.find(|field| field.key == "metadata.name" && field.operator == "In") {
            Some(field) => match <[Text; 1]>::try_from(field.values.unwrap_or_default()) {
                Ok([node]) => PodNode::Intended(node),
                Err(_) => PodNode::None,
            },
            None => PodNode::None,
        }
    }
}

impl From<Pod> for PodWire {
    fn from(pod: Pod) -> Self {
        let mut metadata = Metadata {
            name: Some(pod.name),
            namespace: Some(pod.namespace),
            uid: unless_default(pod.uid),
            labels: unless_default(pod.labels),
            creation_timestamp: pod.created,
            deletion_timestamp: pod.deleted,
            finalizers: pod.problem.as_ref().and_then(|problem| unless_default(problem.finalizers.clone())),
            ..Metadata::default()
        };
        metadata.set_controller(pod.controller);
        let mut spec = PodSpecWire::default();
        match pod.node {
            PodNode::Bound(node) => spec.node_name = Some(node),
            PodNode::Intended(node) => spec.intended = Some(super::affinity_to(&node)),
            PodNode::None => {}
        }
        if let Some(PodSpec { init_containers, containers }) = pod.spec.map(Arc::unwrap_or_clone) {
            spec.init_containers = unless_default(init_containers);
            spec.containers = Some(containers);
        }
        let conditions = match pod.ready {
            Readiness::NotReady => None,
            Readiness::Ready { since } => {
                let (r#type, status) = ("Ready".into(), "True".into());
                Some(vec![ConditionWire { r#type, status, message: None, last_transition_time: since }])
            }
        };
        let mut status = PodStatusWire { phase: Some(pod.phase), conditions, ..PodStatusWire::default() };
        status.set_problem(pod.problem.map(|problem| *problem).unwrap_or_default());
        Self {
            api_version: ApiVersion::default(),
            kind: KindName::default(),
            metadata,
            spec: Some(spec),
            status: Some(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn the_first_metadata_name_in_is_the_node_of_an_unbound_pod() {
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

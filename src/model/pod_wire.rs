//! A pod as Kubernetes writes it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    Container, Pod, PodNode, PodPhase, PodProblem, PodSpec, Readiness, Text,
    metadata::{Metadata, MissingName, unless_default},
    node_selector::RawSelector,
    resource::{ApiVersion, KindName},
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodWire {
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

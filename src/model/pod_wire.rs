//! A pod as Kubernetes writes it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    ActualResources, AssignedResources, Pod, PodNode, PodPhase, PodProblem, PodScheduling, PodSpec, Readiness,
    ResourceList, Text,
    metadata::{Metadata, MissingName, unless_default},
    pod_spec::PodSpecWire,
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
struct PodStatusWire {
    phase: Option<PodPhase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nominated_node_name: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocated_resources: Option<ResourceList>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<ActualResources>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<ContainerState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_state: Option<ContainerState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocated_resources: Option<ResourceList>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<ActualResources>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Text>,
}

#[derive(Serialize, Deserialize)]
struct Waiting {
    reason: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConditionWire {
    #[serde(default)]
    r#type: Text,
    #[serde(default)]
    status: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Text>,
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
        let problem = status.take_problem(wire.metadata.finalizers.take().unwrap_or_default());
        let spec = wire.spec.unwrap_or_default();
        let node = spec.node();
        let spec = spec.into_pod_spec(&node);
        let scheduling = status.take_scheduling(&node, spec.as_deref());
        let condition = status.conditions.unwrap_or_default().into_iter().find(|c| c.r#type == "Ready");
        let since = condition.as_ref().and_then(|condition| condition.last_transition_time);
        let is_ready = condition.is_some_and(|condition| condition.status == "True");
        let ready = if is_ready { Readiness::Ready { since } } else { Readiness::NotReady { since } };
        Ok(Self {
            namespace,
            name,
            controller: wire.metadata.controller(),
            uid: wire.metadata.uid.unwrap_or_default(),
            labels: wire.metadata.labels.unwrap_or_default(),
            created: wire.metadata.creation_timestamp,
            deleted: wire.metadata.deletion_timestamp,
            started: status.start_time,
            spec,
            node,
            scheduling,
            phase: status.phase.unwrap_or_default(),
            ready,
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
        for (ContainerStatus { restart_count, state, last_state, .. }, is_init) in containers {
            let ended = last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let restarts = restart_count.unwrap_or_default();
            let rebooted = restarts > 0
                && ended.and_then(|ended| ended.reason.as_ref()).is_some_and(|reason| LOST.contains(&&**reason));
            let counted = |restarts: u32, rebooted| (restarts - u32::from(rebooted), restarts);
            if counted(restarts, rebooted) > counted(problem.restarts, problem.rebooted) {
                (problem.restarts, problem.rebooted) = (restarts, rebooted);
            }
            let waiting = state.as_ref().and_then(|state| state.waiting.as_ref());
            let reason = waiting.and_then(|waiting| waiting.reason.as_ref());
            if let Some(reason) = reason.filter(|reason| !STARTING.contains(&&***reason) && problem.waiting.is_empty())
            {
                let message = waiting.and_then(|waiting| waiting.message.clone()).unwrap_or_default();
                problem.waiting_message = if *reason == PodProblem::CRASH_LOOP { Text::default() } else { message };
                problem.waiting = reason.clone();
                (problem.is_init, problem.exit_code) = (is_init, ended.and_then(|ended| ended.exit_code));
            }
        }
        problem.reason = self.reason.take().unwrap_or_default();
        problem.message = self.message.take().unwrap_or_default();
        let mut conditions = self.conditions.iter_mut().flatten();
        if let Some(condition) = conditions.find(|c| c.r#type == "PodScheduled" && c.status == "False") {
            problem.unschedulable = condition.message.take().unwrap_or_default();
            problem.unschedulable_reason = condition.reason.take().unwrap_or_default();
            problem.unschedulable_since = condition.last_transition_time;
        }
        (problem != PodProblem::default()).then(|| Box::new(problem))
    }

    /// Takes what says more than the spec about the pod's place on a node.
    fn take_scheduling(&mut self, node: &PodNode, spec: Option<&PodSpec>) -> Option<Box<PodScheduling>> {
        let condition = |kind: &str, reason: &str| {
            let mut conditions = self.conditions.iter().flatten();
            let condition = conditions.find(|c| c.r#type == kind && c.status == "True");
            condition.is_some_and(|c| c.reason.as_deref() == Some(reason))
        };
        let mut scheduling = PodScheduling {
            is_preempted: condition("DisruptionTarget", "PreemptionByScheduler"),
            resize_is_infeasible: node.is_bound() && condition("PodResizePending", "Infeasible"),
            ..PodScheduling::default()
        };
        if !node.is_bound() {
            scheduling.nominated_node = self.nominated_node_name.take().unwrap_or_default();
        } else if let Some(spec) = spec {
            let mut containers = spec.all_containers();
            let statuses = [&mut self.init_container_statuses, &mut self.container_statuses];
            for status in statuses.into_iter().flatten().flatten().filter(|status| status.resources.is_some()) {
                let assigned = AssignedResources {
                    name: status.name.take().unwrap_or_default(),
                    allocated: status.allocated_resources.take().unwrap_or_default().rounded_up(),
                    resources: rounded_up(status.resources.take()),
                };
                let own = containers.find(|container| container.name == assigned.name);
                if scheduling.resize_is_infeasible
                    || own.is_none_or(|own| assigned.differs_from(&own.resources.requests))
                {
                    containers = spec.all_containers();
                    scheduling.containers.push(assigned);
                }
            }
            let pod = AssignedResources {
                name: Text::default(),
                allocated: self.allocated_resources.take().unwrap_or_default().rounded_up(),
                resources: rounded_up(self.resources.take()),
            };
            let is_reported = pod.resources.is_some() || !pod.allocated.is_empty();
            scheduling.pod = Some(pod).filter(|pod| is_reported && pod.differs_from(&spec.resources.requests));
        }
        (scheduling != PodScheduling::default()).then(|| Box::new(scheduling))
    }

    fn set_scheduling(&mut self, scheduling: PodScheduling) {
        let PodScheduling { nominated_node, is_preempted, resize_is_infeasible, containers, pod } = scheduling;
        self.nominated_node_name = unless_default(nominated_node);
        let condition = |kind: &str, reason: &str| ConditionWire {
            r#type: kind.into(),
            status: "True".into(),
            reason: Some(reason.into()),
            ..ConditionWire::default()
        };
        let preempted = is_preempted.then(|| condition("DisruptionTarget", "PreemptionByScheduler"));
        let infeasible = resize_is_infeasible.then(|| condition("PodResizePending", "Infeasible"));
        for condition in preempted.into_iter().chain(infeasible) {
            self.conditions.get_or_insert_default().push(condition);
        }
        for AssignedResources { name, allocated, resources } in containers {
            self.container_statuses.get_or_insert_default().push(ContainerStatus {
                name: unless_default(name),
                allocated_resources: unless_default(allocated),
                resources,
                ..ContainerStatus::default()
            });
        }
        if let Some(AssignedResources { allocated, resources, .. }) = pod {
            (self.allocated_resources, self.resources) = (unless_default(allocated), resources);
        }
    }

    fn set_problem(&mut self, problem: PodProblem) {
        let PodProblem { reason, message, restarts, rebooted, waiting, waiting_message, is_init, exit_code, .. } =
            problem;
        let PodProblem { unschedulable, unschedulable_reason, unschedulable_since, .. } = problem;
        (self.reason, self.message) = (unless_default(reason), unless_default(message));
        if restarts > 0 || !waiting.is_empty() {
            let waiting = unless_default(waiting)
                .map(|reason| Waiting { reason: Some(reason), message: unless_default(waiting_message) });
            let lost = rebooted.then(|| Text::from("Unknown"));
            let ended = (exit_code.is_some() || rebooted).then_some(Terminated { exit_code, reason: lost });
            let containers = Some(vec![ContainerStatus {
                restart_count: Some(restarts),
                state: Some(ContainerState { waiting, terminated: None }),
                last_state: ended.map(|terminated| ContainerState { waiting: None, terminated: Some(terminated) }),
                ..ContainerStatus::default()
            }]);
            *(if is_init { &mut self.init_container_statuses } else { &mut self.container_statuses }) = containers;
        }
        if !unschedulable.is_empty() || !unschedulable_reason.is_empty() || unschedulable_since.is_some() {
            self.conditions.get_or_insert_default().push(ConditionWire {
                r#type: "PodScheduled".into(),
                status: "False".into(),
                reason: unless_default(unschedulable_reason),
                message: unless_default(unschedulable),
                last_transition_time: unschedulable_since,
            });
        }
    }
}

/// The reasons of containers that ended while nothing watched them, as in a reboot of the node.
const LOST: [&str; 2] = ["ContainerStatusUnknown", "Unknown"];

/// The reasons why containers wait during a normal start.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

fn rounded_up(actual: Option<ActualResources>) -> Option<ActualResources> {
    actual.map(|ActualResources { requests }| ActualResources { requests: requests.rounded_up() })
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
        let spec = PodSpecWire::of_pod(pod.spec, pod.node);
        let ready = match pod.ready {
            Readiness::NotReady { since: None } => None,
            Readiness::NotReady { since } => Some(("False", since)),
            Readiness::Ready { since } => Some(("True", since)),
        };
        let conditions = ready.map(|(status, since)| {
            let (r#type, status) = ("Ready".into(), status.into());
            vec![ConditionWire { r#type, status, last_transition_time: since, ..ConditionWire::default() }]
        });
        let phase = Some(pod.phase);
        let mut status = PodStatusWire { phase, conditions, start_time: pod.started, ..PodStatusWire::default() };
        status.set_scheduling(pod.scheduling.map(|scheduling| *scheduling).unwrap_or_default());
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

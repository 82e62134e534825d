//! The DaemonSets that are counted, with the pods that they would create.

use serde::de::Error;

use super::AmountsByIndex;
use crate::{
    context::SyncMode,
    model::{HostPort, Key, Pod, PodSpec, PodTemplate, Quantity, Text},
    placement::PlacementRules,
    scheduling::{AdmissionChange, AdmissionRefusal, Admitted, UnknownFact},
    selector::PerNode,
};

/// A pod that a DaemonSet would create.
#[derive(Debug)]
pub(super) struct FleetPod {
    pub(super) requests: AmountsByIndex,
    /// After admission, for no node in particular.
    pub(super) pod: Pod,
    /// What admission adds to what it requests.
    pub(super) added: Vec<AdmissionChange>,
    /// What is not known that decides whether its pod fits on a node.
    pub(super) unknown: Vec<UnknownFact>,
    /// Whether more than room can keep its pod off a node where it should run.
    pub(super) has_rules: bool,
    pub(super) ports: Vec<HostPort>,
    pub(super) priority: i32,
}

/// A DaemonSet that is to be counted.
pub(super) struct Candidate {
    pub(super) key: Key,
    pub(super) rules: PlacementRules,
    pub(super) mode: SyncMode,
    /// Why its requests cannot be read.
    pub(super) problem: Option<serde_json::Error>,
    pub(super) pods: PerNode<CandidatePod>,
}

/// A pod that a DaemonSet would create, and what admission makes of it.
pub(super) struct CandidatePod {
    pub(super) pod: Pod,
    pub(super) not_admitted: Option<AdmissionRefusal>,
    /// What admission changes.
    changes: Vec<AdmissionChange>,
    /// What is not known that admission looks at.
    unknown: Vec<UnknownFact>,
}

impl CandidatePod {
    pub(super) fn new(pod: Pod) -> Self {
        Self { pod, not_admitted: None, changes: Vec::new(), unknown: Vec::new() }
    }

    pub(super) fn admitted((pod, admitted): &(Pod, Admitted)) -> Self {
        let Admitted { refusal, changes, unknown, .. } = admitted.clone();
        Self { pod: pod.clone(), not_admitted: refusal.filter(AdmissionRefusal::is_lasting), changes, unknown }
    }

    pub(super) fn of_fleet(&self, key: &Key, resources: &[Text]) -> FleetPod {
        let Self { pod, changes, unknown, .. } = self;
        let spec = pod.spec.clone().unwrap_or_default();
        // The scheduler is not asked about a pod whose template names its node.
        let is_asked = !pod.node.is_bound();
        let has_rules = changes.iter().any(|change| matches!(change, AdmissionChange::NodeSelector { .. }))
            || !spec.pod_affinity.is_empty()
            || !spec.pod_anti_affinity.is_empty()
            || !spec.topology_spread.is_empty()
            || !spec.scheduling_gates.is_empty();
        let adds = |change: &&AdmissionChange| {
            matches!(change, AdmissionChange::Defaults { .. } | AdmissionChange::Overhead { .. })
        };
        FleetPod {
            requests: amounts(Some(&spec), resources),
            pod: Pod { namespace: key.namespace.clone(), name: key.name.clone(), ..pod.clone() },
            added: changes.iter().filter(adds).cloned().collect(),
            unknown: unknown.iter().cloned().chain(not_looked_at(&spec).filter(|_| is_asked)).collect(),
            has_rules: has_rules && is_asked,
            ports: spec.host_ports().cloned().collect(),
            priority: spec.priority.unwrap_or_default(),
        }
    }
}

/// What a pod requests, by the index of the resource.
pub(super) fn amounts(spec: Option<&PodSpec>, resources: &[Text]) -> AmountsByIndex {
    let requests = spec.map(PodSpec::requests).unwrap_or_default();
    resources.iter().map(|resource| requests.get(resource)).collect()
}

/// What decides about a pod, and is not looked at for nodes that do not exist yet.
fn not_looked_at(spec: &PodSpec) -> impl Iterator<Item = UnknownFact> {
    let scheduler = &spec.scheduler;
    let facts = [
        (spec.has_claims(), UnknownFact::VolumesOnNewNode),
        (!spec.resource_claims.is_empty(), UnknownFact::ResourceClaims),
        (!spec.is_of_default_scheduler(), UnknownFact::OtherScheduler { name: scheduler.clone() }),
    ];
    facts.into_iter().filter_map(|(is_so, fact)| is_so.then_some(fact))
}

/// Returns why it cannot be read what the pods of a template request. The API server refuses negative amounts.
pub(super) fn problem_of(template: &PodTemplate) -> Option<serde_json::Error> {
    let spec = match PodSpec::of(template) {
        Ok(spec) => spec,
        Err(problem) => return Some(problem),
    };
    let containers = spec.init_containers.iter().chain(&spec.containers).map(|container| &container.resources);
    let lists = containers.chain([&spec.resources]).flat_map(|resources| [&resources.requests, &resources.limits]);
    let negative = lists.chain([&spec.overhead]).flatten().find(|(_, amount)| **amount < Quantity::default());
    negative.map(|(resource, amount)| {
        serde_json::Error::custom(format_args!("{resource}: expected a quantity of at least 0, found {amount}"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn negative_amounts_are_refused() {
        for spec in [
            json!({"containers": [{"resources": {"requests": {"cpu": "-250m"}}}]}),
            json!({"initContainers": [{"resources": {"limits": {"cpu": "-1"}}}]}),
            json!({"overhead": {"cpu": "-1"}}),
            json!({"resources": {"requests": {"cpu": "-1"}}}),
        ] {
            let template: PodTemplate = from_value(json!({"spec": spec})).unwrap();
            let error = problem_of(&template).unwrap().to_string();
            assert!(error.starts_with("cpu: expected a quantity of at least 0, found -"), "{error}");
        }
    }
}

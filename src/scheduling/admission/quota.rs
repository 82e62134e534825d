//! The plugin ResourceQuota.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{AdmissionRefusal, AdmissionStage, AdmissionStatus, Checked, PodAdmission, QuotaLedger};
use crate::model::{Container, PodAffinityTerm, PodSpec, Quantity, QuotaScope, ResourceList, ResourceQuota, Text};

pub(super) const PLUGIN: &str = "ResourceQuota";

/// How many more pods a ResourceQuota has room for.
///
/// ```
/// use daemonplan::{model::{Namespace, PodSpec, ResourceQuota}, scheduling::{PodAdmission, SchedulingObjects}};
/// let mut objects = SchedulingObjects::default();
/// objects.add(serde_json::from_str::<ResourceQuota>(r#"{
///     "metadata": {"name": "few", "namespace": "prod"}, "spec": {"hard": {"pods": "4"}}, "status": {"used": {"pods": "1"}}
/// }"#)?);
/// let namespace = Namespace::new("prod");
/// let room = PodAdmission::new(&namespace, &objects).quota_room(&PodSpec::default());
/// assert_eq!((&*room[0].quota, room[0].pods, &*room[0].resource), ("few", 3, "pods"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QuotaRoom {
    /// The quota.
    pub quota: Text,
    /// How many more pods.
    pub pods: u64,
    /// The resource that is used up first.
    pub resource: Text,
    /// What a pod requests of it.
    pub requested: Quantity,
    /// What is used of it.
    pub used: Quantity,
    /// How much the quota allows.
    pub hard: Quantity,
}

/// The quotas of the namespace that count the pod, by name.
pub(super) fn quotas<'a>(admission: &PodAdmission<'a>) -> Vec<&'a ResourceQuota> {
    let all = admission.objects.quotas.values();
    let mut own: Vec<_> = all.filter(|quota| quota.namespace == admission.namespace.name).collect();
    own.sort_by(|a, b| a.name.cmp(&b.name));
    own
}

pub(super) fn validate(admission: &PodAdmission<'_>, spec: &PodSpec) -> Checked {
    let refuse = |reason: String| Err(AdmissionRefusal::validating(PLUGIN, vec![reason]));
    let (mut covered, mut counting) = (Vec::new(), Vec::new());
    for quota in quotas(admission) {
        covered.extend(quota.scopes.iter().filter(|scope| is_in(scope, admission, spec)).map(|scope| &scope.name));
        if !counts(quota, admission, spec) {
            continue;
        }
        if let Some(missing) = missing_requirements(quota, spec) {
            return refuse(format!("failed quota: {}: must specify {missing}", quota.name));
        }
        let unknown = quota.hard.iter().map(|(resource, _)| resource).filter(|resource| is_of_pods(resource));
        let unknown: Vec<_> = unknown.filter(|resource| !quota.used.contains(resource)).map(Text::as_str).collect();
        if !unknown.is_empty() {
            let resources = unknown.join(",");
            return refuse(format!("status unknown for quota: {}, resources: {resources}", quota.name));
        }
        counting.push(quota);
    }
    let limited = admission.limited_scopes.iter().filter(|scope| is_in(scope, admission, spec));
    let uncovered: Vec<_> = limited.filter(|scope| !covered.contains(&&scope.name)).map(describe).collect();
    if !uncovered.is_empty() {
        let reasons = vec![format!("insufficient quota to match these scopes: [{}]", uncovered.join(" "))];
        let (stage, status) = (AdmissionStage::Validating, AdmissionStatus::InternalError);
        return Err(AdmissionRefusal { plugin: PLUGIN, stage, status, reasons });
    }
    let usage = usage(spec);
    for quota in counting {
        let exceeded = usage.iter().filter(|(resource, amount)| {
            quota.hard.contains(resource) && quota.used.get(resource) + **amount > quota.hard.get(resource)
        });
        let exceeded: Vec<_> = exceeded.map(|(resource, _)| resource).collect();
        if !exceeded.is_empty() {
            let list = |amounts: &ResourceList| {
                let pairs = exceeded.iter().map(|resource| format!("{resource}={}", amounts.get(resource)));
                pairs.collect::<Vec<_>>().join(",")
            };
            let (requested, used, hard) = (list(&usage), list(&quota.used), list(&quota.hard));
            let name = &quota.name;
            return refuse(format!("exceeded quota: {name}, requested: {requested}, used: {used}, limited: {hard}"));
        }
    }
    Ok(())
}

pub(super) fn room(admission: &PodAdmission<'_>, spec: &PodSpec) -> Vec<QuotaRoom> {
    let ledger = QuotaLedger::new(admission.clone());
    let mut rooms: Vec<_> = ledger.room_by_resource(&ledger.use_of(spec)).collect();
    rooms.sort_by(|a, b| (&a.quota, a.pods).cmp(&(&b.quota, b.pods)));
    rooms.dedup_by(|other, least| other.quota == least.quota);
    rooms
}

fn describe(scope: &QuotaScope) -> String {
    format!("{{{} {} [{}]}}", scope.name, scope.operator, scope.values.join(" "))
}

/// Whether a quota counts a pod: it has an amount of pods, and the pod is in all its scopes.
pub(super) fn counts(quota: &ResourceQuota, admission: &PodAdmission<'_>, spec: &PodSpec) -> bool {
    quota.hard.iter().any(|(resource, _)| is_of_pods(resource))
        && quota.scopes.iter().all(|scope| is_in(scope, admission, spec))
}

/// Whether a pod is in a scope. The pods of DaemonSets have no deadline, so that none is terminating in this sense.
fn is_in(scope: &QuotaScope, admission: &PodAdmission<'_>, spec: &PodSpec) -> bool {
    let is_best_effort = || !requests_compute(spec);
    match scope.name.as_str() {
        "NotTerminating" => true,
        "BestEffort" => is_best_effort(),
        "NotBestEffort" => !is_best_effort(),
        "PriorityClass" => {
            let class = Some(&spec.priority_class).filter(|class| !class.is_empty());
            match scope.operator.as_str() {
                "Exists" => class.is_some(),
                "DoesNotExist" => class.is_none(),
                "In" => class.is_some_and(|class| scope.values.contains(class)),
                "NotIn" => class.is_none_or(|class| !scope.values.contains(class)),
                _ => false,
            }
        }
        "CrossNamespacePodAffinity" => {
            let own = &admission.namespace.name;
            let crosses = |term: &PodAffinityTerm| {
                term.namespace_selector.is_some() || term.namespaces.iter().any(|namespace| namespace != own)
            };
            let preferred = spec.preferred_pod_affinity.iter().chain(&spec.preferred_pod_anti_affinity);
            let required = spec.pod_affinity.iter().chain(&spec.pod_anti_affinity);
            required.chain(preferred.map(|preferred| &preferred.term)).any(crosses)
        }
        _ => false,
    }
}

/// Whether the pod or a container requests cpu or memory, or limits them: it is not of the class `BestEffort`.
fn requests_compute(spec: &PodSpec) -> bool {
    let own = [&spec.resources.requests, &spec.resources.limits];
    let is_pod_level = own.iter().any(|list| !list.is_empty());
    let containers = spec.init_containers.iter().chain(&spec.containers).filter(|_| !is_pod_level);
    let lists = containers.flat_map(|container| [&container.resources.requests, &container.resources.limits]);
    lists.chain(own).any(|list| !list.get("cpu").is_zero() || !list.get("memory").is_zero())
}

/// Whether a quota of this resource counts pods.
fn is_of_pods(resource: &str) -> bool {
    const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
    let requested = resource.strip_prefix("requests.");
    let is_compute = |resource: &str| COMPUTE.contains(&resource) || resource.starts_with("hugepages-");
    resource == "pods"
        || resource == "count/pods"
        || is_compute(resource)
        || resource.strip_prefix("limits.").is_some_and(|limited| COMPUTE.contains(&limited))
        || requested.is_some_and(|requested| is_compute(requested) || requested.contains('/'))
}

/// What a pod adds to the use of quotas.
pub(super) fn usage(spec: &PodSpec) -> ResourceList {
    let mut usage = compute_usage(&spec.requests(), &spec.limits());
    for resource in ["pods", "count/pods"] {
        usage.set(resource.into(), Quantity::from(1_i64));
    }
    usage
}

/// The names that quotas have for requests and limits.
fn compute_usage(requests: &ResourceList, limits: &ResourceList) -> ResourceList {
    let mut usage = ResourceList::default();
    for (resource, amount) in requests {
        let is_compute = matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if is_compute || resource.starts_with("hugepages-") {
            usage.set(resource.clone(), *amount);
        }
        usage.set(format!("requests.{resource}").into(), *amount);
    }
    for (resource, amount) in limits {
        if matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.set(format!("limits.{resource}").into(), *amount);
        }
    }
    usage
}

/// What containers must specify because a quota counts it, such as `cpu for: agent; limits.cpu for: agent`.
fn missing_requirements(quota: &ResourceQuota, spec: &PodSpec) -> Option<String> {
    const REQUIRED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
    // What the pod itself requests is not distributed to its containers.
    if !spec.resources.requests.is_empty() || !spec.resources.limits.is_empty() {
        return None;
    }
    let required: Vec<_> = REQUIRED.into_iter().filter(|resource| quota.hard.contains(resource)).collect();
    let mut missing = BTreeMap::<&str, BTreeSet<&str>>::new();
    for Container { name, resources, .. } in spec.containers.iter().chain(&spec.init_containers) {
        let specified = compute_usage(&resources.requests, &resources.limits);
        for resource in required.iter().filter(|resource| !specified.contains(resource)) {
            missing.entry(resource).or_default().insert(name);
        }
    }
    let parts = missing.iter().map(|(resource, containers)| {
        let containers: Vec<_> = containers.iter().copied().collect();
        format!("{resource} for: {}", containers.join(","))
    });
    (!missing.is_empty()).then(|| parts.collect::<Vec<_>>().join("; "))
}

//! Objects that admission looks at when a pod is created, and that preemption respects.

use serde::Deserialize;

use crate::model::{
    LabelSelector, Labels, PreemptionPolicy, ResourceList, Text, Toleration,
    metadata::{Metadata, MissingName},
};

/// A PriorityClass. <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>
///
/// ```
/// use daemonplan::model::{PreemptionPolicy, PriorityClass};
/// let text = r#"{"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"}"#;
/// let class: PriorityClass = serde_json::from_str(text)?;
/// assert_eq!((class.value, class.preemption_policy), (1000, PreemptionPolicy::Never));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PriorityClassWire")]
#[non_exhaustive]
pub struct PriorityClass {
    /// `metadata.name`.
    pub name: Text,
    /// `value`: the priority.
    pub value: i32,
    /// `globalDefault`: whether pods without a class are of this one.
    pub is_global_default: bool,
    /// `preemptionPolicy`.
    pub preemption_policy: PreemptionPolicy,
}

/// A RuntimeClass. <https://kubernetes.io/docs/concepts/containers/runtime-class/>
///
/// ```
/// use daemonplan::model::RuntimeClass;
/// let text = r#"{"metadata": {"name": "gvisor"}, "handler": "runsc", "overhead": {"podFixed": {"cpu": "50m"}}}"#;
/// assert_eq!(serde_json::from_str::<RuntimeClass>(text)?.overhead.get("cpu").to_string(), "50m");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RuntimeClassWire")]
#[non_exhaustive]
pub struct RuntimeClass {
    /// `metadata.name`.
    pub name: Text,
    /// `overhead.podFixed`: what is added to the requests of a pod.
    pub overhead: ResourceList,
    /// `scheduling.nodeSelector`: labels that the node of a pod must have.
    pub node_selector: Labels,
    /// `scheduling.tolerations`: what is added to the tolerations of a pod.
    pub tolerations: Vec<Toleration>,
}

/// The configuration of the scheduler of an OpenShift cluster: a Scheduler of `config.openshift.io`, whose name is
/// `cluster`. <https://github.com/openshift/api/blob/master/config/v1/types_scheduling.go>
///
/// ```
/// use daemonplan::model::SchedulerConfig;
/// let text = r#"{"metadata": {"name": "cluster"}, "spec": {"defaultNodeSelector": "role=worker"}}"#;
/// assert_eq!(&*serde_json::from_str::<SchedulerConfig>(text)?.default_node_selector, "role=worker");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "SchedulerConfigWire")]
#[non_exhaustive]
pub struct SchedulerConfig {
    /// `metadata.name`.
    pub name: Text,
    /// `spec.defaultNodeSelector`: the node selector of projects that have none of their own. Empty: none.
    pub default_node_selector: Text,
}

/// A LimitRange. <https://kubernetes.io/docs/concepts/policy/limit-range/>
///
/// ```
/// use daemonplan::model::LimitRange;
/// let text = r#"{"metadata": {"name": "a"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}}"#;
/// let range: LimitRange = serde_json::from_str(text)?;
/// assert_eq!(range.limits[0].max.get("cpu").to_string(), "2");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "LimitRangeWire")]
#[non_exhaustive]
pub struct LimitRange {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
    /// `spec.limits`.
    pub limits: Vec<LimitRangeItem>,
}

/// An item of a [`LimitRange`].
///
/// ```
/// use daemonplan::model::LimitRangeItem;
/// let item: LimitRangeItem = serde_json::from_str(r#"{"type": "Pod", "min": {"cpu": "10m"}}"#)?;
/// assert_eq!(item.kind, "Pod");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "LimitRangeItemWire")]
#[non_exhaustive]
pub struct LimitRangeItem {
    /// `type`: `Container` or `Pod`; others are not for pods.
    pub kind: Text,
    /// `max`: the largest limit.
    pub max: ResourceList,
    /// `min`: the smallest request.
    pub min: ResourceList,
    /// `default`: the limit of containers without one.
    pub default_limits: ResourceList,
    /// `defaultRequest`: the request of containers without one.
    pub default_requests: ResourceList,
    /// `maxLimitRequestRatio`: how many times the request the limit may be.
    pub max_ratio: ResourceList,
}

/// A ResourceQuota. <https://kubernetes.io/docs/concepts/policy/resource-quotas/>
///
/// ```
/// use daemonplan::model::ResourceQuota;
/// let text = r#"{"metadata": {"name": "a"}, "spec": {"hard": {"pods": 4}}, "status": {"used": {"pods": 3}}}"#;
/// let quota: ResourceQuota = serde_json::from_str(text)?;
/// assert_eq!((quota.hard.get("pods").value(), quota.used.get("pods").value()), (4, 3));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ResourceQuotaWire")]
#[non_exhaustive]
pub struct ResourceQuota {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
    /// `status.hard`, which the quota controller copies from `spec.hard`; the latter before it did.
    pub hard: ResourceList,
    /// `status.used`.
    pub used: ResourceList,
    /// `spec.scopes` and `spec.scopeSelector`: the pods that count; all if there are none.
    pub scopes: Vec<QuotaScope>,
}

/// A requirement on the pods that a [`ResourceQuota`] counts.
///
/// ```
/// use daemonplan::model::QuotaScope;
/// let scope: QuotaScope = serde_json::from_str(r#"{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}"#)?;
/// assert_eq!(scope.values, ["high"]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct QuotaScope {
    /// `scopeName`: `Terminating`, `NotTerminating`, `BestEffort`, `NotBestEffort`, `PriorityClass`,
    /// `CrossNamespacePodAffinity` or `VolumeAttributesClass`.
    #[serde(rename = "scopeName", default)]
    pub name: Text,
    /// `operator`: `In`, `NotIn`, `Exists` or `DoesNotExist`.
    #[serde(default)]
    pub operator: Text,
    /// `values`.
    #[serde(default)]
    pub values: Vec<Text>,
}

/// A PodDisruptionBudget. <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-budgets>
///
/// ```
/// use daemonplan::model::PodDisruptionBudget;
/// let text = r#"{"metadata": {"name": "a"}, "status": {"disruptionsAllowed": 1}}"#;
/// assert_eq!(serde_json::from_str::<PodDisruptionBudget>(text)?.allowed, 1);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BudgetWire")]
#[non_exhaustive]
pub struct PodDisruptionBudget {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
    /// `spec.selector`: the pods that it protects; none if it is missing or empty.
    pub selector: Option<LabelSelector>,
    /// `status.disruptionsAllowed`: how many of them may be evicted now.
    pub allowed: i32,
    /// The names in `status.disruptedPods`: pods whose eviction is counted already.
    pub disrupted: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriorityClassWire {
    #[serde(default)]
    metadata: Metadata,
    value: Option<i32>,
    global_default: Option<bool>,
    preemption_policy: Option<PreemptionPolicy>,
}

#[derive(Deserialize)]
struct SchedulerConfigWire {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<SchedulerSpecWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchedulerSpecWire {
    default_node_selector: Option<Text>,
}

#[derive(Deserialize)]
struct RuntimeClassWire {
    #[serde(default)]
    metadata: Metadata,
    overhead: Option<OverheadWire>,
    scheduling: Option<RuntimeSchedulingWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OverheadWire {
    pod_fixed: Option<ResourceList>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeSchedulingWire {
    node_selector: Option<Labels>,
    tolerations: Option<Vec<Toleration>>,
}

#[derive(Deserialize)]
struct LimitRangeWire {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<LimitRangeSpecWire>,
}

#[derive(Deserialize)]
struct LimitRangeSpecWire {
    limits: Option<Vec<LimitRangeItem>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LimitRangeItemWire {
    #[serde(default)]
    r#type: Text,
    max: Option<ResourceList>,
    min: Option<ResourceList>,
    default: Option<ResourceList>,
    default_request: Option<ResourceList>,
    max_limit_request_ratio: Option<ResourceList>,
}

#[derive(Deserialize)]
struct ResourceQuotaWire {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: QuotaSpecWire,
    #[serde(default)]
    status: Option<QuotaStatusWire>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct QuotaSpecWire {
    hard: Option<ResourceList>,
    scopes: Option<Vec<Text>>,
    scope_selector: Option<ScopeSelectorWire>,
}

#[derive(Default, Deserialize)]
struct QuotaStatusWire {
    hard: Option<ResourceList>,
    used: Option<ResourceList>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeSelectorWire {
    match_expressions: Option<Vec<QuotaScope>>,
}

#[derive(Deserialize)]
struct BudgetWire {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<BudgetSpecWire>,
    status: Option<BudgetStatusWire>,
}

#[derive(Deserialize)]
struct BudgetSpecWire {
    selector: Option<LabelSelector>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BudgetStatusWire {
    disruptions_allowed: Option<i32>,
    disrupted_pods: Option<Labels>,
}

fn rounded(list: Option<ResourceList>) -> ResourceList {
    list.unwrap_or_default().rounded_up()
}

impl TryFrom<PriorityClassWire> for PriorityClass {
    type Error = MissingName;

    fn try_from(mut wire: PriorityClassWire) -> Result<Self, MissingName> {
        Ok(Self {
            name: wire.metadata.take_name()?,
            value: wire.value.unwrap_or_default(),
            is_global_default: wire.global_default.unwrap_or_default(),
            preemption_policy: wire.preemption_policy.unwrap_or_default(),
        })
    }
}

impl TryFrom<SchedulerConfigWire> for SchedulerConfig {
    type Error = MissingName;

    fn try_from(mut wire: SchedulerConfigWire) -> Result<Self, MissingName> {
        let default_node_selector = wire.spec.and_then(|spec| spec.default_node_selector).unwrap_or_default();
        Ok(Self { name: wire.metadata.take_name()?, default_node_selector })
    }
}

impl TryFrom<RuntimeClassWire> for RuntimeClass {
    type Error = MissingName;

    fn try_from(mut wire: RuntimeClassWire) -> Result<Self, MissingName> {
        let scheduling = wire.scheduling.unwrap_or_default();
        Ok(Self {
            name: wire.metadata.take_name()?,
            overhead: rounded(wire.overhead.and_then(|overhead| overhead.pod_fixed)),
            node_selector: scheduling.node_selector.unwrap_or_default(),
            tolerations: scheduling.tolerations.unwrap_or_default(),
        })
    }
}

impl TryFrom<LimitRangeWire> for LimitRange {
    type Error = MissingName;

    fn try_from(mut wire: LimitRangeWire) -> Result<Self, MissingName> {
        let limits = wire.spec.and_then(|spec| spec.limits).unwrap_or_default();
        Ok(Self { name: wire.metadata.take_name()?, namespace: wire.metadata.take_namespace(), limits })
    }
}

impl From<LimitRangeItemWire> for LimitRangeItem {
    /// Reads an item with the API server's defaults for containers: the largest limit is the default limit, the default
    /// limit or else the smallest request is the default request.
    fn from(wire: LimitRangeItemWire) -> Self {
        let mut item = Self {
            kind: wire.r#type,
            max: rounded(wire.max),
            min: rounded(wire.min),
            default_limits: rounded(wire.default),
            default_requests: rounded(wire.default_request),
            max_ratio: rounded(wire.max_limit_request_ratio),
        };
        if item.kind == "Container" {
            for (resource, amount) in &item.max {
                item.default_limits.set_missing(resource, *amount);
            }
            for (resource, amount) in item.default_limits.iter().chain(&item.min) {
                item.default_requests.set_missing(resource, *amount);
            }
        }
        item
    }
}

impl TryFrom<ResourceQuotaWire> for ResourceQuota {
    type Error = MissingName;

    fn try_from(mut wire: ResourceQuotaWire) -> Result<Self, MissingName> {
        let status = wire.status.unwrap_or_default();
        let scopes = wire.spec.scopes.unwrap_or_default().into_iter();
        let scopes = scopes.map(|name| QuotaScope { name, operator: "Exists".into(), values: Vec::new() });
        let selected = wire.spec.scope_selector.and_then(|selector| selector.match_expressions).unwrap_or_default();
        Ok(Self {
            name: wire.metadata.take_name()?,
            namespace: wire.metadata.take_namespace(),
            hard: rounded(status.hard.or(wire.spec.hard)),
            used: rounded(status.used),
            scopes: scopes.chain(selected).collect(),
        })
    }
}

impl TryFrom<BudgetWire> for PodDisruptionBudget {
    type Error = MissingName;

    fn try_from(mut wire: BudgetWire) -> Result<Self, MissingName> {
        let status = wire.status.unwrap_or_default();
        Ok(Self {
            name: wire.metadata.take_name()?,
            namespace: wire.metadata.take_namespace(),
            selector: wire.spec.and_then(|spec| spec.selector),
            allowed: status.disruptions_allowed.unwrap_or_default(),
            disrupted: status.disrupted_pods.unwrap_or_default().into_iter().map(|(name, _)| name).collect(),
        })
    }
}

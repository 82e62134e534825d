//! What admission makes of a pod that is created: what it changes, and whether it refuses the pod.

mod ledger;
mod limit_range;
mod node_selector;
mod priority;
mod quota;
mod runtime_class;

use std::fmt;

use serde::Serialize;

use super::{SchedulingObjects, UnknownFact};
use crate::{
    api_server::resource_errors,
    model::{Namespace, PodSpec, QuotaScope},
};

pub(crate) use ledger::QuotaLedger;
#[cfg(feature = "forecast")]
pub(crate) use ledger::QuotaUse;
pub use quota::QuotaRoom;

/// The admission plugins that a created pod passes, and what they look at.
/// <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/>
///
/// The DaemonSet controller sees nothing of this: it creates pods by the template, also where admission then changes or
/// refuses them.
///
/// ```
/// use daemonplan::{model::{Namespace, PodSpec, PodTemplate, ResourceQuota}, scheduling::{PodAdmission, SchedulingObjects}};
/// let mut objects = SchedulingObjects::default();
/// objects.add(serde_json::from_str::<ResourceQuota>(r#"{
///     "metadata": {"name": "few", "namespace": "prod"}, "spec": {"hard": {"pods": "4"}}, "status": {"used": {"pods": "4"}}
/// }"#)?);
/// let namespace = Namespace::new("prod");
/// let template = PodTemplate::default().with_container("agent", "example.com/agent:1");
/// let admitted = PodAdmission::new(&namespace, &objects).admit(&PodSpec::of(&template)?);
/// assert_eq!(
///     admitted.refusal.unwrap().to_string(),
///     "exceeded quota: few, requested: pods=1, used: pods=4, limited: pods=4",
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PodAdmission<'a> {
    namespace: &'a Namespace,
    objects: &'a SchedulingObjects,
    /// The default node selector of projects, if the plugins of OpenShift are on.
    open_shift: Option<String>,
    /// The scopes whose pods need a quota that covers them.
    limited_scopes: &'a [QuotaScope],
}

/// A pod after admission.
///
/// ```
/// use daemonplan::{model::{Namespace, PodSpec}, scheduling::{PodAdmission, SchedulingObjects}};
/// let (namespace, objects) = (Namespace::new("prod"), SchedulingObjects::default());
/// let admitted = PodAdmission::new(&namespace, &objects).admit(&PodSpec::default());
/// assert!(admitted.refusal.is_none());
/// assert_eq!(admitted.spec.priority, Some(0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admitted {
    /// The spec, as far as admission came to change it.
    pub spec: PodSpec,
    /// What was changed, and by which plugin.
    pub changes: Vec<AdmissionChange>,
    /// Why the pod is refused; `None` if it is created.
    pub refusal: Option<AdmissionRefusal>,
    /// What is not known that the answer would need.
    pub unknown: Vec<UnknownFact>,
}

/// A change that admission makes.
///
/// ```
/// use daemonplan::scheduling::AdmissionChange;
/// let change = AdmissionChange::NodeSelector { plugin: "RuntimeClass", labels: "kata=yes".into() };
/// assert_eq!(change.to_string(), "RuntimeClass adds the node selector kata=yes");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum AdmissionChange {
    /// LimitRanges set requests and limits of containers.
    Defaults {
        /// What was set, as in the annotation `kubernetes.io/limit-ranger`, such as `cpu request for container agent`.
        set: Vec<String>,
    },
    /// The RuntimeClass adds to what the pod requests.
    Overhead {
        /// The amounts, such as `cpu 50m`.
        amounts: String,
    },
    /// A plugin adds labels to the node selector.
    NodeSelector {
        /// The plugin.
        plugin: &'static str,
        /// The labels, such as `role=worker`.
        labels: String,
    },
    /// The RuntimeClass adds tolerations.
    Tolerations {
        /// How many.
        count: usize,
    },
    /// The PriorityClass sets the priority.
    Priority {
        /// The priority.
        value: i32,
    },
}

/// Why admission refuses a pod. It displays as the part of the API server's message after `is forbidden: `.
///
/// ```
/// use daemonplan::{model::{Namespace, PodSpec, PriorityClass}, scheduling::{PodAdmission, SchedulingObjects}};
/// let (namespace, mut objects, mut spec) = (Namespace::new("prod"), SchedulingObjects::default(), PodSpec::default());
/// objects.add(serde_json::from_str::<PriorityClass>(r#"{"metadata": {"name": "high"}, "value": 1000}"#)?);
/// spec.priority_class = "urgent".into();
/// let refusal = PodAdmission::new(&namespace, &objects).admit(&spec).refusal.unwrap();
/// assert_eq!(refusal.to_string(), "no PriorityClass with name urgent was found");
/// assert_eq!(refusal.plugin, "Priority");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AdmissionRefusal {
    /// The plugin, such as `ResourceQuota`; `validation` for the API server's own validation of what plugins have changed.
    pub plugin: &'static str,
    /// When: while plugins change the pod, or when they check it.
    pub stage: AdmissionStage,
    /// How the API server answers.
    pub status: AdmissionStatus,
    /// The reasons. Kubernetes may write them in another order.
    pub reasons: Vec<String>,
}

/// When a pod is refused.
///
/// ```
/// use daemonplan::scheduling::AdmissionStage;
/// assert_eq!(serde_json::to_value(AdmissionStage::Mutating)?, "mutating");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AdmissionStage {
    /// While plugins change it.
    Mutating,
    /// When the API server validates what plugins have changed.
    Validation,
    /// When plugins check it.
    Validating,
}

/// How the API server answers.
///
/// ```
/// use daemonplan::scheduling::AdmissionStatus;
/// assert_eq!(AdmissionStatus::Forbidden.code(), 403);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AdmissionStatus {
    /// 403 Forbidden.
    Forbidden,
    /// 403 Forbidden, without the name of the pod in the message.
    ForbiddenWithoutName,
    /// 422 Invalid.
    Invalid,
    /// 500: the plugin fails.
    InternalError,
}

impl AdmissionStatus {
    /// Returns the HTTP status code.
    pub fn code(self) -> u16 {
        match self {
            Self::Forbidden | Self::ForbiddenWithoutName => 403,
            Self::Invalid => 422,
            Self::InternalError => 500,
        }
    }
}

impl fmt::Display for AdmissionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reasons.as_slice() {
            [only] => f.write_str(only),
            several => write!(f, "[{}]", several.join(", ")),
        }
    }
}

impl AdmissionRefusal {
    fn mutating(plugin: &'static str, reason: String) -> Self {
        let (stage, status) = (AdmissionStage::Mutating, AdmissionStatus::Forbidden);
        Self { plugin, stage, status, reasons: vec![reason] }
    }

    fn validating(plugin: &'static str, reasons: Vec<String>) -> Self {
        Self { plugin, stage: AdmissionStage::Validating, status: AdmissionStatus::Forbidden, reasons }
    }

    /// Whether a quota has too little room left, which pods that go give back.
    ///
    /// ```
    /// use daemonplan::{model::{Namespace, PodSpec, ResourceQuota}, scheduling::{PodAdmission, SchedulingObjects}};
    /// let (namespace, mut objects) = (Namespace::new("prod"), SchedulingObjects::default());
    /// objects.add(serde_json::from_str::<ResourceQuota>(r#"{
    ///     "metadata": {"name": "few", "namespace": "prod"}, "spec": {"hard": {"pods": "4"}}, "status": {"used": {"pods": "4"}}
    /// }"#)?);
    /// assert!(PodAdmission::new(&namespace, &objects).admit(&PodSpec::default()).refusal.unwrap().is_of_room());
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn is_of_room(&self) -> bool {
        self.plugin == quota::PLUGIN && self.reasons.iter().any(|reason| reason.starts_with("exceeded quota"))
    }

    /// Whether it is not of a plugin: the API server itself finds the pod invalid.
    pub(crate) fn is_of_validation(&self) -> bool {
        self.plugin == VALIDATION
    }

    /// Whether neither time nor pods that go end it.
    pub(crate) fn is_lasting(&self) -> bool {
        !self.is_of_room() && !self.is_of_status()
    }

    /// Whether the only reason is that a ResourceQuota has no status yet, which its controller sets within moments: a manifest of
    /// one never has it.
    pub(crate) fn is_of_status(&self) -> bool {
        self.plugin == quota::PLUGIN && self.reasons.iter().all(|reason| reason.starts_with("status unknown"))
    }

    /// Returns the refusal of the plugin `NamespaceLifecycle`, if a namespace is being deleted.
    ///
    /// ```
    /// use daemonplan::{model::Namespace, scheduling::AdmissionRefusal};
    /// assert_eq!(AdmissionRefusal::of_namespace(&Namespace::new("prod")), None);
    /// ```
    pub fn of_namespace(namespace: &Namespace) -> Option<Self> {
        let Namespace { name, deleted, .. } = namespace;
        let reason = || format!("unable to create new content in namespace {name} because it is being terminated");
        deleted.is_some().then(|| Self::validating("NamespaceLifecycle", vec![reason()]))
    }

    /// Returns the message of the API server for a pod of this name, or with this `generateName` before it has a name.
    pub fn message(&self, name: &str, generate_name: &str) -> String {
        let name = if self.stage == AdmissionStage::Mutating { generate_name } else { name };
        match self.status {
            AdmissionStatus::Forbidden => format!("pods {name:?} is forbidden: {self}"),
            AdmissionStatus::ForbiddenWithoutName => format!("pods is forbidden: {self}"),
            AdmissionStatus::Invalid => format!("Pod {name:?} is invalid: {self}"),
            AdmissionStatus::InternalError => self.to_string(),
        }
    }
}

impl<'a> PodAdmission<'a> {
    /// Returns the plugins that Kubernetes turns on by default: LimitRanger, Priority, RuntimeClass and ResourceQuota.
    pub fn new(namespace: &'a Namespace, objects: &'a SchedulingObjects) -> Self {
        Self { namespace, objects, open_shift: None, limited_scopes: &[] }
    }

    /// Adds the plugins of OpenShift: `PodNodeSelector` and `OriginPodNodeEnvironment`. The latter applies
    /// `default_node_selector`, `spec.defaultNodeSelector` of the Scheduler of `config.openshift.io`, in namespaces without
    /// the annotation `openshift.io/node-selector`.
    #[must_use]
    pub fn open_shift(self, default_node_selector: impl Into<String>) -> Self {
        Self { open_shift: Some(default_node_selector.into()), ..self }
    }

    /// Adds scopes whose pods need a ResourceQuota that covers them: `limitedResources` in the configuration of the plugin
    /// ResourceQuota. Upstream has none.
    #[must_use]
    pub fn limited_scopes(self, scopes: &'a [QuotaScope]) -> Self {
        Self { limited_scopes: scopes, ..self }
    }

    /// Runs a pod through all plugins. Without any PriorityClass or RuntimeClass those of the cluster are
    /// [not known](Admitted::unknown), unless all objects are here, and their plugins refuse nothing.
    ///
    /// Of several LimitRanges or ResourceQuotas Kubernetes picks one after the other by chance, which can decide what
    /// becomes of a pod. Here they come by name.
    pub fn admit(&self, spec: &PodSpec) -> Admitted {
        let mut admitted = Admitted { spec: spec.clone(), changes: Vec::new(), refusal: None, unknown: Vec::new() };
        admitted.unknown.extend(self.objects.unreadable_of(SchedulingObjects::OF_ADMISSION));
        admitted.refusal = self.mutate(&mut admitted).and_then(|()| self.validate(&admitted.spec)).err();
        admitted
    }

    fn mutate(&self, admitted: &mut Admitted) -> Checked {
        limit_range::mutate(self, admitted);
        if self.open_shift.is_some() {
            node_selector::mutate_by_namespace(self, admitted)?;
        }
        priority::mutate(self, admitted)?;
        runtime_class::mutate(self, admitted)?;
        match &self.open_shift {
            Some(default) => node_selector::mutate_by_project(self, default, admitted),
            None => Ok(()),
        }
    }

    fn validate(&self, spec: &PodSpec) -> Checked {
        validate_resources(spec)?;
        limit_range::validate(self, spec)?;
        runtime_class::validate(self, spec)?;
        quota::validate(self, spec)
    }

    /// Returns how many pods alike each ResourceQuota still has room for.
    pub fn quota_room(&self, spec: &PodSpec) -> Vec<QuotaRoom> {
        quota::room(self, spec)
    }
}

/// Whether a plugin lets a pod pass.
type Checked = Result<(), AdmissionRefusal>;

/// What refuses pods that are not valid.
const VALIDATION: &str = "validation";

/// The checks of the API server that what LimitRanges set can fail, or what is set for some nodes: those of the resources of
/// containers, and that the pod's own requests cover those of containers.
fn validate_resources(spec: &PodSpec) -> Checked {
    let mut reasons = Vec::new();
    for (list, containers) in [("containers", &spec.containers), ("initContainers", &spec.init_containers)] {
        for (index, container) in containers.iter().enumerate() {
            let errors = resource_errors(format!("spec.{list}[{index}].resources"), &container.resources);
            reasons.extend(errors.iter().map(ToString::to_string));
        }
    }
    let containers = spec.containers_requests();
    let own = spec.resources.requests.iter();
    let too_small = own.filter(|(resource, amount)| **amount < containers.get(resource));
    reasons.extend(too_small.map(|(resource, amount)| {
        let sum = containers.get(resource);
        format!(
            "spec.resources.requests[{resource}]: Invalid value: \"{amount}\": must be greater than or equal to aggregate \
             container requests of {sum}"
        )
    }));
    if reasons.is_empty() {
        return Ok(());
    }
    let (stage, status) = (AdmissionStage::Validation, AdmissionStatus::Invalid);
    Err(AdmissionRefusal { plugin: VALIDATION, stage, status, reasons })
}

impl fmt::Display for AdmissionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults { set } => write!(f, "LimitRanger sets {}", set.join("; ")),
            Self::Overhead { amounts } => write!(f, "RuntimeClass adds the overhead {amounts}"),
            Self::NodeSelector { plugin, labels } => write!(f, "{plugin} adds the node selector {labels}"),
            Self::Tolerations { count: 1 } => f.write_str("RuntimeClass adds a toleration"),
            Self::Tolerations { count } => write!(f, "RuntimeClass adds {count} tolerations"),
            Self::Priority { value } => write!(f, "Priority sets the priority {value}"),
        }
    }
}

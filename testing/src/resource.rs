//! Which resources the API server serves, and what is special about each.

use std::borrow::Cow;

use serde_json::Value;

/// A resource that the API server serves: a built-in one, or one of a `CustomResourceDefinition`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // the columns of a table
pub(crate) struct Resource {
    pub(crate) group: Cow<'static, str>,
    pub(crate) version: Cow<'static, str>,
    pub(crate) kind: Cow<'static, str>,
    pub(crate) plural: Cow<'static, str>,
    pub(crate) is_namespaced: bool,
    /// Whether the status is written by itself, through the subresource `status`, and by no other request.
    pub(crate) has_status: bool,
    /// Whether `metadata.generation` counts the changes of `spec`.
    pub(crate) has_generation: bool,
    pub(crate) is_custom: bool,
}

const NAMESPACED: bool = true;
const GLOBAL: bool = false;
const NO_STATUS: (bool, bool) = (false, false);
const STATUS: (bool, bool) = (true, false);
const GENERATION: (bool, bool) = (true, true);
const SPEC_ONLY: (bool, bool) = (false, true);

type Row = (&'static str, &'static str, &'static str, &'static str, bool, (bool, bool));

/// Group, version, kind, plural, scope, and whether there is a status and a generation.
const BUILT_IN: &[Row] = &[
    ("", "v1", "ConfigMap", "configmaps", NAMESPACED, NO_STATUS),
    ("", "v1", "Endpoints", "endpoints", NAMESPACED, NO_STATUS),
    ("", "v1", "Event", "events", NAMESPACED, NO_STATUS),
    ("", "v1", "LimitRange", "limitranges", NAMESPACED, NO_STATUS),
    ("", "v1", "Namespace", "namespaces", GLOBAL, STATUS),
    ("", "v1", "Node", "nodes", GLOBAL, STATUS),
    ("", "v1", "PersistentVolume", "persistentvolumes", GLOBAL, STATUS),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", NAMESPACED, STATUS),
    ("", "v1", "Pod", "pods", NAMESPACED, STATUS),
    ("", "v1", "ReplicationController", "replicationcontrollers", NAMESPACED, GENERATION),
    ("", "v1", "ResourceQuota", "resourcequotas", NAMESPACED, STATUS),
    ("", "v1", "Secret", "secrets", NAMESPACED, NO_STATUS),
    ("", "v1", "Service", "services", NAMESPACED, STATUS),
    ("", "v1", "ServiceAccount", "serviceaccounts", NAMESPACED, NO_STATUS),
    (
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        GLOBAL,
        SPEC_ONLY,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        GLOBAL,
        SPEC_ONLY,
    ),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", CRDS, GLOBAL, GENERATION),
    ("apps", "v1", "ControllerRevision", "controllerrevisions", NAMESPACED, NO_STATUS),
    ("apps", "v1", "DaemonSet", "daemonsets", NAMESPACED, GENERATION),
    ("apps", "v1", "Deployment", "deployments", NAMESPACED, GENERATION),
    ("apps", "v1", "ReplicaSet", "replicasets", NAMESPACED, GENERATION),
    ("apps", "v1", "StatefulSet", "statefulsets", NAMESPACED, GENERATION),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", NAMESPACED, STATUS),
    ("batch", "v1", "CronJob", "cronjobs", NAMESPACED, GENERATION),
    ("batch", "v1", "Job", "jobs", NAMESPACED, GENERATION),
    ("coordination.k8s.io", "v1", "Lease", "leases", NAMESPACED, NO_STATUS),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", NAMESPACED, SPEC_ONLY),
    ("events.k8s.io", "v1", "Event", "events", NAMESPACED, NO_STATUS),
    ("networking.k8s.io", "v1", "Ingress", "ingresses", NAMESPACED, GENERATION),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", NAMESPACED, SPEC_ONLY),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", NAMESPACED, GENERATION),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", GLOBAL, NO_STATUS),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", GLOBAL, NO_STATUS),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles", NAMESPACED, NO_STATUS),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", NAMESPACED, NO_STATUS),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", GLOBAL, SPEC_ONLY),
    ("storage.k8s.io", "v1", "CSIDriver", "csidrivers", GLOBAL, NO_STATUS),
    ("storage.k8s.io", "v1", "CSINode", "csinodes", GLOBAL, NO_STATUS),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses", GLOBAL, NO_STATUS),
];

/// The plural of `CustomResourceDefinition`.
pub(crate) const CRDS: &str = "customresourcedefinitions";

impl Resource {
    /// Returns all built-in resources.
    pub(crate) fn all_built_in() -> impl Iterator<Item = Self> {
        BUILT_IN.iter().map(Self::built_in)
    }

    fn built_in(row: &Row) -> Self {
        let (group, version, kind, plural, is_namespaced, (has_status, has_generation)) = *row;
        let [group, version, kind, plural] = [group, version, kind, plural].map(Cow::Borrowed);
        Self { group, version, kind, plural, is_namespaced, has_status, has_generation, is_custom: false }
    }

    /// Reads a version of a `CustomResourceDefinition` that is served, or the first one.
    pub(crate) fn custom(definition: &Value, version: Option<&str>) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(|text| Cow::Owned(text.to_owned()));
        let spec = &definition["spec"];
        let versions = spec["versions"].as_array()?;
        let served = |one: &&Value| one["served"] != false && version.is_none_or(|version| one["name"] == version);
        let served = versions.iter().find(served)?;
        Some(Self {
            group: text(&spec["group"])?,
            version: text(&served["name"])?,
            kind: text(&spec["names"]["kind"])?,
            plural: text(&spec["names"]["plural"])?,
            is_namespaced: spec["scope"] == "Namespaced",
            has_status: served["subresources"]["status"].is_object(),
            has_generation: true,
            is_custom: true,
        })
    }

    /// Returns the name of the resource in an [`Id`]: the plural, for a custom one with its group.
    pub(crate) fn name(&self) -> Cow<'static, str> {
        if self.is_custom { format!("{}.{}", self.plural, self.group).into() } else { self.plural.clone() }
    }

    /// Returns `apiVersion`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }
}

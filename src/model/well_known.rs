//! The names of labels, annotations and taints that Kubernetes and OpenShift define.
//! <https://kubernetes.io/docs/reference/labels-annotations-taints/>

/// The label of a pod with the hash of its ControllerRevision.
///
/// ```
/// use daemonplan::model::{HASH_LABEL, Labels};
/// let labels = Labels::from_iter([("app", "agent"), (HASH_LABEL, "7c9f8d6b5")]);
/// assert_eq!(labels.get("controller-revision-hash"), Some("7c9f8d6b5"));
/// ```
pub const HASH_LABEL: &str = "controller-revision-hash";

/// The label of a pod with its template generation. It predates ControllerRevisions.
///
/// ```
/// assert_eq!(daemonplan::model::TEMPLATE_GENERATION_LABEL, "pod-template-generation");
/// ```
pub const TEMPLATE_GENERATION_LABEL: &str = "pod-template-generation";

/// The annotation of a namespace with its node selector for the admission plugin `PodNodeSelector`.
///
/// ```
/// use daemonplan::model::well_known::NODE_SELECTOR_ANNOTATION;
/// assert_eq!(NODE_SELECTOR_ANNOTATION, "scheduler.alpha.kubernetes.io/node-selector");
/// ```
pub const NODE_SELECTOR_ANNOTATION: &str = "scheduler.alpha.kubernetes.io/node-selector";

/// The annotation of an OpenShift project with its node selector.
///
/// ```
/// use daemonplan::model::well_known::PROJECT_NODE_SELECTOR_ANNOTATION;
/// assert_eq!(PROJECT_NODE_SELECTOR_ANNOTATION, "openshift.io/node-selector");
/// ```
pub const PROJECT_NODE_SELECTOR_ANNOTATION: &str = "openshift.io/node-selector";

/// The annotation of a revision that `kubectl rollout history` shows as its change cause.
///
/// ```
/// use daemonplan::model::well_known::CHANGE_CAUSE_ANNOTATION;
/// assert_eq!(CHANGE_CAUSE_ANNOTATION, "kubernetes.io/change-cause");
/// ```
pub const CHANGE_CAUSE_ANNOTATION: &str = "kubernetes.io/change-cause";

/// The prefix of the taints that Kubernetes adds according to the conditions of a node.
pub(crate) const NODE_TAINT_PREFIX: &str = "node.kubernetes.io/";
/// The node's condition `Ready` is `False`.
pub(crate) const NOT_READY_TAINT: &str = "node.kubernetes.io/not-ready";
/// The node's condition `Ready` is `Unknown`: the kubelet does not report.
pub(crate) const UNREACHABLE_TAINT: &str = "node.kubernetes.io/unreachable";
/// The node is cordoned.
pub(crate) const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";
/// The node runs low on disk space.
pub(crate) const DISK_PRESSURE_TAINT: &str = "node.kubernetes.io/disk-pressure";
/// The node runs low on memory.
pub(crate) const MEMORY_PRESSURE_TAINT: &str = "node.kubernetes.io/memory-pressure";
/// The node runs low on process identifiers.
pub(crate) const PID_PRESSURE_TAINT: &str = "node.kubernetes.io/pid-pressure";
/// The node's network is not set up.
pub(crate) const NETWORK_UNAVAILABLE_TAINT: &str = "node.kubernetes.io/network-unavailable";

/// The annotation in which kubectl apply keeps the manifest that it applied last.
///
/// ```
/// use daemonplan::model::well_known::LAST_APPLIED_ANNOTATION;
/// assert!(LAST_APPLIED_ANNOTATION.starts_with("kubectl.kubernetes.io/"));
/// ```
pub const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The label of a node with its operating system, which the kubelet sets.
pub(crate) const OS_LABEL: &str = "kubernetes.io/os";

use std::{fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::{ControllerRef, Labels, PodScheduling, PodSpec, Text, pod_wire::PodWire};

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
    /// The owner reference with `controller: true`, which pods of one owner can share.
    pub controller: Option<Arc<ControllerRef>>,
    /// The node that the pod runs on or is meant for.
    pub node: PodNode,
    /// What the pod has from its template; `None` if that is not known.
    pub spec: Option<Arc<PodSpec>>,
    /// What the status says about the pod's place on a node, if it says more than the spec.
    pub scheduling: Option<Box<PodScheduling>>,
    /// `status.startTime`: when the kubelet accepted the pod.
    pub started: Option<Timestamp>,
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
    /// The number of restarts of the container that was restarted most, init containers included: `restartCount`.
    pub restarts: u32,
    /// Whether a reboot of the node caused the last of these restarts: `lastState.terminated.reason` is that of a container
    /// which ended without the container runtime.
    pub rebooted: bool,
    /// The reason why the first waiting container waits, such as `CrashLoopBackOff` or `ImagePullBackOff`.
    ///
    /// Empty if no container waits. The reasons of a normal start (`ContainerCreating`, `PodInitializing`) are ignored.
    pub waiting: Text,
    /// What the kubelet says of that, such as `configmap "agent" not found`; often empty. That of `CrashLoopBackOff`, which tells only how
    /// long the back-off is, is left out.
    pub waiting_message: Text,
    /// Whether the waiting container is an init container.
    pub is_init: bool,
    /// The exit code with which the waiting container ended last: `lastState.terminated.exitCode`.
    pub exit_code: Option<i32>,
    /// The message of the condition `PodScheduled` if it is `False`: why the scheduler does not bind the pod.
    pub unschedulable: Text,
    /// The reason of that condition, such as `Unschedulable` or `SchedulingGated`.
    pub unschedulable_reason: Text,
    /// `lastTransitionTime` of that condition.
    pub unschedulable_since: Option<Timestamp>,
    /// `metadata.finalizers`: they keep the pod once it is being deleted, even if that is forced.
    pub finalizers: Vec<Text>,
}

impl PodProblem {
    /// The reason why a container waits that ended again and again: the kubelet delays its next start.
    pub(crate) const CRASH_LOOP: &str = "CrashLoopBackOff";
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Readiness {
    /// The condition is missing, or its status is not `True`.
    NotReady {
        /// `lastTransitionTime`: since when the pod has not been ready.
        since: Option<Timestamp>,
    },
    /// The status of the condition is `True`.
    Ready {
        /// `lastTransitionTime`: the time when the pod became ready.
        since: Option<Timestamp>,
    },
}

impl Default for Readiness {
    fn default() -> Self {
        Self::NotReady { since: None }
    }
}

impl fmt::Display for PodProblem {
    /// Writes a summary such as `Evicted: The node was low on resource: memory` or `CrashLoopBackOff, 3 restarts, exit
    /// code 1`. Finalizers are left out.
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
        let init = if self.is_init { "init container: " } else { "" };
        let says = if self.waiting_message.is_empty() { "" } else { ": " };
        let waiting = format!("{init}{}{says}{}", self.waiting, self.waiting_message);
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
            scheduling: None,
            started: None,
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

    /// Describes the pod's problem, if any, with the finalizers that keep a pod that is being deleted.
    ///
    /// ```
    /// use daemonplan::model::Pod;
    /// let of = |deleted: &str| serde_json::from_str::<Pod>(&format!(
    ///     r#"{{"metadata": {{"name": "agent-x2k", "finalizers": ["example.com/drain"] {deleted}}}}}"#,
    /// ));
    /// let deleted = of(r#", "deletionTimestamp": "2026-01-02T03:04:05Z""#)?;
    /// assert_eq!(deleted.describe_problem().as_deref(), Some("kept by example.com/drain"));
    /// assert_eq!(of("")?.describe_problem(), None);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn describe_problem(&self) -> Option<String> {
        let problem = self.problem.as_ref()?;
        let is_kept = self.is_being_deleted() && !problem.finalizers.is_empty();
        let kept = if is_kept { format!("kept by {}", problem.finalizers.join(", ")) } else { String::new() };
        let parts = [problem.to_string(), kept].into_iter().filter(|part| !part.is_empty());
        Some(parts.collect::<Vec<_>>().join(", ")).filter(|description| !description.is_empty())
    }

    /// Returns the time when the pod became ready, if it is ready and the time is known.
    pub fn ready_since(&self) -> Option<Timestamp> {
        match self.ready {
            Readiness::Ready { since } => since,
            Readiness::NotReady { .. } => None,
        }
    }

    /// Returns since when the pod has not been ready, if it is not and the time is known.
    pub fn unready_since(&self) -> Option<Timestamp> {
        match self.ready {
            Readiness::NotReady { since } => since,
            Readiness::Ready { .. } => None,
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

//! Explanations of single pods.

use serde::Serialize;

use super::{SchedulingExplanation, as_text};
use crate::{
    adoption::claim::{Claim, claim_pod_if, selects},
    model::{DaemonSet, Pod, Text},
    node::pod_state::PodState,
    plan::DeleteReason,
};

/// A pod of the DaemonSet on a node.
///
/// ```
/// use daemonplan::{Snapshot, explain::PodState, model::{DaemonSet, Namespace, Node, Pod, PodNode}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// # let mut pod = Pod::new("prod", "agent-x2k");
/// # pod.labels = [("app", "agent")].into_iter().collect();
/// # pod.node = PodNode::Bound("node-7".into());
/// let (nodes, pods) = ([Node::new("node-7")], [pod]); // an orphan, which is adopted
/// let explanation = Snapshot::new(&daemonset, &nodes, &pods, &namespace).explain();
/// assert_eq!(explanation.nodes[0].pods[0].state, PodState::Pending);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PodExplanation {
    /// The pod's name.
    pub pod: Text,
    /// The revision that the pod runs, by its label.
    pub revision: PodRevision,
    /// The state of the pod.
    pub state: PodState,
    /// The problem of the pod, if any, such as `CrashLoopBackOff, 3 restarts`.
    #[serde(rename = "trouble")]
    pub problem: Option<String>,
    /// Why the pod is deleted next.
    #[serde(serialize_with = "as_text")]
    pub deletion: Option<DeleteReason>,
    /// What the default scheduler makes of a pod that it has not bound; `None` for others, and without
    /// [scheduling facts](crate::Snapshot::scheduling).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<SchedulingExplanation>,
}

/// The revision that a pod runs.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, HASH_LABEL, Namespace, Node, Pod, PodNode}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// # let mut pod = Pod::new("prod", "agent-x2k");
/// # pod.labels = [("app", "agent")].into_iter().collect();
/// # pod.node = PodNode::Bound("node-7".into());
/// pod.labels = pod.labels.with(HASH_LABEL, "abc");
/// let (nodes, pods) = ([Node::new("node-7")], [pod]);
/// let explanation = Snapshot::new(&daemonset, &nodes, &pods, &namespace).explain();
/// let revision = &explanation.nodes[0].pods[0].revision;
/// assert_eq!((revision.hash.as_deref(), revision.number, revision.is_current), (Some("abc"), None, Some(false)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PodRevision {
    /// The pod's label `controller-revision-hash`.
    pub hash: Option<Text>,
    /// The number of the ControllerRevision with this hash, if known.
    pub number: Option<i64>,
    /// Whether the pod counts as updated; `None` if that is unknown without the
    /// [revisions](crate::MissingFact::Revisions).
    pub is_current: Option<bool>,
}

/// A pod whose labels and controller disagree: it matches the selector without being owned, or is owned without
/// matching.
///
/// ```
/// use daemonplan::{Snapshot, explain::ClaimReason, model::{DaemonSet, Namespace, Pod, PodNode}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// # let mut pod = Pod::new("prod", "agent-x2k");
/// # pod.labels = [("app", "agent")].into_iter().collect();
/// # pod.node = PodNode::Bound("node-7".into());
/// let pods = [pod];
/// let explanation = Snapshot::new(&daemonset, &[], &pods, &namespace).explain();
/// assert_eq!(explanation.claims[0].reason, ClaimReason::Adopted);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PodClaim {
    /// The pod's name.
    pub pod: Text,
    /// What happens to the pod, and why.
    #[serde(flatten)]
    pub reason: ClaimReason,
}

/// What happens to a pod whose labels and controller disagree.
///
/// ```
/// use daemonplan::explain::ClaimReason;
/// let reason = ClaimReason::OtherController { kind: "ReplicaSet".into(), name: "web".into() };
/// assert_eq!(reason.to_string(), "not adopted, though its labels match: ReplicaSet web controls it");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "claim", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum ClaimReason {
    /// Adopted: the labels match, and the pod has no controller.
    Adopted,
    /// Released: the labels no longer match.
    Released,
    /// Not adopted: the pod is being deleted.
    BeingDeleted,
    /// Not adopted: an earlier, deleted DaemonSet of the same name controls it.
    Predecessor,
    /// Not adopted: another object controls it.
    OtherController {
        /// The controller's kind.
        kind: Text,
        /// The controller's name.
        name: Text,
    },
}

/// The pods whose labels and controller disagree, by name.
pub(super) fn claims(daemonset: &DaemonSet, pods: &[Pod]) -> Vec<PodClaim> {
    let claims = pods.iter().filter_map(|pod| {
        let selects = selects(daemonset, &pod.labels);
        let reason = match claim_pod_if(daemonset, pod, || selects) {
            Claim::Adopt => ClaimReason::Adopted,
            Claim::Release => ClaimReason::Released,
            Claim::Ignore if selects && pod.namespace == daemonset.namespace => ClaimReason::of_other(daemonset, pod),
            Claim::Owned | Claim::Ignore => return None,
        };
        Some(PodClaim { pod: pod.name.clone(), reason })
    });
    let mut claims: Vec<_> = claims.collect();
    claims.sort_by(|a, b| a.pod.cmp(&b.pod));
    claims
}

impl ClaimReason {
    /// Why a pod with matching labels is not adopted.
    fn of_other(daemonset: &DaemonSet, pod: &Pod) -> Self {
        match &pod.controller {
            None => Self::BeingDeleted,
            Some(owner) if owner.kind == "DaemonSet" && owner.name == daemonset.name => Self::Predecessor,
            Some(owner) => Self::OtherController { kind: owner.kind.clone(), name: owner.name.clone() },
        }
    }
}

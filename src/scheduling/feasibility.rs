use std::fmt;

use serde::Serialize;

use super::{Plugin, Preemption, SchedulingBlocker, Stage, UnknownFact};
use crate::model::{Key, Text};

/// Whether the default scheduler would bind a pod, to which node, and if not, why.
///
/// It displays as the scheduler's own words.
///
/// ```
/// use daemonplan::{model::Pod, scheduling::{ClusterState, SchedulingObjects, SchedulingVerdict}};
/// let objects = SchedulingObjects::default();
/// let feasibility = ClusterState::new([], [], [], &objects).feasibility(&Pod::new("prod", "agent-x2k"));
/// assert_eq!(feasibility.verdict, SchedulingVerdict::Error);
/// assert_eq!(feasibility.to_string(), "no nodes available to schedule pods");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Feasibility {
    /// The node that the pod is for, or the only node that would do.
    pub node: Option<Text>,
    /// What becomes of the pod.
    pub verdict: SchedulingVerdict,
    /// Whether the scheduler finds a node, also where it would not look for one: for pods that are gated or of another
    /// scheduler.
    pub would_fit: bool,
    /// Every plugin that refuses the pod's node on its own. Empty for pods that are for no node in particular.
    pub blockers: Vec<SchedulingBlocker>,
    /// The message of the condition `PodScheduled`, if the scheduler looks for a node and finds none.
    pub message: Option<String>,
    /// What is not known that the answer would need. The answer is sure only if there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_texts")]
    pub unknown: Vec<UnknownFact>,
    /// Whether the pod would take the place of others, if it fits nowhere. `None` where the scheduler does not try.
    pub preemption: Option<Preemption>,
    /// The pods for which the scheduler keeps the node free, if that is what refuses it, or room is lacking for them, too: each
    /// plugin alone looks at none of them.
    #[serde(serialize_with = "as_texts", skip_serializing_if = "Vec::is_empty")]
    pub kept_free_for: Vec<Key>,
}

/// What becomes of a pod in the default scheduler.
///
/// ```
/// use daemonplan::scheduling::SchedulingVerdict;
/// assert_eq!(serde_json::to_value(SchedulingVerdict::OtherScheduler)?, "otherScheduler");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum SchedulingVerdict {
    /// The scheduler binds it.
    Fits,
    /// No node will do.
    Unschedulable,
    /// It does not enter the queue before its scheduling gates are removed.
    Gated,
    /// `spec.schedulerName` names another scheduler, which decides.
    OtherScheduler,
    /// The cluster has no nodes.
    Error,
}

/// How the last message of the scheduler compares with the answer by the facts given.
///
/// ```
/// use daemonplan::{model::Pod, scheduling::{Agreement, ClusterState, SchedulingObjects}};
/// let objects = SchedulingObjects::default();
/// let feasibility = ClusterState::new([], [], [], &objects).feasibility(&Pod::new("prod", "agent-x2k"));
/// assert_eq!(feasibility.agreement("0/1 nodes are available: 1 Too many pods."), Agreement::NotKnown); // no node is known
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Agreement {
    /// It would say the same now.
    Same,
    /// The pod would fit now.
    FitsNow,
    /// Nothing that is known refuses the pod now, but not everything is known, or no node is.
    NotKnown,
    /// It would say something else now.
    Differs,
}

impl Feasibility {
    /// Returns the pods whose place the pod would take.
    pub fn preempts(&self) -> &[Key] {
        self.preemption.as_ref().map(Preemption::victims).unwrap_or_default()
    }

    /// Whether nothing that is not known can change whether the pod is bound now.
    pub fn is_sure(&self) -> bool {
        let is_refused = !self.would_fit && !self.blockers.is_empty();
        self.unknown.iter().all(|fact| is_refused && fact.only_refuses())
    }

    /// Returns the answer as it is once nothing refuses the node.
    pub(super) fn that_fits(mut self) -> Self {
        if self.verdict == SchedulingVerdict::Unschedulable {
            self.verdict = SchedulingVerdict::Fits;
        }
        self.blockers.retain(|blocker| blocker.stage == Stage::PreEnqueue);
        Self { would_fit: true, message: None, preemption: None, kept_free_for: Vec::new(), ..self }
    }

    /// Compares the answer with the message that the scheduler wrote into the condition `PodScheduled`: the reasons of the
    /// first plugin that refuses the node, which are all that the scheduler says of it, and whether it found pods to preempt.
    /// Schedulers of different versions write the same into different sentences.
    pub fn agreement(&self, message: &str) -> Agreement {
        let says = |blocker: &SchedulingBlocker| blocker.reasons().iter().all(|reason| message.contains(reason));
        if self.unknown.contains(&UnknownFact::Nodes) {
            Agreement::NotKnown
        } else if self.verdict == SchedulingVerdict::Fits {
            if self.unknown.is_empty() { Agreement::FitsNow } else { Agreement::NotKnown }
        } else if self.message.as_deref() == Some(message)
            || self.blockers.iter().any(|blocker| blocker.plugin == Plugin::SchedulingGates)
            || self.blockers.first().is_some_and(says) && (self.preempts().is_empty() || !message.contains(NO_VICTIMS))
        {
            Agreement::Same
        } else if self.unknown.iter().any(|fact| matches!(fact, UnknownFact::OwnSpec | UnknownFact::SpecByTemplate)) {
            Agreement::NotKnown
        } else {
            Agreement::Differs
        }
    }
}

/// What the scheduler says where no pod would give place.
const NO_VICTIMS: &str = "preemption victims found";

/// Serializes a value as it displays.
pub(super) fn as_text<S: serde::Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Serializes values as they display. The signature is that of serde's `serialize_with`.
#[allow(clippy::ptr_arg)]
pub(crate) fn as_texts<T: fmt::Display, S: serde::Serializer>(
    values: &Vec<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

impl fmt::Display for Feasibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.verdict, &self.message) {
            (_, Some(message)) => f.write_str(message),
            (SchedulingVerdict::Error, None) => f.write_str("no nodes available to schedule pods"),
            (SchedulingVerdict::Fits, None) => match &self.node {
                Some(node) => write!(f, "fits on {node}"),
                None => f.write_str("fits"),
            },
            (SchedulingVerdict::OtherScheduler, None) => f.write_str("left to another scheduler"),
            (SchedulingVerdict::Gated | SchedulingVerdict::Unschedulable, None) => {
                let reasons: Vec<_> = self.blockers.iter().map(ToString::to_string).collect();
                f.write_str(&reasons.join(", "))
            }
        }
    }
}

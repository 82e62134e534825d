//! Kubernetes Events about the DaemonSet.

use std::fmt;

use serde::Serialize;

use crate::{
    model::{ControllerRevision, Pod, Text},
    policy::some_nodes,
};

/// A Kubernetes Event to emit about the DaemonSet.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, LabelSelector, Namespace}, plan::EventType};
/// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// daemonset.selector = Some(LabelSelector::default());
/// let namespace = Namespace::new("prod");
/// let plan = Snapshot::new(&daemonset, &[], &[], &namespace).plan();
/// assert_eq!((plan.events[0].reason, plan.events[0].r#type), ("SelectingAll", EventType::Warning));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// Whether the Event reports something normal or a problem.
    pub r#type: EventType,
    /// The reason, such as `FailedDaemonPod`: that of the built-in controller where it has one.
    pub reason: &'static str,
    /// The text.
    pub message: String,
}

/// The type of an [`Event`].
///
/// ```
/// use daemonplan::plan::EventType;
/// assert_eq!(serde_json::to_value(EventType::Warning)?, "Warning");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum EventType {
    /// Something normal.
    Normal,
    /// A problem.
    Warning,
}

impl Event {
    /// Returns an Event, for the tests of whoever emits them.
    pub fn new(r#type: EventType, reason: &'static str, message: impl Into<String>) -> Self {
        Self { r#type, reason, message: message.into() }
    }

    pub(crate) fn selects_all_pods() -> Self {
        let message = "The selector of this DaemonSet is empty and selects all pods. It must not be empty.".to_owned();
        Self { r#type: EventType::Warning, reason: "SelectingAll", message }
    }

    pub(crate) fn rolled_back(revision: &ControllerRevision, failing: &[Text]) -> Self {
        let message = format!(
            "The template is rolled back to revision {} (number {}): the new one fails on {}",
            revision.name,
            revision.revision,
            some_nodes(failing),
        );
        Self { r#type: EventType::Warning, reason: "RolledBack", message }
    }

    pub(crate) fn failed_pod(pod: &Pod, node: &Text) -> Self {
        let message = format!("Failed daemon pod {}/{} on node {node} is to be deleted", pod.namespace, pod.name);
        Self { r#type: EventType::Warning, reason: "FailedDaemonPod", message }
    }

    pub(crate) fn succeeded_pod(pod: &Pod, node: &Text) -> Self {
        let message = format!("Succeeded daemon pod {}/{} on node {node} is to be deleted", pod.namespace, pod.name);
        Self { r#type: EventType::Normal, reason: "SucceededDaemonPod", message }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_shown_with_its_reason_first() {
        let pod = Pod::new("prod", "agent-x2k");
        assert_eq!(
            Event::failed_pod(&pod, &"node-7".into()).to_string(),
            "FailedDaemonPod: Failed daemon pod prod/agent-x2k on node node-7 is to be deleted"
        );
    }
}

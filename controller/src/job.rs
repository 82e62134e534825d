//! Jobs: a plan's actions with the objects that they write, and their failures.

use std::time::{Duration, Instant};

use daemonplan::{
    Action, Event, Key, Kind, Warning,
    model::{DaemonSet, Text},
};

use crate::expectations::{Effect, Ticket};

/// A plan for one DaemonSet, to be carried out by a worker.
#[derive(Debug)]
pub struct Job {
    /// The DaemonSet.
    pub daemonset: DaemonSet,
    /// The actions in order, each with the object that it writes.
    pub steps: Vec<Step>,
    /// Kubernetes Events to emit.
    pub events: Vec<Event>,
    /// Warnings that the previous plan did not have.
    pub news: Vec<Warning>,
    /// Since when the status is outdated that the job writes.
    pub outdated_since: Option<Instant>,
}

/// An action and the object that it writes.
#[derive(Clone, Debug)]
pub struct Step {
    /// The action.
    pub action: Action,
    /// The written object; a pod to be created already has its name.
    pub key: Key,
    /// Identifies the write among the expectations.
    pub ticket: Ticket,
}

impl Step {
    /// Creates a step. `name` chooses the name of a pod to be created.
    pub fn new(action: Action, daemonset: &Key, name: impl FnOnce() -> Text) -> Self {
        let object = match &action {
            Action::CreatePod { .. } => name(),
            Action::CreateRevision { revision } => revision.name.clone(),
            other => other.object().map_or_else(|| daemonset.name.clone(), |object| object.name.clone()),
        };
        Self { action, key: Key::new(daemonset.namespace.clone(), object), ticket: Ticket::default() }
    }

    /// Returns the kind of the written object.
    pub fn kind(&self) -> Kind {
        self.action.kind()
    }

    /// Returns how the write will show in the watch.
    pub fn effect(&self) -> Effect {
        match &self.action {
            Action::CreatePod { .. } => Effect::Created,
            Action::DeletePod { pod: object, .. } | Action::DeleteRevision { revision: object, .. } => {
                Effect::Deleted { uid: object.uid.clone() }
            }
            Action::UpdateStatus { .. } => Effect::Noted,
            _ => Effect::Changed,
        }
    }
}

/// The failure of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// How long to wait before the next attempt, if the API server says so.
    pub retry_after: Option<Duration>,
    /// Whether a retry is pointless because the namespace is being deleted.
    pub terminal: bool,
}

/// Generates a pod name as the API server does for `generateName`.
pub fn pod_name(daemonset: &Text) -> Text {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const LONGEST: usize = 58;
    let end = daemonset.as_str().floor_char_boundary(LONGEST - 1);
    let suffix = (0..5).map(|_| char::from(*fastrand::choice(LETTERS).unwrap_or(&b'x')));
    let name: String = daemonset.as_str().chars().take(end).chain(['-']).chain(suffix).collect();
    name.into()
}

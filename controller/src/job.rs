//! What a plan asks of the workers: its actions with the objects that they are about, and how it went.

use std::time::Duration;

use daemonplan::{
    Action, Event, Key, Kind, Warning,
    model::{DaemonSet, Text},
};

use crate::expectations::Effect;

/// What is left to do for a DaemonSet, as the planner has it.
#[derive(Debug)]
pub struct Job {
    /// The DaemonSet.
    pub daemonset: DaemonSet,
    /// The actions in their order, and the object that each of them is about.
    pub steps: Vec<Step>,
    /// Events to emit.
    pub events: Vec<Event>,
    /// Warnings that the last plan did not have.
    pub news: Vec<Warning>,
}

/// One action.
#[derive(Clone, Debug)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// The object that is written; a pod that is to be created has its name already.
    pub key: Key,
}

impl Step {
    /// An action for a DaemonSet. `name` gives a name to a pod that is to be created.
    pub fn new(action: Action, daemonset: &Key, name: &mut impl FnMut(&Text) -> Text) -> Self {
        let object = match &action {
            Action::CreatePod { .. } => name(&daemonset.name),
            Action::CreateRevision { revision } => revision.name.clone(),
            other => other.object().map_or_else(|| daemonset.name.clone(), |object| object.name.clone()),
        };
        Self { action, key: Key::new(daemonset.namespace.clone(), object) }
    }

    /// The kind of the object that is written.
    pub fn kind(&self) -> Kind {
        self.action.kind()
    }

    /// How the write will show.
    pub fn effect(&self) -> Effect {
        match &self.action {
            Action::CreatePod { .. } => Effect::CreateReason,
            Action::DeletePod { pod: object, .. } | Action::DeleteRevision { revision: object, .. } => {
                Effect::DeleteReason { uid: object.uid.clone() }
            }
            _ => Effect::Change,
        }
    }
}

/// A job that did not come to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// How long the API server wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether there is little use in trying again: the namespace is being deleted.
    pub terminal: bool,
}

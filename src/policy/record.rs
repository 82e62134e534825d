//! What the updates of a DaemonSet have come to: the memory that outlasts the pods.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::PolicyError;
use crate::model::{Labels, Text};

/// The name of the annotation with the record, without its prefix.
pub(crate) const RECORD: &str = "rollout-record";

/// What the updates of a DaemonSet have come to, as the annotation `daemonplan/rollout-record` keeps it.
///
/// Plans [write](crate::Action::RecordRollout) it for a DaemonSet with a [`RolloutPolicy`](crate::RolloutPolicy), and read it again, so
/// that what has failed is not tried again, and an update that is done stays done. To resume an update that was paused
/// after a failure, remove the annotation.
///
/// ```
/// use daemonplan::{model::Labels, policy::RolloutRecord};
/// let text = r#"{"failed": [{"hash": "6d5f", "reason": "6 restarts on node-7", "isPaused": true}]}"#;
/// let record = RolloutRecord::of(&Labels::from([("daemonplan/rollout-record", text)]), "daemonplan/")?;
/// assert!(record.failure_of("6d5f").unwrap().is_paused);
/// # Ok::<(), daemonplan::policy::PolicyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct RolloutRecord {
    /// The templates that failed and have a revision yet, the latest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedTemplate>,
    /// The hash of the template that an operator went back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returns_to: Option<Text>,
    /// The hash of the template whose update is done. What happens to its pods later is no failure of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<Text>,
    /// The nodes whose pods were broken when they got the template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<ReplacedNodes>,
    /// The canaries that have baked; only if they have a limited time, which then no longer matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baked: Option<BakedCanaries>,
}

/// A template that failed.
///
/// ```
/// use daemonplan::policy::FailedTemplate;
/// let failed: FailedTemplate = serde_json::from_str(r#"{"hash": "6d5f", "restored": "77b4"}"#)?;
/// assert!(failed.restored.is_some() && !failed.is_paused);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct FailedTemplate {
    /// The hash of the template (label `controller-revision-hash`).
    pub hash: Text,
    /// When it failed first; `None` without a clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Why it failed the last time, and where.
    pub reason: Text,
    /// The nodes where it failed, by name: the first ten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Text>,
    /// The hash of the template that a roll-back restored then. There is no second one for the same template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<Text>,
    /// Whether its update is paused until an operator resumes it.
    #[serde(skip_serializing_if = "is_false")]
    pub is_paused: bool,
}

/// The nodes whose pods were broken already when they got a template: they prove nothing against it.
///
/// ```
/// use daemonplan::policy::ReplacedNodes;
/// let replaced: ReplacedNodes = serde_json::from_str(r#"{"hash": "6d5f", "nodes": ["node-7"]}"#)?;
/// assert_eq!(replaced.nodes, ["node-7"]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ReplacedNodes {
    /// The hash of the template.
    pub hash: Text,
    /// The nodes, by name.
    pub nodes: Vec<Text>,
}

/// The canaries of a template that have been available for long enough.
///
/// ```
/// use daemonplan::policy::BakedCanaries;
/// let baked: BakedCanaries = serde_json::from_str(r#"{"hash": "6d5f", "steps": 2}"#)?;
/// assert_eq!(baked.steps, 2);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct BakedCanaries {
    /// The hash of the template.
    pub hash: Text,
    /// The number of steps.
    pub steps: usize,
}

impl ReplacedNodes {
    /// How many nodes are remembered: an annotation is limited, and where so many are broken, the template decides little.
    pub const LIMIT: usize = 1_000;

    /// Adds nodes for the template with this hash, up to the limit.
    pub(crate) fn add(&mut self, hash: &Text, nodes: &[Text]) {
        self.hash.clone_from(hash);
        let room = Self::LIMIT.saturating_sub(self.nodes.len());
        let new: Vec<_> = nodes.iter().filter(|node| !self.nodes.contains(node)).take(room).cloned().collect();
        self.nodes.extend(new);
        self.nodes.sort_unstable();
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde requires this signature
fn is_false(flag: &bool) -> bool {
    !flag
}

impl RolloutRecord {
    /// Reads the record from the annotations of a DaemonSet; an empty one if there is none.
    ///
    /// # Errors
    /// If the annotation is not a record.
    pub fn of(annotations: &Labels, prefix: &str) -> Result<Self, PolicyError> {
        let annotation = Text::from(format!("{prefix}{RECORD}"));
        let Some(text) = annotations.get(&annotation) else { return Ok(Self::default()) };
        let expected = "a record that a controller wrote: remove it to start without one";
        serde_json::from_str(text).map_err(|_| PolicyError::Invalid { annotation, expected, text: text.into() })
    }

    /// Returns the failure of the template with this hash.
    pub fn failure_of(&self, hash: &str) -> Option<&FailedTemplate> {
        self.failed.iter().find(|failed| failed.hash == *hash)
    }

    /// The nodes that got the template with this hash before it was their turn.
    pub(crate) fn replaced_for(&self, hash: &str) -> &[Text] {
        self.replaced.as_ref().filter(|replaced| replaced.hash == *hash).map_or(&[], |replaced| &replaced.nodes)
    }

    /// How many steps of canaries with the template of this hash have baked.
    pub(crate) fn baked_for(&self, hash: &str) -> usize {
        self.baked.as_ref().filter(|baked| baked.hash == *hash).map_or(0, |baked| baked.steps)
    }

    /// Adds a failure, in the place of an earlier one of the same template.
    pub(crate) fn add_failure(&mut self, mut failure: FailedTemplate) {
        failure.nodes.truncate(10);
        self.failed.retain(|other| other.hash != failure.hash);
        self.failed.push(failure);
    }
}

impl fmt::Display for RolloutRecord {
    /// Writes the value of the annotation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Serialization cannot fail: all keys are strings.
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::Text;

/// The status of a DaemonSet. All numbers count nodes, and are 32-bit as in Kubernetes.
///
/// ```
/// use daemonplan::model::DaemonSetStatus;
/// let status: DaemonSetStatus = serde_json::from_str(r#"{"numberReady": 3, "desiredNumberScheduled": 4}"#)?;
/// assert_eq!((status.number_ready, status.number_available), (3, 0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetStatus {
    /// Nodes that should run a pod and do.
    #[serde(deserialize_with = "null_is_default")]
    pub current_number_scheduled: i32,
    /// Nodes that run a pod but should not.
    #[serde(deserialize_with = "null_is_default")]
    pub number_misscheduled: i32,
    /// Nodes that should run a pod.
    #[serde(deserialize_with = "null_is_default")]
    pub desired_number_scheduled: i32,
    /// Nodes that should run a pod and whose pod is ready.
    #[serde(deserialize_with = "null_is_default")]
    pub number_ready: i32,
    /// The generation of the spec that this status describes.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// Nodes that should run a pod and whose pod is updated.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub updated_number_scheduled: i32,
    /// Nodes that should run a pod and whose pod has been ready for `minReadySeconds`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub number_available: i32,
    /// Nodes that should run a pod and have no available pod.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub number_unavailable: i32,
    /// The number of template hashes that collided with the name of another revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i32>,
    /// The conditions. The built-in controller sets none and keeps those of others.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<DaemonSetCondition>,
}

impl DaemonSetStatus {
    /// Whether both say the same, whatever generation they describe.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        let numbers = |status: &Self| {
            [
                status.current_number_scheduled,
                status.number_misscheduled,
                status.desired_number_scheduled,
                status.number_ready,
                status.updated_number_scheduled,
                status.number_available,
                status.number_unavailable,
            ]
        };
        numbers(self) == numbers(other)
            && self.collision_count == other.collision_count
            && self.conditions == other.conditions
    }
}

/// A condition of a DaemonSet.
///
/// ```
/// use daemonplan::model::DaemonSetCondition;
/// let condition: DaemonSetCondition = serde_json::from_str(r#"{"type": "Progressing", "status": "False"}"#)?;
/// assert_eq!((&*condition.kind, condition.last_transition), ("Progressing", None));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct DaemonSetCondition {
    /// Its type, such as [`PROGRESSING`](Self::PROGRESSING).
    #[serde(rename = "type")]
    pub kind: Text,
    /// `True`, `False` or `Unknown`.
    pub status: Text,
    /// When the status changed last.
    #[serde(rename = "lastTransitionTime", skip_serializing_if = "Option::is_none")]
    pub last_transition: Option<Timestamp>,
    /// Why, for programs.
    #[serde(deserialize_with = "null_is_default")]
    pub reason: Text,
    /// Why, for people.
    #[serde(deserialize_with = "null_is_default")]
    pub message: Text,
}

impl DaemonSetCondition {
    /// The type of the condition that says whether an update proceeds. As for Deployments, it is `False` while something
    /// holds it up: here its [policy](crate::RolloutPolicy).
    pub const PROGRESSING: &str = "Progressing";
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde requires a reference
fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

//! The way back to an older template.

use crate::model::{ControllerRevision, DaemonSet, PodTemplateError};

/// The DaemonSet with the template that a revision keeps, as `kubectl rollout undo` leaves it: nothing but the template is
/// another one. Which revision is the current one, and its number, follows in the next plan.
///
/// # Errors
/// If the revision keeps no template, or one that cannot be read.
///
/// ```
/// use daemonplan::{model::{ControllerRevision, DaemonSet}, rollback};
/// use serde_json::json;
/// let daemonset = DaemonSet::new("prod", "agent");
/// let data = json!({"spec": {"template": {"spec": {"hostNetwork": true}, "$patch": "replace"}}});
/// let before = rollback(&daemonset, &ControllerRevision::new("prod", "agent-6d5f", 3, data))?;
/// assert!(before.template.host_network());
/// # Ok::<(), daemonplan::model::PodTemplateError>(())
/// ```
pub fn rollback(daemonset: &DaemonSet, revision: &ControllerRevision) -> Result<DaemonSet, PodTemplateError> {
    let template = revision.template()?;
    let generation = daemonset.generation.saturating_add(i64::from(template != daemonset.template));
    Ok(DaemonSet { generation, template, ..daemonset.clone() })
}

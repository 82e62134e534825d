//! Ports that pods of two templates cannot have on the same node.

use super::revision_history::hash_of;
use crate::model::{ControllerRevision, PodTemplate};

/// Returns a port that a pod of `template` cannot take beside a pod with this hash label. A pod of an unknown template is
/// taken to have the same ports.
pub(crate) fn shared_port<'r>(
    template: &PodTemplate,
    mut revisions: impl Iterator<Item = &'r ControllerRevision>,
    hash: &str,
) -> Option<u32> {
    let own = template.host_ports();
    let first = own.first()?.1.number;
    let other = revisions.find(|revision| hash_of(revision) == *hash).and_then(|revision| revision.template().ok());
    let Some(other) = other else { return Some(first) };
    let others = other.host_ports();
    let shared = own.iter().find(|(_, port)| others.iter().any(|(_, other)| port.conflicts_with(other)));
    shared.map(|(_, port)| port.number)
}

//! Ports that pods of two templates cannot have on the same node.

use super::revision_history::hash_of;
use crate::model::{ControllerRevision, HostPort, PodTemplate};

/// Returns a port that a pod of `template` cannot take beside a pod with this hash label. A pod of an unknown template is
/// taken to have the same ports.
pub(crate) fn shared_port<'r>(
    template: &PodTemplate,
    mut revisions: impl Iterator<Item = &'r ControllerRevision>,
    hash: &str,
) -> Option<u32> {
    let first = template.host_ports().first()?.1.number;
    let other = revisions.find(|revision| hash_of(revision) == *hash).and_then(|revision| revision.template().ok());
    let Some(other) = other else { return Some(first) };
    let others = other.host_ports();
    port_among(template, others.iter().map(|(_, port)| port))
}

/// Returns a port that a pod of `template` cannot take beside these.
pub(crate) fn port_among<'p>(template: &PodTemplate, taken: impl Iterator<Item = &'p HostPort>) -> Option<u32> {
    let (own, taken) = (template.host_ports(), taken.collect::<Vec<_>>());
    let shared = own.iter().find(|(_, port)| taken.iter().any(|taken| port.conflicts_with(taken)));
    shared.map(|(_, port)| port.number)
}

//! Builds a pod from a template and a node, with an affinity that allows only this node.
//!
//! The scheduler binds a DaemonSet's pods. The controller ties each pod to its node with a required node affinity
//! ([`PodBlueprint::manifest`]). It also adds the tolerations that keep daemon pods on nodes with problems.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#how-daemon-pods-are-scheduled>

mod blueprint;
mod node_affinity;
mod tolerations;

pub use blueprint::PodBlueprint;
pub(crate) use tolerations::automatic_tolerations;

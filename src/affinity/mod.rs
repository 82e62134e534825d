//! Affinity rewriting: the pod for a node, with an affinity that allows only this node, and the node of a pod.
//!
//! The scheduler binds a DaemonSet's pods. The controller ties each pod to its node with a required node affinity
//! ([`rewrite`]), and adds the tolerations that keep daemon pods on nodes with problems ([`tolerations`]). The whole pod
//! comes from a [`PodBlueprint`]; what it requests can depend on the node ([`NodeResources`]). [`target_node`] is the inverse: the node that a pod is for.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#how-daemon-pods-are-scheduled>
//!
//! ```
//! use daemonplan::{affinity::{rewrite, target_node, tolerations}, model::{Pod, PodTemplate}};
//! let template = PodTemplate::default().with_labels([("app", "agent")]);
//! let spec = serde_json::json!({"affinity": rewrite(&template, "node-7"), "tolerations": tolerations(&template)});
//! let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {"name": "agent-x2k"}, "spec": spec}))?;
//! assert_eq!(target_node(&pod).unwrap(), "node-7");
//! # Ok::<(), serde_json::Error>(())
//! ```

mod blueprint;
mod node_affinity;
mod node_resources;
mod tolerations;

pub use blueprint::PodBlueprint;
pub(crate) use blueprint::owner_reference;
pub use node_affinity::{rewrite, target_node};
pub use node_resources::NodeResources;
pub use tolerations::{automatic_tolerations, tolerations};

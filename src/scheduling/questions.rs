//! The questions about pods that a [`ClusterState`] answers.

use super::{
    ClusterState, Feasibility, PodsAlike, SchedulingBlocker, SchedulingRemedy, incoming::Incoming, remedy::remedies,
    verdict,
};
use crate::{model::Pod, selector::PerNode};

impl ClusterState<'_> {
    /// Decides whether the default scheduler would bind a pod, to which node, and if not, why.
    ///
    /// The pod need not be one of the pods of this state. If it is, it does not stand in its own way. A pod for one node, as
    /// those of DaemonSets, is held against that node, bound or not; other pods against all nodes.
    pub fn feasibility(&self, pod: &Pod) -> Feasibility {
        verdict::feasibility(&Incoming::new(self, pod))
    }

    /// Returns the means to decide about many pods alike, each for another node: those of a DaemonSet. They can differ in what
    /// they request there ([`PerNode`]).
    ///
    /// ```
    /// use daemonplan::{model::{Node, Pod}, scheduling::{ClusterState, SchedulingObjects}};
    /// let node = |name: &str, pods: u32| serde_json::from_str::<Node>(&format!(
    ///     r#"{{"metadata": {{"name": "{name}"}}, "status": {{"allocatable": {{"pods": "{pods}"}}}}}}"#,
    /// ));
    /// let nodes = [node("a", 110)?, node("b", 0)?];
    /// let objects = SchedulingObjects::default();
    /// let state = ClusterState::new(&nodes, [], [], &objects);
    /// let pod: Pod = serde_json::from_str(
    ///     r#"{"metadata": {"name": "agent"}, "spec": {"containers": [{"name": "agent"}]}}"#,
    /// )?;
    /// let mut alike = state.pods_like(&pod);
    /// assert!(alike.on("a").would_fit && !alike.on("b").would_fit);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn pods_like<'s>(&'s self, pods: impl Into<PerNode<&'s Pod>>) -> PodsAlike<'s> {
        PodsAlike::new(self, &pods.into())
    }

    /// Asks every plugin on its own whether it refuses a node for a pod. Nodes kept free for other pods are ignored.
    pub fn blockers(&self, pod: &Pod, node: &str) -> Vec<SchedulingBlocker> {
        let incoming = Incoming::new(self, pod);
        incoming.blockers(self.nodes.get(&node.into()))
    }

    /// Finds what would make a pod fit on its node: pods that leave, and changes of the pod and the node. Each remedy was
    /// tried out and helps alone. Empty for pods that fit, and for those that are for no node in particular.
    pub fn remedies(&self, pod: &Pod) -> Vec<SchedulingRemedy> {
        let incoming = Incoming::new(self, pod);
        remedies(&incoming)
    }
}

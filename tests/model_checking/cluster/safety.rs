//! Safety in every state, and the condition for a settled cluster.

use daemonplan::model::UpdateStrategy;

use super::{
    planner::zone,
    steps::Model,
    world::{Act, Cluster, Phase, Pod, Taint, Why, World, template_of},
};

impl Model {
    /// Returns whether a pod should run on a node, and whether one may stay: the rules restated for this model.
    fn wants(cluster: &Cluster, number: u8) -> (bool, bool) {
        let Some(node) = cluster.node(number) else { return (false, false) };
        let fits = node.selected && (!cluster.rest.selector || zone(number) == "a");
        (fits && node.taint.is_none(), fits && node.taint != Some(Taint::NoExecute))
    }

    fn surges(&self) -> bool {
        matches!(self.planner.strategy, UpdateStrategy::RollingUpdate { max_surge, .. } if max_surge.of(1) > 0)
    }

    fn max_unavailable(&self, desired: usize) -> usize {
        match self.planner.strategy {
            UpdateStrategy::OnDelete => 0,
            UpdateStrategy::RollingUpdate { max_unavailable, .. } => max_unavailable.of(desired),
        }
    }

    /// Returns the DaemonSet's pods on a node that neither ended nor are being deleted.
    fn live(cluster: &Cluster, node: u8) -> impl Iterator<Item = &Pod> {
        let owner = Some(cluster.rest.uid);
        cluster.pods.iter().filter(move |pod| pod.node == node && pod.owner == owner && pod.is_live())
    }

    /// Checks ownership: which pods a plan must not touch, given what it was made from.
    pub fn unlawful(seen: &Cluster, acts: &[Act]) -> Option<&'static str> {
        let own = Some(seen.rest.uid);
        let adopts = |id: u8| acts.iter().any(|act| matches!(act, Act::Adopt { pod, .. } if *pod == id));
        let is_lawful = |act: &Act| {
            let Some(pod) = act.pod().and_then(|id| seen.pods.iter().find(|pod| pod.id == id)) else { return true };
            match act {
                Act::Adopt { .. } => pod.owner.is_none() && !pod.deleting,
                Act::Release { .. } => pod.owner == own,
                _ => pod.owner == own || (pod.owner.is_none() && adopts(pod.id)),
            }
        };
        (!acts.iter().all(is_lawful)).then_some("touched a pod that is not its own and that it may not adopt")
    }

    /// Checks a creation of a plan made from current caches.
    pub fn unsafe_before(&self, cluster: &Cluster, act: Act) -> Option<&'static str> {
        match act {
            Act::Create { node, .. } if !Self::wants(cluster, node).0 => Some("created where none should run"),
            Act::Create { node, .. } if Self::live(cluster, node).count() > usize::from(self.surges()) => {
                Some("created beside a live pod")
            }
            _ => None,
        }
    }

    /// Checks a deletion of a plan made from current caches.
    pub fn unsafe_after(&self, cluster: &Cluster, act: Act) -> Option<&'static str> {
        let Act::Delete { pod, reason } = act else { return None };
        let is_available = |node: u8| Self::live(cluster, node).any(|pod| pod.phase == Phase::Available);
        let wanted: Vec<u8> = (0..self.nodes).filter(|node| Self::wants(cluster, *node).0).collect();
        let unavailable = wanted.iter().filter(|node| !is_available(**node)).count();
        let node = cluster.pods.iter().find(|other| other.id == pod).map_or(0, |pod| pod.node);
        match reason {
            Why::Turn if unavailable > self.max_unavailable(wanted.len()).max(1) => {
                Some("an update took more than maxUnavailable")
            }
            Why::SurgeFinished if !is_available(node) => Some("a surge ended without an available pod"),
            _ => None,
        }
    }

    /// Checks the invariants of every state while the caches are current.
    pub fn crowded(&self, world: &World) -> Option<&'static str> {
        let most = 1 + usize::from(self.surges());
        let crowded = (0..self.nodes).any(|node| Self::live(&world.cluster, node).count() > most);
        (self.left.stale_plans == 0 && crowded).then_some("too many live pods on a node")
    }

    /// Returns whether the cluster is settled: the plan is empty, and each node runs what it should.
    pub fn is_as_it_should_be(&self, world: &World) -> bool {
        let cluster = &world.cluster;
        let updates = self.planner.strategy != UpdateStrategy::OnDelete;
        let node_is_right = |number: u8| {
            let (run, keep) = Self::wants(cluster, number);
            let pods: Vec<_> = cluster.pods.iter().filter(|pod| pod.node == number).collect();
            match pods.as_slice() {
                [] => !run,
                [pod] => {
                    let up_to_date = template_of(pod.hash) == cluster.rest.template || !updates;
                    keep && pod.phase == Phase::Available && pod.owner == Some(cluster.rest.uid) && (up_to_date || !run)
                }
                _ => false,
            }
        };
        let nothing_left_to_do = self.planner.has_nothing_to_do(cluster);
        (0..self.nodes).all(node_is_right) && nothing_left_to_do
    }
}

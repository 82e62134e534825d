//! A pod that is to be scheduled, and what is the same for all nodes.

use std::{borrow::Cow, collections::BTreeSet};

use super::{
    Amounts, Cause, ClusterState, Code, Plugin, SchedulingBlocker, Stage, UnknownFact,
    cluster_state::{NodeInfo, NodePods},
    load::{assigned, is_same, priority},
    plugins::{
        self,
        affinity::{self, AffinityCounts},
        binding::PodClaims,
        check_node_affinity, check_ports, check_resources, check_taints, check_unschedulable, restrictions,
        spread::{self, SpreadCounts},
        volume_limits,
        zones::Zones,
    },
};
use crate::model::{HostPort, Pod, PodNode, PodSpec, PodVolume, Text, Toleration};

/// What the scheduler works out about a pod before it looks at nodes.
#[derive(Debug)]
pub(super) struct Incoming<'s> {
    pub(super) state: &'s ClusterState<'s>,
    pub(super) pod: &'s Pod,
    /// The node that the pod is for, or on.
    pub(super) node: Cow<'s, PodNode>,
    pub(super) spec: Cow<'s, PodSpec>,
    pub(super) requests: Amounts,
    pub(super) claims: PodClaims<'s>,
    /// The claims of the pod that only one pod may use.
    pub(super) single_claims: Vec<Text>,
    pub(super) zones: Zones<'s>,
    /// The nodes that the required node affinity names, if it names some.
    pub(super) named_nodes: Option<BTreeSet<Text>>,
    counts: Counts,
    /// What refuses all nodes, in the order in which the plugins are asked.
    pub(super) refusals: Vec<SchedulingBlocker>,
    /// Whether the pod has no claims, or storage is known.
    pub(super) knows_volumes: bool,
}

/// What the scheduler counts of the pods in the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) affinity: AffinityCounts,
    pub(super) spread: SpreadCounts,
    /// How many pods use a claim of the pod that only one pod may use.
    pub(super) claim_users: i64,
}

/// A node as it would be if some of its pods left and others came.
#[derive(Clone)]
pub(super) struct Trial<'t, 's> {
    pub(super) incoming: &'t Incoming<'s>,
    pub(super) info: NodeInfo<'s>,
    pub(super) pods: TrialPods<'t, 's>,
    pub(super) requested: Cow<'t, Amounts>,
    pub(super) counts: Cow<'t, Counts>,
    /// The ports of pods that have left. As in the scheduler, they are free even if another pod has them, too.
    pub(super) released: Vec<HostPort>,
}

/// The pods of a node in a trial.
#[derive(Clone)]
pub(super) struct TrialPods<'t, 's> {
    there: NodePods<'s>,
    /// Those that have left. A trial of a settled node has only the pod itself here, and looks up no other pod.
    left: Vec<&'t Pod>,
    came: Vec<&'s Pod>,
}

/// Whether a pod has volumes that claims stand for.
fn has_claims(spec: &PodSpec) -> bool {
    let mut volumes = spec.volumes.iter();
    volumes.any(|volume| matches!(volume, PodVolume::Claim { .. } | PodVolume::Ephemeral { .. }))
}

/// The plugins in the order in which they are asked about a node.
const FILTERS: [Plugin; 11] = [
    Plugin::NodeUnschedulable,
    Plugin::TaintToleration,
    Plugin::NodeAffinity,
    Plugin::NodePorts,
    Plugin::NodeResourcesFit,
    Plugin::VolumeRestrictions,
    Plugin::NodeVolumeLimits,
    Plugin::VolumeBinding,
    Plugin::VolumeZone,
    Plugin::PodTopologySpread,
    Plugin::InterPodAffinity,
];

impl<'s> Incoming<'s> {
    pub(super) fn new(state: &'s ClusterState<'_>, pod: &'s Pod) -> Self {
        // A spec that is not known refuses no node.
        let unknown = || {
            let is_for_one_node = matches!(pod.node, PodNode::Intended(_));
            Cow::Owned(PodSpec { is_for_one_node, tolerations: vec![Toleration::new("")], ..PodSpec::default() })
        };
        Self::with_spec(state, pod, pod.spec.as_deref().map_or_else(unknown, Cow::Borrowed))
    }

    pub(super) fn with_spec(state: &'s ClusterState<'_>, pod: &'s Pod, spec: Cow<'s, PodSpec>) -> Self {
        let requests = Amounts::from(&spec.requests());
        let (mut refusals, mut claims, mut zones) = (Vec::new(), PodClaims::default(), Zones::default());
        let (mut named_nodes, mut single_claims) = (None, Vec::new());
        let mut keep = |blocker| refusals.push(blocker);
        plugins::named_nodes(&spec).map_or_else(&mut keep, |own| named_nodes = own);
        let knows_volumes = state.objects.knows_storage() || !has_claims(&spec);
        if knows_volumes {
            restrictions::single_claims(state, pod, &spec).map_or_else(&mut keep, |own| single_claims = own);
            PodClaims::new(state, pod, &spec).map_or_else(&mut keep, |own| claims = own);
            Zones::new(state, pod, &spec).map_or_else(keep, |own| zones = own);
        }
        let counts = Counts::default();
        let node = Cow::Borrowed(&pod.node);
        let mut incoming = Self {
            state,
            pod,
            node,
            spec,
            requests,
            claims,
            single_claims,
            zones,
            named_nodes,
            counts,
            refusals,
            knows_volumes,
        };
        incoming.counts = Counts {
            affinity: AffinityCounts::new(&incoming),
            spread: SpreadCounts::new(&incoming),
            claim_users: restrictions::claim_users(&incoming),
        };
        incoming
    }

    /// Returns what is not known that a decision about these nodes would need.
    pub(super) fn unknown(&self, nodes: impl IntoIterator<Item = NodeInfo<'s>>) -> Vec<UnknownFact> {
        let mut unknown = Vec::new();
        if self.pod.spec.is_none() {
            unknown.push(UnknownFact::OwnSpec);
        }
        let only = &self.state.objects.only_namespace_of_pods;
        unknown.extend(only.iter().map(|known| UnknownFact::OtherNamespaces { known: known.clone() }));
        for info in nodes {
            let node = info.node.name.clone();
            let own = self.pod.spec.is_none() && info.pods.holds(self.pod);
            let pods = info.load.pods_without_spec - usize::from(own);
            if pods > 0 {
                unknown.push(UnknownFact::PodSpecs { node: node.clone(), pods });
            }
            if info.load.allocatable.is_none() {
                unknown.push(UnknownFact::Allocatable { node });
            }
        }
        if has_claims(&self.spec) && !self.state.objects.knows_all_storage() {
            unknown.push(UnknownFact::Storage);
        }
        unknown
    }

    /// Whether the pod has rules that count other pods.
    fn counts_pods(&self) -> bool {
        let PodSpec { pod_affinity, pod_anti_affinity, topology_spread, .. } = &*self.spec;
        let has_no_rules = pod_affinity.is_empty() && pod_anti_affinity.is_empty() && topology_spread.is_empty();
        !has_no_rules || !self.single_claims.is_empty()
    }

    /// Whether two pods like this one, on different nodes, can exclude each other.
    pub(super) fn excludes_itself(&self) -> bool {
        !self.single_claims.is_empty() || affinity::excludes_itself(self) || spread::counts_itself(self)
    }

    pub(super) fn priority(&self) -> i32 {
        priority(self.pod)
    }

    pub(super) fn host_ports(&self) -> impl Iterator<Item = &HostPort> {
        self.spec.host_ports()
    }

    /// Returns the node that the pod is for, or on.
    pub(super) fn target(&self) -> Option<&Text> {
        self.node.name().filter(|_| self.spec.is_for_one_node || self.node.is_bound())
    }

    /// Returns that node, if it is known.
    pub(super) fn target_info(&self) -> Option<NodeInfo<'s>> {
        self.target().and_then(|node| self.state.nodes.get(node))
    }

    /// Returns why the pod does not enter the queue.
    pub(super) fn gated(&self) -> Option<SchedulingBlocker> {
        let gates = &self.spec.scheduling_gates;
        (!gates.is_empty()).then(|| {
            let code = Code::UnschedulableAndUnresolvable;
            SchedulingBlocker::new(
                Plugin::SchedulingGates,
                Stage::PreEnqueue,
                code,
                vec![Cause::Gated { gates: gates.clone() }],
            )
        })
    }

    /// Asks every plugin on its own about a node; if there is none, those that refuse all nodes.
    pub(super) fn blockers(&self, node: Option<NodeInfo<'s>>) -> Vec<SchedulingBlocker> {
        let trial = node.map(|info| Trial::new(self, info));
        let filter = |plugin: Plugin| {
            let refusal = self.refusals.iter().find(|blocker| blocker.plugin == plugin);
            refusal.cloned().or_else(|| trial.as_ref()?.check(plugin))
        };
        self.gated().into_iter().chain(FILTERS.into_iter().filter_map(filter)).collect()
    }
}

fn ports(pod: &Pod) -> impl Iterator<Item = &HostPort> {
    pod.spec.iter().flat_map(|spec| spec.host_ports())
}

impl<'t, 's> TrialPods<'t, 's> {
    fn on(info: NodeInfo<'s>) -> Self {
        Self { there: info.pods, left: Vec::new(), came: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.there.len() - self.left.len() + self.came.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'s Pod> + '_ {
        let there = self.there.iter().filter(|pod| !self.has_left(pod));
        there.chain(self.came.iter().copied())
    }

    pub(super) fn holds(&self, pod: &Pod) -> bool {
        self.came.iter().any(|other| is_same(other, pod)) || self.there.holds(pod) && !self.has_left(pod)
    }

    fn has_left(&self, pod: &Pod) -> bool {
        self.left.iter().any(|left| is_same(left, pod))
    }

    fn add(&mut self, pod: &'s Pod) {
        self.came.push(pod);
    }

    /// Removes a pod that is there.
    fn remove(&mut self, pod: &'t Pod) {
        let before = self.came.len();
        self.came.retain(|other| !is_same(other, pod));
        if self.came.len() == before {
            self.left.push(pod);
        }
    }
}

impl<'t, 's> Trial<'t, 's> {
    pub(super) fn new(incoming: &'t Incoming<'s>, info: NodeInfo<'s>) -> Self {
        let (mut pods, mut requested) = (TrialPods::on(info), Cow::Borrowed(&info.load.requested));
        // A pod without a name is not there yet.
        if !incoming.pod.name.is_empty() && pods.holds(incoming.pod) {
            pods.remove(incoming.pod);
            requested.to_mut().subtract(&assigned(incoming.pod));
        }
        let mut counts = Cow::Borrowed(&incoming.counts);
        if incoming.counts.spread.depends_on_node() {
            counts.to_mut().spread.count_on(incoming, info);
        }
        Self { incoming, info, pods, requested, counts, released: Vec::new() }
    }

    /// Returns the refusal of the first plugin that refuses the node.
    pub(super) fn refusal(&self) -> Option<SchedulingBlocker> {
        FILTERS.into_iter().find_map(|plugin| self.check(plugin))
    }

    fn check(&self, plugin: Plugin) -> Option<SchedulingBlocker> {
        match plugin {
            Plugin::NodeUnschedulable => check_unschedulable(self),
            Plugin::TaintToleration => check_taints(self),
            Plugin::NodeAffinity => check_node_affinity(self),
            Plugin::NodePorts => check_ports(self),
            Plugin::NodeResourcesFit => check_resources(self),
            Plugin::VolumeRestrictions => restrictions::check(self),
            Plugin::NodeVolumeLimits if self.incoming.knows_volumes => volume_limits::check(self),
            Plugin::VolumeBinding => self.incoming.claims.check(self.incoming.state, self.info.node),
            Plugin::VolumeZone => self.incoming.zones.check(self.info.node),
            Plugin::PodTopologySpread => self.counts.spread.check(self),
            Plugin::InterPodAffinity => self.counts.affinity.check(self),
            Plugin::NodeVolumeLimits | Plugin::SchedulingGates => None,
        }
    }

    /// Lets a pod come to the node.
    pub(super) fn add(&mut self, pod: &'s Pod) {
        self.pods.add(pod);
        self.released.retain(|port| !ports(pod).any(|own| own.is_same(port)));
        self.requested.to_mut().add(&assigned(pod));
        self.count(pod, 1, true);
    }

    /// Lets a pod leave the node for good: what the scheduler would count without it.
    pub(super) fn remove_for_good(&mut self, pod: &'t Pod, requests: &Amounts) {
        self.take_off(pod, requests, false);
    }

    /// Lets a pod leave the node, as the scheduler does while it looks for victims.
    pub(super) fn remove(&mut self, pod: &'t Pod) {
        self.released.extend(ports(pod).cloned());
        self.take_off(pod, &assigned(pod), true);
    }

    fn take_off(&mut self, pod: &'t Pod, requests: &Amounts, is_dry_run: bool) {
        self.pods.remove(pod);
        self.requested.to_mut().subtract(requests);
        self.count(pod, -1, is_dry_run);
    }

    /// Counts a pod that comes or leaves, in a dry run of the scheduler or for good.
    fn count(&mut self, pod: &Pod, by: i64, is_dry_run: bool) {
        let (incoming, node) = (self.incoming, self.info.node);
        if !incoming.counts_pods() && pod.spec.as_ref().is_none_or(|spec| spec.pod_anti_affinity.is_empty()) {
            return;
        }
        let counts = self.counts.to_mut();
        counts.affinity.count(incoming, pod, node, by);
        counts.spread.count(incoming, pod, node, by, is_dry_run);
        counts.claim_users += by * restrictions::single_claims_used_by(incoming, pod);
    }
}

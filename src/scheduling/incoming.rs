//! A pod that is to be scheduled, with what the plugins work out about it, and the plugins in their order.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use super::{
    Amounts, Cause, ClusterState, Code, Plugin, SchedulingBlocker, SchedulingObjects, Stage, UnknownFact,
    cluster_state::NodeInfo,
    company::{Company, Mover},
    load::{assigned, is_same},
    plugins::{
        self,
        affinity::{self, AffinityCounts},
        binding::PodClaims,
        check_node_affinity, check_ports, check_resources, check_taints, check_unschedulable, restrictions,
        spread::{self, SpreadCounts},
        volume_limits,
        zones::Zones,
    },
    pod_info::PodInfo,
    trial_node::TrialNode,
};
use crate::{
    model::{Node, Pod, PodNode, PodSpec, Text, Toleration},
    selector::PerNode,
};

/// What the scheduler works out about a pod before it looks at nodes.
#[derive(Clone, Debug)]
pub(super) struct Incoming<'s> {
    pub(super) info: PodInfo<'s>,
    /// The same on each node, if what the pod requests depends on it.
    by_node: Option<Arc<PerNode<PodInfo<'s>>>>,
    claims: PodClaims<'s>,
    /// The claims of the pod that only one pod may use.
    single_claims: Vec<Text>,
    zones: Zones<'s>,
    /// The nodes that the required node affinity names, if it names some.
    pub(super) named_nodes: Option<BTreeSet<Text>>,
    counts: Counts,
    /// Who comes to its node and leaves it before.
    pub(super) company: Company<'s>,
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

/// A node in a trial, with what the scheduler would count.
#[derive(Clone)]
pub(super) struct Trial<'t, 's> {
    pub(super) incoming: &'t Incoming<'s>,
    pub(super) node: TrialNode<'t, 's>,
    counts: Cow<'t, Counts>,
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
        let spec = pod.spec.as_deref().map_or_else(unknown, Cow::Borrowed);
        Self::with_infos(PodInfo::new(state, pod, spec).into())
    }

    /// Prepares to ask about pods that differ in what they request on each node.
    pub(super) fn with_infos(infos: PerNode<PodInfo<'s>>) -> Self {
        let info = infos.general().clone();
        let (state, pod) = (info.state, info.pod);
        let (mut refusals, mut claims, mut zones) = (Vec::new(), PodClaims::default(), Zones::default());
        let (mut named_nodes, mut single_claims) = (None, Vec::new());
        let mut keep = |blocker| refusals.push(blocker);
        plugins::named_nodes(&info.spec).map_or_else(&mut keep, |own| named_nodes = own);
        let knows_volumes = state.objects.knows_storage() || !info.spec.has_claims();
        if knows_volumes {
            restrictions::single_claims(state, pod, &info.spec).map_or_else(&mut keep, |own| single_claims = own);
            PodClaims::new(state, pod, &info.spec).map_or_else(&mut keep, |own| claims = own);
            Zones::new(state, pod, &info.spec).map_or_else(keep, |own| zones = own);
        }
        let counts = Counts {
            affinity: AffinityCounts::new(&info),
            spread: SpreadCounts::new(&info),
            claim_users: restrictions::claim_users(&info, &single_claims),
        };
        let company = Company::default();
        let by_node = (!infos.is_uniform()).then(|| infos.into());
        Self { info, by_node, claims, single_claims, zones, named_nodes, counts, company, refusals, knows_volumes }
    }

    /// Returns what is not known that a decision about these nodes would need.
    pub(super) fn unknown(&self, nodes: impl IntoIterator<Item = NodeInfo<'s>>) -> Vec<UnknownFact> {
        let mut unknown = Vec::new();
        if self.info.pod.spec.is_none() {
            unknown.push(UnknownFact::OwnSpec);
        }
        let only = &self.info.state.objects.only_namespace_of_pods;
        unknown.extend(only.iter().map(|known| UnknownFact::OtherNamespaces { known: known.clone() }));
        unknown.extend(self.info.state.objects.unreadable_of(&["Pod"]));
        if self.info.target_info().is_none() {
            unknown.extend(self.info.state.objects.unreadable_of(&["Node"]));
        }
        for info in nodes {
            let node = info.node.name.clone();
            let own = self.info.pod.spec.is_none() && info.pods.holds(self.info.pod);
            let pods = info.load.pods_without_spec - usize::from(own);
            if pods > 0 {
                unknown.push(UnknownFact::PodSpecs { node: node.clone(), pods });
            }
            if info.load.allocatable.is_none() {
                unknown.push(UnknownFact::Allocatable { node });
            }
            if self.info.spec.is_for_one_node && !self.info.pod.is_ready() {
                unknown.extend(UnknownFact::of_kubelet(&self.info.spec, info.node));
            }
        }
        if self.info.spec.has_claims() {
            unknown.extend((!self.info.state.objects.knows_all_storage()).then_some(UnknownFact::Storage));
            unknown.extend(self.info.state.objects.unreadable_of(SchedulingObjects::OF_STORAGE));
        }
        if !self.info.spec.resource_claims.is_empty() {
            unknown.push(UnknownFact::ResourceClaims);
        }
        unknown
    }

    /// Whether the pod has rules that count other pods.
    pub(super) fn counts_pods(&self) -> bool {
        let PodSpec { pod_affinity, pod_anti_affinity, topology_spread, .. } = &*self.info.spec;
        let has_no_rules = pod_affinity.is_empty() && pod_anti_affinity.is_empty() && topology_spread.is_empty();
        !has_no_rules || !self.single_claims.is_empty()
    }

    /// Whether another pod can count, by the rules of either.
    pub(super) fn counts(&self, other: &Pod) -> bool {
        self.counts_pods() || other.spec.as_ref().is_some_and(|spec| !spec.pod_anti_affinity.is_empty())
    }

    /// Whether it makes a difference to a pod like this one, on another node, that this one is bound.
    pub(super) fn affects_itself(&self) -> bool {
        !self.single_claims.is_empty()
            || self.claims.get_volumes()
            || affinity::affects_itself(&self.info)
            || spread::counts_itself(&self.info)
    }

    /// Asks about a node.
    pub(super) fn aim_at(&mut self, node: impl Into<Text>) {
        let node = node.into();
        if self.by_node.is_some() {
            self.adapt_to(&node);
        }
        self.info.node = Cow::Owned(PodNode::Intended(node));
    }

    /// Takes the pod that is for a node.
    #[cold]
    fn adapt_to(&mut self, node: &Text) {
        let known = self.info.state.nodes.get(node).map(|info| info.node);
        if let Some(by_node) = &self.by_node {
            self.info = by_node.on_known(known).clone();
        }
    }

    /// Counts a pod that comes to a node, or leaves it if `by` is negative.
    pub(super) fn count_other(&mut self, node: Option<NodeInfo<'s>>, pod: &Pod, by: i64) {
        if !self.counts(pod) {
            return;
        }
        let Self { info: own, counts, single_claims, .. } = self;
        if let Some(info) = node.filter(|info| by > 0 || info.pods.holds(pod)) {
            counts.count(own, single_claims, pod, info.node, by, false);
        }
    }

    /// Counts a pod like this one on a node, after some pods there have left.
    #[cfg(feature = "forecast")]
    pub(super) fn count_alike(&mut self, node: &Text, leave: &[&Pod]) {
        let Self { info: own, counts, single_claims, .. } = self;
        let Some(info) = own.state.nodes.get(node) else { return };
        for pod in leave.iter().filter(|pod| info.pods.holds(pod)) {
            counts.count(own, single_claims, pod, info.node, -1, false);
        }
        counts.count(own, single_claims, own.pod, info.node, 1, false);
    }

    /// Returns the pods for which a node is kept free, and that the pod must not displace.
    pub(super) fn kept_free_for(&self, node: &Node) -> impl Iterator<Item = &'s Pod> {
        let leaves = |pod: &Pod| self.company.leave.iter().any(|leaving| is_same(leaving, pod));
        self.info.state.nominated_to(&node.name, self.info.pod).filter(move |pod| !leaves(pod))
    }

    /// Returns why the pod does not enter the queue.
    pub(super) fn gated(&self) -> Option<SchedulingBlocker> {
        let gates = &self.info.spec.scheduling_gates;
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
        self.blockers_of(node.map(|info| Trial::new(self, info)).as_ref())
    }

    /// Asks every plugin about a node to which others come as well.
    pub(super) fn blockers_with(&self, info: NodeInfo<'s>, others: &[&'s Pod]) -> Vec<SchedulingBlocker> {
        let mut trial = Trial::new(self, info);
        for pod in others {
            trial.add(pod);
        }
        self.blockers_of(Some(&trial))
    }

    fn blockers_of(&self, trial: Option<&Trial<'_, 's>>) -> Vec<SchedulingBlocker> {
        let filter = |plugin: Plugin| {
            let refusal = self.refusals.iter().find(|blocker| blocker.plugin == plugin);
            refusal.cloned().or_else(|| trial?.check(plugin))
        };
        self.gated().into_iter().chain(FILTERS.into_iter().filter_map(filter)).collect()
    }
}

impl Counts {
    fn count(&mut self, own: &PodInfo<'_>, single_claims: &[Text], pod: &Pod, node: &Node, by: i64, is_dry_run: bool) {
        self.affinity.count(own, pod, node, by);
        self.spread.count(own, pod, node, by, is_dry_run);
        self.claim_users += by * restrictions::single_claims_used_by(own, single_claims, pod);
        if !is_dry_run {
            self.affinity.decide_skip(own);
        }
    }
}

impl<'t, 's> Trial<'t, 's> {
    pub(super) fn new(incoming: &'t Incoming<'s>, info: NodeInfo<'s>) -> Self {
        let mut counts = Cow::Borrowed(&incoming.counts);
        if incoming.counts.spread.depends_on_node() {
            let others = &incoming.company.others;
            let gone = others.pods_leaving(&info.node.name).filter(|pod| info.pods.holds(pod));
            let come = others.coming_to(&info.node.name).map(|mover| (mover.pod, 1));
            let others = come.chain(gone.map(|pod| (pod, -1)));
            counts.to_mut().spread.count_on(&incoming.info, info, &others);
        }
        let mut trial = Self { incoming, node: TrialNode::new(&incoming.info, info), counts };
        let Company { others, leave } = &incoming.company;
        for Mover { pod, requests } in others.leaving(&info.node.name).filter(|mover| info.pods.holds(mover.pod)) {
            trial.node.remove(pod, requests);
        }
        others.coming_to(&info.node.name).for_each(|Mover { pod, requests }| trial.node.add(pod, requests));
        for pod in leave {
            if trial.node.pods.holds(pod) {
                trial.remove_for_good(pod, &assigned(pod));
            }
        }
        trial
    }

    /// Returns the refusal of the first plugin that refuses the node.
    pub(super) fn refusal(&self) -> Option<SchedulingBlocker> {
        FILTERS.into_iter().find_map(|plugin| self.check(plugin))
    }

    fn check(&self, plugin: Plugin) -> Option<SchedulingBlocker> {
        let Self { incoming, node, counts } = self;
        let own = &incoming.info;
        match plugin {
            Plugin::NodeUnschedulable => check_unschedulable(own, node),
            Plugin::TaintToleration => check_taints(own, node),
            Plugin::NodeAffinity => check_node_affinity(own, node),
            Plugin::NodePorts => check_ports(own, node),
            Plugin::NodeResourcesFit => check_resources(own, node),
            Plugin::VolumeRestrictions => restrictions::check(own, node, &incoming.single_claims, counts.claim_users),
            Plugin::NodeVolumeLimits if incoming.knows_volumes => volume_limits::check(own, node),
            Plugin::VolumeBinding => incoming.claims.check(own.state, node.info.node),
            Plugin::VolumeZone => incoming.zones.check(node.info.node),
            Plugin::PodTopologySpread => counts.spread.check(own, node),
            Plugin::InterPodAffinity => counts.affinity.check(own, node),
            Plugin::NodeVolumeLimits | Plugin::SchedulingGates => None,
        }
    }

    /// Lets a pod come to the node.
    pub(super) fn add(&mut self, pod: &'s Pod) {
        self.node.add(pod, &assigned(pod));
        self.count(pod, 1, true);
    }

    /// Lets a pod leave the node for good: what the scheduler would count without it.
    pub(super) fn remove_for_good(&mut self, pod: &'t Pod, requests: &Amounts) {
        self.node.remove(pod, requests);
        self.count(pod, -1, false);
    }

    /// Lets a pod of any node leave that for good.
    pub(super) fn lose(&mut self, pod: &'t Pod) {
        if self.node.pods.holds(pod) {
            self.remove_for_good(pod, &assigned(pod));
            return;
        }
        let Incoming { info: own, single_claims, .. } = self.incoming;
        if let Some(info) =
            pod.node.name().and_then(|node| own.state.nodes.get(node)).filter(|info| info.pods.holds(pod))
        {
            self.counts.to_mut().count(own, single_claims, pod, info.node, -1, false);
            self.node.lost.push(pod);
        }
    }

    /// Lets a pod leave the node, as the scheduler does while it looks for victims.
    pub(super) fn remove(&mut self, pod: &'t Pod) {
        self.node.release_ports(pod);
        self.node.remove(pod, &assigned(pod));
        self.count(pod, -1, true);
    }

    /// Counts a pod that comes or leaves, in a dry run of the scheduler or for good.
    fn count(&mut self, pod: &Pod, by: i64, is_dry_run: bool) {
        let (incoming, node) = (self.incoming, self.node.info.node);
        if incoming.counts(pod) {
            self.counts.to_mut().count(&incoming.info, &incoming.single_claims, pod, node, by, is_dry_run);
        }
    }
}

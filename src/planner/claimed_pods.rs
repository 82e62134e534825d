//! Claims the pods of a snapshot, and decides for every node with the claimed pods on it.

use indexmap::IndexMap;

use super::reconcile::ClusterSource;
use crate::{
    adoption::claim::{Claim, claim_pod_if, selects},
    context::DaemonSetContext,
    model::{Labels, Node, Pod, Text},
    node::{
        claimed_pod::{ClaimedPod, PodIndex},
        decision::NodeDecision,
    },
    placement::{NodeIndex, Verdict},
    plan::Action,
    util::mru_cache::MruCache,
};

/// A node, or the name of a missing one, with the claimed pods on it and the decision for it.
pub(crate) struct NodeView<'s> {
    pub(crate) name: &'s Text,
    pub(crate) node: Option<&'s Node>,
    pub(crate) verdict: Verdict,
    pub(crate) pods: &'s [ClaimedPod<'s>],
    pub(crate) decision: NodeDecision,
}

/// The pods of a snapshot, and which of them the DaemonSet claims.
pub(crate) struct ClaimedPods<'a> {
    all: &'a [Pod],
    nodes: &'a NodeIndex<'a>,
    claims: Vec<Action>,
    claimed: Vec<PodIndex>,
}

impl<'a> ClaimedPods<'a> {
    /// Claims pods, and calls `each` for every node and for every missing node that claimed pods refer to.
    pub(crate) fn decide(
        all: &'a [Pod],
        nodes: &'a NodeIndex<'a>,
        context: &DaemonSetContext<'_>,
        mut each: impl FnMut(NodeView<'_>),
    ) -> Self {
        let mut pods = Self { all, nodes, claims: Vec::new(), claimed: Vec::new() };
        let mut by_node = PodsByNode { last: vec![usize::MAX; nodes.len()], pods: Vec::new() };
        let mut missing = IndexMap::<&Text, Vec<ClaimedPod<'a>>>::new();
        let (mut selected, mut revisions) = (ByLabels::new(), ByLabels::new());
        // Two passes over a few pods at a time: the first waits for memory at several places at once, the second finds
        // these pods in the cache.
        let mut batch_pods = Vec::with_capacity(BATCH);
        for (first, batch) in (0..).step_by(BATCH).zip(all.chunks(BATCH)) {
            for (index, pod) in (first..).zip(batch) {
                let selects = || selected.get(&pod.labels, |labels| selects(context.daemonset, labels));
                let claim = claim_pod_if(context.daemonset, pod, selects);
                if claim == Claim::Ignore {
                    continue;
                }
                pods.claims.extend(Action::of_claim(claim, pod, context.daemonset));
                if claim.is_claimed() {
                    pods.claimed.push(index);
                    let revision =
                        revisions.get(&pod.labels, |labels| context.rules.labels.compare(labels, context.hash()));
                    batch_pods.extend(ClaimedPod::new(context, index, pod, revision));
                }
            }
            for claimed in batch_pods.drain(..) {
                match claimed.pod.node.name().map(|node| (node, nodes.slot(node))) {
                    Some((_, Some(slot))) => by_node.add(slot, claimed),
                    Some((node, None)) => missing.entry(node).or_default().push(claimed),
                    None => {}
                }
            }
        }
        pods.claims.sort_by(|a, b| a.object().cmp(&b.object()));
        pods.claims.dedup();

        let mut on_node = Vec::new();
        let verdicts = context.rules.placement.verdicts(nodes.all());
        for ((node, verdict), last) in nodes.all().iter().zip(verdicts).zip(&by_node.last) {
            by_node.collect(*last, &mut on_node);
            let decision = context.decide(node, verdict, &mut on_node);
            each(NodeView { name: &node.name, node: Some(node), verdict, pods: &on_node, decision });
        }
        for (name, mut on_node) in missing {
            let decision = context.decide_missing(name, &mut on_node);
            each(NodeView { name, node: None, verdict: Verdict::Refuse, pods: &on_node, decision });
        }
        pods
    }
}

impl ClusterSource for ClaimedPods<'_> {
    fn get(&self, index: PodIndex) -> Option<&Pod> {
        self.all.get(usize::try_from(index).ok()?)
    }

    fn node(&self, name: &Text) -> Option<&Node> {
        self.nodes.get(name)
    }

    fn claims(&self) -> Vec<Action> {
        self.claims.clone()
    }

    fn claimed(&self) -> impl Iterator<Item = &Pod> {
        self.claimed.iter().filter_map(|index| self.get(*index))
    }
}

/// The number of pods in a batch.
const BATCH: usize = 64;

/// Results by labels. Most pods have the same labels as the pods before them.
struct ByLabels<'a, T>(MruCache<(&'a Labels, T)>);

impl<'a, T: Copy> ByLabels<'a, T> {
    fn new() -> Self {
        Self(MruCache::new(4))
    }

    fn get(&mut self, labels: &'a Labels, compute: impl Fn(&Labels) -> T) -> T {
        let known = self.0.get(|(known, _)| known.are_the_same(labels), || (labels, compute(labels)));
        known.map_or_else(|| compute(labels), |(_, result)| *result)
    }
}

/// Pods by node, linked, without a list for each node.
struct PodsByNode<'a> {
    /// The index of the last pod of each node.
    last: Vec<usize>,
    /// Each pod with the index of the one before it on the same node. An index out of range ends the list.
    pods: Vec<(ClaimedPod<'a>, usize)>,
}

impl<'a> PodsByNode<'a> {
    fn add(&mut self, slot: usize, claimed: ClaimedPod<'a>) {
        if let Some(last) = self.last.get_mut(slot) {
            let before = std::mem::replace(last, self.pods.len());
            self.pods.push((claimed, before));
        }
    }

    fn collect(&self, mut index: usize, pods: &mut Vec<ClaimedPod<'a>>) {
        pods.clear();
        while let Some((claimed, before)) = self.pods.get(index) {
            pods.push(*claimed);
            index = *before;
        }
    }
}

//! A scheduling cycle: all nodes are looked at, and the message says why none will do.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::{
    Plugin, SchedulingBlocker,
    cluster_state::NodeInfo,
    incoming::{Incoming, Trial},
    load::is_same,
};
use crate::model::{Pod, Text};

/// What the scheduler found for each node.
pub(super) struct Cycle<'s> {
    /// Why nodes were refused that were looked at.
    pub(super) refused: IndexMap<&'s Text, SchedulingBlocker>,
    /// The plugins that refused nodes without a look at them.
    absent: BTreeSet<&'static str>,
    /// The nodes that will do.
    pub(super) feasible: Vec<NodeInfo<'s>>,
}

impl<'s> Cycle<'s> {
    pub(super) fn run(incoming: &Incoming<'s>, target: Option<&Text>) -> Self {
        let state = incoming.info.state;
        let narrowed = target.map(|node| BTreeSet::from([node.clone()])).or_else(|| incoming.named_nodes.clone());
        let mut cycle = Self { refused: IndexMap::new(), absent: BTreeSet::new(), feasible: Vec::new() };
        if narrowed.is_some() {
            cycle.absent.insert(Plugin::NodeAffinity.as_str());
        }
        // A node that is kept free for the pod is looked at first.
        let nominated = incoming.info.pod.scheduling.as_ref().map(|status| &status.nominated_node);
        if let Some(info) = nominated.and_then(|node| state.nodes.get(node)) {
            cycle.look_at(incoming, info);
            let refusal = cycle.refused.values().next();
            cycle.absent.extend(refusal.map(|refusal| refusal.plugin.as_str()));
        }
        let mut look_at = |info: NodeInfo<'s>| {
            if cycle.feasible.iter().all(|known| known.node.name != info.node.name) {
                cycle.look_at(incoming, info);
            }
        };
        match &narrowed {
            Some(names) => names.iter().filter_map(|name| state.nodes.get(name)).for_each(&mut look_at),
            None => state.nodes.iter().for_each(&mut look_at),
        }
        cycle
    }

    fn look_at(&mut self, incoming: &Incoming<'s>, info: NodeInfo<'s>) {
        match refusal(&Trial::new(incoming, info)) {
            Some(refusal) => drop(self.refused.insert(&info.node.name, refusal)),
            None => self.feasible.push(info),
        }
    }

    /// Counts the nodes by why they were refused, sorted as text, as the scheduler does.
    pub(super) fn message(&self, nodes: usize) -> String {
        let mut counts = BTreeMap::<String, usize>::new();
        for reason in self.refused.values().flat_map(SchedulingBlocker::reasons) {
            *counts.entry(reason).or_default() += 1;
        }
        let absent = nodes.saturating_sub(self.refused.len());
        if absent > 0 {
            let plugins: Vec<_> = self.absent.iter().copied().collect();
            counts.insert(format!("node(s) didn't satisfy plugin(s) [{}]", plugins.join(" ")), absent);
        }
        histogram(nodes, counts)
    }
}

/// Writes how many nodes were refused, and why.
pub(super) fn histogram(nodes: usize, counts: BTreeMap<String, usize>) -> String {
    let mut reasons: Vec<_> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    reasons.sort_unstable();
    format!("0/{nodes} nodes are available: {}.", reasons.join(", "))
}

/// Returns why a node is refused. The pod must fit with the pods for which the node is kept free, and without them.
pub(super) fn refusal(trial: &Trial<'_, '_>) -> Option<SchedulingBlocker> {
    refusal_without(trial, &[])
}

/// Returns why a node is refused after some pods have gone, for which it may have been kept free.
pub(super) fn refusal_without(trial: &Trial<'_, '_>, gone: &[&Pod]) -> Option<SchedulingBlocker> {
    let nominated = trial.incoming.kept_free_for(trial.node.info.node);
    let mut nominated = nominated.filter(|pod| !gone.iter().any(|gone| is_same(gone, pod))).peekable();
    if nominated.peek().is_some() {
        let mut full = trial.clone();
        nominated.for_each(|pod| full.add(pod));
        if let Some(refusal) = full.refusal() {
            return Some(refusal);
        }
    }
    trial.refusal()
}

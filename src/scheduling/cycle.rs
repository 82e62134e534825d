//! A scheduling cycle: all nodes are looked at, and the message says why none will do.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::{
    Feasibility, Plugin, Preemption, SchedulingBlocker, SchedulingVerdict, UnknownFact,
    cluster_state::NodeInfo,
    incoming::{Incoming, Trial},
    preemption,
};
use crate::model::{NodeSelectorTerm, Pod, Resource, Text};

/// What the scheduler found for each node.
pub(super) struct Cycle<'s> {
    /// Why nodes were refused that were looked at.
    pub(super) refused: IndexMap<&'s str, SchedulingBlocker>,
    /// The plugins that refused nodes without a look at them.
    absent: BTreeSet<&'static str>,
    /// The nodes that will do.
    feasible: Vec<&'s NodeInfo<'s>>,
}

pub(super) fn feasibility(incoming: &Incoming<'_>) -> Feasibility {
    let state = incoming.state;
    let target = incoming.target();
    let info = incoming.target_info();
    let gated = incoming.gated();
    let mut result = Feasibility {
        node: target.cloned(),
        verdict: SchedulingVerdict::Error,
        would_fit: false,
        blockers: Vec::new(),
        message: None,
        unknown: match info {
            _ if state.nodes.is_empty() => vec![UnknownFact::Nodes],
            Some(info) => incoming.unknown([info]),
            None => incoming.unknown(state.nodes.values().filter(|_| target.is_none())),
        },
        preemption: None,
        kept_free_for: Vec::new(),
    };
    result.blockers = incoming.blockers(info);
    if state.nodes.is_empty() {
        return result;
    }
    let mut message = None;
    if let Some(refusal) = incoming.refusals.first() {
        // The scheduler fails before it comes to preemption.
        result.preemption = incoming.spec.never_preempts().then_some(Preemption::Never);
        message =
            Some(format!("0/{} nodes are available: {}. not found", state.nodes.len(), refusal.reasons().join(", ")));
    } else {
        let cycle = Cycle::run(incoming, target);
        result.would_fit = !cycle.feasible.is_empty();
        match cycle.feasible.as_slice() {
            [] => {
                let preemption = preemption::preempt(incoming, &cycle);
                message =
                    Some(format!("{}{}", cycle.message(state.nodes.len()), preemption.message(state.nodes.len())));
                result.preemption = Some(preemption);
            }
            [only] => result.node = result.node.or_else(|| Some(only.node.name.clone())),
            _ => {}
        }
    }
    result.verdict = if !incoming.spec.is_of_default_scheduler() {
        SchedulingVerdict::OtherScheduler
    } else if gated.is_some() {
        SchedulingVerdict::Gated
    } else if result.would_fit {
        SchedulingVerdict::Fits
    } else {
        result.message = message;
        SchedulingVerdict::Unschedulable
    };
    if let Some(info) = info.filter(|_| !result.would_fit && result.blockers.is_empty()) {
        let mut pods: Vec<_> = state.nominated_to(&info.node.name, incoming.pod).map(Pod::key).collect();
        pods.sort_unstable();
        result.kept_free_for = pods;
    }
    result
}

impl<'s> Cycle<'s> {
    fn run(incoming: &Incoming<'s>, target: Option<&Text>) -> Self {
        let state = incoming.state;
        let narrowed = target.map(|node| BTreeSet::from([node.clone()])).or_else(|| named_nodes(incoming));
        let mut cycle = Self { refused: IndexMap::new(), absent: BTreeSet::new(), feasible: Vec::new() };
        if narrowed.is_some() {
            cycle.absent.insert(Plugin::NodeAffinity.as_str());
        }
        // A node that is kept free for the pod is looked at first.
        let nominated = incoming.pod.scheduling.as_ref().map(|status| &status.nominated_node);
        if let Some(info) = nominated.and_then(|node| state.nodes.get(node.as_str())) {
            cycle.look_at(incoming, info);
            let refusal = cycle.refused.values().next();
            cycle.absent.extend(refusal.map(|refusal| refusal.plugin.as_str()));
        }
        let mut look_at = |info: &'s NodeInfo<'s>| {
            if cycle.feasible.iter().all(|known| known.node.name != info.node.name) {
                cycle.look_at(incoming, info);
            }
        };
        match &narrowed {
            Some(names) => names.iter().filter_map(|name| state.nodes.get(name.as_str())).for_each(&mut look_at),
            None => state.nodes.values().for_each(&mut look_at),
        }
        cycle
    }

    fn look_at(&mut self, incoming: &Incoming<'s>, info: &'s NodeInfo<'s>) {
        match refusal(&Trial::new(incoming, info)) {
            Some(refusal) => drop(self.refused.insert(&info.node.name, refusal)),
            None => self.feasible.push(info),
        }
    }

    /// Counts the nodes by why they were refused, sorted as text, as the scheduler does.
    fn message(&self, nodes: usize) -> String {
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
    let incoming = trial.incoming;
    let mut nominated = incoming.state.nominated_to(&trial.info.node.name, incoming.pod).peekable();
    if nominated.peek().is_some() {
        let mut full = trial.clone();
        nominated.for_each(|pod| full.add(pod));
        if let Some(refusal) = full.refusal() {
            return Some(refusal);
        }
    }
    trial.refusal()
}

/// Returns the nodes that all terms of the required node affinity name, if each names some.
fn named_nodes(incoming: &Incoming<'_>) -> Option<BTreeSet<Text>> {
    let terms = incoming.spec.node_affinity.as_ref()?.terms();
    let names = terms.iter().map(|term| match term {
        NodeSelectorTerm::All { fields, .. } => {
            let mut names = fields.iter().filter(|field| field.equal && field.key == "metadata.name");
            let first = names.next()?.value.clone();
            // Two different names exclude each other.
            Some(if names.all(|other| other.value == first) { BTreeSet::from([first]) } else { BTreeSet::new() })
        }
        NodeSelectorTerm::Empty | NodeSelectorTerm::Invalid(_) => None,
    });
    let names = names.collect::<Option<Vec<_>>>()?;
    (!names.is_empty()).then(|| names.into_iter().flatten().collect())
}

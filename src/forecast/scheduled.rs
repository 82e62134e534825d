//! What the scheduler makes of the pods that a change brings, and of those that come anyway.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    forecast::{Assumptions, Simulation, StuckCause, StuckNode, fits::Fits, simulated_node::End},
    model::{Key, Text},
    planner::Snapshot,
    scheduling::UnknownFact,
};

/// What the scheduler and admission make of the new pods of a cluster.
#[derive(Default)]
pub(super) struct Scheduled<'a> {
    fits: Fits<'a>,
    /// The nodes to which new pods come.
    filled: BTreeSet<Text>,
    /// The nodes where they do not start.
    stuck: BTreeMap<Text, StuckCause>,
    /// What is not known of all pods.
    unknown: BTreeSet<UnknownFact>,
}

impl<'a> Scheduled<'a> {
    /// Looks at the pods that come in a simulation in which all fit.
    pub(super) fn new(
        snapshot: &Snapshot<'a>,
        fits: Fits<'a>,
        all: &Simulation<'_>,
        assumptions: &Assumptions,
    ) -> Self {
        // The room in quotas depends on the order in which pods come and go.
        let mut simulation = Simulation::new(snapshot, assumptions, fits.clone());
        simulation.run();
        let surges = snapshot.daemonset.update_strategy.surges();
        let stuck = all.nodes.iter().filter_map(|(node, simulated)| {
            let port = simulated.pods.iter().find_map(|pod| pod.waits_for.as_ref());
            let is_new = matches!(End::of(Some(simulated)), End::NewPod);
            let is_beside = surges && simulated.deletion.is_some();
            let is_asked = is_new && !(is_beside && fits.displaces_own(node)) || fits.loses_place(node);
            let refusal = || fits.refusal(node, is_beside).filter(|_| is_asked);
            let in_time = || simulation.nodes.get(node)?.pods.iter().find_map(|pod| pod.waits_for.as_ref());
            Some((node.clone(), port.or_else(refusal).or_else(in_time)?.clone()))
        });
        let stuck = stuck.collect();
        let unknown = simulation.doubts().chain(simulation.unknown()).collect();
        Self { fits, filled: simulation.filled, stuck, unknown }
    }

    /// Returns the nodes where pods do not start: those that a change touches, and others where it is so only with the change.
    pub(super) fn stuck_with(&self, anyway: &Self, touched: &BTreeSet<Text>) -> Vec<StuckNode> {
        let is_new = |node: &Text| touched.contains(node) || !anyway.stuck.contains_key(node);
        let stuck = self.stuck.iter().filter(|(node, _)| is_new(node));
        stuck.map(|(node, cause)| StuckNode { node: node.clone(), cause: cause.clone() }).collect()
    }

    /// Returns the pods whose place new pods take, likewise.
    pub(super) fn preempted_with(&self, anyway: &Self, touched: &BTreeSet<Text>) -> Vec<Key> {
        let victims_anyway =
            |node: &Text| if anyway.filled.contains(node) { anyway.fits.victims(node) } else { Default::default() };
        let of_node = |node: &Text| -> Vec<Key> {
            let is_new = |victim: &&Key| touched.contains(node) || !victims_anyway(node).contains(victim);
            self.fits.victims(node).iter().filter(is_new).cloned().collect()
        };
        self.filled.iter().flat_map(of_node).collect()
    }

    /// Returns what is not known; of an update that the change begins all, as one node can block the others.
    pub(super) fn unknown_with(&self, anyway: &Self, touched: &BTreeSet<Text>) -> Vec<UnknownFact> {
        let is_meant = |fact: &&UnknownFact| !touched.is_empty() || !anyway.unknown.contains(fact);
        self.unknown.iter().filter(is_meant).cloned().collect()
    }
}

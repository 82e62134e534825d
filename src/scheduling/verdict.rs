//! What becomes of a pod: the verdict of a scheduling cycle, with preemption.

use super::{
    Code, Feasibility, Plugin, Preemption, SchedulingBlocker, SchedulingVerdict, UnknownFact, cycle::Cycle,
    incoming::Incoming, preemption,
};
use crate::model::{Pod, Resource};

pub(super) fn feasibility(incoming: &Incoming<'_>) -> Feasibility {
    let state = incoming.info.state;
    let target = incoming.info.target();
    let info = incoming.info.target_info();
    let mut result = Feasibility {
        node: target.cloned(),
        verdict: SchedulingVerdict::Error,
        would_fit: false,
        blockers: Vec::new(),
        message: None,
        unknown: match info {
            _ if !state.knows_nodes() => vec![UnknownFact::Nodes],
            Some(info) => incoming.unknown([info]),
            None => incoming.unknown(state.nodes.iter().filter(|_| target.is_none())),
        },
        preemption: None,
        kept_free_for: Vec::new(),
    };
    result.blockers = incoming.blockers(info);
    // Of these pods the default scheduler decides nothing.
    let left_alone = if incoming.info.spec.is_of_default_scheduler() {
        incoming.gated().map(|_| SchedulingVerdict::Gated)
    } else {
        Some(SchedulingVerdict::OtherScheduler)
    };
    if !state.knows_nodes() {
        result.verdict = left_alone.unwrap_or(SchedulingVerdict::Error);
        return result;
    }
    let mut message = None;
    if let Some(refusal) = incoming.refusals.first() {
        // The scheduler fails before it comes to preemption.
        result.preemption = incoming.info.spec.never_preempts().then_some(Preemption::Never);
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
    result.verdict = match left_alone {
        Some(verdict) => verdict,
        None if result.would_fit => SchedulingVerdict::Fits,
        None => {
            result.message = message;
            SchedulingVerdict::Unschedulable
        }
    };
    // A pod that is not bound does not come to the kubelet.
    result.unknown.retain(|fact| result.would_fit || !fact.is_of_kubelet());
    // Where only room is lacking, that for them is lacking, too.
    let is_of_room = |blocker: &SchedulingBlocker| {
        let is_room = [Plugin::NodeResourcesFit, Plugin::NodePorts].contains(&blocker.plugin);
        is_room && blocker.code == Code::Unschedulable
    };
    if let Some(info) = info.filter(|_| !result.would_fit && result.blockers.iter().all(is_of_room)) {
        let mut pods: Vec<_> = incoming.kept_free_for(info.node).map(Pod::key).collect();
        pods.sort_unstable();
        result.kept_free_for = pods;
    }
    result
}

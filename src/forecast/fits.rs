//! On which nodes the pods of a rollout will not start, because the scheduler or admission refuses them.

use std::collections::HashMap;

use crate::{
    adoption::claim::claim_pod,
    forecast::StuckCause,
    model::{Pod, Text},
    planner::Snapshot,
    scheduling::{Cause, ClusterState, Plugin, PodsAlike, SchedulingBlocker},
};

/// What the scheduler and admission would say about new pods of the current template.
#[derive(Debug, Default)]
pub(super) struct Fits {
    /// The nodes that refuse a new pod.
    nodes: HashMap<Text, NodeFit>,
    /// Why admission refuses every new pod.
    refusal: Option<StuckCause>,
    /// How many new pods a ResourceQuota has room for, and why not for more.
    quota: Option<(u64, StuckCause)>,
}

/// Why a node refuses a new pod: `alone`, after the DaemonSet's other pods have left it, or `beside` those.
#[derive(Debug)]
struct NodeFit {
    alone: Option<StuckCause>,
    beside: Option<StuckCause>,
}

impl Fits {
    pub(super) fn new(snapshot: &Snapshot<'_>) -> Self {
        let Some(state) = snapshot.scheduling else { return Self::default() };
        let Some((new, admitted)) = snapshot.admitted_pod(state.objects()) else { return Self::default() };
        let admission = snapshot.admission(state.objects());
        let refused = |plugin: &str, message: String| StuckCause::NotCreated { plugin: plugin.into(), message };
        let room = admission.quota_room(&admitted.spec).into_iter().min_by_key(|room| room.pods);
        let quota = room.map(|room| {
            let message =
                format!("exceeded quota: {}, {} {} of {} used", room.quota, room.resource, room.used, room.hard);
            (room.pods, refused("ResourceQuota", message))
        });
        // A quota that is used up has room again once an old pod is gone.
        let is_used_up = quota.as_ref().is_some_and(|(pods, _)| *pods == 0);
        let refusal = admitted.refusal.filter(|refusal| !(is_used_up && refusal.plugin == "ResourceQuota"));
        Self {
            nodes: nodes(snapshot, state, &new),
            refusal: refusal.map(|refusal| refused(refusal.plugin, refusal.to_string())),
            quota,
        }
    }

    /// Returns why a new pod does not come to run on a node, beside other pods of the DaemonSet or after they have left.
    pub(super) fn refusal(&self, node: &Text, is_beside: bool) -> Option<&StuckCause> {
        let of_node = self.nodes.get(node).and_then(|fit| if is_beside { &fit.beside } else { &fit.alone }.as_ref());
        self.refusal.as_ref().or(of_node)
    }

    /// Takes the room for a new pod in the quotas; returns why there is none.
    pub(super) fn take_room(&mut self) -> Option<StuckCause> {
        let (room, cause) = self.quota.as_mut()?;
        match room.checked_sub(1) {
            Some(left) => {
                *room = left;
                None
            }
            None => Some(cause.clone()),
        }
    }

    /// Whether a quota limits new pods and has room for one.
    pub(super) fn has_room(&self) -> bool {
        self.quota.as_ref().is_some_and(|(room, _)| *room > 0)
    }

    /// Gives back the room of a pod that is gone.
    pub(super) fn give_room(&mut self) {
        if let Some((room, _)) = &mut self.quota {
            *room = room.saturating_add(1);
        }
    }
}

fn nodes(snapshot: &Snapshot<'_>, state: &ClusterState<'_>, new: &Pod) -> HashMap<Text, NodeFit> {
    let rules = snapshot.placement_rules();
    let mut own = HashMap::<&Text, Vec<&Pod>>::new();
    let is_on_node = |pod: &&Pod| pod.node.is_bound() && !pod.is_terminal();
    for pod in snapshot.pods.iter().filter(is_on_node).filter(|pod| claim_pod(snapshot.daemonset, pod).is_claimed()) {
        own.entry(pod.node.name().unwrap_or(&pod.name)).or_default().push(pod);
    }
    let mut alike = state.pods_like(new);
    let wanted = snapshot.nodes.iter().filter(|node| rules.verdict(node).should_run());
    let fits = wanted.filter_map(|node| {
        let own = own.get(&node.name).map(Vec::as_slice).unwrap_or_default();
        let beside = refusal(&mut alike, &node.name, &[]);
        let alone = if own.is_empty() { beside.clone() } else { refusal(&mut alike, &node.name, own) };
        (beside.is_some() || alone.is_some()).then(|| (node.name.clone(), NodeFit { alone, beside }))
    });
    fits.collect()
}

/// Asks the scheduler about a node that some pods have left. A pod that takes the place of others starts.
fn refusal(alike: &mut PodsAlike<'_>, node: &Text, left: &[&Pod]) -> Option<StuckCause> {
    let blocker = alike.refusal_after(node, left)?;
    if blocker.plugin != Plugin::SchedulingGates && !alike.on(node.clone()).preempts().is_empty() {
        return None;
    }
    Some(StuckCause::unschedulable(&blocker))
}

impl StuckCause {
    fn unschedulable(blocker: &SchedulingBlocker) -> Self {
        let explanation: Vec<_> = blocker.causes.iter().map(Cause::explain).collect();
        Self::Unschedulable { reasons: blocker.reasons(), explanation: explanation.join("; ") }
    }
}

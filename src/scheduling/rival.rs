//! One who comes or goes beside a new pod.

use std::{borrow::Cow, sync::Arc};

use super::{
    ComingPods, Competitor, Feasibility, Plugin, PodsAlike,
    company::{Changes, Mover, Movers},
    incoming::Incoming,
    load::{is_same, priority},
    pod_info::PodInfo,
    stages::{Question, Views, stages, view},
    verdict::feasibility,
};
use crate::model::{Labels, Pod, PodSpec, Resource, Text};

/// A pod that waits or terminates, or what a DaemonSet is about to do.
#[derive(Debug)]
pub(super) struct Rival<'s> {
    pub(super) name: Competitor,
    pub(super) changes: Changes<'s>,
    /// The pods that come.
    alike: Option<PodsAlike<'s>>,
    /// Whether its pods can count on other nodes, too.
    pub(super) counts: bool,
    /// Whether they come before those leave that leave for them.
    pub(super) surges: bool,
    /// Whether nothing can keep the pods from being created.
    #[cfg_attr(not(feature = "forecast"), expect(dead_code, reason = "only forecasts are sure of others"))]
    is_certain: bool,
    /// The place of the first rival that waits for any node as this one does: one is as the other. Its own if there is none.
    pub(super) kind: usize,
    /// The others as if only this rival had come and gone, once that was asked.
    pub(super) views: Option<Views<'s>>,
    /// What the scheduler makes now of a pod that waits, once that was asked.
    now: Option<Feasibility>,
}

impl<'s> Rival<'s> {
    pub(super) fn of_daemonset(base: &Incoming<'s>, coming: &'s ComingPods<'_>, movers: &mut Movers) -> Self {
        let state = base.info.state;
        let leaving = coming.nodes.values().chain(coming.leaving.values()).flatten().copied();
        let counts = leaving.chain(coming.pods.values()).any(|pod| base.counts(pod));
        let pod_on = |node| coming.pods.on_known(state.node(node));
        let come = movers.by_node(coming.nodes.keys().map(|node| (node, [pod_on(node)])));
        let leave = coming.nodes.iter().chain(&coming.leaving).filter(|(_, pods)| !pods.is_empty());
        let leave = movers.by_node(leave.map(|(node, pods)| (node, pods.iter().copied())));
        let (name, alike) =
            (Competitor::DaemonSet(coming.daemonset.clone()), Some(state.pods_like(coming.pods.map(|pod| pod))));
        let changes = Changes { come, leave, ..Changes::default() };
        let &ComingPods { surges, is_certain, .. } = coming;
        Self { name, changes, alike, counts, surges, is_certain, kind: 0, views: None, now: None }
    }

    pub(super) fn of_pod(base: &Incoming<'s>, pod: &'s Pod, movers: &mut Movers) -> Self {
        let (state, mut changes) = (base.info.state, Changes::default());
        match pod.node.name() {
            Some(node) if pod.is_being_deleted() || ends(pod) => changes.leave = movers.by_node([(node, [pod])]),
            Some(node) => changes.come = movers.by_node([(node, [pod])]),
            None if base.counts(pod) => {
                let mut alike = state.pods_like(pod);
                let mut is_for = |node: &Text| {
                    let refusal = alike.refusal_after(node.clone(), &[]);
                    refusal.is_none_or(|refusal| refusal.plugin != Plugin::NodeAffinity)
                };
                let nodes = state.nodes.iter().map(|info| &info.node.name).filter(|node| is_for(node));
                changes.come = movers.by_node(nodes.map(|node| (node, [pod])));
            }
            None => changes.anywhere.push(movers.of(pod)),
        }
        let (name, alike) = if pod.is_being_deleted() {
            (Competitor::Terminating(pod.key()), None)
        } else if ends(pod) {
            (Competitor::Ending(pod.key()), None)
        } else {
            (Competitor::Waiting(pod.key()), Some(state.pods_like(pod)))
        };
        let counts = base.counts(pod);
        Self { name, changes, alike, counts, surges: false, is_certain: false, kind: 0, views: None, now: None }
    }

    /// The stages of what makes a difference on a node, to which a pod comes or not, in the place of victims. In a surge none
    /// leaves before.
    pub(super) fn stages_on(&self, node: &Text, comes: bool, victims: &[Mover<'s>]) -> [Changes<'s>; 3] {
        let mut stages = stages(&self.changes_for(node, comes), self.leaves_late(node));
        let [.., both] = &mut stages;
        both.lose(node, victims);
        stages
    }

    /// What of its changes makes a difference on a node, to which a pod comes or not. In a surge none leaves before.
    pub(super) fn changes_for(&self, node: &Text, comes: bool) -> Cow<'_, Changes<'s>> {
        match (self.counts, comes) {
            (true, true) => Cow::Borrowed(&self.changes),
            (true, false) => Cow::Owned(self.changes.without(node, !self.is_surge_on(node))),
            (false, comes) => Cow::Owned(self.changes.of_node(node, comes, comes || !self.is_surge_on(node))),
        }
    }

    /// Whether it can decide a question for itself.
    pub(super) fn is_asked(&self, question: Question) -> bool {
        self.surges || question != Question::Delayed
    }

    /// Whether its pods can keep others off nodes by their anti-affinity.
    pub(super) fn excludes_others(&self) -> bool {
        self.alike.as_ref().is_some_and(|alike| !alike.incoming.info.spec.pod_anti_affinity.is_empty())
    }

    /// Whether all that leave do so after its pod has come.
    pub(super) fn leaves_late(&self, node: &Text) -> bool {
        !self.counts && self.is_surge_on(node)
    }

    /// Whether the pods on a node leave only once a new one is available. Those that are not ready do not wait for that.
    fn is_surge_on(&self, node: &Text) -> bool {
        let stays = |pod: &Pod| !pod.is_being_deleted() && pod.is_ready();
        let mut bound = self.changes.pods_leaving(node).filter(|pod| pod.node.is_bound());
        self.surges && self.changes.comes_to(node) && bound.all(stays)
    }

    /// What pods that wait for any node, and count only where they come to, have in common if they are alike.
    pub(super) fn waits_anywhere(&self) -> Option<(*const PodSpec, &'s Text, &'s Labels)> {
        let mover = self.changes.anywhere.first().filter(|_| !self.counts);
        let pod = mover.map(|mover| mover.pod).filter(|pod| pod.scheduling.is_none())?;
        Some((Arc::as_ptr(pod.spec.as_ref()?), &pod.namespace, &pod.labels))
    }

    /// Returns the pods of a DaemonSet that come to a node for certain, whatever happens elsewhere, and what changes there.
    #[cfg(feature = "forecast")]
    pub(super) fn coming_for_certain(&mut self, node: &Text) -> Option<(Competitor, &mut PodsAlike<'s>, Changes<'s>)> {
        let is_plain = self.is_certain && !self.counts && self.changes.pods_leaving(node).next().is_none();
        let changes =
            Some(self.changes.of_node(node, true, true)).filter(|_| is_plain && self.changes.comes_to(node))?;
        Some((self.name.clone(), self.alike.as_mut()?, changes))
    }

    /// The pods that have left a node before its pod comes there.
    fn left_before(&self, node: &Text) -> Vec<&'s Pod> {
        if self.surges { Vec::new() } else { self.changes.pods_leaving(node).collect() }
    }

    /// Returns the pods on a node whose place its pod takes there.
    pub(super) fn victims(&mut self, node: &Text) -> Vec<Mover<'s>> {
        let is_daemonset = matches!(self.name, Competitor::DaemonSet(_));
        let left = self.left_before(node);
        let Some(alike) = self.alike.as_mut().filter(|_| is_daemonset && self.changes.comes_to(node)) else {
            return Vec::new();
        };
        let priority_of = alike.incoming.info.priority();
        let Some(info) = alike.incoming.info.state.nodes.get(node) else { return Vec::new() };
        if !info.pods.iter().any(|pod| priority(pod) < priority_of) {
            return Vec::new();
        }
        let answer = alike.on_without(node.clone(), &left);
        let mut movers = Movers::default();
        let is_victim = |pod: &&Pod| answer.preempts().contains(&pod.key());
        info.pods.iter().filter(is_victim).map(|pod| movers.of(pod)).collect()
    }

    /// Whether its pod takes the place of one of these on a node, by itself or once others have come and gone.
    pub(super) fn preempts(
        &mut self,
        node: &Text,
        pods: &[&Pod],
        lowest: i32,
        others: impl FnOnce(Option<&Text>) -> Changes<'s>,
    ) -> bool {
        let comes = self.changes.comes_to(node);
        let gone = self.left_before(node);
        let Self { name, alike, now, .. } = self;
        let Some(alike) = alike.as_mut().filter(|alike| comes && alike.incoming.info.priority() > lowest) else {
            return false;
        };
        let takes_place = |answer: &Feasibility| pods.iter().any(|pod| answer.preempts().contains(&pod.key()));
        if let Competitor::Waiting(_) = name {
            // It takes places on one node, if it fits on none.
            return takes_place(now_of(now, alike));
        }
        if alike.refusal_after(node.clone(), &gone).is_some() && takes_place(&alike.on_without(node.clone(), &gone)) {
            return true;
        }
        let mut later = view(&alike.incoming, others(Some(node).filter(|_| !alike.incoming.counts_pods())));
        later.aim_at(node.clone());
        later.company.leave = gone;
        takes_place(&feasibility(&later))
    }

    /// Whether its pod may come to a node that others have left, or before they do, once the other rivals have come or gone.
    pub(super) fn may_come(
        &mut self,
        node: &Text,
        gone: &[&'s Pod],
        others: impl FnOnce(Option<&Text>) -> Changes<'s>,
    ) -> bool {
        let left = self.left_before(node);
        let stay: Vec<_> = if self.is_surge_on(node) { self.changes.pods_leaving(node).collect() } else { Vec::new() };
        let Some(alike) = &mut self.alike else { return false };
        // A pod that fits somewhere now is bound before others leave, unless another scheduler decides.
        if let Competitor::Waiting(_) = self.name
            && !alike.are_of_other_scheduler()
        {
            let now = now_of(&mut self.now, alike);
            if now.would_fit && alike.refusal_after(node.clone(), &[]).is_some() {
                return false;
            }
        }
        let gone = gone.iter().copied().filter(|pod| !stay.iter().any(|other| is_same(other, pod)));
        let gone: Vec<_> = left.iter().copied().chain(gone).collect();
        let Some(refusal) = alike.refusal_after(node.clone(), &gone) else { return true };
        // What counts pods can change, but not by the pod that waits for this one.
        let changes = || {
            let mut views = stages(&others(None), false).map(|stage| view(&alike.incoming, stage));
            [&gone, &left].into_iter().any(|gone| Question::Bound.is_yes(&mut views, node, gone))
        };
        refusal.plugin.counts_pods() && changes() || !alike.on_without(node.clone(), &gone).preempts().is_empty()
    }
}

/// Whether a pod ends by itself.
pub(super) fn ends(pod: &Pod) -> bool {
    pod.node.is_bound() && pod.controller.as_ref().is_some_and(|owner| owner.kind == "Job")
}

/// Asks the scheduler about a pod that waits, once.
fn now_of<'n>(now: &'n mut Option<Feasibility>, alike: &PodsAlike<'_>) -> &'n Feasibility {
    let PodInfo { state, pod, .. } = alike.incoming.info;
    now.get_or_insert_with(|| state.feasibility(pod))
}

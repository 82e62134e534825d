//! Whose place pods take once others have come, and whether DaemonSets of higher priority take that of a pod for certain.

use super::{
    Competitor, Feasibility, PodsAlike, SchedulingBlocker,
    company::{Changes, Movers},
    load::priority,
    pod_info::PodInfo,
    stages::view,
    verdict::feasibility,
};
use crate::model::{Key, Pod, Resource, Text};

impl<'s> PodsAlike<'s> {
    /// Returns whose place such a pod takes on a node that some pods have left, if all others come and go first.
    pub(crate) fn preempts_later(&mut self, node: &Text, leave: &[&'s Pod]) -> Vec<Key> {
        let PodInfo { state, spec, .. } = &self.incoming.info;
        let own = self.incoming.info.priority();
        let takes_places = !spec.never_preempts()
            && state.nodes.get(node).is_some_and(|info| info.pods.iter().any(|pod| priority(pod) < own));
        let Some(later) = self.competition().filter(|_| takes_places).and_then(|competition| competition.later(node))
        else {
            return Vec::new();
        };
        later.aim_at(node.clone());
        later.company.leave = leave.to_vec();
        feasibility(later).preempts().to_vec()
    }

    /// Returns what refuses such a pod on a node because a DaemonSet of higher priority comes there, no matter which is first. `None` if
    /// that is not certain. `own` are the DaemonSet's pods there; unless they are replaced, it takes their place as well.
    pub(crate) fn displaced(
        &mut self,
        node: &Text,
        own: &[&'s Pod],
        is_replaced: impl FnOnce() -> bool,
    ) -> Option<Displacement> {
        self.competition()?;
        let (base, competition) = (&self.incoming, self.competition.as_mut()?);
        let (by, alike, changes) = competition.only_near(node)?.coming_for_certain(node)?;
        if alike.incoming.info.priority() <= base.info.priority() || !alike.unknown_on(node).is_empty() {
            return None;
        }
        let takes_place_of = |answer: &Feasibility, pod: &Pod| answer.preempts() == [pod.key()];
        let is_running = |pod: &&&Pod| pod.node.is_bound() && !pod.is_being_deleted() && !pod.is_terminal();
        let running: Vec<_> = own.iter().filter(is_running).collect();
        let takes_running = running.iter().all(|pod| takes_place_of(&alike.on(node.clone()), pod));
        if !alike.on_without(node.clone(), own).would_fit || !(takes_running || is_replaced()) {
            return None;
        }
        let new = base.info.pod;
        let come = Movers::default().by_node([(node, [new])]);
        let mut beside = view(&alike.incoming, Changes { come, ..Changes::default() });
        beside.aim_at(node.clone());
        beside.company.leave = own.to_vec();
        if !takes_place_of(&feasibility(&beside), new) {
            return None;
        }
        let mut later = view(base, changes);
        later.aim_at(node.clone());
        later.company.leave = own.to_vec();
        let answer = feasibility(&later);
        let is_refused = !answer.would_fit && answer.preempts().is_empty();
        is_refused.then_some(Displacement { by, blockers: answer.blockers, takes_running })
    }
}

/// That a DaemonSet of higher priority takes the place of pods for certain.
pub(crate) struct Displacement {
    pub(crate) by: Competitor,
    /// What refuses the pods then.
    pub(crate) blockers: Vec<SchedulingBlocker>,
    /// Whether it takes the place of those that run now.
    pub(crate) takes_running: bool,
}

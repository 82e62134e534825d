//! Whose place pods take once others have come, and whether DaemonSets of higher priority take that of a pod for certain.

use super::{
    Competitor, Feasibility, PodsAlike, SchedulingBlocker,
    company::{Changes, Movers},
    competition::view,
    load::priority,
    pod_info::PodInfo,
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

    /// Returns what refuses such a pod on a node because a DaemonSet of higher priority comes there, whoever is first, and takes the
    /// place of these pods, which are there now; with its name. `None` if it does not for certain.
    pub(crate) fn displaced(&mut self, node: &Text, own: &[&'s Pod]) -> Option<(Competitor, Vec<SchedulingBlocker>)> {
        self.competition()?;
        let (base, competition) = (&self.incoming, self.competition.as_mut()?);
        let (name, alike, changes) = competition.only_near(node)?.coming_for_certain(node)?;
        if alike.incoming.info.priority() <= base.info.priority() || !alike.unknown_on(node).is_empty() {
            return None;
        }
        let takes_place_of = |answer: &Feasibility, pod: &Pod| answer.preempts() == [pod.key()];
        // Another of its own is not in the way of the new pod for long.
        let running = own.iter().filter(|pod| pod.node.is_bound() && !pod.is_being_deleted());
        let running: Vec<_> = running.collect();
        if !alike.on_without(node.clone(), own).would_fit
            || !running.iter().all(|pod| takes_place_of(&alike.on(node.clone()), pod))
        {
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
        (!answer.would_fit && answer.preempts().is_empty()).then_some((name, answer.blockers))
    }
}

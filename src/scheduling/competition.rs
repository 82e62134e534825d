//! Pods that come and go beside a new one: they may take its place first, or be what it needs.

use std::{borrow::Cow, collections::HashMap, fmt, ops::Range, sync::Arc};

use serde::Serialize;

use super::{
    ComingPods, Feasibility, Plugin, PodsAlike, as_text,
    company::{Changes, Company, Mover, Movers, MoversByNode},
    incoming::Incoming,
    load::{daemonset_of, is_same, priority},
    pod_info::PodInfo,
    verdict::feasibility,
};
use crate::model::{Key, Labels, Pod, PodSpec, Resource, Text};

/// Who comes or goes beside a new pod, so that it matters who is first.
///
/// ```
/// use daemonplan::{Key, scheduling::Competitor};
/// assert_eq!(Competitor::DaemonSet(Key::new("prod", "agent")).to_string(), "the pods of DaemonSet prod/agent");
/// assert_eq!(Competitor::Waiting(Key::new("prod", "web-0")).to_string(), "prod/web-0, which waits");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Competitor {
    /// A DaemonSet that is about to create or delete pods.
    DaemonSet(#[serde(serialize_with = "as_text")] Key),
    /// A pod that waits for a node.
    Waiting(#[serde(serialize_with = "as_text")] Key),
    /// A pod whose deletion has begun.
    Terminating(#[serde(serialize_with = "as_text")] Key),
    /// A pod of a Job, which ends.
    Ending(#[serde(serialize_with = "as_text")] Key),
}

impl fmt::Display for Competitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DaemonSet(daemonset) => write!(f, "the pods of DaemonSet {daemonset}"),
            Self::Waiting(pod) => write!(f, "{pod}, which waits"),
            Self::Terminating(pod) => write!(f, "{pod}, whose deletion has begun"),
            Self::Ending(pod) => write!(f, "{pod}, whose Job ends"),
        }
    }
}

/// How many rivals are named.
const MAX_NAMED: usize = 3;

/// Who comes and goes beside pods that are alike.
#[derive(Debug)]
pub(super) struct Competition<'s> {
    rivals: Vec<Rival<'s>>,
    /// The places of those that make a difference only on some nodes, by these.
    near: HashMap<Text, Vec<usize>>,
    /// The places of the others.
    everywhere: Vec<usize>,
    /// The pods as if all had come and gone.
    all: Views<'s>,
}

type Views<'s> = [Incoming<'s>; 3];

/// What is asked about a pod on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Whether it can come to be bound there, or take the place of other pods.
    Bound,
    /// Whether it can stay refused.
    Refused,
    /// Whether it can be refused for as long as others surge.
    Delayed,
}

impl Question {
    /// The views of which one decides: a moment is enough to be bound, and what ends does not refuse a pod for good.
    fn views(self) -> Range<usize> {
        match self {
            Self::Bound => 0..3,
            Self::Refused => 2..3,
            Self::Delayed => 0..1,
        }
    }

    /// Whether a rival can decide for itself.
    fn concerns(self, rival: &Rival<'_>) -> bool {
        match self {
            Self::Bound | Self::Refused => true,
            Self::Delayed => rival.surges,
        }
    }

    fn is_yes<'s>(self, views: &mut Views<'s>, node: &Text, leave: &[&'s Pod]) -> bool {
        views.get_mut(self.views()).into_iter().flatten().any(|view| {
            view.aim_at(node.clone());
            view.company.leave = leave.to_vec();
            let found = feasibility(view);
            (found.would_fit || !found.preempts().is_empty()) == (self == Self::Bound)
        })
    }
}

/// A pod that waits or terminates, or what a DaemonSet is about to do.
#[derive(Debug)]
pub(super) struct Rival<'s> {
    name: Competitor,
    changes: Changes<'s>,
    /// The pods that come.
    alike: Option<PodsAlike<'s>>,
    /// Whether its pods can count on other nodes, too.
    counts: bool,
    /// Whether they come before those leave that leave for them.
    surges: bool,
    /// Whether nothing can keep the pods from being created.
    #[cfg_attr(not(feature = "forecast"), expect(dead_code, reason = "only forecasts are sure of others"))]
    is_certain: bool,
    /// The place of the first rival that waits for any node as this one does: one is as the other. Its own if there is none.
    kind: usize,
    /// The others as if only this rival had come and gone, once that was asked.
    views: Option<Views<'s>>,
    /// What the scheduler makes now of a pod that waits, once that was asked.
    now: Option<Feasibility>,
}

impl<'s> Rival<'s> {
    fn of_daemonset(base: &Incoming<'s>, coming: &'s ComingPods<'_>, movers: &mut Movers) -> Self {
        let state = base.info.state;
        let mut pods = coming.nodes.values().chain(coming.leaving.values()).flatten().copied().chain([&coming.pod]);
        let counts = pods.any(|pod| base.counts(pod));
        let come = movers.by_node(coming.nodes.keys().map(|node| (node, [&coming.pod])));
        let leave = coming.nodes.iter().chain(&coming.leaving).filter(|(_, pods)| !pods.is_empty());
        let leave = movers.by_node(leave.map(|(node, pods)| (node, pods.iter().copied())));
        let (name, alike) = (Competitor::DaemonSet(coming.daemonset.clone()), Some(state.pods_like(&coming.pod)));
        let changes = Changes { come, leave, ..Changes::default() };
        let &ComingPods { surges, is_certain, .. } = coming;
        Self { name, changes, alike, counts, surges, is_certain, kind: 0, views: None, now: None }
    }

    fn of_pod(base: &Incoming<'s>, pod: &'s Pod, movers: &mut Movers) -> Self {
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
    fn stages_on(&self, node: &Text, comes: bool, victims: &[Mover<'s>]) -> [Changes<'s>; 3] {
        let mut stages = stages(&self.changes_for(node, comes), self.leaves_late(node));
        let [.., both] = &mut stages;
        both.lose(node, victims);
        stages
    }

    /// What of its changes makes a difference on a node, to which a pod comes or not. In a surge none leaves before.
    fn changes_for(&self, node: &Text, comes: bool) -> Cow<'_, Changes<'s>> {
        match (self.counts, comes) {
            (true, true) => Cow::Borrowed(&self.changes),
            (true, false) => Cow::Owned(self.changes.without(node, !self.is_surge_on(node))),
            (false, comes) => Cow::Owned(self.changes.of_node(node, comes, comes || !self.is_surge_on(node))),
        }
    }

    /// Whether all that leave do so after its pod has come.
    fn leaves_late(&self, node: &Text) -> bool {
        !self.counts && self.is_surge_on(node)
    }

    /// Whether the pods on a node leave only once a new one is available. Those that are not ready do not wait for that.
    fn is_surge_on(&self, node: &Text) -> bool {
        let stays = |pod: &Pod| !pod.is_being_deleted() && pod.is_ready();
        let mut bound = self.changes.pods_leaving(node).filter(|pod| pod.node.is_bound());
        self.surges && self.changes.comes_to(node) && bound.all(stays)
    }

    /// What pods that wait for any node, and count only where they come to, have in common if they are alike.
    fn waits_anywhere(&self) -> Option<(*const PodSpec, &'s Text, &'s Labels)> {
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
    fn victims(&mut self, node: &Text) -> Vec<Mover<'s>> {
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
    fn preempts(
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
    fn may_come(&mut self, node: &Text, gone: &[&'s Pod], others: impl FnOnce(Option<&Text>) -> Changes<'s>) -> bool {
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

impl<'s> Competition<'s> {
    pub(super) fn new(base: &Incoming<'s>) -> Self {
        let PodInfo { state, pod: own, .. } = base.info;
        let key_of = |pod: &Pod| daemonset_of(pod).map(|name| Key::new(&pod.namespace, name));
        let daemonset = key_of(own);
        let known: Vec<_> = state.coming.iter().map(|coming| &coming.daemonset).chain(&daemonset).collect();
        let enters = |spec: &PodSpec| spec.scheduling_gates.is_empty();
        let is_known = |pod: &Pod| key_of(pod).is_some_and(|daemonset| known.contains(&&daemonset));
        let waits = |pod: &&Pod| !pod.is_being_deleted() && pod.spec.as_deref().is_some_and(enters);
        let waiting = state.unbound.iter().copied().filter(waits);
        let on_nodes = state.nodes.iter().flat_map(|info| info.pods.iter());
        let leaving = on_nodes.filter(|pod| pod.is_being_deleted() || ends(pod));
        let pods = waiting.chain(leaving).filter(|pod| !is_known(pod));
        let mut movers = Movers::default();
        let daemonsets = state.coming_beside(daemonset.as_ref());
        let mut rivals: Vec<_> = daemonsets.map(|coming| Rival::of_daemonset(base, coming, &mut movers)).collect();
        rivals.extend(pods.map(|pod| Rival::of_pod(base, pod, &mut movers)));
        let (mut all, mut kinds) = (Changes::default(), HashMap::new());
        let (mut near, mut everywhere) = (HashMap::<_, Vec<_>>::new(), Vec::new());
        for (place, rival) in rivals.iter_mut().enumerate() {
            all.add(&rival.changes);
            rival.kind = rival.waits_anywhere().map_or(place, |kind| *kinds.entry(kind).or_insert(place));
            if rival.counts || !rival.changes.anywhere.is_empty() {
                everywhere.push(place);
                continue;
            }
            for node in rival.changes.nodes() {
                near.entry(node.clone()).or_default().push(place);
            }
        }
        Self { rivals, near, everywhere, all: stages(&all, false).map(|stage| view(base, stage)) }
    }

    /// Returns a rival, and what all others change: on a node, if it is given and their pods do not count elsewhere.
    fn split(&mut self, place: usize) -> Option<(&mut Rival<'s>, impl Fn(Option<&Text>) -> Changes<'s>)> {
        let (before, [rival, after @ ..]) = self.rivals.split_at_mut_checked(place)? else { return None };
        let others = |node: Option<&Text>| {
            let mut others = Changes::default();
            for other in before.iter().chain(&*after) {
                let excludes = |alike: &PodsAlike<'_>| !alike.incoming.info.spec.pod_anti_affinity.is_empty();
                match node.filter(|_| !other.alike.as_ref().is_some_and(excludes)) {
                    Some(node) => others.add(&other.changes.of_node(node, true, true)),
                    None => others.add(&other.changes),
                }
            }
            others
        };
        Some((rival, others))
    }

    /// Returns the places of the rivals that can make a difference on a node.
    fn near(&self, node: &Text) -> Vec<usize> {
        let mut near: Vec<_> = self.near.get(node).into_iter().flatten().chain(&self.everywhere).copied().collect();
        near.sort_unstable();
        near
    }

    /// Returns the pods once all rivals have come and gone, if some of them make a difference on a node.
    #[cfg(feature = "forecast")]
    pub(super) fn later(&mut self, node: &Text) -> Option<&mut Incoming<'s>> {
        let [.., later] = &mut self.all;
        Some(later).filter(|_| self.near.contains_key(node) || !self.everywhere.is_empty())
    }

    /// Returns the only rival that makes a difference on a node.
    #[cfg(feature = "forecast")]
    pub(super) fn only_near(&mut self, node: &Text) -> Option<&mut Rival<'s>> {
        if let [only] = *self.near(node) { self.rivals.get_mut(only) } else { None }
    }

    /// Returns the rivals by whom the answer about a node that some pods have left can become yes: each for itself, or else all
    /// together.
    fn decisive(&mut self, base: &Incoming<'s>, node: &Text, leave: &[&'s Pod], question: Question) -> Vec<Competitor> {
        let places = self.near(node);
        let is_concerned =
            places.iter().filter_map(|place| self.rivals.get(*place)).any(|rival| question.concerns(rival));
        if !is_concerned {
            return Vec::new();
        }
        // Those whose place a rival takes leave as well.
        let mut victims = HashMap::new();
        if question == Question::Bound {
            let of_rivals =
                places.iter().filter_map(|place| Some((*place, self.rivals.get_mut(*place)?.victims(node))));
            victims.extend(of_rivals.filter(|(_, victims)| !victims.is_empty()));
        }
        if victims.is_empty() && !question.is_yes(&mut self.all, node, leave) {
            return Vec::new();
        }
        let gone: Vec<_> = self.all[1].company.others.pods_leaving(node).chain(leave.iter().copied()).collect();
        let mut known = HashMap::<usize, bool>::new();
        let may_come = |place: &usize| {
            let (rival, others) = self.split(*place)?;
            let known = known.entry(rival.kind);
            let may_come = || !rival.changes.comes_to(node) || rival.may_come(node, &gone, others);
            Some((*place, *known.or_insert_with(may_come)))
        };
        let may_come: Vec<_> = places.iter().filter_map(may_come).collect();
        let mut known = HashMap::<usize, bool>::new();
        let alone = may_come.iter().filter_map(|(place, may_come)| {
            let rival = self.rivals.get_mut(*place).filter(|rival| question.concerns(rival))?;
            if let Some(decides) = known.get(&rival.kind) {
                return (*decides).then(|| rival.name.clone());
            }
            let victims = victims.get(place).map(Vec::as_slice).filter(|_| *may_come).unwrap_or_default();
            let decides = if victims.is_empty() && rival.counts && *may_come {
                let Rival { views: known, changes, .. } = rival;
                let views = || stages(changes, false).map(|stage| view(base, stage));
                question.is_yes(known.get_or_insert_with(views), node, leave)
            } else {
                let mut views = rival.stages_on(node, *may_come, victims).map(|stage| view(base, stage));
                question.is_yes(&mut views, node, leave)
            };
            known.insert(rival.kind, decides);
            decides.then(|| rival.name.clone())
        });
        let alone: Vec<_> = alone.take(MAX_NAMED).collect();
        if !alone.is_empty() {
            return alone;
        }
        let (mut together, mut late, mut lost) = (Changes::default(), Changes::default(), Vec::new());
        for (place, may_come) in may_come {
            let Some(rival) = self.rivals.get(place) else { continue };
            let victims = victims.get(&place).map(Vec::as_slice).filter(|_| may_come).unwrap_or_default();
            let mut changes = rival.changes_for(node, may_come);
            if question == Question::Delayed && rival.surges {
                changes.to_mut().leave.clear();
            }
            if rival.leaves_late(node) { &mut late } else { &mut together }.add(&changes);
            lost.extend_from_slice(victims);
        }
        let mut together = stages(&together, false);
        for (sum, stage) in together.iter_mut().zip(stages(&late, true)) {
            sum.add(&stage);
        }
        let [.., both] = &mut together;
        both.lose(node, &lost);
        // What surges has not left yet; the others have come and gone.
        let question = if question == Question::Delayed { Question::Refused } else { question };
        if !question.is_yes(&mut together.map(|stage| view(base, stage)), node, leave) {
            return Vec::new();
        }
        let near = places.iter().filter_map(|place| self.rivals.get(*place));
        near.map(|rival| rival.name.clone()).take(MAX_NAMED).collect()
    }
}

/// Whether a pod ends by itself.
fn ends(pod: &Pod) -> bool {
    pod.node.is_bound() && pod.controller.as_ref().is_some_and(|owner| owner.kind == "Job")
}

/// Asks the scheduler about a pod that waits, once.
fn now_of<'n>(now: &'n mut Option<Feasibility>, alike: &PodsAlike<'_>) -> &'n Feasibility {
    let PodInfo { state, pod, .. } = alike.incoming.info;
    now.get_or_insert_with(|| state.feasibility(pod))
}

/// The changes as if pods had come, as if they had gone, and as if they had done both. In a surge they go after others have come.
fn stages<'s>(changes: &Changes<'s>, surges: bool) -> [Changes<'s>; 3] {
    let come = Changes { leave: MoversByNode::default(), ..changes.clone() };
    let leave = Changes { leave: changes.leave.clone(), ..Changes::default() };
    [come, if surges { changes.clone() } else { leave }, changes.clone()]
}

/// The pods as if others had come and gone.
pub(super) fn view<'s>(base: &Incoming<'s>, changes: Changes<'s>) -> Incoming<'s> {
    let mut view = base.clone();
    for (by_node, by) in [(&changes.come, 1), (&changes.leave, -1)] {
        for (node, pods) in by_node {
            for pod in pods {
                view.count_other(base.info.state.nodes.get(node), pod.pod, by);
            }
        }
    }
    view.company = Company { others: Arc::new(changes), leave: Vec::new() };
    view
}

impl<'s> PodsAlike<'s> {
    /// Returns who may come or go first, so that such a pod is then not bound to a node that some pods have left: pods that wait,
    /// those whose deletion has begun, and those that [other DaemonSets](super::ClusterState::with_coming) create and delete. Empty if
    /// such a pod is bound all the same, or would take the place of other pods.
    ///
    /// The scheduler takes pods of equal priority in the order in which they came into its queue, which does not show in
    /// objects. <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#effect-of-pod-priority-on-scheduling-order>
    pub fn competitors(&mut self, node: impl Into<Text>, leave: &[&'s Pod]) -> Vec<Competitor> {
        self.decisive(&node.into(), leave, Question::Refused)
    }

    /// Returns the DaemonSets whose [surge](ComingPods::surging) may come first, so that such a pod is not bound to a node that some
    /// pods have left until that is over. Empty if there is room for both.
    ///
    /// ```
    /// use daemonplan::{Key, model::{Node, Pod}};
    /// use daemonplan::scheduling::{ClusterState, ComingPods, Competitor, SchedulingObjects};
    /// let node: Node = serde_json::from_str(r#"{"metadata": {"name": "a"}, "status": {"allocatable": {"pods": "2"}}}"#)?;
    /// let pod = |name: &str, spec: &str| serde_json::from_str::<Pod>(&format!(
    ///     r#"{{"metadata": {{"name": "{name}"}}, "spec": {{{spec} "containers": [{{"name": "main"}}]}},
    ///         "status": {{"conditions": [{{"type": "Ready", "status": "True"}}]}}}}"#,
    /// ));
    /// let (old, new) = (pod("old", r#""nodeName": "a","#)?, pod("new", "")?);
    /// let objects = SchedulingObjects::default();
    /// let coming = ComingPods::new(Key::new("prod", "other"), new.clone(), [("a".into(), vec![&old])]).surging(true);
    /// let state = ClusterState::new([&node], [&old], [], &objects).with_coming([coming]);
    /// assert_eq!(state.pods_like(&new).delaying("a", &[]), [Competitor::DaemonSet(Key::new("prod", "other"))]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn delaying(&mut self, node: impl Into<Text>, leave: &[&'s Pod]) -> Vec<Competitor> {
        self.decisive(&node.into(), leave, Question::Delayed)
    }

    /// Returns who must come or go first, so that such a pod is bound to a node that some pods have left, where it is refused now:
    /// for its pod affinity, or because others leave. Empty if that changes nothing.
    ///
    /// ```
    /// use daemonplan::{Key, model::{Node, Pod}};
    /// use daemonplan::scheduling::{ClusterState, ComingPods, Competitor, SchedulingObjects};
    /// let node: Node = serde_json::from_str(
    ///     r#"{"metadata": {"name": "a", "labels": {"host": "a"}}, "status": {"allocatable": {"pods": "9"}}}"#,
    /// )?;
    /// let pod = |name: &str, spec: &str| serde_json::from_str::<Pod>(&format!(
    ///     r#"{{"metadata": {{"name": "{name}", "labels": {{"app": "{name}"}}}}, "spec": {{{spec} "containers": []}}}}"#,
    /// ));
    /// let term = r#"{"topologyKey": "host", "labelSelector": {"matchLabels": {"app": "base"}}}"#;
    /// let affinity = format!(
    ///     r#""affinity": {{"podAffinity": {{"requiredDuringSchedulingIgnoredDuringExecution": [{term}]}}}},"#,
    /// );
    /// let (agent, objects) = (pod("agent", &affinity)?, SchedulingObjects::default());
    /// let base = ComingPods::new(Key::new("prod", "base"), pod("base", "")?, [("a".into(), Vec::new())]);
    /// let state = ClusterState::new([&node], [], [], &objects).with_coming([base]);
    /// assert_eq!(state.pods_like(&agent).needed("a", &[]), [Competitor::DaemonSet(Key::new("prod", "base"))]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn needed(&mut self, node: impl Into<Text>, leave: &[&'s Pod]) -> Vec<Competitor> {
        self.decisive(&node.into(), leave, Question::Bound)
    }

    /// Returns who would take the place of one of these pods on a node.
    ///
    /// ```
    /// use daemonplan::{Key, model::{Node, Pod}};
    /// use daemonplan::scheduling::{ClusterState, ComingPods, SchedulingObjects};
    /// let node: Node = serde_json::from_str(r#"{"metadata": {"name": "a"}, "status": {"allocatable": {"pods": "1"}}}"#)?;
    /// let pod = |name: &str, spec: &str| serde_json::from_str::<Pod>(&format!(
    ///     r#"{{"metadata": {{"name": "{name}"}}, "spec": {{{spec}, "containers": [{{"name": "main"}}]}}}}"#,
    /// ));
    /// let (low, high) = (pod("low", r#""nodeName": "a""#)?, pod("high", r#""priority": 9"#)?);
    /// let objects = SchedulingObjects::default();
    /// let coming = ComingPods::new(Key::new("prod", "high"), high, [("a".into(), Vec::new())]);
    /// let state = ClusterState::new([&node], [&low], [], &objects).with_coming([coming]);
    /// let own = Pod::new("prod", "");
    /// assert_eq!(state.pods_like(&own).preempting("a", &[&low]).len(), 1);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn preempting(&mut self, node: impl Into<Text>, pods: &[&Pod]) -> Vec<Competitor> {
        let node = node.into();
        let (Some(lowest), Some(competition)) = (pods.iter().map(|pod| priority(pod)).min(), self.competition()) else {
            return Vec::new();
        };
        let mut preempting = Vec::new();
        for place in competition.near(&node) {
            if let Some((rival, others)) = competition.split(place)
                && rival.preempts(&node, pods, lowest, others)
            {
                preempting.push(rival.name.clone());
            }
        }
        preempting
    }

    fn decisive(&mut self, node: &Text, leave: &[&'s Pod], question: Question) -> Vec<Competitor> {
        self.competition();
        let (base, competition) = (&self.incoming, self.competition.as_mut());
        competition.map(|competition| competition.decisive(base, node, leave, question)).unwrap_or_default()
    }

    /// Returns who comes and goes beside the pods; `None` if the scheduler is not asked about them.
    pub(super) fn competition(&mut self) -> Option<&mut Competition<'s>> {
        if self.are_bound() || self.incoming.gated().is_some() {
            return None;
        }
        let base = &self.incoming;
        Some(self.competition.get_or_insert_with(|| Competition::new(base).into()))
    }
}

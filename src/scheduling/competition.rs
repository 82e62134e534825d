//! Pods that come and go beside a new one: they may take its place first, or be what it needs.

use std::{collections::HashMap, fmt};

use serde::Serialize;

use super::{
    PodsAlike, as_text,
    company::{Changes, Movers},
    incoming::Incoming,
    load::{daemonset_of, priority},
    pod_info::PodInfo,
    rival::{Rival, ends},
    stages::{Question, Views, stages, view},
};
use crate::model::{Key, Pod, PodSpec, Text};

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
                match node.filter(|_| !other.excludes_others()) {
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
            places.iter().filter_map(|place| self.rivals.get(*place)).any(|rival| rival.is_asked(question));
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
        for (place, _) in may_come.iter().filter(|(_, may_come)| !may_come) {
            victims.remove(place);
        }
        let victims_of = |place: &usize| victims.get(place).map(Vec::as_slice).unwrap_or_default();
        let mut known = HashMap::<usize, bool>::new();
        let alone = may_come.iter().filter_map(|(place, may_come)| {
            let rival = self.rivals.get_mut(*place).filter(|rival| rival.is_asked(question))?;
            if let Some(decides) = known.get(&rival.kind) {
                return (*decides).then(|| rival.name.clone());
            }
            let victims = victims_of(place);
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
            let mut changes = rival.changes_for(node, may_come);
            if question == Question::Delayed && rival.surges {
                changes.to_mut().leave.clear();
            }
            if rival.leaves_late(node) { &mut late } else { &mut together }.add(&changes);
            lost.extend_from_slice(victims_of(&place));
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

    /// Returns the DaemonSets whose [surge](super::ComingPods::surging) may come first, so that such a pod is not bound to a node that some
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

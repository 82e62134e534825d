//! What the default scheduler and admission make of the DaemonSet's pods.

use std::collections::HashMap;

use indexmap::{IndexMap, IndexSet};
use jiff::Timestamp;
use serde::Serialize;

use super::{Explanation, NodeExplanation, PodExplanation};
use crate::{
    model::{Pod, PodSpec, ReportedEvent, Resource, Text},
    plan::MissingFact,
    planner::Snapshot,
    scheduling::{
        AdmissionChange, AdmissionRefusal, Admitted, Agreement, Cause, ClusterState, Feasibility, PodsAlike, QuotaRoom,
        RemedyChange, SchedulingBlocker, SchedulingRemedy, SchedulingVerdict, UnknownFact, as_texts,
    },
};

/// What the default scheduler makes of a pod, and what would help.
///
/// ```
/// use daemonplan::{explain::SchedulingExplanation, model::{Node, Pod}, scheduling::{ClusterState, SchedulingObjects}};
/// let node: Node = serde_json::from_str(r#"{"metadata": {"name": "a"}, "status": {"allocatable": {"pods": "0"}}}"#)?;
/// let pod: Pod = serde_json::from_str(
///     r#"{"metadata": {"name": "agent"}, "spec": {"nodeName": "a", "containers": [{"name": "agent"}]}}"#,
/// )?;
/// let objects = SchedulingObjects::default();
/// let explanation = SchedulingExplanation::new(&ClusterState::new([&node], [], [], &objects), &pod);
/// assert_eq!(explanation.remedies[0].text, "fits if the node allows 1 pod more");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SchedulingExplanation {
    /// What becomes of the pod, and why.
    #[serde(flatten)]
    pub feasibility: Feasibility,
    /// What would make the pod fit on its node.
    pub remedies: Vec<ExplainedRemedy>,
    /// How what the scheduler [said](Self::said) compares; `None` if it said nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// The Events about the pod, the latest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<ReportedEvent>,
}

/// A remedy, and its text.
///
/// ```
/// use daemonplan::{explain::SchedulingExplanation, model::Pod, scheduling::{ClusterState, SchedulingObjects}};
/// let objects = SchedulingObjects::default();
/// let state = ClusterState::new([], [], [], &objects);
/// assert!(SchedulingExplanation::new(&state, &Pod::new("prod", "agent")).remedies.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplainedRemedy {
    /// The changes.
    #[serde(flatten)]
    pub remedy: SchedulingRemedy,
    /// A sentence, such as `fits if prod/web leaves (cpu 200m)`.
    pub text: String,
}

/// What admission makes of the pods that are created.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace}, scheduling::{ClusterState, SchedulingObjects}};
/// let (daemonset, namespace) = (DaemonSet::new("prod", "agent", [("app", "agent")])?, Namespace::new("prod"));
/// let objects = SchedulingObjects::default();
/// let state = ClusterState::new([], [], [], &objects);
/// let explanation = Snapshot::new(&daemonset, &[], &[], &namespace).scheduling(&state).explain();
/// assert!(explanation.admission.unwrap().refusal.is_none());
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AdmissionExplanation {
    /// What it changes, which the DaemonSet controller does not see.
    pub changes: Vec<AdmissionChange>,
    /// Why it refuses the pods; `None` if it admits them.
    pub refusal: Option<AdmissionRefusal>,
    /// How many more of them each ResourceQuota has room for.
    pub quotas: Vec<QuotaRoom>,
    /// What is not known that the answer would need.
    #[serde(serialize_with = "as_texts", skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownFact>,
    /// The same for nodes on which the pods [request something else](crate::Settings::node_resources).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_nodes: Vec<AdmissionOnNodes>,
}

/// What admission makes of the pods for some nodes, on which they [request something else](crate::Settings::node_resources).
///
/// ```
/// use daemonplan::{Resource, Settings, Snapshot, affinity::NodeResources};
/// use daemonplan::model::{DaemonSet, Labels, Namespace, Node};
/// use daemonplan::scheduling::{ClusterState, SchedulingObjects};
/// let (daemonset, namespace) = (DaemonSet::new("prod", "agent", [("app", "agent")])?, Namespace::new("prod"));
/// let (objects, mut settings) = (SchedulingObjects::default(), Settings::default());
/// settings.node_resources.push(NodeResources::new(daemonset.key(), "size=large".parse().unwrap()));
/// let mut node = Node::new("a");
/// node.labels = Labels::from([("size", "large")]);
/// let nodes = [node];
/// let state = ClusterState::new(&nodes, [], [], &objects);
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).settings(&settings).scheduling(&state);
/// assert_eq!(snapshot.explain().admission.unwrap().on_nodes[0].nodes, "size=large");
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AdmissionOnNodes {
    /// The labels of the nodes.
    pub nodes: Text,
    /// What admission makes of the pods.
    #[serde(flatten)]
    pub admission: AdmissionExplanation,
}

impl SchedulingExplanation {
    /// Asks the default scheduler about a pod.
    pub fn new(state: &ClusterState<'_>, pod: &Pod) -> Self {
        let feasibility = state.feasibility(pod);
        let remedies = state.remedies(pod);
        let events = state.objects().events_about("Pod", &pod.key(), &pod.uid).into_iter().cloned().collect();
        Self::of(feasibility, remedies, pod, events)
    }

    /// Asks about a pod of a DaemonSet whose new pods are as `new`. Without a spec it is taken to be as these, which is not
    /// known.
    fn of_own(state: &ClusterState<'_>, pod: &Pod, new: &Pod) -> Self {
        if pod.spec.is_some() {
            return Self::new(state, pod);
        }
        let pod = Pod { spec: new.spec.clone(), ..pod.clone() };
        let mut explanation = Self::new(state, &pod);
        explanation.feasibility.unknown.push(UnknownFact::SpecByTemplate);
        explanation.agreement =
            said(&pod, &explanation.events).map(|(said, _)| explanation.feasibility.agreement(said));
        explanation
    }

    fn of(feasibility: Feasibility, remedies: Vec<SchedulingRemedy>, pod: &Pod, events: Vec<ReportedEvent>) -> Self {
        let agreement = said(pod, &events).map(|(said, _)| feasibility.agreement(said));
        let remedies = remedies.into_iter().map(|remedy| ExplainedRemedy { text: remedy.to_string(), remedy });
        Self { remedies: remedies.collect(), agreement, events, feasibility }
    }

    /// Returns what the scheduler said last about a pod that it has not bound, and when: the message of the condition
    /// `PodScheduled`, or that of an Event.
    pub fn said<'s>(&'s self, pod: &'s Pod) -> Option<(&'s Text, Option<Timestamp>)> {
        said(pod, &self.events)
    }

    /// Returns the scheduler's own reasons why the pod's node is refused, such as `Insufficient cpu`; or for whom it is kept free.
    pub fn reasons(&self) -> String {
        let Feasibility { blockers, kept_free_for, .. } = &self.feasibility;
        let reasons = blockers.iter().flat_map(SchedulingBlocker::reasons);
        let kept_free = kept_free_for.iter().map(|pod| format!("the node is kept free for {pod}"));
        reasons.chain(kept_free).collect::<IndexSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Returns why the pod's node is refused by names and numbers, each after the plugins that say so.
    pub fn causes(&self) -> Vec<String> {
        let mut causes = IndexMap::<_, IndexSet<_>>::new();
        for blocker in &self.feasibility.blockers {
            for cause in &blocker.causes {
                causes.entry(cause.explain()).or_default().insert(blocker.plugin.as_str());
            }
        }
        let by_plugins = causes.into_iter().map(|(cause, plugins)| {
            let plugins: Vec<_> = plugins.into_iter().collect();
            format!("{}: {cause}", plugins.join(", "))
        });
        let kept_free = self.feasibility.kept_free_for.iter();
        by_plugins.chain(kept_free.map(|pod| format!("the node is kept free for {pod}, which waits"))).collect()
    }

    /// Returns what would help: the remedies, which were tried out, and then what to do about causes that no remedy changes.
    pub fn help(&self) -> Vec<String> {
        let causes = self.feasibility.blockers.iter().flat_map(|blocker| &blocker.causes);
        let advice: IndexSet<_> = causes.filter_map(Cause::advice).collect();
        self.remedies.iter().map(|remedy| remedy.text.clone()).chain(advice).collect()
    }

    /// Whether it is sure that the pod is not bound: nothing that is not known could change that, nor would it take the place
    /// of others.
    pub fn is_refused(&self) -> bool {
        let Feasibility { would_fit, blockers, kept_free_for, .. } = &self.feasibility;
        let has_reason = !blockers.is_empty() || !kept_free_for.is_empty();
        !would_fit && self.feasibility.preempts().is_empty() && has_reason
    }
}

impl Snapshot<'_> {
    /// Asks the default scheduler about a pod of the DaemonSet. If the pod's spec is not known, it is taken to be as the
    /// current template says.
    ///
    /// ```
    /// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node, Pod, PodNode}};
    /// use daemonplan::scheduling::{ClusterState, SchedulingObjects};
    /// let (daemonset, namespace) = (DaemonSet::new("prod", "agent", [("app", "agent")])?, Namespace::new("prod"));
    /// let (nodes, mut pods) = ([Node::new("a")], [Pod::new("prod", "agent-x2k")]);
    /// pods[0].node = PodNode::Intended("a".into());
    /// let objects = SchedulingObjects::default();
    /// let state = ClusterState::new(&nodes, &pods, [&namespace], &objects);
    /// let snapshot = Snapshot::new(&daemonset, &nodes, &pods, &namespace);
    /// assert!(snapshot.explain_pod(&state, &pods[0]).feasibility.would_fit);
    /// # Ok::<(), daemonplan::model::RequirementError>(())
    /// ```
    pub fn explain_pod(&self, state: &ClusterState<'_>, pod: &Pod) -> SchedulingExplanation {
        match self.admitted_pods(state.objects()) {
            Some(new) => {
                let (new, _) = new.on_known(pod.node.name().and_then(|node| state.node(node)));
                SchedulingExplanation::of_own(state, pod, new)
            }
            None => SchedulingExplanation::new(state, pod),
        }
    }

    /// Adds what the scheduler and admission make of the pods to an explanation of this snapshot.
    ///
    /// ```
    /// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node}};
    /// use daemonplan::scheduling::{ClusterState, SchedulingObjects};
    /// let (daemonset, namespace) = (DaemonSet::new("prod", "agent", [("app", "agent")])?, Namespace::new("prod"));
    /// let (nodes, objects) = ([Node::new("a")], SchedulingObjects::default());
    /// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace);
    /// let mut explanation = snapshot.explain();
    /// snapshot.explain_scheduling(&ClusterState::new(&nodes, [], [], &objects), &mut explanation);
    /// assert!(explanation.nodes[0].new_pod.as_ref().unwrap().feasibility.would_fit);
    /// # Ok::<(), daemonplan::model::RequirementError>(())
    /// ```
    pub fn explain_scheduling(&self, state: &ClusterState<'_>, explanation: &mut Explanation) {
        let Some(new) = self.admitted_pods(state.objects()) else { return };
        let admissions = new.map(|(_, admitted)| self.explain_admission(state, admitted.clone()));
        let new = new.map(|(pod, _)| pod);
        let daemonset = self.daemonset;
        let events = state.objects().events_about("DaemonSet", &daemonset.key(), &daemonset.uid);
        explanation.events = events.into_iter().cloned().collect();
        for node in &mut explanation.nodes {
            let refusal = &admissions.on_known(state.node(&node.node)).refusal;
            node.is_refused = refusal.is_some() && node.creation.is_some();
        }
        let is_used = |own: &AdmissionExplanation| {
            let mut known = explanation.nodes.iter().filter_map(|node| state.node(&node.node));
            known.any(|node| std::ptr::eq(admissions.on(node), own))
        };
        let used = admissions.special().filter(|(_, admission)| is_used(admission));
        let on_nodes = used.map(|(nodes, admission)| AdmissionOnNodes {
            nodes: nodes.to_string().into(),
            admission: admission.clone(),
        });
        explanation.admission =
            Some(AdmissionExplanation { on_nodes: on_nodes.collect(), ..admissions.general().clone() });
        if self.missing.contains(MissingFact::Pods) || self.missing.contains(MissingFact::Nodes) {
            return;
        }
        let pods: HashMap<&Text, &Pod> = self.pods.iter().map(|pod| (&pod.name, pod)).collect();
        let waiting = |pod: &PodExplanation| pods.get(&pod.pod).copied().filter(|pod| is_waiting(pod));
        let mut alike = state.pods_like(new.clone());
        for node in explanation.nodes.iter_mut().filter(|node| node.exists) {
            let known = state.node(&node.node);
            let new = *new.on_known(known);
            let refusal = &admissions.on_known(known).refusal;
            let is_admitted = refusal.as_ref().is_none_or(AdmissionRefusal::is_of_room);
            for explained in &mut node.pods {
                let Some(pod) = waiting(explained) else { continue };
                let mut scheduling = SchedulingExplanation::of_own(state, pod, new);
                let differs =
                    |own: &PodSpec, new: &PodSpec| !own.is_scheduled_as(new) || own.tolerations != new.tolerations;
                let specs = pod.spec.as_ref().zip(new.spec.as_ref());
                let is_other = specs.is_some_and(|(own, new)| differs(own, new));
                let mut fits_again = || is_admitted && alike.on_without(node.node.clone(), &[pod]).would_fit;
                let waits = scheduling.feasibility.verdict != SchedulingVerdict::Fits
                    && scheduling.feasibility.preempts().is_empty();
                if explained.deletion.is_none() && is_other && waits && fits_again() {
                    let remedy = SchedulingRemedy { changes: vec![RemedyChange::Recreated] };
                    scheduling.remedies.insert(0, ExplainedRemedy { text: remedy.to_string(), remedy });
                }
                explained.scheduling = Some(scheduling);
            }
            // A pod that admission refuses never comes to the scheduler.
            if node.creation.is_some() && is_admitted {
                node.new_pod = Some(new_pod_on(node, &mut alike, &pods, new));
            }
        }
    }
}

impl Snapshot<'_> {
    /// Explains what admission makes of pods that request the same.
    fn explain_admission(&self, state: &ClusterState<'_>, admitted: Admitted) -> AdmissionExplanation {
        let Admitted { spec, changes, mut refusal, mut unknown } = admitted;
        // A quota has a status within moments.
        let unchecked = refusal.take_if(|refusal| refusal.is_of_status());
        unknown.extend(unchecked.map(|refusal| UnknownFact::Creation { message: refusal.to_string().into() }));
        let quotas = self.admission(state.objects()).quota_room(&spec);
        let has_room_later = |refusal: &AdmissionRefusal| {
            let later = self.quotas_after_deletions(state);
            refusal.is_of_room() && later.lacking(&later.use_of(&spec)).is_none()
        };
        unknown.extend(refusal.as_ref().is_some_and(has_room_later).then_some(UnknownFact::QuotaRoom));
        AdmissionExplanation { changes, refusal, quotas, unknown, on_nodes: Vec::new() }
    }
}

fn said<'s>(pod: &'s Pod, events: &'s [ReportedEvent]) -> Option<(&'s Text, Option<Timestamp>)> {
    let condition = pod.problem.as_ref().filter(|problem| !problem.unschedulable.is_empty());
    let condition = condition.map(|problem| (&problem.unschedulable, problem.unschedulable_since));
    let mut events = events.iter().filter(|event| event.reason == "FailedScheduling" && !pod.node.is_bound());
    condition.or_else(|| events.next().map(|event| (&event.message, event.last)))
}

/// A pod that the scheduler has yet to bind.
fn is_waiting(pod: &Pod) -> bool {
    !pod.node.is_bound() && !pod.is_terminal() && !pod.is_being_deleted()
}

/// Decides about the pod that is created on a node: pods that are deleted there before it release what they hold.
fn new_pod_on<'p>(
    node: &NodeExplanation,
    alike: &mut PodsAlike<'p>,
    pods: &HashMap<&Text, &'p Pod>,
    new: &Pod,
) -> SchedulingExplanation {
    let going = node.pods.iter().filter(|pod| pod.deletion.is_some()).filter_map(|pod| pods.get(&pod.pod).copied());
    let going: Vec<_> = going.filter(|pod| pod.node.is_bound()).collect();
    let mut feasibility = alike.on_without(node.node.clone(), &going);
    if feasibility.would_fit {
        let competitors = alike.competitors(node.node.clone(), &going);
        feasibility.unknown.extend(UnknownFact::of_competitors(&node.node, competitors));
    } else if feasibility.preempts().is_empty() {
        let needed = alike.needed(node.node.clone(), &going);
        feasibility.unknown.extend(UnknownFact::of_needed(&node.node, needed));
    }
    let remedies = if feasibility.would_fit { Vec::new() } else { alike.remedies(node.node.clone(), &going) };
    SchedulingExplanation::of(feasibility, remedies, new, Vec::new())
}

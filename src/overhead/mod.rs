//! Computes which DaemonSets would run on a node that does not exist yet, and what they would request there.

mod candidate;
mod room;

use std::{borrow::Borrow, collections::HashSet, fmt};

use serde::{Serialize, ser::SerializeStruct};

use crate::{
    affinity::PodBlueprint,
    context::SyncMode,
    model::{DaemonSet, Key, Namespace, Node, Pod, Quantity, Resource, ResourceList, Text},
    placement::{PlacementReason, PlacementRules},
    planner::Snapshot,
    scheduling::{AdmissionChange, AdmissionRefusal, ClusterState, SchedulingObjects, UnknownFact},
    selector::PerNode,
    settings::Settings,
};
use candidate::{Candidate, CandidatePod, FleetPod, amounts, problem_of};

pub use room::{Lacking, PendingDaemonSet};

/// All DaemonSets of a cluster, to compute which of them would run on a node that does not exist yet. Autoscalers use
/// this to know what is left of a new node.
///
/// Describe the node as it will be in use. Leave out taints that only keep pods away while it starts, except those that
/// DaemonSets tolerate by default.
///
/// ```
/// use daemonplan::{Settings, model::{DaemonSet, Namespace, Node}, overhead::DaemonSetFleet};
/// let daemonset: DaemonSet = serde_json::from_str(r#"{
///     "metadata": {"namespace": "prod", "name": "agent"},
///     "spec": {
///         "selector": {"matchLabels": {"app": "agent"}},
///         "template": {
///             "metadata": {"labels": {"app": "agent"}},
///             "spec": {"containers": [{"resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}]}
///         }
///     }
/// }"#)?;
/// let namespace = Namespace::new("prod");
/// let fleet = DaemonSetFleet::new([(&daemonset, &namespace)], &Settings::default());
/// let node = Node::new("of-a-new-pool");
/// let overhead = fleet.overhead(&node);
/// assert_eq!(overhead.to_string(), "1 of 1 DaemonSet would run: cpu 250m, memory 64Mi, pods 1");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug)]
pub struct DaemonSetFleet {
    /// By namespace and name.
    members: Vec<FleetMember>,
    /// DaemonSets with equal rules share a group, which is evaluated once per node.
    groups: Vec<PlacementGroup>,
    /// All requested resources, sorted.
    resources: Vec<Text>,
    problems: Vec<RequestsError>,
}

#[derive(Debug)]
struct FleetMember {
    key: Key,
    /// The index of its group.
    group: usize,
    pods: PerNode<FleetPod>,
}

/// DaemonSets with equal rules.
#[derive(Debug)]
struct PlacementGroup {
    rules: PlacementRules,
    mode: SyncMode,
    count: usize,
    /// A DaemonSet whose pods differ is alone in its group.
    pods: PerNode<GroupPods>,
}

/// What becomes of the pods of a group.
#[derive(Debug)]
struct GroupPods {
    /// Why admission refuses them.
    not_admitted: Option<AdmissionRefusal>,
    /// The sum of their requests.
    requests: AmountsByIndex,
}

/// Amounts by the index of the fleet's resources.
type AmountsByIndex = Vec<Quantity>;

/// The DaemonSets of a [`DaemonSetFleet`] that would run on a node, and their requests.
///
/// ```
/// use daemonplan::{model::Node, overhead::DaemonSetFleet};
/// let fleet = DaemonSetFleet::of([]);
/// assert_eq!(fleet.overhead(&Node::new("node-7")).running().count(), 0);
/// ```
#[derive(Debug)]
pub struct Overhead<'f> {
    fleet: &'f DaemonSetFleet,
    node: &'f Node,
    /// Whether the DaemonSets of each group would run.
    run: Vec<bool>,
    count: usize,
    sums: AmountsByIndex,
}

/// Why a DaemonSet would not run on a node.
///
/// ```
/// use daemonplan::overhead::Refusal;
/// assert_eq!(Refusal::BeingDeleted.to_string(), "the DaemonSet is being deleted");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "refusal", content = "reason")]
#[non_exhaustive]
pub enum Refusal {
    /// A placement rule does not hold.
    NotPlaced(PlacementReason),
    /// The DaemonSet is being deleted.
    BeingDeleted,
    /// The selector is empty and selects all pods, so that the DaemonSet is left alone.
    SelectsAllPods,
    /// The namespace that was given is not the DaemonSet's, so that its node selector is not known.
    OtherNamespace,
    /// Admission refuses its pods, so that none are created.
    NotAdmitted(AdmissionRefusal),
}

/// A template whose requests cannot be read. The API server refuses such a template.
///
/// ```
/// use daemonplan::{Settings, model::{DaemonSet, Namespace}, overhead::DaemonSetFleet};
/// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// daemonset.template = serde_json::from_str(r#"{"spec": {"overhead": {"cpu": "much"}}}"#).unwrap();
/// let fleet = DaemonSetFleet::new([(&daemonset, &Namespace::new("prod"))], &Settings::default());
/// assert_eq!(
///     fleet.problems()[0].to_string(),
///     "DaemonSet prod/agent: spec.template.spec: expected a quantity such as 250m, 2 or 64Mi, found \"much\"",
/// );
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[error("DaemonSet {daemonset}: spec.template.spec: {source}")]
#[non_exhaustive]
pub struct RequestsError {
    /// The DaemonSet.
    pub daemonset: Key,
    /// The cause.
    pub source: serde_json::Error,
}

impl DaemonSetFleet {
    /// Creates a fleet from DaemonSets, each with its namespace. A DaemonSet whose requests cannot be read is one of the
    /// [`problems`](Self::problems) and counts as requesting nothing.
    pub fn new<D: Borrow<DaemonSet>, N: Borrow<Namespace>>(
        daemonsets: impl IntoIterator<Item = (D, N)>,
        settings: &Settings,
    ) -> Self {
        Self::build(daemonsets.into_iter().map(|(daemonset, namespace)| {
            let (daemonset, namespace) = (daemonset.borrow(), namespace.borrow());
            let blueprint = PodBlueprint::new(daemonset, &daemonset.template, "");
            let blueprints = blueprint.on_nodes(settings.resources_of(daemonset));
            Candidate {
                key: daemonset.key(),
                rules: PlacementRules::new(daemonset, namespace, settings),
                mode: SyncMode::of(daemonset, namespace),
                problem: problem_of(&daemonset.template),
                pods: blueprints.map(|blueprint| CandidatePod::new(blueprint.pod("", ""))),
            }
        }))
    }

    /// Creates a fleet from the DaemonSets of snapshots of one cluster, each with its settings. With
    /// [scheduling facts](Snapshot::scheduling) it counts what admission makes of the pods: what LimitRanges and RuntimeClasses
    /// add, and which pods are refused. How much room a ResourceQuota has does not depend on the node, and does not count.
    pub fn of<'a>(snapshots: impl IntoIterator<Item = Snapshot<'a>>) -> Self {
        Self::build(snapshots.into_iter().map(|snapshot| {
            let daemonset = snapshot.daemonset;
            let none = SchedulingObjects::default();
            let objects = snapshot.scheduling.map_or(&none, ClusterState::objects);
            let admitted = snapshot.admitted_pods_anywhere(snapshot.history().hash(), objects);
            let pods = admitted.map(|pods| pods.map(CandidatePod::admitted));
            Candidate {
                key: daemonset.key(),
                rules: snapshot.placement_rules(),
                mode: SyncMode::of(daemonset, snapshot.namespace),
                problem: problem_of(&daemonset.template),
                pods: pods.unwrap_or_else(|| CandidatePod::new(Pod::new("", "")).into()),
            }
        }))
    }

    fn build(candidates: impl Iterator<Item = Candidate>) -> Self {
        let mut fleet = Self { members: Vec::new(), groups: Vec::new(), resources: Vec::new(), problems: Vec::new() };
        let mut all: Vec<_> = candidates.collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        for Candidate { key, problem, pods, .. } in &mut all {
            let problem = problem.take().map(|source| RequestsError { daemonset: key.clone(), source });
            if problem.is_some() {
                pods.values_mut().for_each(|CandidatePod { pod, .. }| pod.spec = None);
            }
            fleet.problems.extend(problem);
            let requests = pods.values().filter_map(|CandidatePod { pod, .. }| Some(pod.spec.as_ref()?.requests()));
            requests.for_each(|requests| fleet.resources.extend(requests.iter().map(|(resource, _)| resource.clone())));
        }
        fleet.resources.sort();
        fleet.resources.dedup();
        for Candidate { key, rules, mode, pods, .. } in all {
            let counted = pods.map(|pod| GroupPods {
                not_admitted: pod.not_admitted.clone(),
                requests: amounts(pod.pod.spec.as_deref(), &fleet.resources),
            });
            let group = fleet.group(rules, mode, counted);
            let pods = pods.map(|pod| pod.of_fleet(&key, &fleet.resources));
            fleet.members.push(FleetMember { key, group, pods });
        }
        fleet
    }

    fn member(&self, daemonset: &Key) -> Option<&FleetMember> {
        self.members.iter().find(|member| member.key == *daemonset)
    }

    /// Returns the DaemonSets whose requests cannot be read, by namespace and name.
    pub fn problems(&self) -> &[RequestsError] {
        &self.problems
    }

    /// Adds a DaemonSet with these rules to its group. Returns the group's index.
    fn group(&mut self, rules: PlacementRules, mode: SyncMode, pods: PerNode<GroupPods>) -> usize {
        let is_alike = |group: &PlacementGroup| {
            let not_admitted =
                |pods: &PerNode<GroupPods>| pods.is_uniform().then(|| pods.general().not_admitted.clone());
            let own = not_admitted(&pods);
            group.mode == mode && own.is_some() && not_admitted(&group.pods) == own && group.rules == rules
        };
        if let Some(index) = self.groups.iter().position(is_alike)
            && let Some(group) = self.groups.get_mut(index)
        {
            group.count += 1;
            let sums = group.pods.values_mut().zip(pods.values());
            sums.for_each(|(sum, pods)| add(&mut sum.requests, &pods.requests));
            return index;
        }
        self.groups.push(PlacementGroup { rules, mode, count: 1, pods });
        self.groups.len() - 1
    }

    /// Computes which DaemonSets would run on `node`, and what they would request there.
    pub fn overhead<'f>(&'f self, node: &'f Node) -> Overhead<'f> {
        let mut overhead = Overhead {
            fleet: self,
            node,
            run: Vec::with_capacity(self.groups.len()),
            count: 0,
            sums: vec![Quantity::default(); self.resources.len()],
        };
        for group in &self.groups {
            let pods = group.pods.on(node);
            let is_created = group.mode == SyncMode::Reconcile && pods.not_admitted.is_none();
            let runs = is_created && group.rules.verdict(node).should_run();
            overhead.run.push(runs);
            if runs {
                overhead.count += group.count;
                add(&mut overhead.sums, &pods.requests);
            }
        }
        overhead
    }
}

fn add(sums: &mut AmountsByIndex, more: &AmountsByIndex) {
    for (sum, amount) in sums.iter_mut().zip(more).filter(|(_, amount)| !amount.is_zero()) {
        *sum += *amount;
    }
}

impl<'f> Overhead<'f> {
    /// Returns the DaemonSets that would run, by namespace and name.
    pub fn running(&self) -> impl Iterator<Item = &'f Key> {
        self.members().map(|(key, _)| key)
    }

    /// Returns those that would run and whose requests are not known, because they cannot be read. The sum leaves them
    /// out.
    pub fn unknown(&self) -> impl Iterator<Item = &'f RequestsError> {
        let running: HashSet<&Key> = self.running().collect();
        self.fleet.problems.iter().filter(move |problem| running.contains(&problem.daemonset))
    }

    /// Returns what one DaemonSet requests: pairs of a resource and an amount.
    pub fn requests_of(&self, daemonset: &Key) -> impl Iterator<Item = (&'f Text, Quantity)> {
        let resources = &self.fleet.resources;
        let member = self.fleet.member(daemonset);
        let pod = member.map(|member| member.pods.on(self.node));
        let requests = pod.into_iter().flat_map(|pod| resources.iter().zip(pod.requests.iter().copied()));
        requests.filter(|(_, amount)| !amount.is_zero())
    }

    /// Returns what of these requests admission adds: the defaults of LimitRanges, and the overhead of a RuntimeClass.
    pub fn added_to(&self, daemonset: &Key) -> &'f [AdmissionChange] {
        self.fleet.member(daemonset).map(|member| member.pods.on(self.node).added.as_slice()).unwrap_or_default()
    }

    /// Returns what is not known that decides whether the DaemonSets that would run fit on the node, by DaemonSet.
    pub fn unknown_facts(&self) -> impl Iterator<Item = (&'f Key, UnknownFact)> {
        self.members().flat_map(|(key, pod)| self.unknown_of(pod).map(move |fact| (key, fact)))
    }

    fn unknown_of(&self, pod: &'f FleetPod) -> impl Iterator<Item = UnknownFact> {
        let of_kubelet = pod.pod.spec.iter().flat_map(|spec| UnknownFact::of_kubelet(spec, self.node));
        pod.unknown.iter().cloned().chain(of_kubelet)
    }

    /// Returns the sum of the requests of the DaemonSets that would run, by resource. `pods` is the number of pods.
    pub fn requests(&self) -> impl Iterator<Item = (&str, Quantity)> {
        let sums = self.fleet.resources.iter().map(Text::as_str).zip(self.sums.iter().copied());
        let pods = Quantity::from(u64::try_from(self.count).unwrap_or(u64::MAX));
        sums.filter(|(_, sum)| !sum.is_zero()).chain([("pods", pods)])
    }

    /// Returns the DaemonSets that would not run, by namespace and name, each with the reason.
    pub fn refused(&self) -> impl Iterator<Item = (&'f Key, Refusal)> {
        let refused = self.fleet.members.iter().filter(|member| self.run.get(member.group) == Some(&false));
        refused.filter_map(|member| {
            let PlacementGroup { mode, rules, pods, .. } = self.fleet.groups.get(member.group)?;
            let refusal = match mode {
                SyncMode::LeaveAlone => Refusal::SelectsAllPods,
                SyncMode::OtherNamespace => Refusal::OtherNamespace,
                SyncMode::CollectDependents | SyncMode::AwaitFinalizers => Refusal::BeingDeleted,
                SyncMode::Reconcile => match &pods.on(self.node).not_admitted {
                    Some(refusal) if rules.verdict(self.node).should_run() => Refusal::NotAdmitted(refusal.clone()),
                    _ => Refusal::NotPlaced(rules.reason(self.node)),
                },
            };
            Some((&member.key, refusal))
        })
    }
}

impl fmt::Display for Overhead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.fleet.members.len();
        write!(f, "{} of {all} DaemonSet{} would run", self.count, if all == 1 { "" } else { "s" })?;
        for (number, (resource, sum)) in self.requests().enumerate() {
            write!(f, "{}{resource} {sum}", if number > 0 { ", " } else { ": " })?;
        }
        for (number, problem) in self.unknown().enumerate() {
            write!(f, "{}{}", if number > 0 { ", " } else { ", and what these request: " }, problem.daemonset)?;
        }
        Ok(())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPlaced(reason) => reason.fmt(f),
            Self::NotAdmitted(refusal) => write!(f, "{} refuses its pods: {refusal}", refusal.plugin),
            Self::BeingDeleted => f.write_str("the DaemonSet is being deleted"),
            Self::OtherNamespace => f.write_str("another namespace than the DaemonSet's was given"),
            Self::SelectsAllPods => {
                f.write_str("the DaemonSet is left alone: its selector is empty and selects all pods")
            }
        }
    }
}

impl Serialize for Overhead<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Running<'a> {
            daemon_set: &'a Key,
            requests: ResourceList,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            added: Vec<String>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            unknown: Vec<String>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Refused<'a> {
            daemon_set: &'a Key,
            #[serde(flatten)]
            refusal: Refusal,
            message: String,
            reasons: Vec<String>,
        }
        let running = self.members().map(|(daemon_set, pod)| Running {
            daemon_set,
            requests: self.requests_of(daemon_set).map(|(resource, amount)| (resource.clone(), amount)).collect(),
            added: pod.added.iter().map(ToString::to_string).collect(),
            unknown: self.unknown_of(pod).map(|fact| fact.to_string()).collect(),
        });
        let refused = self.refused().map(|(daemon_set, refusal)| {
            let (message, reasons) = (refusal.to_string(), self.reasons_against(daemon_set));
            Refused { daemon_set, refusal, message, reasons }
        });
        let sums = self.requests().map(|(resource, amount)| (Text::from(resource), amount)).collect::<ResourceList>();
        let unknown: Vec<_> = self.unknown().map(ToString::to_string).collect();
        let mut fields = serializer.serialize_struct("Overhead", 10)?;
        fields.serialize_field("node", &self.node.name)?;
        fields.serialize_field("requests", &sums)?;
        fields.serialize_field("running", &running.collect::<Vec<_>>())?;
        fields.serialize_field("refused", &refused.collect::<Vec<_>>())?;
        fields.serialize_field("allocatable", &self.node.allocatable.as_deref())?;
        fields.serialize_field("left", &self.left())?;
        fields.serialize_field("fits", &self.fits())?;
        fields.serialize_field("lacking", &self.lacking().unwrap_or_default())?;
        fields.serialize_field("pending", &self.pending())?;
        if unknown.is_empty() {
            fields.skip_field("unknown")?;
        } else {
            fields.serialize_field("unknown", &unknown)?;
        }
        fields.end()
    }
}

//! Forecasts of rollouts: simulates a DaemonSet's cluster under stated assumptions.

mod assumptions;
mod chart;
mod coming;
mod diff;
mod fits;
mod node_fits;
mod scheduled;
mod simulated_node;
mod simulation;
mod text;

use std::{collections::BTreeSet, time::Duration};

use serde::{Serialize, Serializer};

use crate::{
    explain::UpdateState,
    forecast::fits::Fits,
    model::{IntOrPercent, Key, Taint, Text, UpdateStrategy},
    placement::Verdict,
    plan::MissingFact,
    planner::Snapshot,
    policy::RolloutStatus,
    scheduling::{UnknownFact, as_texts},
    settings::Settings,
};

pub use assumptions::{Assumptions, Delay};
pub use chart::Chart;
pub use diff::{Change, Diff, Gain, Loss, NodeDiff};
pub(crate) use simulated_node::{SimulatedNode, SimulatedPod};
use simulation::NodeStep;
pub(crate) use simulation::{EndState, Simulation};

/// How a rollout proceeds, as [`Snapshot::forecast`] returns it. All times count from the time of the snapshot.
///
/// ```
/// use daemonplan::{Snapshot, forecast::Assumptions, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
/// let forecast = snapshot.forecast(&Assumptions::default());
/// assert_eq!((forecast.desired, forecast.lowest_available), (2, 0));
/// assert!(forecast.to_string().starts_with("done after "));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Forecast {
    /// How the rollout ends.
    pub outcome: Outcome,
    /// The fact that the snapshot lacks, if the outcome is `Unknown` for want of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<MissingFact>,
    /// When the last event happens.
    #[serde(serialize_with = "in_seconds", rename = "afterSeconds")]
    pub after: Duration,
    /// The state of the update at the end, if it has a [`RolloutPolicy`](crate::policy::RolloutPolicy).
    pub rollout: Option<RolloutStatus>,
    /// The number of nodes that should run a pod.
    pub desired: usize,
    /// The fewest nodes with an available pod at any time, without those where others may take the pod's place.
    pub lowest_available: usize,
    /// The number of nodes by the state of their pods, at each change.
    pub timeline: Vec<TimelinePoint>,
    /// The steps of the controller, in waves.
    pub waves: Vec<Wave>,
    /// The nodes that do not converge, by name.
    pub stuck: Vec<StuckNode>,
    /// The pods of others whose place new pods take, by namespace and name.
    #[serde(serialize_with = "as_texts", skip_serializing_if = "Vec::is_empty")]
    pub preempted: Vec<Key>,
    /// What is not known that decides whether the new pods are bound. They are taken to be where nothing known refuses them.
    #[serde(serialize_with = "as_texts", skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownFact>,
}

/// How a [`Forecast`] ends.
///
/// ```
/// use daemonplan::{Snapshot, forecast::{Assumptions, Outcome}, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
/// let forecast = snapshot.forecast(&Assumptions::default());
/// assert_eq!(forecast.outcome, Outcome::Done);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum Outcome {
    /// Every node that should run a pod has an available, updated one.
    Done,
    /// The same once other pods have come or gone, before which new pods do not fit. When that is, if ever, is not known.
    Waiting,
    /// The rollout policy keeps nodes at their older template. All other nodes are done.
    Held,
    /// The strategy is `OnDelete`: outdated pods stay until an operator deletes them. All other nodes are done.
    OnDelete,
    /// The new template fails, and all nodes returned to the older one.
    RolledBack,
    /// Nothing more happens, but some nodes have not converged.
    Stuck,
    /// The steps repeat without end: pods are created for ever, because the selector does not match the template's labels,
    /// or two templates that both fail are rolled back to each other.
    Restless,
    /// The rollout takes longer than the horizon.
    Unfinished,
    /// Unknown, because the snapshot [lacks](Snapshot::without) a fact. The forecast holds nothing else.
    Unknown,
}

/// The number of nodes by the state of their pods at one time, of those that should run a pod.
///
/// ```
/// use daemonplan::{Snapshot, forecast::Assumptions, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
/// let forecast = snapshot.forecast(&Assumptions::default());
/// let (first, last) = (forecast.timeline.first().unwrap(), forecast.timeline.last().unwrap());
/// assert_eq!((first.available(), last.available()), (0, 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TimelinePoint {
    /// The time.
    #[serde(serialize_with = "in_seconds", rename = "afterSeconds")]
    pub after: Duration,
    /// Nodes with an available pod, but only an outdated one.
    pub old: usize,
    /// Nodes with an available updated pod.
    pub new: usize,
    /// Nodes without an available pod.
    pub unavailable: usize,
}

/// Nodes that the controller handles at the same time: `maxUnavailable` or `maxSurge` nodes of an update, or as many
/// repairs as the burst limit allows.
///
/// ```
/// use daemonplan::{Snapshot, forecast::Assumptions, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
/// let forecast = snapshot.forecast(&Assumptions::default());
/// let wave = &forecast.waves[0];
/// assert_eq!((wave.nodes.len(), wave.ends), (2, Some(forecast.after)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Wave {
    /// The purpose of the wave.
    pub kind: WaveKind,
    /// The group of nodes by the rollout policy, or `canaries`; `None` without groups.
    pub group: Option<Text>,
    /// The nodes, in the order of their first action.
    pub nodes: Vec<Text>,
    /// When the first action happens.
    #[serde(serialize_with = "in_seconds", rename = "beginsAfterSeconds")]
    pub begins: Duration,
    /// When the last node has converged; `None` if one never does.
    #[serde(serialize_with = "serialize_end", rename = "endsAfterSeconds")]
    pub ends: Option<Duration>,
    /// The fewest nodes with an available pod during the wave, of all nodes.
    pub lowest_available: usize,
}

/// The purpose of a [`Wave`].
///
/// ```
/// use daemonplan::{Snapshot, forecast::{Assumptions, WaveKind}, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
/// let forecast = snapshot.forecast(&Assumptions::default());
/// assert_eq!(forecast.waves[0].kind, WaveKind::Repair);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub enum WaveKind {
    /// Creates missing pods and deletes surplus ones.
    Repair,
    /// Replaces outdated pods.
    Update,
}

/// A node that does not converge.
///
/// ```
/// use daemonplan::{Snapshot, forecast::Assumptions, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
/// let forecast = snapshot.forecast(&Assumptions::default().failure_rate(1.0));
/// assert_eq!(forecast.stuck.iter().map(|stuck| stuck.node.as_str()).collect::<Vec<_>>(), ["node-1", "node-2"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StuckNode {
    /// The node's name.
    pub node: Text,
    /// The cause.
    #[serde(flatten)]
    pub cause: StuckCause,
}

/// Why a node does not converge.
///
/// ```
/// use daemonplan::forecast::StuckCause;
/// let cause = StuckCause::PodStaysUnready { pod: "agent-x2k".into() };
/// assert_eq!(cause.to_string(), "pod agent-x2k has been unavailable for too long");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "cause", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum StuckCause {
    /// The node is not ready, and is assumed to stay not ready: no pod starts or stops there.
    NodeNotReady {
        /// The taint that reports it.
        taint: Taint,
    },
    /// The new pod is assumed never to start.
    PodNeverStarts,
    /// The new pod needs a port of the node that another pod of the DaemonSet has and keeps.
    PortTaken {
        /// The port.
        port: u32,
    },
    /// The pod is outdated, and the strategy is `OnDelete`: it stays until an operator deletes it.
    OnDelete,
    /// The pod has not been available for too long, and is assumed to stay so.
    PodStaysUnready {
        /// The pod's name.
        pod: Text,
    },
    /// The pod has been terminating for too long, and is assumed to stay.
    PodStaysInDeletion {
        /// The pod's name.
        pod: Text,
    },
    /// The scheduler does not bind the new pod.
    Unschedulable {
        /// The scheduler's own words, such as `Insufficient cpu`.
        reasons: Vec<String>,
        /// The reasons with names and numbers.
        explanation: String,
    },
    /// Admission refuses the new pod.
    NotCreated {
        /// The plugin, such as `ResourceQuota`.
        plugin: Text,
        /// What it says.
        message: String,
    },
    /// No pod was created.
    NoPod,
    /// The pod is outdated, and the update does not reach it.
    WaitsForOthers,
}

impl Snapshot<'_> {
    /// Returns the fact without which the future of the pods is unknown, if it [is missing](Self::without).
    pub(crate) fn needed_to_foresee(&self) -> Option<MissingFact> {
        self.missing().next()?;
        if let UpdateState::Unknown { missing } = self.explain().update { Some(missing) } else { None }
    }

    /// Forecasts how the DaemonSet's rollout proceeds. Every plan is carried out, and pods start and stop as assumed,
    /// until nothing is left to do. Nothing else happens in the cluster. Equal seeds produce equal forecasts.
    ///
    /// Pods start and stop only on nodes that are ready (not tainted `node.kubernetes.io/not-ready` or
    /// `…/unreachable`). A snapshot without a time is taken at the latest time that its pods contain.
    ///
    /// ```
    /// use daemonplan::{Snapshot, forecast::{Assumptions, Outcome}, model::{DaemonSet, Namespace, Node}};
    /// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
    /// let (nodes, namespace) = ([Node::new("node-1"), Node::new("node-2")], Namespace::new("prod"));
    /// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
    ///
    /// let forecast = snapshot.forecast(&Assumptions::default());
    /// assert_eq!(forecast.outcome, Outcome::Done);
    /// assert_eq!(forecast.waves[0].nodes, ["node-1", "node-2"]);
    /// ```
    pub fn forecast(&self, assumptions: &Assumptions) -> Forecast {
        match self.needed_to_foresee() {
            Some(missing) => Forecast::unknown(missing),
            None => self.simulate(assumptions, Fits::new(self)),
        }
    }

    /// Forecasts with each of several seeds. What the scheduler says is worked out once.
    ///
    /// ```
    /// use daemonplan::{Snapshot, forecast::Assumptions, model::{DaemonSet, Namespace, Node}};
    /// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
    /// let (nodes, namespace) = ([Node::new("node-1")], Namespace::new("prod"));
    /// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
    /// let assumptions = Assumptions::default();
    /// let forecasts: Vec<_> = snapshot.forecasts(&assumptions, 1..4).collect();
    /// assert_eq!(forecasts[1], snapshot.forecast(&assumptions.seed(2)));
    /// ```
    pub fn forecasts(
        &self,
        assumptions: &Assumptions,
        seeds: impl IntoIterator<Item = u64>,
    ) -> impl Iterator<Item = Forecast> {
        let missing = self.needed_to_foresee();
        let fits = if missing.is_some() { Fits::default() } else { Fits::new(self) };
        seeds.into_iter().map(move |seed| match missing {
            Some(missing) => Forecast::unknown(missing),
            None => self.simulate(&assumptions.clone().seed(seed), fits.clone()),
        })
    }

    fn simulate(&self, assumptions: &Assumptions, fits: Fits<'_>) -> Forecast {
        let mut simulation = Simulation::new(self, assumptions, fits);
        let end = simulation.run();
        let timeline: Vec<_> = simulation.moments.iter().map(TimelinePoint::of).collect();
        let desired = timeline.first().map_or(0, |first| first.old + first.new + first.unavailable);
        let on_delete = self.daemonset.update_strategy == UpdateStrategy::OnDelete;
        let is_held = simulation.rollout.as_ref().is_some_and(|rollout| rollout.phase.holds());
        let is_stuck = simulation.nodes.values().any(|simulated| !simulated.is_settled(!is_held));
        let nodes = simulation.nodes.iter();
        // Others may wait for a pod that stays on a lost node.
        let stuck: Vec<_> = nodes
            .filter(|(_, simulated)| !simulated.is_settled(!is_held) || is_stuck && simulated.is_lost())
            .map(|(node, simulated)| StuckNode { node: node.clone(), cause: StuckCause::of(simulated, on_delete) })
            .collect();
        let known_later = simulation.doubts().chain(simulation.awaited_victims());
        let unknown: BTreeSet<_> = known_later.chain(simulation.unknown()).collect();
        let lowest = timeline.iter().map(TimelinePoint::available).min();
        let waits_for_deletion = stuck.iter().all(|stuck| stuck.cause == StuckCause::OnDelete);
        Forecast {
            outcome: match end {
                EndState::Restless => Outcome::Restless,
                EndState::Unfinished => Outcome::Unfinished,
                EndState::Quiet if !stuck.is_empty() && waits_for_deletion => Outcome::OnDelete,
                EndState::Quiet if !stuck.is_empty() => Outcome::Stuck,
                EndState::Quiet if is_held => Outcome::Held,
                EndState::Quiet if simulation.was_rolled_back() => Outcome::RolledBack,
                EndState::Quiet if unknown.iter().any(UnknownFact::is_awaited) => Outcome::Waiting,
                EndState::Quiet => Outcome::Done,
            },
            missing: None,
            after: simulation.elapsed(),
            rollout: simulation.rollout.clone(),
            desired,
            lowest_available: lowest.unwrap_or_default().saturating_sub(simulation.threatened()),
            waves: waves(self, &simulation.steps, &timeline, desired),
            timeline,
            stuck,
            preempted: simulation.preempted(),
            unknown: unknown.into_iter().collect(),
        }
    }
}

impl Forecast {
    fn unknown(missing: MissingFact) -> Self {
        Self {
            outcome: Outcome::Unknown,
            missing: Some(missing),
            after: Duration::ZERO,
            rollout: None,
            desired: 0,
            lowest_available: 0,
            timeline: Vec::new(),
            waves: Vec::new(),
            stuck: Vec::new(),
            preempted: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Divides the timeline into `count` equal spans, for charts. Each span is represented by the point at its end, or
    /// by its last point with the most unavailable nodes if those are more.
    pub fn columns(&self, count: u32) -> Vec<TimelinePoint> {
        let mut points = self.timeline.iter().peekable();
        let mut current = points.next().copied();
        let column = |number: u32| {
            let end = self.after * number / count.max(1);
            let mut worst = current?;
            while let Some(point) = points.next_if(|point| point.after <= end) {
                current = Some(*point);
                worst = if point.unavailable >= worst.unavailable { *point } else { worst };
            }
            let last = current?;
            Some(if worst.unavailable > last.unavailable { worst } else { last })
        };
        (1..=count).map_while(column).collect()
    }
}

fn waves(snapshot: &Snapshot<'_>, steps: &[NodeStep], timeline: &[TimelinePoint], desired: usize) -> Vec<Wave> {
    let burst = snapshot.settings.map_or(Settings::default().burst, |settings| settings.burst);
    let sizes = [(WaveKind::Repair, burst), (WaveKind::Update, at_a_time(snapshot.daemonset.update_strategy, desired))];
    let mut waves = Vec::new();
    for (kind, size) in sizes {
        let of_kind: Vec<_> = steps.iter().filter(|step| step.is_update == (kind == WaveKind::Update)).collect();
        let groups = of_kind.chunk_by(|a, b| a.group == b.group);
        let chunks = groups.flat_map(|group| group.chunks(size.max(1)));
        waves.extend(chunks.map(|steps| Wave::of(kind, steps, timeline)));
    }
    waves.sort_by_key(|wave| (wave.begins, wave.kind));
    waves
}

/// The number of nodes that an update replaces at a time.
fn at_a_time(strategy: UpdateStrategy, desired: usize) -> usize {
    let of = |bound: IntOrPercent| bound.of(desired);
    match strategy {
        UpdateStrategy::OnDelete => 1,
        UpdateStrategy::RollingUpdate { max_surge, .. } if of(max_surge) > 0 => of(max_surge),
        UpdateStrategy::RollingUpdate { max_unavailable, .. } => of(max_unavailable),
    }
}

impl Wave {
    fn of(kind: WaveKind, steps: &[&NodeStep], timeline: &[TimelinePoint]) -> Self {
        let begins = steps.iter().map(|step| step.begins).min().unwrap_or_default();
        let ends = steps.iter().map(|step| step.ends).reduce(|a, b| Some(a?.max(b?))).flatten();
        // The last point before the wave is the state at its start.
        let first = timeline.partition_point(|point| point.after < begins).saturating_sub(1);
        let points = timeline.iter().skip(first).take_while(|point| ends.is_none_or(|end| point.after <= end));
        Self {
            kind,
            group: steps.first().and_then(|step| step.group.clone()),
            nodes: steps.iter().map(|step| step.node.clone()).collect(),
            begins,
            ends,
            lowest_available: points.map(TimelinePoint::available).min().unwrap_or_default(),
        }
    }
}

impl TimelinePoint {
    fn of(moment: &simulation::Moment) -> Self {
        let simulated_node::StateCounts { old, new, unavailable } = moment.counts;
        Self { after: moment.after, old, new, unavailable }
    }

    /// Returns the number of nodes with an available pod.
    pub fn available(&self) -> usize {
        self.old + self.new
    }
}

impl StuckCause {
    fn of(simulated: &SimulatedNode, on_delete: bool) -> Self {
        if on_delete && simulated.is_settled(false) {
            return Self::OnDelete;
        }
        let deleting = simulated.pods.iter().find(|pod| pod.is_being_deleted);
        let unready = simulated.pods.iter().find(|pod| !pod.is_available);
        match (&simulated.taint, deleting, unready) {
            (Some(taint), ..) => Self::NodeNotReady { taint: taint.clone() },
            (None, Some(pod), _) => Self::PodStaysInDeletion { pod: pod.name.clone() },
            (None, None, Some(SimulatedPod { waits_for: Some(cause), .. })) => cause.clone(),
            (None, None, Some(pod)) if pod.fails => Self::PodNeverStarts,
            (None, None, Some(pod)) => Self::PodStaysUnready { pod: pod.name.clone() },
            (None, None, None) if simulated.pods.is_empty() && simulated.verdict == Verdict::Run => Self::NoPod,
            (None, None, None) => Self::WaitsForOthers,
        }
    }
}

/// Serializes seconds, as an integer if they are whole.
fn in_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    match duration.subsec_nanos() {
        0 => serializer.serialize_u64(duration.as_secs()),
        _ => serializer.serialize_f64(duration.as_secs_f64()),
    }
}

#[allow(clippy::ref_option)] // the signature that serde expects
fn serialize_end<S: Serializer>(end: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match end {
        None => serializer.serialize_none(),
        Some(end) => in_seconds(end, serializer),
    }
}

//! How a roll-out goes on: the DaemonSet's cluster played forward, under stated assumptions.

mod assumptions;
mod diff;
mod simulation;
mod text;

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{
    model::{IntOrPercent, Taint, Text, UpdateStrategy},
    placement::Verdict,
    planner::Snapshot,
    policy::RolloutStatus,
    settings::Settings,
};

pub use assumptions::{Assumptions, Delay};
pub use diff::{Change, Diff, Gain, Loss, NodeDiff};
use simulation::NodeStep;
pub(crate) use simulation::{EndState, SimulatedNode, Simulation};

/// How a roll-out goes on: [`Snapshot::forecast`]. All times count from the snapshot's.
///
/// ```
/// use daemonplan::{Snapshot, forecast::Assumptions, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
/// let forecast = snapshot.forecast(&Assumptions::default());
/// assert_eq!((forecast.desired, forecast.lowest_available), (2, 0));
/// assert!(forecast.to_string().starts_with("done after "));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Forecast {
    /// How it ends.
    pub outcome: Outcome,
    /// When the last thing happens.
    #[serde(serialize_with = "in_seconds", rename = "afterSeconds")]
    pub after: Duration,
    /// Where the update stands at the end, if it keeps to a [`RolloutPolicy`](crate::policy::RolloutPolicy).
    pub rollout: Option<RolloutStatus>,
    /// How many nodes should run a pod.
    pub desired: usize,
    /// The fewest nodes that have an available pod at any time.
    pub lowest_available: usize,
    /// How many nodes have which pods, from each change to the next.
    pub timeline: Vec<TimelinePoint>,
    /// What is done, in portions.
    pub waves: Vec<Wave>,
    /// The nodes where things do not come to rest as they should, by name.
    pub stuck: Vec<StuckNode>,
}

/// How a [`Forecast`] ends.
///
/// ```
/// use daemonplan::{Snapshot, forecast::{Assumptions, Outcome}, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
/// let forecast = snapshot.forecast(&Assumptions::default());
/// assert_eq!(forecast.outcome, Outcome::Done);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum Outcome {
    /// Every node that should run a pod has an available one, up to date unless the strategy is `OnDelete`.
    Done,
    /// The policy for updates keeps nodes at their older template: all others are done.
    Held,
    /// The new template fails, and the older one came back everywhere.
    RolledBack,
    /// Nothing happens any more, though not every node has what it should.
    Stuck,
    /// Pods are created without end, as when the template's labels do not match the selector.
    Restless,
    /// There is more to do than fits into the time that was looked at.
    Unfinished,
}

/// Of the nodes that should run a pod, how many have what, at one time.
///
/// ```
/// use daemonplan::{Snapshot, forecast::Assumptions, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
/// let forecast = snapshot.forecast(&Assumptions::default());
/// let (first, last) = (forecast.timeline.first().unwrap(), forecast.timeline.last().unwrap());
/// assert_eq!((first.available(), last.available()), (0, 2));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TimelinePoint {
    /// When.
    #[serde(serialize_with = "in_seconds", rename = "afterSeconds")]
    pub after: Duration,
    /// An available pod, but of an older template.
    pub old: usize,
    /// An available pod of the current template.
    pub new: usize,
    /// No available pod.
    pub unavailable: usize,
}

/// So many nodes as the controller works on at a time: `maxUnavailable` or `maxSurge` nodes of an update, and as many as
/// the burst limit lets through of what is missing or too much.
///
/// ```
/// use daemonplan::{Snapshot, forecast::Assumptions, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
/// let forecast = snapshot.forecast(&Assumptions::default());
/// let wave = &forecast.waves[0];
/// assert_eq!((wave.nodes.len(), wave.ends), (2, Some(forecast.after)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Wave {
    /// What it is for.
    pub kind: WaveKind,
    /// Of an update that keeps to a policy, the group of nodes whose turn it is, or `canaries`.
    pub group: Option<Text>,
    /// The nodes, in the order in which their turn comes.
    pub nodes: Vec<Text>,
    /// When the first one's turn comes.
    #[serde(serialize_with = "in_seconds", rename = "beginsAfterSeconds")]
    pub begins: Duration,
    /// When all is well on the last one; `None`: never.
    #[serde(serialize_with = "serialize_end", rename = "endsAfterSeconds")]
    pub ends: Option<Duration>,
    /// The fewest nodes of all that have an available pod in that time.
    pub lowest_available: usize,
}

/// What a [`Wave`] is for.
///
/// ```
/// use daemonplan::{Snapshot, forecast::{Assumptions, WaveKind}, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
/// let forecast = snapshot.forecast(&Assumptions::default());
/// assert_eq!(forecast.waves[0].kind, WaveKind::Repair);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub enum WaveKind {
    /// Pods that are missing or too many.
    Repair,
    /// Pods of an older template.
    Update,
}

/// A node where things do not come to rest as they should.
///
/// ```
/// use daemonplan::{Snapshot, forecast::Assumptions, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
/// let forecast = snapshot.forecast(&Assumptions::default().failure_rate(1.0));
/// assert_eq!(forecast.stuck.iter().map(|stuck| stuck.node.as_str()).collect::<Vec<_>>(), ["node-1", "node-2"]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StuckNode {
    /// The node's name.
    pub node: Text,
    /// Why.
    #[serde(flatten)]
    pub cause: StuckCause,
}

/// Why things do not come to rest on a node.
///
/// ```
/// use daemonplan::forecast::StuckCause;
/// let cause = StuckCause::PodStaysUnready { pod: "agent-x2k".into() };
/// assert_eq!(cause.to_string(), "pod agent-x2k has not been ready for long");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "cause", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum StuckCause {
    /// The node is not ready, and it is assumed to stay so: no pod starts or stops there.
    NodeNotReady {
        /// The taint that says so.
        taint: Taint,
    },
    /// The new pod is one of those that are assumed never to start.
    PodNeverStarts,
    /// The pod has not been ready for long, and it is assumed to stay so.
    PodStaysUnready {
        /// The pod's name.
        pod: Text,
    },
    /// The pod has been asked to go for long, and it is assumed to stay.
    PodStaysInDeletion {
        /// The pod's name.
        pod: Text,
    },
    /// No pod was created.
    NoPod,
    /// The pod is of an older template, and its turn does not come.
    WaitsForOthers,
}

impl Snapshot<'_> {
    /// How the DaemonSet's roll-out goes on: every plan is carried out, pods start and stop as is assumed, and nothing
    /// else happens, until nothing is left to do. The same seed gives the same forecast.
    ///
    /// Pods start and stop on nodes that are ready (not tainted `node.kubernetes.io/not-ready` or `…/unreachable`) only.
    /// A snapshot without a time is taken at the latest time that stands in its pods.
    ///
    /// ```
    /// use daemonplan::{Snapshot, forecast::{Assumptions, Outcome}, model::{DaemonSet, Namespace, Node}};
    /// let mut daemonset = DaemonSet::new("prod", "agent");
    /// daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
    /// daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
    /// let (nodes, namespace) = ([Node::new("node-1"), Node::new("node-2")], Namespace::new("prod"));
    /// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]);
    ///
    /// let forecast = snapshot.forecast(&Assumptions::default());
    /// assert_eq!(forecast.outcome, Outcome::Done);
    /// assert_eq!(forecast.waves[0].nodes, ["node-1", "node-2"]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn forecast(&self, assumptions: &Assumptions) -> Forecast {
        let mut simulation = Simulation::new(self, assumptions);
        let rest = simulation.run();
        let timeline: Vec<_> = simulation.moments.iter().map(TimelinePoint::of).collect();
        let desired = timeline.first().map_or(0, |first| first.old + first.new + first.unavailable);
        let on_delete = self.daemonset.update_strategy == UpdateStrategy::OnDelete;
        let is_held = simulation.rollout.as_ref().is_some_and(|rollout| rollout.phase.holds());
        let sites = simulation.sites.iter();
        let stuck: Vec<_> = sites
            .filter(|(_, site)| !site.is_well(!on_delete && !is_held))
            .map(|(node, site)| StuckNode { node: node.clone(), cause: StuckCause::of(site) })
            .collect();
        Forecast {
            outcome: match rest {
                EndState::Restless => Outcome::Restless,
                EndState::Unfinished => Outcome::Unfinished,
                EndState::Quiet if !stuck.is_empty() => Outcome::Stuck,
                EndState::Quiet if is_held => Outcome::Held,
                EndState::Quiet if simulation.was_rolled_back => Outcome::RolledBack,
                EndState::Quiet => Outcome::Done,
            },
            after: simulation.elapsed(),
            rollout: simulation.rollout.clone(),
            desired,
            lowest_available: timeline.iter().map(TimelinePoint::available).min().unwrap_or_default(),
            waves: waves(self, &simulation.turns, &timeline, desired),
            timeline,
            stuck,
        }
    }
}

impl Forecast {
    /// The timeline in so many equal spans of time, for charts: of each span the point at its end, or the last one with the
    /// most nodes unavailable, if that are more.
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

fn waves(snapshot: &Snapshot<'_>, turns: &[NodeStep], timeline: &[TimelinePoint], desired: usize) -> Vec<Wave> {
    let burst = snapshot.settings.map_or(Settings::default().burst, |settings| settings.burst);
    let sizes = [(WaveKind::Repair, burst), (WaveKind::Update, at_a_time(snapshot.daemonset.update_strategy, desired))];
    let mut waves = Vec::new();
    for (kind, size) in sizes {
        let of_kind: Vec<_> = turns.iter().filter(|turn| turn.is_update == (kind == WaveKind::Update)).collect();
        let groups = of_kind.chunk_by(|a, b| a.group == b.group);
        let portions = groups.flat_map(|group| group.chunks(size.max(1)));
        waves.extend(portions.map(|turns| Wave::of(kind, turns, timeline)));
    }
    waves.sort_by_key(|wave| (wave.begins, wave.kind));
    waves
}

/// On how many nodes an update works at a time.
fn at_a_time(strategy: UpdateStrategy, desired: usize) -> usize {
    let of = |bound: IntOrPercent| bound.of(desired);
    match strategy {
        UpdateStrategy::OnDelete => 1,
        UpdateStrategy::RollingUpdate { max_surge, .. } if of(max_surge) > 0 => of(max_surge),
        UpdateStrategy::RollingUpdate { max_unavailable, .. } => of(max_unavailable),
    }
}

impl Wave {
    fn of(kind: WaveKind, turns: &[&NodeStep], timeline: &[TimelinePoint]) -> Self {
        let begins = turns.iter().map(|turn| turn.begins).min().unwrap_or_default();
        let ends = turns.iter().map(|turn| turn.ends).reduce(|a, b| Some(a?.max(b?))).flatten();
        // The last point before the wave says how things are when it begins.
        let first = timeline.partition_point(|point| point.after < begins).saturating_sub(1);
        let meanwhile = timeline.iter().skip(first).take_while(|point| ends.is_none_or(|end| point.after <= end));
        Self {
            kind,
            group: turns.first().and_then(|turn| turn.group.clone()),
            nodes: turns.iter().map(|turn| turn.node.clone()).collect(),
            begins,
            ends,
            lowest_available: meanwhile.map(TimelinePoint::available).min().unwrap_or_default(),
        }
    }
}

impl TimelinePoint {
    fn of(moment: &simulation::Moment) -> Self {
        let simulation::StateCounts { old, new, unavailable } = moment.tally;
        Self { after: moment.after, old, new, unavailable }
    }

    /// How many nodes have an available pod.
    pub fn available(&self) -> usize {
        self.old + self.new
    }
}

impl StuckCause {
    fn of(site: &SimulatedNode) -> Self {
        let going = site.pods.iter().find(|pod| pod.is_going);
        let unready = site.pods.iter().find(|pod| !pod.is_available);
        match (&site.taint, going, unready) {
            (Some(taint), ..) => Self::NodeNotReady { taint: taint.clone() },
            (None, Some(pod), _) => Self::PodStaysInDeletion { pod: pod.name.clone() },
            (None, None, Some(pod)) if pod.fails => Self::PodNeverStarts,
            (None, None, Some(pod)) => Self::PodStaysUnready { pod: pod.name.clone() },
            (None, None, None) if site.pods.is_empty() && site.verdict == Verdict::Run => Self::NoPod,
            (None, None, None) => Self::WaitsForOthers,
        }
    }
}

/// Seconds, as an integer if they are whole.
fn in_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    match duration.subsec_nanos() {
        0 => serializer.serialize_u64(duration.as_secs()),
        _ => serializer.serialize_f64(duration.as_secs_f64()),
    }
}

#[allow(clippy::ref_option)] // as serde asks for it
fn serialize_end<S: Serializer>(end: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match end {
        None => serializer.serialize_none(),
        Some(end) => in_seconds(end, serializer),
    }
}

//! Whose place a pod would take.

use std::{cmp::Reverse, collections::BTreeMap};

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{
    Code, SchedulingBlocker,
    cluster_state::NodeInfo,
    cycle::{Cycle, histogram, refusal},
    incoming::{Incoming, Trial},
    load::{first, priority},
};
use crate::model::{Key, Pod, PodDisruptionBudget, Resource, Text};

/// Whether a pod that fits nowhere would take the place of pods of lower priority, and of which.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#preemption>
///
/// ```
/// use daemonplan::{model::{Node, Pod}, scheduling::{ClusterState, SchedulingObjects}};
/// let node: Node = serde_json::from_str(r#"{"metadata": {"name": "a"}, "status": {"allocatable": {"pods": "1"}}}"#)?;
/// let pod = |name: &str, place: &str| serde_json::from_str::<Pod>(&format!(
///     r#"{{"metadata": {{"name": "{name}"}}, "spec": {{{place}, "containers": [{{"name": "main"}}]}}}}"#,
/// ));
/// let low = pod("web", r#""nodeName": "a", "priority": 0"#)?;
/// let objects = SchedulingObjects::default();
/// let state = ClusterState::new([&node], [&low], [], &objects);
/// let preemption = state.feasibility(&pod("agent", r#""priority": 1000"#)?).preemption.unwrap();
/// assert_eq!(preemption.victims().len(), 1);
/// assert_eq!(preemption.to_string(), "preempts default/web");
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// It serialises with the fields `outcome`, `victims` (also if there are none), `node`, `budgetViolations` and `reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preemption {
    /// `preemptionPolicy` is `Never`.
    Never,
    /// A pod that the scheduler has preempted is still terminating on the node that is kept free.
    Waits {
        /// That pod.
        pod: Key,
    },
    /// The pods of these nodes leave their place.
    Preempts {
        /// The node.
        node: Text,
        /// The pods, by priority descending. Some may be terminating already.
        victims: Vec<Key>,
        /// How many of them a PodDisruptionBudget protects, which does not help them.
        budget_violations: usize,
    },
    /// Nothing would help.
    NotHelpful {
        /// Why it does not help on the nodes where other pods are in the way.
        nodes: IndexMap<Text, NoVictims>,
    },
}

/// Why preemption does not help on a node.
///
/// ```
/// use daemonplan::scheduling::NoVictims;
/// assert_eq!(NoVictims::NoneOfLowerPriority.to_string(), "No preemption victims found for incoming pod");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoVictims {
    /// All pods there have the same or a higher priority.
    NoneOfLowerPriority,
    /// Even without all pods of lower priority the pod does not fit.
    StillRefused {
        /// Why.
        blocker: SchedulingBlocker,
    },
}

impl Preemption {
    /// Returns the pods that leave their place.
    pub fn victims(&self) -> &[Key] {
        match self {
            Self::Preempts { victims, .. } => victims,
            Self::Never | Self::Waits { .. } | Self::NotHelpful { .. } => &[],
        }
    }

    /// What the scheduler appends to its message.
    pub(super) fn message(&self, nodes: usize) -> String {
        const START: &str = " no new claims to deallocate, preemption:";
        match self {
            Self::Preempts { .. } => String::new(),
            Self::Never => format!("{START} not eligible due to preemptionPolicy=Never."),
            Self::Waits { .. } => format!("{START} not eligible due to a terminating pod on the nominated node."),
            Self::NotHelpful { nodes: considered } => {
                let mut counts = BTreeMap::<String, usize>::new();
                let others = nodes.saturating_sub(considered.len());
                if others > 0 {
                    counts.insert("Preemption is not helpful for scheduling".into(), others);
                }
                for reason in considered.values().flat_map(NoVictims::reasons) {
                    *counts.entry(reason).or_default() += 1;
                }
                format!("{START} {}", histogram(nodes, counts))
            }
        }
    }
}

impl Serialize for Preemption {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct PreemptionFields<'p> {
            outcome: &'static str,
            victims: Vec<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            node: Option<&'p Text>,
            #[serde(skip_serializing_if = "Option::is_none")]
            budget_violations: Option<usize>,
            reason: String,
        }
        let (outcome, node, budget_violations) = match self {
            Self::Never => ("never", None, None),
            Self::Waits { .. } => ("waits", None, None),
            Self::Preempts { node, budget_violations, .. } => ("preempts", Some(node), Some(*budget_violations)),
            Self::NotHelpful { .. } => ("notHelpful", None, None),
        };
        let victims = self.victims().iter().map(ToString::to_string).collect();
        PreemptionFields { outcome, victims, node, budget_violations, reason: self.to_string() }.serialize(serializer)
    }
}

impl NoVictims {
    fn reasons(&self) -> Vec<String> {
        match self {
            Self::NoneOfLowerPriority => vec![self.to_string()],
            Self::StillRefused { blocker } => blocker.reasons(),
        }
    }
}

impl std::fmt::Display for NoVictims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoneOfLowerPriority => f.write_str("No preemption victims found for incoming pod"),
            Self::StillRefused { blocker } => blocker.fmt(f),
        }
    }
}

impl std::fmt::Display for Preemption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Never => f.write_str("preempts no pods: its preemptionPolicy is Never"),
            Self::Waits { pod } => write!(f, "waits for {pod}, which it has preempted"),
            Self::Preempts { victims, budget_violations, .. } => {
                let names: Vec<_> = victims.iter().map(ToString::to_string).collect();
                write!(f, "preempts {}", names.join(", "))?;
                match budget_violations {
                    0 => Ok(()),
                    1 => f.write_str(" (against a PodDisruptionBudget)"),
                    count => write!(f, " (against {count} PodDisruptionBudgets)"),
                }
            }
            Self::NotHelpful { nodes } if nodes.is_empty() => f.write_str("preempts no pods: that would not help"),
            Self::NotHelpful { nodes } if nodes.values().all(|why| *why == NoVictims::NoneOfLowerPriority) => {
                f.write_str("preempts no pods: none there has a lower priority")
            }
            Self::NotHelpful { .. } => {
                f.write_str("preempts no pods: without those of lower priority it would not fit either")
            }
        }
    }
}

/// Decides whose place the pod takes.
pub(super) fn preempt(incoming: &Incoming<'_>, cycle: &Cycle<'_>) -> Preemption {
    if incoming.info.spec.never_preempts() {
        return Preemption::Never;
    }
    if let Some(pod) = awaited(incoming, cycle) {
        return Preemption::Waits { pod };
    }
    let mut not_helpful = IndexMap::new();
    let mut best: Option<(Rank, Preemption)> = None;
    for (name, _) in cycle.refused.iter().filter(|(_, refused)| refused.code == Code::Unschedulable) {
        let Some(info) = incoming.info.state.nodes.get(name) else { continue };
        match victims_on(incoming, info) {
            Ok(Victims { pods, budget_violations }) => {
                let rank = Rank::of(&pods, budget_violations);
                if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                    let victims = pods.iter().map(|pod| pod.key()).collect();
                    let node = info.node.name.clone();
                    best = Some((rank, Preemption::Preempts { node, victims, budget_violations }));
                }
            }
            Err(why) => drop(not_helpful.insert(info.node.name.clone(), why)),
        }
    }
    best.map_or(Preemption::NotHelpful { nodes: not_helpful }, |(_, preemption)| preemption)
}

/// The order in which the scheduler prefers nodes: few violated budgets, a low highest priority, a low sum of priorities,
/// few pods, and pods that started late.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    budget_violations: usize,
    highest_priority: i32,
    sum_of_priorities: i64,
    pods: usize,
    earliest_start: Reverse<Option<Timestamp>>,
}

impl Rank {
    fn of(victims: &[&Pod], budget_violations: usize) -> Self {
        let highest_priority = victims.iter().map(|pod| priority(pod)).max().unwrap_or(i32::MIN);
        let most_important = victims.iter().filter(|pod| priority(pod) == highest_priority);
        Self {
            budget_violations,
            highest_priority,
            // Negative priorities must not make more pods look better.
            sum_of_priorities: victims.iter().map(|pod| i64::from(priority(pod)) + i64::from(i32::MAX) + 1).sum(),
            pods: victims.len(),
            earliest_start: Reverse(most_important.filter_map(|pod| pod.started).min()),
        }
    }
}

/// Returns a pod that was preempted and still terminates on the node that is kept free for the pod.
fn awaited(incoming: &Incoming<'_>, cycle: &Cycle<'_>) -> Option<Key> {
    let node = &incoming.info.pod.scheduling.as_ref()?.nominated_node;
    let refused = cycle.refused.get(node);
    if refused.is_some_and(|refused| refused.code == Code::UnschedulableAndUnresolvable) {
        return None;
    }
    let is_awaited = |pod: &&Pod| {
        let is_preempted = pod.scheduling.as_ref().is_some_and(|status| status.is_preempted);
        pod.is_being_deleted() && is_preempted && priority(pod) < incoming.info.priority()
    };
    let pods = incoming.info.state.nodes.get(node)?.pods.iter().filter(is_awaited);
    first(pods).map(Pod::key)
}

struct Victims<'s> {
    pods: Vec<&'s Pod>,
    budget_violations: usize,
}

/// Finds the pods that would leave a node: first all of lower priority, then as many as possible stay, the most important
/// ones first; those that a budget protects before the others.
fn victims_on<'s>(incoming: &Incoming<'s>, info: NodeInfo<'s>) -> Result<Victims<'s>, NoVictims> {
    let mut trial = Trial::new(incoming, info);
    let lower = |pod: &&'s Pod| priority(pod) < incoming.info.priority();
    let mut potential: Vec<_> = trial.node.pods.iter().filter(lower).collect();
    if potential.is_empty() {
        return Err(NoVictims::NoneOfLowerPriority);
    }
    for pod in &potential {
        trial.remove(pod);
    }
    if let Some(blocker) = refusal(&trial) {
        return Err(NoVictims::StillRefused { blocker });
    }
    potential.sort_by(|a, b| importance(a).cmp(&importance(b)));
    let (violating, others) = split_by_budgets(incoming, potential);
    let (mut pods, mut budget_violations) = (Vec::new(), 0);
    for (pod, is_violating) in
        violating.into_iter().map(|pod| (pod, true)).chain(others.into_iter().map(|pod| (pod, false)))
    {
        trial.add(pod);
        if refusal(&trial).is_some() {
            trial.remove(pod);
            pods.push(pod);
            budget_violations += usize::from(is_violating);
        }
    }
    pods.sort_by(|a, b| importance(a).cmp(&importance(b)));
    Ok(Victims { pods, budget_violations })
}

/// More important pods come first: those of higher priority, then those that started earlier. Among equals the scheduler's
/// order is its own; here it is that of their names.
fn importance(pod: &Pod) -> (Reverse<i32>, bool, Option<Timestamp>, &Text, &Text) {
    (Reverse(priority(pod)), pod.started.is_none(), pod.started, &pod.namespace, &pod.name)
}

/// Separates the pods whose eviction would violate a budget from the others.
fn split_by_budgets<'s>(incoming: &Incoming<'_>, pods: Vec<&'s Pod>) -> (Vec<&'s Pod>, Vec<&'s Pod>) {
    let mut budgets: Vec<_> =
        incoming.info.state.objects.budgets.values().map(|budget| (budget, budget.allowed)).collect();
    pods.into_iter().partition(|pod| {
        let mut violates = false;
        for (_, allowed) in budgets.iter_mut().filter(|(budget, _)| protects(budget, pod)) {
            *allowed -= 1;
            violates |= *allowed < 0;
        }
        violates
    })
}

/// Whether a budget protects a pod. An empty selector protects none, and pods without labels are never protected.
fn protects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selects = budget.selector.as_ref().is_some_and(|own| !own.is_empty() && own.matches(&pod.labels));
    budget.namespace == pod.namespace && !pod.labels.is_empty() && selects && !budget.disrupted.contains(&pod.name)
}

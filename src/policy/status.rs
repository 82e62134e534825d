//! The state of an update with a rollout policy.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::Approved;
use crate::{
    model::{DaemonSetCondition, Text},
    util::duration::{self, words},
};

/// The state of an update with a [`RolloutPolicy`](crate::policy::RolloutPolicy).
///
/// ```
/// use daemonplan::{RolloutPolicy, Settings, Snapshot, model::{DaemonSet, Namespace, Node}, policy::RolloutPhase};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let mut policy = RolloutPolicy::default();
/// policy.strict_budget = true;
/// let mut settings = Settings::default();
/// settings.rollout_policy = policy;
/// let nodes = [Node::new("node-7")];
/// let plan = Snapshot::new(&daemonset, &nodes, &[], &namespace).settings(&settings).plan();
/// assert_eq!(plan.rollout.unwrap().phase, RolloutPhase::Settled);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RolloutStatus {
    /// The phase of the update.
    #[serde(flatten)]
    pub phase: RolloutPhase,
    /// The number of nodes with an outdated pod, including pods being deleted.
    pub old: usize,
    /// The number of nodes that should run a pod and have an updated one.
    pub updated: usize,
    /// The excluded nodes among those without an available pod (`status.numberUnavailable`).
    #[serde(rename = "unavailableAway")]
    pub unavailable_excluded: usize,
    /// The nodes that an update waits for, by name: those that lack an available pod or have several and are not excluded,
    /// canaries that have not started or not baked, where nothing else is left to update, excluded ones with an outdated
    /// pod, and where more nodes are away than are excused, all of these.
    pub waits_for: Vec<Text>,
    /// Those of them that do not report, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_reporting: Vec<Text>,
}

/// The phase of an update with a [`RolloutPolicy`](crate::policy::RolloutPolicy).
///
/// ```
/// use daemonplan::policy::{CanaryStep, RolloutPhase};
/// let step = CanaryStep { number: 1, of: 1 };
/// let phase = RolloutPhase::CanaryStarting { available: 2, wanted: 3, fails_in: None, step };
/// assert_eq!(phase.to_string(), "2 of 3 canaries are available");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "phase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum RolloutPhase {
    /// No pod is outdated.
    Settled,
    /// No pod is outdated. With [`on-failure`](crate::policy::FailurePolicy), the update is done once all pods have been
    /// available for the bake time of the canaries, and at least for the grace of a start.
    Verifying {
        /// The remaining time; `None` while some pods are not well, and without a clock.
        #[serde(serialize_with = "duration::serialize_whole", rename = "remainingSeconds")]
        remaining: Option<Duration>,
    },
    /// The update proceeds within its budget.
    Rolling {
        /// The group being updated, if groups are updated one at a time; empty for the nodes without the label.
        group: Option<Text>,
    },
    /// The canaries are updated.
    CanaryStarting {
        /// The number of available canaries.
        available: usize,
        /// The number of required canaries.
        wanted: usize,
        /// How long until the template fails, if it does because canaries do not become available in time.
        #[serde(
            serialize_with = "duration::serialize_whole",
            rename = "failsInSeconds",
            skip_serializing_if = "Option::is_none"
        )]
        fails_in: Option<Duration>,
        /// The step.
        #[serde(flatten)]
        step: CanaryStep,
    },
    /// The canaries have not been available for long enough.
    CanaryBaking {
        /// The remaining time; `None` without a clock.
        #[serde(serialize_with = "duration::serialize_whole", rename = "remainingSeconds")]
        remaining: Option<Duration>,
        /// How long until the template fails, if that is sooner.
        #[serde(
            serialize_with = "duration::serialize_whole",
            rename = "failsInSeconds",
            skip_serializing_if = "Option::is_none"
        )]
        fails_in: Option<Duration>,
        /// The step.
        #[serde(flatten)]
        step: CanaryStep,
    },
    /// An operator must approve the canaries.
    AwaitingApproval {
        /// The annotation to set.
        annotation: Text,
        /// Its value: the hash of the revision, and the number of the step if there are several.
        value: Approved,
        /// The step.
        #[serde(flatten)]
        step: CanaryStep,
    },
    /// The remaining nodes keep their outdated pods.
    Held {
        /// The number of nodes that the partition keeps.
        partition: usize,
        /// The number of nodes that the policy does not select.
        not_selected: usize,
        /// The number of nodes that are excused as away; the update [waits for](RolloutStatus::waits_for) them.
        away: usize,
    },
    /// The policy `paused` is set.
    Paused,
    /// The policy `frozen` is set: no pod is created or deleted.
    Frozen,
    /// An annotation with a policy cannot be read.
    Unreadable {
        /// Which one, and why.
        error: Text,
    },
    /// It is doubtful whether the new template works, so the update waits until its pods are well or fail.
    InDoubt {
        /// The nodes whose pods are in doubt, by name.
        nodes: Vec<Text>,
        /// Why, and on which of them.
        reason: Text,
    },
    /// The new template fails, so the update is paused.
    Failing {
        /// The nodes where it fails or failed, by name.
        nodes: Vec<Text>,
        /// Why it fails or failed, and on which of them.
        reason: Text,
        /// Whether an operator has to resume the update, even if the template no longer fails.
        is_paused: bool,
        /// Whether it fails now, so that the update would be paused again at once.
        still_fails: bool,
        /// The annotation whose removal resumes the update.
        annotation: Text,
        /// Whether no pod of another template is left, so that there is nothing to pause.
        is_everywhere: bool,
        /// Why the template is not rolled back, if the policy asks for that.
        #[serde(skip_serializing_if = "Option::is_none")]
        no_roll_back: Option<NoRollBack>,
    },
    /// The new template fails, so the older one is restored.
    RollingBack {
        /// The nodes where it fails, by name.
        nodes: Vec<Text>,
        /// Why it fails, and on which of them.
        reason: Text,
    },
}

/// Why a template that fails is not rolled back, though the policy asks for that.
///
/// ```
/// use daemonplan::policy::NoRollBack;
/// assert_eq!(NoRollBack::NoOlderTemplate.to_string(), "no older template is known to work");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum NoRollBack {
    /// It was rolled back before, and set again.
    RolledBackBefore,
    /// An operator went back to it.
    Undone,
    /// No other template is known to work.
    NoOlderTemplate,
}

/// A step of the [canaries](crate::policy::Canary).
///
/// ```
/// use daemonplan::policy::CanaryStep;
/// assert_eq!(serde_json::to_string(&CanaryStep { number: 1, of: 3 })?, r#"{"step":1,"steps":3}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct CanaryStep {
    /// Its number, from 1.
    #[serde(rename = "step")]
    pub number: usize,
    /// The number of all steps.
    #[serde(rename = "steps")]
    pub of: usize,
}

impl RolloutStatus {
    /// Describes the nodes that are unavailable because they are away; `None` if there are none.
    ///
    /// ```
    /// use daemonplan::{RolloutPolicy, Settings, Snapshot};
    /// use daemonplan::model::{DaemonSet, Labels, Namespace, Node, Pod, PodNode, Taint, TaintEffect};
    /// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
    /// let namespace = Namespace::new("prod");
    /// let mut settings = Settings::default();
    /// settings.rollout_policy = RolloutPolicy::default().with_flags(["away=unreachable"]).unwrap();
    /// let mut nodes = [Node::new("node-7")];
    /// nodes[0].taints.push(Taint::new("node.kubernetes.io/unreachable", "", TaintEffect::NoExecute));
    /// let mut pods = [Pod::new("prod", "agent-x2k")];
    /// (pods[0].labels, pods[0].node) = (Labels::from([("app", "agent")]), PodNode::Bound("node-7".into()));
    /// let plan = Snapshot::new(&daemonset, &nodes, &pods, &namespace).settings(&settings).plan();
    /// assert_eq!(plan.rollout.unwrap().away().unwrap(), "1 node without an available pod is away");
    /// ```
    pub fn away(&self) -> Option<String> {
        match self.unavailable_excluded {
            0 => None,
            1 => Some("1 node without an available pod is away".to_owned()),
            count => Some(format!("{count} nodes without an available pod are away")),
        }
    }

    /// Iterates over what is to be said besides the phase: [which nodes it waits for](Self::waiting), and [which are
    /// away](Self::away).
    pub fn notes(&self) -> impl Iterator<Item = String> + use<> {
        self.waiting().into_iter().chain(self.away())
    }

    /// Describes the nodes that the update waits for; `None` if there are none, or if the phase names them.
    ///
    /// ```
    /// use daemonplan::{RolloutPolicy, Settings, Snapshot, model::{DaemonSet, Namespace, Node}};
    /// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
    /// let namespace = Namespace::new("prod");
    /// let mut settings = Settings::default();
    /// settings.rollout_policy = RolloutPolicy::default().with_flags(["on-failure=pause"]).unwrap();
    /// let nodes = [Node::new("node-7")];
    /// let plan = Snapshot::new(&daemonset, &nodes, &[], &namespace).settings(&settings).plan();
    /// assert_eq!(plan.rollout.unwrap().waiting(), None);
    /// ```
    pub fn waiting(&self) -> Option<String> {
        use RolloutPhase::{CanaryBaking, CanaryStarting, Held, Rolling, Verifying};
        let is_named = !matches!(
            self.phase,
            CanaryStarting { .. } | CanaryBaking { .. } | Held { .. } | Rolling { .. } | Verifying { remaining: None }
        );
        (!is_named && !self.waits_for.is_empty()).then(|| {
            let nodes = some_nodes(&self.waits_for);
            match self.not_reporting.len() {
                0 => format!("waits for {nodes}"),
                1 if self.waits_for.len() == 1 => format!("waits for {nodes}, which does not report"),
                all if all == self.waits_for.len() => format!("waits for {nodes}, which do not report"),
                1 => format!("waits for {nodes}; {} does not report", some_nodes(&self.not_reporting)),
                _ => format!("waits for {nodes}; {} do not report", some_nodes(&self.not_reporting)),
            }
        })
    }
}

impl RolloutPhase {
    /// The reason of the condition `Progressing` once no policy applies any more.
    pub(crate) const NO_POLICY: &str = "NoPolicy";

    /// The names of all variants.
    const CODES: [&str; 13] = [
        "Settled",
        "Verifying",
        "Rolling",
        "CanaryStarting",
        "CanaryBaking",
        "AwaitingApproval",
        "Held",
        "Paused",
        "Frozen",
        "Unreadable",
        "InDoubt",
        "Failing",
        "RollingBack",
    ];

    /// Returns the variant's name, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settled => "Settled",
            Self::Verifying { .. } => "Verifying",
            Self::Rolling { .. } => "Rolling",
            Self::CanaryStarting { .. } => "CanaryStarting",
            Self::CanaryBaking { .. } => "CanaryBaking",
            Self::AwaitingApproval { .. } => "AwaitingApproval",
            Self::Held { .. } => "Held",
            Self::Paused => "Paused",
            Self::Frozen => "Frozen",
            Self::Unreadable { .. } => "Unreadable",
            Self::InDoubt { .. } => "InDoubt",
            Self::Failing { .. } => "Failing",
            Self::RollingBack { .. } => "RollingBack",
        }
    }

    /// Whether a condition of a DaemonSet tells of such a phase, and not of what another controller does.
    pub(crate) fn is_told_by(condition: &DaemonSetCondition) -> bool {
        let is_ours = |reason: &str| reason == Self::NO_POLICY || Self::CODES.contains(&reason);
        condition.kind == DaemonSetCondition::PROGRESSING && is_ours(&condition.reason)
    }

    /// The same without a time that is left.
    pub(crate) fn without_time(mut self) -> Self {
        if let Self::CanaryBaking { remaining, .. } | Self::Verifying { remaining } = &mut self {
            *remaining = None;
        }
        if let Self::CanaryStarting { fails_in, .. } | Self::CanaryBaking { fails_in, .. } = &mut self {
            *fails_in = None;
        }
        self
    }

    /// Whether the policy, not the budget, blocks the update.
    pub fn holds(&self) -> bool {
        !matches!(
            self,
            Self::Settled
                | Self::Verifying { .. }
                | Self::Rolling { .. }
                | Self::CanaryStarting { wanted: 1.., .. }
                | Self::RollingBack { .. }
        )
    }
}

impl fmt::Display for RolloutPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled => f.write_str("all pods are up to date"),
            Self::Verifying { remaining: Some(remaining) } => {
                write!(f, "all pods are up to date; they must stay available for {} more", words(*remaining))
            }
            Self::Verifying { remaining: None } => {
                f.write_str("all pods are up to date; the update is done once they have been available for some time")
            }
            Self::Rolling { group: None } => f.write_str("the update is in progress"),
            Self::Rolling { group: Some(group) } if group.is_empty() => {
                f.write_str("the update is in progress on the nodes without a group")
            }
            Self::Rolling { group: Some(group) } => write!(f, "the update is in progress in group {group}"),
            Self::CanaryStarting { wanted: 0, .. } => f.write_str("no node that should run a pod matches canary-nodes"),
            Self::CanaryStarting { available, wanted, fails_in, step } => {
                write!(f, "{}{available} of {wanted} canaries are available", step.prefix())?;
                fails_in.map_or(Ok(()), |time| {
                    write!(f, "; the template fails in {} unless they have baked by then", words(time))
                })
            }
            Self::CanaryBaking { remaining, fails_in, step } => {
                let longer = remaining.map_or_else(|| "longer".to_owned(), |time| format!("{} more", words(time)));
                write!(f, "{}the canaries must be available for {longer}", step.prefix())?;
                fails_in.map_or(Ok(()), |time| {
                    write!(f, "; their time ends in {} and the template fails then", words(time))
                })
            }
            Self::AwaitingApproval { annotation, value, step } => write!(
                f,
                "{}an operator must approve the update: annotate the DaemonSet with {annotation}={value}",
                step.prefix()
            ),
            Self::Held { partition, not_selected, away } => {
                f.write_str("the other nodes keep their pods")?;
                let reasons = [
                    (*partition, "kept by the policy partition"),
                    (*not_selected, "not selected by update-nodes"),
                    (*away, "excused by away"),
                ];
                let reasons = reasons.into_iter().filter(|(nodes, _)| *nodes > 0);
                let reasons: Vec<_> = reasons.map(|(nodes, reason)| format!("{nodes} {reason}")).collect();
                if reasons.is_empty() { Ok(()) } else { write!(f, " ({})", reasons.join(", ")) }
            }
            Self::Paused => f.write_str("the update is paused, as the policy paused says"),
            Self::Frozen => f.write_str(
                "the DaemonSet is frozen, as the policy frozen says: on existing nodes no pod is created or deleted",
            ),
            Self::Unreadable { error } => write!(f, "the update is paused, since a policy cannot be read: {error}"),
            Self::InDoubt { nodes, reason } => {
                write!(f, "the update waits, since the new template may fail on {}", nodes_and_reason(nodes, reason))
            }
            Self::Failing { nodes, reason, is_paused, still_fails, annotation, is_everywhere, no_roll_back } => {
                let where_and_why = nodes_and_reason(nodes, reason);
                if *is_paused {
                    write!(
                        f,
                        "the update is paused until an operator removes the annotation {annotation}, since the new template \
                         failed on {where_and_why}{}",
                        if *still_fails { "; it still does" } else { "" }
                    )?;
                } else if *is_everywhere {
                    let back = match no_roll_back {
                        Some(NoRollBack::NoOlderTemplate) => "",
                        _ => ", or go back with kubectl rollout undo",
                    };
                    write!(
                        f,
                        "the new template fails on {where_and_why}, and no pod of another one is left: correct it{back}"
                    )?;
                } else {
                    write!(f, "the update is paused, since the new template fails on {where_and_why}")?;
                }
                no_roll_back.map_or(Ok(()), |why| write!(f, "; there is no roll-back, as {why}"))
            }
            Self::RollingBack { nodes, reason } => {
                write!(f, "the template is rolled back, since the new one fails on {}", nodes_and_reason(nodes, reason))
            }
        }
    }
}

impl CanaryStep {
    /// The beginning of a sentence about the step; empty if it is the only one.
    fn prefix(self) -> String {
        match self {
            Self { of: 1, .. } => String::new(),
            Self { number, of } => format!("step {number} of {of}: "),
        }
    }
}

impl fmt::Display for NoRollBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RolledBackBefore => "the template was rolled back before",
            Self::Undone => "an operator went back to the template",
            Self::NoOlderTemplate => "no older template is known to work",
        })
    }
}

/// The first nodes, and why the template fails on one of them.
fn nodes_and_reason(nodes: &[Text], reason: &str) -> String {
    let reason = match nodes {
        [only] => reason.strip_suffix(&format!(" on {only}")).unwrap_or(reason),
        _ => reason,
    };
    format!("{} ({reason})", some_nodes(nodes))
}

/// The first nodes and the number of the others.
pub(crate) fn some_nodes(nodes: &[Text]) -> String {
    match nodes {
        [first, _, _, _, ..] => format!("{first} and {} other nodes", nodes.len() - 1),
        nodes => nodes.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_known_by_its_code() {
        let (step, nodes, text) = (CanaryStep { number: 1, of: 1 }, vec![Text::from("a")], Text::from("x"));
        let value = Approved { hash: text.clone(), steps: None };
        let phases = [
            RolloutPhase::Settled,
            RolloutPhase::Verifying { remaining: None },
            RolloutPhase::Rolling { group: None },
            RolloutPhase::CanaryStarting { available: 0, wanted: 1, fails_in: None, step },
            RolloutPhase::CanaryBaking { remaining: None, fails_in: None, step },
            RolloutPhase::AwaitingApproval { annotation: text.clone(), value, step },
            RolloutPhase::Held { partition: 0, not_selected: 1, away: 0 },
            RolloutPhase::Paused,
            RolloutPhase::Frozen,
            RolloutPhase::Unreadable { error: text.clone() },
            RolloutPhase::InDoubt { nodes: nodes.clone(), reason: text.clone() },
            RolloutPhase::Failing {
                nodes: nodes.clone(),
                reason: text.clone(),
                is_paused: false,
                still_fails: true,
                annotation: text.clone(),
                is_everywhere: false,
                no_roll_back: None,
            },
            RolloutPhase::RollingBack { nodes, reason: text },
        ];
        assert_eq!(phases.map(|phase| phase.code()), RolloutPhase::CODES);
    }
}

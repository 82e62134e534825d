//! What is the same for all nodes of a DaemonSet, compiled once. It serves plan, explain, history and cluster.

use jiff::Timestamp;

use crate::{
    adoption::{revision_history::RevisionHistory, revision_match::RevisionLabels},
    backoff::Backoff,
    model::{DaemonSet, Namespace, Text},
    placement::PlacementRules,
    plan::Warning,
    policy::{MisplacedPolicy, effective::EffectivePolicy},
    settings::Settings,
};

/// How a DaemonSet is synchronised at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncMode {
    /// Not at all: its namespace is not known. With another one's node selector, pods would be deleted by mistake.
    OtherNamespace,
    /// Not at all: its selector is empty.
    LeaveAlone,
    /// Not at all, yet: it is being deleted, and other controllers' finalizers keep it.
    AwaitFinalizers,
    /// It is being deleted: its dependents are deleted or orphaned.
    CollectDependents,
    /// It is reconciled.
    Reconcile,
}

/// Where an update goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To a new template.
    #[default]
    Forward,
    /// To an older one that an operator has set again.
    Undo,
    /// To an older one that a roll-back has restored: when, if its own update was done before.
    RollBack(Option<Timestamp>),
}

/// The rules of a DaemonSet, compiled from the DaemonSet, its namespace, its revisions and the settings.
#[derive(Debug)]
pub(crate) struct DaemonSetRules {
    pub(crate) placement: PlacementRules,
    pub(crate) policy: EffectivePolicy,
    pub(crate) labels: RevisionLabels,
    pub(crate) history: RevisionHistory,
    pub(crate) direction: Direction,
    /// What the rules ignore in their input.
    pub(crate) warnings: Vec<Warning>,
}

/// All that decides about a DaemonSet's nodes, besides the nodes and their pods.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DaemonSetContext<'a> {
    pub(crate) daemonset: &'a DaemonSet,
    pub(crate) rules: &'a DaemonSetRules,
    pub(crate) settings: &'a Settings,
    pub(crate) backoff: &'a Backoff,
    pub(crate) now: Option<Timestamp>,
    /// Whether the effects of the last plan show in the input.
    pub(crate) expectations_satisfied: bool,
}

impl SyncMode {
    pub(crate) fn of(daemonset: &DaemonSet, namespace: &Namespace) -> Self {
        match &daemonset.selector {
            _ if daemonset.namespace != namespace.name => Self::OtherNamespace,
            Some(selector) if selector.is_empty() => Self::LeaveAlone,
            _ if daemonset.waits_for_finalizers() => Self::AwaitFinalizers,
            _ if daemonset.is_being_deleted() => Self::CollectDependents,
            _ => Self::Reconcile,
        }
    }
}

impl DaemonSetRules {
    pub(crate) fn compile(
        daemonset: &DaemonSet,
        namespace: &Namespace,
        settings: &Settings,
        history: RevisionHistory,
    ) -> Self {
        let placement = PlacementRules::new(daemonset, namespace, settings);
        let (rollout, error) = settings.readable_policy_of(daemonset);
        let policy = EffectivePolicy::new(daemonset, rollout, error, &settings.policy_prefix);
        let mut warnings = Warning::of_placement(&placement);
        warnings.extend(policy.error.clone().map(|error| Warning::InvalidPolicy { error }));
        if !settings.ignore_policy_annotations {
            let misplaced = MisplacedPolicy::all(daemonset, &settings.policy_prefix);
            warnings.extend(misplaced.map(|misplaced| Warning::MisplacedPolicy { misplaced }));
        }
        warnings.extend(Warning::of_input(daemonset, namespace, settings));
        let labels = RevisionLabels::new(daemonset, history.is_given());
        let direction = Direction::of(&policy, &history);
        Self { placement, policy, labels, history, direction, warnings }
    }

    /// Replaces the history, and returns whether nodes may be decided otherwise.
    pub(crate) fn set_history(&mut self, history: RevisionHistory) -> bool {
        let direction = Direction::of(&self.policy, &history);
        let has_changed = direction != self.direction || !history.is_current_as(&self.history);
        (self.history, self.direction) = (history, direction);
        has_changed
    }
}

impl Direction {
    fn of(policy: &EffectivePolicy, history: &RevisionHistory) -> Self {
        if !policy.guides_updates {
            return Self::Forward;
        }
        let is_current = |hash: &Option<Text>| hash.as_ref() == Some(&history.hash);
        let record = &policy.record;
        if let Some(failed) = record.failed.iter().rfind(|failed| is_current(&failed.restored)) {
            Self::RollBack(failed.at.filter(|_| is_current(&record.done)))
        } else if record.failure_of(&history.hash).is_some() {
            // It is tried again.
            Self::Forward
        } else if is_current(&record.returns_to) || history.is_restored() {
            Self::Undo
        } else {
            Self::Forward
        }
    }

    /// Whether the template is an older one. What holds up an update does not hold up the way back.
    pub(crate) fn is_back(self) -> bool {
        self != Self::Forward
    }
}

impl<'a> DaemonSetContext<'a> {
    /// Whether it is later than this, or just then; never without a clock.
    pub(crate) fn is_over(&self, until: Timestamp) -> bool {
        self.now.is_some_and(|now| until <= now)
    }

    /// The hash label of pods that are up to date.
    pub(crate) fn hash(&self) -> &'a Text {
        &self.rules.history.hash
    }
}

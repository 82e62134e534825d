//! What is the same for all nodes of a DaemonSet, compiled once. It serves plan, explain, history and cluster.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    adoption::{revision_history::RevisionHistory, revision_match::RevisionLabels},
    backoff::Backoff,
    model::{ControllerRevision, DaemonSet, Namespace, Text},
    placement::PlacementRules,
    plan::Warning,
    policy::effective::EffectivePolicy,
    settings::Settings,
};

/// How a DaemonSet is synchronised at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncMode {
    /// Not at all: its selector is empty.
    LeaveAlone,
    /// It is being deleted: its dependents are deleted or orphaned.
    CollectDependents,
    /// It is reconciled.
    Reconcile,
}

/// The rules of a DaemonSet, compiled from the DaemonSet, its namespace, its revisions and the settings.
#[derive(Debug)]
pub(crate) struct DaemonSetRules {
    pub(crate) placement: Arc<PlacementRules>,
    pub(crate) policy: EffectivePolicy,
    pub(crate) labels: RevisionLabels,
    pub(crate) history: RevisionHistory,
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
    pub(crate) fn of(daemonset: &DaemonSet) -> Self {
        match &daemonset.selector {
            Some(selector) if selector.is_empty() => Self::LeaveAlone,
            _ if daemonset.is_being_deleted() => Self::CollectDependents,
            _ => Self::Reconcile,
        }
    }
}

impl DaemonSetRules {
    /// No rules yet: [`DaemonSetRules::recompile`] and [`DaemonSetRules::update_history`] make them.
    pub(crate) fn new(daemonset: &DaemonSet) -> Self {
        Self {
            placement: Arc::default(),
            policy: EffectivePolicy::default(),
            labels: RevisionLabels::new(daemonset),
            history: RevisionHistory::not_given(daemonset),
            warnings: Vec::new(),
        }
    }

    /// Compiles everything; without `revisions` the history is not given.
    pub(crate) fn compile(
        daemonset: &DaemonSet,
        namespace: &Namespace,
        revisions: Option<&[ControllerRevision]>,
        settings: &Settings,
    ) -> Self {
        let (placement, policy) = compile(daemonset, namespace, settings);
        Self {
            warnings: warnings(&placement, &policy),
            placement: Arc::new(placement),
            policy,
            labels: RevisionLabels::new(daemonset),
            history: match revisions {
                Some(revisions) => RevisionHistory::new(daemonset, revisions.iter()),
                None => RevisionHistory::not_given(daemonset),
            },
        }
    }

    /// Compiles everything but the history. Returns whether decisions about nodes may have changed.
    pub(crate) fn recompile(&mut self, daemonset: &DaemonSet, namespace: &Namespace, settings: &Settings) -> bool {
        let (placement, policy) = compile(daemonset, namespace, settings);
        let has_changed = placement != *self.placement || policy != self.policy;
        self.warnings = warnings(&placement, &policy);
        self.labels = RevisionLabels::new(daemonset);
        (self.placement, self.policy) = (Arc::new(placement), policy);
        has_changed
    }

    /// Replaces the history by that of `revisions`.
    pub(crate) fn update_history<'r>(
        &mut self,
        daemonset: &DaemonSet,
        revisions: impl Iterator<Item = &'r ControllerRevision> + Clone,
    ) {
        self.history = RevisionHistory::new(daemonset, revisions);
    }
}

fn compile(daemonset: &DaemonSet, namespace: &Namespace, settings: &Settings) -> (PlacementRules, EffectivePolicy) {
    let placement = PlacementRules::compile(daemonset, namespace, settings);
    let policy = EffectivePolicy::new(daemonset, settings.policy_of(daemonset), &settings.rollout_policy);
    (placement, policy)
}

fn warnings(placement: &PlacementRules, policy: &EffectivePolicy) -> Vec<Warning> {
    let mut warnings = Warning::of_placement(placement);
    warnings.extend(policy.error.clone().map(|error| Warning::InvalidPolicy { error }));
    warnings
}

impl<'a> DaemonSetContext<'a> {
    /// The hash label of pods that are up to date.
    pub(crate) fn hash(&self) -> &'a Text {
        &self.rules.history.hash
    }
}

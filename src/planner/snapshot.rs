//! Plans from a snapshot of the cluster, all at once.
//!
//! # Where the time goes
//!
//! On 10,000 nodes with one pod each, whose names and uids are too long to be stored inline, a settled plan takes about
//! 1,000 instructions for a node and its pod, and misses a cache of 1 MB about 17 times (cachegrind). About 14 cache
//! lines are unavoidable: the node's struct (2), the value of each label that a rule asks for, and the taints; the
//! pod's struct (5), the name of its node, and that node's entry, struct and name to compare. A pod of another
//! controller takes 30 instructions and a line, a requirement on labels 130 and up to a line.
//!
//! Values that are read often are therefore stored inline ([`Text`](crate::model::Text)), label sets share their keys
//! and equal sets share everything ([`Labels`](crate::model::Labels)), so that most labels are recognised by their
//! address. Nodes and pods are processed in small batches, so that several memory accesses are in flight at the same
//! time.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use super::{claimed_pods::ClaimedPods, reconcile, totals::Totals};
use crate::{
    adoption::{revision_history::RevisionHistory, template_hash::hash_after},
    backoff::Backoff,
    context::{DaemonSetContext, DaemonSetRules, SyncMode},
    model::{ControllerRevision, DaemonSet, Namespace, Node, Pod},
    placement::{NodeIndex, Placement, PlacementRules},
    plan::{Action, MissingFact, MissingFacts, Plan, Warning},
    scheduling::ClusterState,
    settings::Settings,
};

/// The input of a plan: one DaemonSet and the cluster around it, at one moment.
///
/// The defaults are: no ControllerRevisions (which differs from an empty slice of them), no clock, the default
/// [`Settings`], no back-off of Failed pods, and satisfied expectations.
///
/// ```
/// use daemonplan::{Settings, Snapshot, model::{DaemonSet, Namespace, Node}};
/// let (daemonset, namespace) = (DaemonSet::new("prod", "agent", [("app", "agent")])?, Namespace::new("prod"));
/// let nodes = [Node::new("node-7")];
/// let mut settings = Settings::default();
/// settings.burst = 10;
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace)
///     .revisions(&[])
///     .at("2026-01-02T03:04:05Z".parse().unwrap())
///     .settings(&settings);
/// assert_eq!(snapshot.plan().status.unwrap().desired_number_scheduled, 1);
/// assert_eq!(snapshot.placement("node-7").unwrap().to_string(), "node-7: placed");
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    pub(crate) daemonset: &'a DaemonSet,
    pub(crate) nodes: &'a [Node],
    pub(crate) pods: &'a [Pod],
    pub(crate) namespace: &'a Namespace,
    pub(crate) revisions: Option<&'a [ControllerRevision]>,
    pub(crate) now: Option<Timestamp>,
    pub(crate) settings: Option<&'a Settings>,
    pub(crate) backoff: Option<&'a Backoff>,
    pub(crate) expectations_satisfied: bool,
    pub(crate) missing: MissingFacts,
    /// The DaemonSet's manifest, and the one before, if it is a change.
    pub(crate) manifest: Option<(&'a Value, Option<&'a Value>)>,
    pub(crate) scheduling: Option<&'a ClusterState<'a>>,
}

/// A snapshot with its rules compiled and its nodes indexed.
pub(crate) struct CompiledSnapshot<'a> {
    snapshot: Snapshot<'a>,
    settings: Cow<'a, Settings>,
    backoff: Cow<'a, Backoff>,
    rules: DaemonSetRules,
    pub(crate) nodes: NodeIndex<'a>,
}

impl<'a> Snapshot<'a> {
    /// Whether everything that decides is the same in two snapshots.
    #[cfg(feature = "forecast")]
    pub(crate) fn decides_as(&self, other: &Snapshot<'_>) -> bool {
        let Self { daemonset, nodes, pods, namespace, revisions, now, settings, backoff, .. } = *self;
        (daemonset, nodes, pods, namespace) == (other.daemonset, other.nodes, other.pods, other.namespace)
            && (revisions, now, settings, backoff) == (other.revisions, other.now, other.settings, other.backoff)
            && (self.expectations_satisfied, self.missing) == (other.expectations_satisfied, other.missing)
    }

    /// Creates a snapshot of a DaemonSet, all nodes of the cluster, the pods of the DaemonSet's namespace (pods of
    /// other namespaces are ignored) and that namespace. The order of nodes and pods makes no difference.
    pub fn new(daemonset: &'a DaemonSet, nodes: &'a [Node], pods: &'a [Pod], namespace: &'a Namespace) -> Self {
        Self {
            daemonset,
            nodes,
            pods,
            namespace,
            revisions: None,
            now: None,
            settings: None,
            backoff: None,
            expectations_satisfied: true,
            missing: MissingFacts::default(),
            manifest: None,
            scheduling: None,
        }
    }

    /// States that such objects are not known: that the snapshot holds none is no evidence. What rests on them is
    /// [unsupported](Plan::unsupported), or not known.
    #[must_use]
    pub fn without(self, fact: MissingFact) -> Self {
        let snapshot = Self { missing: self.missing.with(fact), ..self };
        if fact == MissingFact::Revisions { Self { revisions: None, ..snapshot } } else { snapshot }
    }

    /// Sets the DaemonSet's whole manifest, for [lints](crate::lint) about fields that the model omits, and the manifest
    /// before, if it is a change of a DaemonSet.
    #[must_use]
    pub fn manifest(self, manifest: &'a Value, before: Option<&'a Value>) -> Self {
        Self { manifest: Some((manifest, before)), ..self }
    }

    /// Sets what the default scheduler knows of the cluster: explanations, forecasts and diffs then say whether pods will be
    /// bound. Plans do not depend on it.
    #[must_use]
    pub fn scheduling(self, state: &'a ClusterState<'a>) -> Self {
        Self { scheduling: Some(state), ..self }
    }

    /// Returns the same snapshot of a cluster where every new pod starts.
    pub(crate) fn unscheduled(self) -> Self {
        Self { scheduling: None, ..self }
    }

    /// Iterates over the facts that [are not known](Self::without).
    pub fn missing(&self) -> impl Iterator<Item = MissingFact> + use<> {
        self.missing.iter()
    }

    /// Sets all ControllerRevisions of the namespace. Without them a plan has no actions on revisions.
    #[must_use]
    pub fn revisions(self, revisions: &'a [ControllerRevision]) -> Self {
        Self { revisions: Some(revisions), ..self }
    }

    /// Sets the time. Without it, which pods are available under a positive `minReadySeconds` is unknown: an update
    /// deletes no pod that may be needed, and no back-off starts or ends.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        Self { now: Some(now), ..self }
    }

    /// Sets the configuration of the cluster's operator.
    #[must_use]
    pub fn settings(self, settings: &'a Settings) -> Self {
        Self { settings: Some(settings), ..self }
    }

    /// Sets the back-off of Failed pods, as earlier plans returned it.
    #[must_use]
    pub fn backoff(self, backoff: &'a Backoff) -> Self {
        Self { backoff: Some(backoff), ..self }
    }

    /// States that the effects of the last plan do not show in the input yet, for example because a cache lags. The
    /// plan then creates and deletes no pods, deletes no old revisions, and rolls nothing back.
    #[must_use]
    pub fn expectations_unsatisfied(self) -> Self {
        Self { expectations_satisfied: false, ..self }
    }

    /// Returns the DaemonSet that the plan is for.
    pub fn daemonset(&self) -> &'a DaemonSet {
        self.daemonset
    }

    /// Returns the plan.
    pub fn plan(self) -> Plan {
        self.compile().plan()
    }

    /// Returns the decision for every node, by name.
    pub fn placements(&self) -> impl Iterator<Item = Placement> + use<'a> {
        let (rules, mut nodes) = (self.placement_rules(), NodeIndex::new(self.nodes).all().to_vec());
        nodes.sort_unstable_by_key(|node| &node.name);
        nodes.into_iter().map(move |node| rules.placement(node))
    }

    /// Returns the decision for one node; `None` if no node has this name.
    pub fn placement(&self, node: &str) -> Option<Placement> {
        let node = self.nodes.iter().filter(|known| known.name == *node).min()?;
        Some(self.placement_rules().placement(node))
    }

    /// Returns the compiled rules about nodes.
    pub fn placement_rules(&self) -> PlacementRules {
        match self.settings {
            Some(settings) => PlacementRules::new(self.daemonset, self.namespace, settings),
            None => PlacementRules::new(self.daemonset, self.namespace, &Settings::default()),
        }
    }

    /// Compares the revisions with the template.
    pub(crate) fn history(&self) -> RevisionHistory {
        match self.revisions {
            Some(revisions) => RevisionHistory::new(self.daemonset, revisions.iter()),
            None => RevisionHistory::not_given(self.daemonset),
        }
    }

    /// Compiles the rules and indexes the nodes.
    pub(crate) fn compile(self) -> CompiledSnapshot<'a> {
        let settings = self.settings.map_or_else(|| Cow::Owned(Settings::default()), Cow::Borrowed);
        let backoff = self.backoff.map_or_else(|| Cow::Owned(Backoff::default()), Cow::Borrowed);
        let rules = DaemonSetRules::compile(self.daemonset, self.namespace, &settings, self.history());
        let nodes = NodeIndex::new(self.nodes);
        CompiledSnapshot { snapshot: self, settings, backoff, rules, nodes }
    }
}

impl CompiledSnapshot<'_> {
    pub(crate) fn context(&self) -> DaemonSetContext<'_> {
        let Snapshot { daemonset, now, expectations_satisfied, .. } = self.snapshot;
        let (rules, settings, backoff) = (&self.rules, &*self.settings, &*self.backoff);
        DaemonSetContext { daemonset, rules, settings, backoff, now, expectations_satisfied }
    }

    pub(crate) fn plan(&self) -> Plan {
        let Snapshot { daemonset, namespace, pods, revisions, expectations_satisfied, missing, .. } = self.snapshot;
        let duplicates = self.nodes.ambiguous().iter().map(|node| Warning::DuplicateNode { node: node.clone() });
        let mode = SyncMode::of(daemonset, namespace);
        let warnings = Warning::of_missing(missing, daemonset, mode == SyncMode::Reconcile).chain(duplicates);
        let warnings = warnings.chain(self.rules.warnings.iter().cloned()).collect();
        if mode == SyncMode::Reconcile {
            let (context, mut totals) = (self.context(), Totals::default());
            let pods = ClaimedPods::decide(pods, &self.nodes, &context, |view| {
                totals.add(view.name, view.decision);
            });
            return reconcile::reconcile(&context, &totals, &pods, warnings).limited_to_known(missing, daemonset);
        }
        let mut plan = Plan::new(daemonset, hash_after(daemonset, 0), warnings);
        if mode == SyncMode::CollectDependents {
            let (pods, revisions) = (pods.iter(), revisions.unwrap_or_default().iter());
            let burst = self.settings.burst;
            reconcile::collect_dependents(&mut plan, daemonset, pods, revisions, expectations_satisfied, burst);
        }
        plan
    }
}

/// Returns what a DaemonSet needs: the short form of [`Snapshot::plan`], for the actions alone.
///
/// It leaves out what a [`Snapshot`] can be given, and what a [`Plan`] says besides its actions:
///
/// - the ControllerRevisions: a plan without them has no actions on revisions, and pods are up to date if their labels
///   name the template's own hash or generation;
/// - the time: a pod under a positive `minReadySeconds` is not known to be available. No deletion of an update rests on
///   that, and the status is not updated. A Failed pod is deleted without back-off;
/// - the [`Settings`]; and of the plan the status, the Events and the warnings that say so.
///
/// ```
/// use daemonplan::{Action, model::{DaemonSet, Namespace, Node}, plan};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let actions = plan(&daemonset, &[Node::new("node-7")], &[], &Namespace::new("prod"));
/// assert!(matches!(&actions[0], Action::CreatePod { node, .. } if node == "node-7"));
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
pub fn plan(daemonset: &DaemonSet, nodes: &[Node], pods: &[Pod], namespace: &Namespace) -> Vec<Action> {
    Snapshot::new(daemonset, nodes, pods, namespace).plan().actions
}

//! Finds dangerous configurations of DaemonSets before they do harm.

mod builder;
mod canaries;
mod fleet;
mod manifest;
mod node_resources;
mod nodes;
mod pods;
mod policy;
mod ports;
mod room;
mod rules;
mod update;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use serde::{Serialize, Serializer};

use crate::{
    adoption::claim::selects,
    model::{Key, Resource, Text},
    plan::MissingFact,
    planner::Snapshot,
};

pub use manifest::lint_manifest;

/// A danger or a likely mistake in a DaemonSet, found by [`lint()`].
///
/// ```
/// use daemonplan::{Snapshot, lint::lint, model::{DaemonSet, Namespace}};
/// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// daemonset.revision_history_limit = 0;
/// let findings = lint(&[Snapshot::new(&daemonset, &[], &[], &namespace)]);
/// let finding = findings.iter().find(|finding| finding.lint.code() == "no-history").unwrap();
/// assert_eq!(finding.field, "spec.revisionHistoryLimit");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Finding {
    /// The lint that found it.
    #[serde(rename = "code")]
    pub lint: Lint,
    /// The severity.
    pub severity: Severity,
    /// The DaemonSet that the finding is about.
    pub daemon_set: Key,
    /// The kind of the object that holds the field: `DaemonSet` or `Namespace`.
    pub kind: &'static str,
    /// The path of the field.
    pub field: String,
    /// The problem and its consequence.
    pub message: String,
    /// The fix: an instruction or a `kubectl` command.
    pub fix: String,
    /// The affected nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Text>,
}

/// The severity of a [`Finding`].
///
/// ```
/// use daemonplan::lint::{Lint, Severity};
/// assert!(Severity::Error > Severity::Warning && Severity::Warning > Severity::Note);
/// assert_eq!(Lint::NoHistory.severity(), Severity::Warning);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Probably not intended.
    Warning,
    /// Does harm, or can never work.
    Error,
}

macro_rules! lints {
    ($($(#[doc = $doc:literal])+ $name:ident, $severity:ident, $code:literal, $title:literal;)+) => {
        /// The lints.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Lint {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Lint {
            /// All lints.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the name for programs and flags.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// Returns the severity of its findings.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }

            /// Returns the facts without which it cannot be looked for.
            pub fn needs(self) -> &'static [MissingFact] {
                use MissingFact::{Namespace, Nodes, Pods, Revisions};
                match self {
                    Self::MatchesNoNode
                    | Self::WantedNowhere
                    | Self::HostPortConflict
                    | Self::UpdateTakesAllDown
                    | Self::SlowRollOut
                    | Self::IdlePolicy
                    | Self::IdleNodeResources
                    | Self::VirtualNodes
                    | Self::EvictedRepeatedly
                    | Self::NeverFits
                    | Self::SurgeNeverFits
                    | Self::AdmissionExcludesNodes
                    | Self::QuotaTooSmall
                    | Self::SeveralOperatingSystems
                    | Self::OtherOperatingSystem
                    | Self::DoNotFitTogether => &[Nodes],
                    Self::ProjectSelectorConflict => &[Nodes, Namespace],
                    Self::InvalidNamespaceSelector => &[Namespace],
                    Self::AdoptsPods | Self::ManyRevisionsInUse | Self::RunsOtherImage => &[Pods],
                    Self::RelabelsOtherTemplate | Self::CountsByGeneration => &[Pods, Revisions],
                    Self::NotBound | Self::KubeletRejects | Self::DeletionWaits => &[Nodes, Pods],
                    Self::UpdateWaits => &[Nodes, Pods, Revisions],
                    _ => &[],
                }
            }

            /// Returns the danger and its consequence, in one sentence or a few.
            pub fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// Returns a description in one sentence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

lints! {
    /// The API server refuses the DaemonSet, with its own words.
    RefusedByApiServer, Error, "refused-by-api-server", "The API server refuses the DaemonSet.";
    /// The API server does not know a field: kubectl refuses it, and other clients lose it.
    UnknownField, Error, "unknown-field", "The API server does not know a field.";
    /// The namespace's node selector excludes nodes that the DaemonSet selects. A controller that ignores the selector
    /// creates pods there. An admission plugin adds the selector to these pods, so that the scheduler never binds them.
    ProjectSelectorConflict, Error, "project-selector-conflict",
        "The namespace's node selector excludes nodes that the DaemonSet selects.";
    /// A node selector annotation of the namespace does not parse and is ignored.
    InvalidNamespaceSelector, Error, "invalid-namespace-selector",
        "A node selector annotation of the namespace does not parse.";
    /// The DaemonSet has no selector, so that it claims no pod.
    SelectorMissing, Error, "selector-missing", "The DaemonSet has no selector.";
    /// The selector is empty, so that the DaemonSet is left alone.
    SelectorMatchesAll, Error, "selector-matches-all", "The selector is empty and would match every pod.";
    /// The selector does not match the template's labels, so that pods are created without end.
    SelectorMissesTemplate, Error, "selector-misses-template",
        "The selector does not match the labels of the template.";
    /// Another DaemonSet's selector matches the same pods.
    SelectorsOverlap, Error, "selectors-overlap", "The selectors of two DaemonSets match the same pods.";
    /// Orphaned pods match the selector and are adopted.
    AdoptsPods, Warning, "adopts-pods", "Orphaned pods match the selector and are adopted.";
    /// A term of the required node affinity is malformed and matches no node.
    InvalidAffinityTerm, Error, "invalid-affinity-term", "A term of the required node affinity is malformed.";
    /// A term of the required node affinity, or a label of the node selector, matches no node.
    MatchesNoNode, Warning, "matches-no-node", "A rule of the template matches no node of the cluster.";
    /// Each rule of the template matches some node, but all together match none.
    WantedNowhere, Warning, "wanted-nowhere", "No node should run a pod.";
    /// Another DaemonSet needs the same port of the same nodes.
    HostPortConflict, Error, "host-port-conflict", "Two DaemonSets need the same port of a node.";
    /// The controller replaces a toleration with `tolerationSeconds` by its own without.
    TolerationOverridden, Warning, "toleration-overridden", "The controller overrides tolerationSeconds.";
    /// The system's own priority classes may be refused outside `kube-system`.
    CriticalPriority, Note, "critical-priority", "A priority class of the system outside kube-system.";
    /// Both `maxUnavailable` and `maxSurge` are 0, which the API server refuses.
    UpdateNeverMoves, Error, "update-never-moves", "maxUnavailable and maxSurge are both 0.";
    /// `maxUnavailable` covers all nodes.
    UpdateTakesAllDown, Warning, "update-takes-all-down",
        "An update may take the pods of all nodes down at the same time.";
    /// Updates surge, but two pods cannot share a port of their node.
    SurgeNeedsPort, Error, "surge-needs-port", "Updates surge, but two pods cannot share a port of their node.";
    /// A toleration of every taint puts pods on every node, whatever its taints.
    ToleratesEverything, Warning, "tolerates-everything", "A toleration without a key tolerates every taint.";
    /// The template sets `nodeName`, so that no other node runs a pod.
    NodeNameInTemplate, Warning, "node-name-in-template", "The template sets nodeName.";
    /// The required node affinity of the template is replaced: each pod gets an affinity to its own node.
    AffinityReplaced, Note, "affinity-replaced", "Pods do not have the required node affinity of the template.";
    /// An annotation with a rollout policy cannot be read, so that updates are paused.
    InvalidPolicy, Error, "invalid-policy", "An annotation with a rollout policy cannot be read.";
    /// What looks like a rollout policy has a misspelt prefix, or is not an annotation of the DaemonSet.
    MisplacedPolicy, Warning, "misplaced-policy", "What looks like a rollout policy is none.";
    /// A rollout policy has no effect, or waits for nodes that do not exist.
    IdlePolicy, Warning, "idle-policy", "A rollout policy has no effect, or waits for nodes that do not exist.";
    /// What is [set](crate::Settings::node_resources) for the pods of some nodes has no effect: no node that should run a pod
    /// has the labels, earlier settings select all of them, or the template has no such container.
    IdleNodeResources, Warning, "idle-node-resources", "Resources that are set for some nodes have no effect.";
    /// Several revisions equal the template, so that pods of other templates are labelled as up to date and stay.
    RelabelsOtherTemplate, Error, "relabels-other-template", "Pods of another template will count as up to date.";
    /// Under `OnDelete`, pods of three or more revisions run at the same time.
    ManyRevisionsInUse, Warning, "many-revisions-in-use", "Pods of three or more revisions run at the same time.";
    /// No old revision is kept, so that a roll-back is impossible.
    NoHistory, Warning, "no-history", "revisionHistoryLimit is 0.";
    /// `minReadySeconds` makes an update take more than a day.
    SlowRollOut, Warning, "slow-roll-out", "minReadySeconds makes an update take more than a day.";
    /// An update is blocked by a problem, or for long, so that outdated pods stay.
    UpdateWaits, Warning, "update-waits", "An update is blocked.";
    /// The DaemonSet is being deleted, and a pod stays: its node does not report, or its deletion lasts for long.
    DeletionWaits, Warning, "deletion-waits", "The deletion of the DaemonSet is blocked.";
    /// A pod has waited for ten minutes or more to be bound to its node. The scheduler refuses it, or does not run.
    NotBound, Warning, "not-bound", "Pods wait for long to be bound to their nodes.";
    /// The kubelet rejects pods: each is deleted and created again, with back-off, until the cause is mended.
    KubeletRejects, Warning, "kubelet-rejects", "The kubelet rejects pods.";
    /// The DaemonSet is wanted on virtual nodes, such as those of Fargate, which run no daemon pods.
    VirtualNodes, Warning, "virtual-nodes", "The DaemonSet is wanted on virtual nodes.";
    /// The DaemonSet is wanted on nodes of several operating systems, though an image is rarely for more than one.
    SeveralOperatingSystems, Warning, "several-operating-systems",
        "The DaemonSet is wanted on nodes of several operating systems.";
    /// The DaemonSet is wanted on nodes of another operating system than `spec.os` of its template: the kubelet rejects the pods,
    /// which are created again without end.
    OtherOperatingSystem, Error, "other-operating-system", "The DaemonSet is wanted on nodes of another operating system.";
    /// Pods count as up to date by the label `pod-template-generation` alone, though their hash is that of an older
    /// revision: they run its template, and are not updated.
    CountsByGeneration, Warning, "counts-by-generation", "Pods of an older revision count as up to date.";
    /// The template tolerates a taint with the effect `NoExecute` for a time only (`tolerationSeconds`): pods are evicted and
    /// created again, without end.
    EvictedRepeatedly, Warning, "evicted-repeatedly", "Pods are evicted and created again, without end.";
    /// The API server accepts the DaemonSet, and refuses each of its pods: an image begins or ends with white space.
    PodsRefused, Error, "pods-refused", "The API server refuses the pods.";
    /// Pods have the hash label of the current template, but run other images: they were relabelled because of duplicate
    /// revisions, or edited. They count as up to date, and are not updated.
    RunsOtherImage, Warning, "runs-other-image", "Pods that count as up to date run other images.";
    /// A pod requests more than a whole node has on which the DaemonSet wants one: it stays Pending there for ever.
    NeverFits, Error, "never-fits", "A pod requests more than a node has.";
    /// The DaemonSets that should run on a node request more together than it has: pods stay Pending there.
    DoNotFitTogether, Error, "do-not-fit-together", "DaemonSets together request more than a node has.";
    /// The update surges, and two pods request more than a whole node has: it never ends.
    SurgeNeverFits, Error, "surge-never-fits", "Two pods do not fit on a node, and the update surges.";
    /// An admission plugin refuses the pods: none is created.
    AdmissionRefuses, Error, "admission-refuses", "Admission refuses the pods.";
    /// An admission plugin adds a node selector that the controller does not see: it creates pods on other nodes, too, where
    /// they stay Pending.
    AdmissionExcludesNodes, Warning, "admission-excludes-nodes", "Admission keeps pods off nodes that want one.";
    /// A ResourceQuota has too little room for the pods that are lacking.
    QuotaTooSmall, Error, "quota-too-small", "A ResourceQuota has too little room for the pods.";
}

/// Checks DaemonSets, each alone and all together. Returns the findings by namespace and name, the most severe first.
///
/// ```
/// use daemonplan::{Snapshot, lint::{Lint, lint}, model::{DaemonSet, Labels, Namespace, Node}};
/// let daemonset: DaemonSet = serde_json::from_str(r#"{
///     "metadata": {"namespace": "prod", "name": "agent"},
///     "spec": {
///         "selector": {"matchLabels": {"app": "agent"}},
///         "template": {
///             "metadata": {"labels": {"app": "agent"}},
///             "spec": {"containers": [{"name": "agent", "image": "agent:1"}]}
///         }
///     }
/// }"#)?;
/// let mut project = Namespace::new("prod");
/// project.annotations = Labels::from_iter([("openshift.io/node-selector", "role=worker")]);
/// let nodes = [Node::new("node-7")];
///
/// let findings = lint(&[Snapshot::new(&daemonset, &nodes, &[], &project)]);
/// assert_eq!(findings[0].lint, Lint::ProjectSelectorConflict);
/// assert_eq!(findings[0].nodes, ["node-7"]);
/// assert_eq!(findings[0].fix, r#"kubectl annotate namespace prod openshift.io/node-selector="" --overwrite"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn lint(snapshots: &[Snapshot<'_>]) -> Vec<Finding> {
    lint_selected(snapshots, |_| true)
}

/// Checks some of these DaemonSets; the others matter where two are at odds.
///
/// ```
/// use daemonplan::{Snapshot, lint::lint_selected, model::{DaemonSet, Namespace}};
/// let (daemonset, namespace) = (DaemonSet::new("prod", "agent", [("app", "agent")])?, Namespace::new("prod"));
/// let snapshots = [Snapshot::new(&daemonset, &[], &[], &namespace)];
/// assert!(lint_selected(&snapshots, |snapshot| snapshot.daemonset().name == "other").is_empty());
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
pub fn lint_selected(snapshots: &[Snapshot<'_>], is_selected: impl Fn(&Snapshot<'_>) -> bool) -> Vec<Finding> {
    let selected = || snapshots.iter().filter(|snapshot| is_selected(snapshot));
    let mut findings: Vec<_> = selected().flat_map(rules::check).collect();
    findings.extend(ports::check(snapshots, &is_selected));
    findings.extend(fleet::check(snapshots, &is_selected));
    let mut namespaces: BTreeMap<&Text, Vec<&Snapshot<'_>>> =
        selected().map(|snapshot| (&snapshot.daemonset.namespace, Vec::new())).collect();
    for snapshot in snapshots {
        if let Some(in_namespace) = namespaces.get_mut(&snapshot.daemonset.namespace) {
            in_namespace.push(snapshot);
        }
    }
    let known: HashSet<Key> = selected().map(|snapshot| snapshot.daemonset.key()).collect();
    for in_namespace in namespaces.values() {
        findings.extend(overlaps(in_namespace).into_iter().filter(|finding| known.contains(&finding.daemon_set)));
    }
    findings.sort_by(|a, b| {
        let order = a.daemon_set.cmp(&b.daemon_set).then(b.severity.cmp(&a.severity));
        order.then(a.lint.cmp(&b.lint)).then(a.field.cmp(&b.field))
    });
    findings
}

/// Finds DaemonSets of one namespace whose selectors match the same labels, of a template or of an existing pod.
fn overlaps(snapshots: &[&Snapshot<'_>]) -> Vec<Finding> {
    let templates = snapshots.iter().map(|snapshot| snapshot.daemonset.template.labels());
    let pods = snapshots.first().map(|snapshot| snapshot.pods).unwrap_or_default().iter().map(|pod| &pod.labels);
    let mut known = None;
    let mut pairs = BTreeMap::new();
    for labels in templates.chain(pods) {
        // Most pods have the same labels as the pod before them.
        if known.replace(labels).is_some_and(|known| known == labels) {
            continue;
        }
        let matching: Vec<_> = snapshots.iter().filter(|snapshot| selects(snapshot.daemonset, labels)).collect();
        for (number, one) in matching.iter().enumerate() {
            for other in matching.iter().skip(number + 1) {
                pairs.entry((&one.daemonset.name, &other.daemonset.name)).or_insert((**one, **other));
            }
        }
    }
    let both = pairs.into_values().flat_map(|(one, other)| [(one, other), (other, one)]);
    both.map(|(one, other)| {
        let name = &other.daemonset.name;
        builder::found(one, Lint::SelectorsOverlap, "spec.selector")
            .with_message(format!(
                "the selector of DaemonSet {name} matches the same pods: either may adopt those that have no controller"
            ))
            .with_fix(format!(
                "give each its own label in selector and template, such as app: {} (the selector of a DaemonSet cannot be \
                 changed, only that of a new one)",
                one.daemonset.name
            ))
    })
    .collect()
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Lint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lint, severity, daemon_set, kind, field, message, .. } = self;
        let Key { namespace, name } = daemon_set;
        write!(f, "{severity}[{lint}]: {namespace}/{name}: {kind}: {field}: {message}")
    }
}

//! What is dangerous about DaemonSets, before it does harm.

mod finding;
mod policy;
mod rules;

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, Serializer};

use crate::{
    adoption::claim::selects,
    model::{Key, Text},
    planner::Snapshot,
};

/// Something that is dangerous, or not what it seems to be.
///
/// ```
/// use daemonplan::{Snapshot, lint::lint, model::{DaemonSet, Namespace}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// daemonset.revision_history_limit = 0;
/// let findings = lint(&[Snapshot::new(&daemonset, &[], &[], &namespace)]);
/// assert_eq!((findings[0].lint.code(), &*findings[0].field), ("no-history", "spec.revisionHistoryLimit"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    #[serde(rename = "code")]
    pub lint: Lint,
    /// How bad it is.
    pub severity: Severity,
    /// The DaemonSet that it is about.
    pub daemon_set: Key,
    /// The kind of the object in which it stands: `DaemonSet` or `Namespace`.
    pub kind: &'static str,
    /// The field in which it stands.
    pub field: String,
    /// What is so, and what comes of it.
    pub message: String,
    /// What to do about it.
    pub fix: String,
    /// The nodes that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Text>,
}

/// How bad a [`Finding`] is.
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
    /// Likely not what is meant.
    Warning,
    /// Does harm, or never works.
    Error,
}

macro_rules! lints {
    ($($(#[$doc:meta])+ $name:ident, $severity:ident, $code:literal, $title:literal;)+) => {
        /// What can be found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Lint {
            $($(#[$doc])+ $name,)+
        }

        impl Lint {
            /// All that can be found.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name, for programs and flags.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }

            /// What it is, in one sentence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

lints! {
    /// The namespace's node selector keeps pods from nodes that the DaemonSet asks for. Whoever is not told of the selector
    /// creates pods there that an admission plugin gives the selector, so that they fail at once: a loop without end.
    ProjectSelectorConflict, Error, "project-selector-conflict",
        "The namespace's node selector keeps pods from nodes that the DaemonSet asks for.";
    /// A node selector annotation does not parse and is ignored.
    InvalidNamespaceSelector, Error, "invalid-namespace-selector", "A node selector annotation of the namespace does not parse.";
    /// There is no selector, so that no pod is ever claimed.
    SelectorMissing, Error, "selector-missing", "The DaemonSet has no selector.";
    /// The selector is empty, so that nothing is done.
    SelectorMatchesAll, Error, "selector-matches-all", "The selector is empty and would match every pod.";
    /// The selector does not match the template's labels, so that pods are created without end.
    SelectorMissesTemplate, Error, "selector-misses-template", "The selector does not match the labels of the template.";
    /// Another DaemonSet's selector matches the same pods.
    SelectorsOverlap, Error, "selectors-overlap", "The selectors of two DaemonSets match the same pods.";
    /// Pods that nobody controls match the selector and are adopted.
    AdoptsPods, Warning, "adopts-pods", "Pods that nobody controls are adopted.";
    /// A term of the required node affinity is malformed and matches no node.
    InvalidAffinityTerm, Error, "invalid-affinity-term", "A term of the required node affinity is malformed.";
    /// A term of the required node affinity, or a pair of the node selector, matches no node.
    MatchesNoNode, Warning, "matches-no-node", "A rule of the template matches no node of the cluster.";
    /// Both `maxUnavailable` and `maxSurge` are 0, which the API server refuses.
    UpdateNeverMoves, Error, "update-never-moves", "maxUnavailable and maxSurge are both 0.";
    /// `maxUnavailable` comes to all nodes at a time.
    UpdateTakesAllDown, Warning, "update-takes-all-down", "An update takes the pods of all nodes down at the same time.";
    /// An update surges, but two pods cannot share the node's port.
    SurgeNeedsPort, Error, "surge-needs-port", "An update surges, though the pod takes a port of its node.";
    /// A toleration for everything puts pods on every node, whatever its taints say.
    ToleratesEverything, Warning, "tolerates-everything", "A toleration without a key tolerates every taint.";
    /// The template names a node, so that no other one runs a pod.
    NodeNameInTemplate, Warning, "node-name-in-template", "The template names a node.";
    /// The template's required node affinity does not show up in pods: each gets one that names its node.
    AffinityReplaced, Note, "affinity-replaced", "Pods do not have the required node affinity of the template.";
    /// An annotation with a policy for updates cannot be read, so that updates are paused.
    InvalidPolicy, Error, "invalid-policy", "An annotation with a policy for updates cannot be read.";
    /// A policy for updates names nodes that there are not, or does nothing.
    IdlePolicy, Warning, "idle-policy", "A policy for updates does nothing, or waits for nodes that there are not.";
    /// Under `OnDelete` pods of many templates run at the same time.
    ManyRevisionsInUse, Warning, "many-revisions-in-use", "Pods of three or more revisions run at the same time.";
    /// No old revision is kept, so that there is no way back.
    NoHistory, Warning, "no-history", "revisionHistoryLimit is 0.";
    /// `minReadySeconds` makes an update take more than a day.
    SlowRollOut, Warning, "slow-roll-out", "minReadySeconds makes an update take more than a day.";
    /// Pods of an older template stay, since the update waits.
    UpdateWaits, Warning, "update-waits", "An update does not move on.";
}

/// What is dangerous about these DaemonSets, each by itself and all together, by namespace and name, the worst first.
///
/// ```
/// use daemonplan::{Snapshot, lint::{Lint, lint}, model::{DaemonSet, Labels, Namespace, Node}};
/// let daemonset: DaemonSet = serde_json::from_str(r#"{
///     "metadata": {"namespace": "prod", "name": "agent"},
///     "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {"metadata": {"labels": {"app": "agent"}}}}
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
    let mut findings: Vec<_> = snapshots.iter().flat_map(rules::of).collect();
    let mut spaces = BTreeMap::<&Text, Vec<&Snapshot<'_>>>::new();
    for snapshot in snapshots {
        spaces.entry(&snapshot.daemonset.namespace).or_default().push(snapshot);
    }
    for together in spaces.values() {
        findings.extend(overlaps(together));
    }
    findings.sort_by(|a, b| {
        let order = a.daemon_set.cmp(&b.daemon_set).then(b.severity.cmp(&a.severity));
        order.then(a.lint.cmp(&b.lint)).then(a.field.cmp(&b.field))
    });
    findings
}

/// The DaemonSets of a namespace whose selectors match the same pods: of each other's templates, or such as are there.
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
        let by: Vec<_> = snapshots.iter().filter(|snapshot| selects(snapshot.daemonset, labels)).collect();
        for (number, one) in by.iter().enumerate() {
            for other in by.iter().skip(number + 1) {
                pairs.entry((&one.daemonset.name, &other.daemonset.name)).or_insert((**one, **other));
            }
        }
    }
    let both = pairs.into_values().flat_map(|(one, other)| [(one, other), (other, one)]);
    both.map(|(one, other)| {
        let name = &other.daemonset.name;
        finding::found(one, Lint::SelectorsOverlap, "spec.selector")
            .saying(format!(
                "the selector of DaemonSet {name} matches the same pods: each counts, and may adopt, the other's"
            ))
            .mended_by(format!(
                "give the two a label of their own in selector and template, such as app: {}",
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

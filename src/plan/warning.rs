//! Warnings about the input.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{
    adoption::RevisionHistory,
    model::{DaemonSet, LabelSelector, Namespace, RequirementError, Taint, Text},
    placement::{PlacementRules, SelectorSource},
    plan::{MissingFact, MissingFacts},
    policy::{MisplacedPolicy, PolicyError},
    selector::ExpressionError,
    settings::Settings,
};

/// A problem of the input: what Kubernetes ignores without a word, or what is missing from it.
///
/// ```
/// use daemonplan::Warning;
/// let warning = Warning::DuplicateNode { node: "node-7".into() };
/// assert_eq!(warning.code(), "DuplicateNode");
/// assert_eq!(warning.to_string(), "node node-7 was given more than once, with different contents");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The DaemonSet's selector is empty and would select every pod, so nothing is done.
    SelectsAllPods,
    /// The DaemonSet has no selector, which matches no pod, not even those that it creates.
    SelectsNoPods,
    /// The selector does not match the template's labels: every created pod is released at once, and created again.
    SelectorMissesTemplate,
    /// The namespace that was given is not the DaemonSet's. Its node selector is not known, so nothing is done.
    OtherNamespace {
        /// The name of the DaemonSet's namespace.
        expected: Text,
        /// The name of the namespace that was given.
        found: Text,
    },
    /// The DaemonSet has no uid, like one that is not in a cluster yet: it controls no pod there, not even those of a
    /// DaemonSet of its name.
    NoUid,
    /// The burst limit is 0: nothing is created or deleted.
    NoBurst,
    /// A [setting](crate::Settings::node_resources) says what a container requests that the template does not have.
    UnknownContainer {
        /// The labels of the nodes that the setting is for.
        nodes: Text,
        /// The name of the container.
        container: Text,
    },
    /// The namespace is being deleted: the API server refuses to create anything in it.
    NamespaceBeingDeleted {
        /// Its name.
        namespace: Text,
    },
    /// The DaemonSet is being deleted, and waits for finalizers: until they are gone its pods stay.
    /// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>
    WaitsForFinalizers {
        /// The finalizers.
        finalizers: Vec<Text>,
    },
    /// The time was not given, and something depends on it: availability under `minReadySeconds`, the back-off of
    /// Failed pods, or a rollout policy. An update deletes no pod because of what is not known, and the status is not
    /// updated if it is not known.
    ClockNotGiven,
    /// A term of the template's required node affinity is malformed and matches no node.
    InvalidAffinityTerm {
        /// The index of the term, from 0.
        term: usize,
        /// The cause.
        error: RequirementError,
    },
    /// A node selector annotation of the namespace does not parse and is ignored.
    InvalidNodeSelector {
        /// The annotation.
        source: SelectorSource,
        /// Its text.
        text: Text,
        /// The cause.
        error: ExpressionError,
    },
    /// An annotation with a rollout policy cannot be read, so updates are paused.
    InvalidPolicy {
        /// The cause.
        error: PolicyError,
    },
    /// What looks like a rollout policy is none, since its prefix is misspelt or since it is not an annotation of the
    /// DaemonSet.
    MisplacedPolicy {
        /// What it is, and what was meant.
        misplaced: MisplacedPolicy,
    },
    /// No ControllerRevisions were given: the template's own hash decides which pods are up to date.
    HistoryNotGiven,
    /// The input [lacks](super::MissingFact) the nodes.
    NodesNotGiven,
    /// The input [lacks](super::MissingFact) the pods.
    PodsNotGiven,
    /// The input [lacks](super::MissingFact) the DaemonSet's namespace.
    NamespaceNotGiven {
        /// Its name.
        namespace: Text,
    },
    /// Several nodes of this name were given; the plan uses one of them.
    DuplicateNode {
        /// The name.
        node: Text,
    },
    /// Several revisions of this name were given; the plan uses one of them.
    DuplicateRevision {
        /// The name.
        revision: Text,
    },
    /// Several revisions equal the template, so that all pods are labelled as up to date, as in Kubernetes. These pods run
    /// another template, and are never updated from then on. <https://github.com/kubernetes/kubernetes/issues/111280>
    RelabelsOtherTemplate {
        /// The names of the pods.
        pods: Vec<Text>,
    },
    /// These pods have the hash of an older revision, but the label `pod-template-generation` of the current template: they
    /// count as up to date, as in Kubernetes, and are not updated. Adopted pods of an earlier DaemonSet of the same name
    /// may be such. [`Snapshot::pod_warnings`](crate::Snapshot::pod_warnings) finds them.
    CountsByGeneration {
        /// The names of the pods.
        pods: Vec<Text>,
    },
    /// These pods have the hash of the current template, but run another image: they count as up to date, as in
    /// Kubernetes, and are not updated. Pods that were relabelled because of duplicate revisions are such, and pods that
    /// were edited. [`Snapshot::pod_warnings`](crate::Snapshot::pod_warnings) finds them.
    /// <https://github.com/kubernetes/kubernetes/issues/111280>
    RunsOtherImage {
        /// The names of the pods.
        pods: Vec<Text>,
        /// The first image that differs.
        image: Text,
        /// The template's image of this container.
        expected: Text,
        /// The newest of the older revisions whose images the pods run, if there is one.
        revision: Option<Text>,
    },
    /// The template tolerates a taint with the effect `NoExecute` for a time only: pods on these nodes are evicted after it,
    /// and the controller, which ignores the time, creates them again, without end.
    /// [`Snapshot::pod_warnings`](crate::Snapshot::pod_warnings) finds it.
    EvictedRepeatedly {
        /// The names of the nodes.
        nodes: Vec<Text>,
        /// The taint of the first one.
        taint: Taint,
        /// The shortest time for which it is tolerated, `tolerationSeconds`.
        seconds: i64,
    },
    /// No revision equals the template, but the newest one has all fields of the template with the same values, and more
    /// fields. If the DaemonSet was read through types that do not know these, the rollout is a mistake.
    RevisionSaysMore {
        /// The name of the revision.
        revision: Text,
        /// The paths of the fields that only the revision has, such as `spec.hostUsers`.
        fields: Vec<Text>,
    },
}

impl Warning {
    /// What the compiled rules of a DaemonSet ignore.
    pub(crate) fn of_placement(rules: &PlacementRules) -> Vec<Self> {
        let terms = rules.invalid_terms().map(|(term, error)| Self::InvalidAffinityTerm { term, error: error.clone() });
        let selector = rules.invalid_selector().cloned();
        let selector = selector.map(|invalid| Self::InvalidNodeSelector {
            source: invalid.source,
            text: invalid.text,
            error: invalid.error,
        });
        terms.chain(selector).collect()
    }

    /// What is doubtful about the DaemonSet's revisions.
    pub(crate) fn of_history(history: &RevisionHistory, daemonset: &DaemonSet) -> impl Iterator<Item = Self> {
        let ambiguous = history.ambiguous.iter().map(|revision| Self::DuplicateRevision { revision: revision.clone() });
        let more = history.says_more(daemonset);
        ambiguous.chain(more.map(|(revision, fields)| Self::RevisionSaysMore { revision: revision.clone(), fields }))
    }

    /// What the input lacks. The missing history has a warning of its own, in its place. A
    /// DaemonSet that is being deleted places no pods.
    pub(crate) fn of_missing(
        missing: MissingFacts,
        daemonset: &DaemonSet,
        places_pods: bool,
    ) -> impl Iterator<Item = Self> {
        let namespace = daemonset.namespace.clone();
        missing.iter().filter_map(move |fact| match fact {
            MissingFact::Pods => Some(Self::PodsNotGiven),
            MissingFact::Nodes if places_pods => Some(Self::NodesNotGiven),
            MissingFact::Namespace if places_pods => Some(Self::NamespaceNotGiven { namespace: namespace.clone() }),
            _ => None,
        })
    }

    /// What the DaemonSet, its namespace and the settings lack or contradict.
    pub(crate) fn of_input(
        daemonset: &DaemonSet,
        namespace: &Namespace,
        settings: &Settings,
    ) -> impl Iterator<Item = Self> + use<> {
        let selector = daemonset.selector.as_ref();
        let is_empty = selector.is_some_and(LabelSelector::is_empty);
        let misses = selector.is_some_and(|selector| !selector.matches(daemonset.template.labels()));
        let unknown = settings.resources_of(daemonset).flat_map(|resources| {
            let unknown = resources.unknown_containers(&daemonset.template);
            unknown.map(|container| Self::UnknownContainer {
                nodes: resources.nodes.to_string().into(),
                container: container.clone(),
            })
        });
        let unknown: Vec<_> = unknown.collect();
        let other = (daemonset.namespace != namespace.name)
            .then(|| Self::OtherNamespace { expected: daemonset.namespace.clone(), found: namespace.name.clone() });
        [
            other,
            selector.is_none().then_some(Self::SelectsNoPods),
            is_empty.then_some(Self::SelectsAllPods),
            misses.then_some(Self::SelectorMissesTemplate),
            daemonset.uid.is_empty().then_some(Self::NoUid),
            (settings.burst == 0).then_some(Self::NoBurst),
            (namespace.deleted.is_some() && !daemonset.is_being_deleted())
                .then(|| Self::NamespaceBeingDeleted { namespace: namespace.name.clone() }),
            daemonset
                .waits_for_finalizers()
                .then(|| Self::WaitsForFinalizers { finalizers: daemonset.finalizers.clone() }),
        ]
        .into_iter()
        .flatten()
        .chain(unknown)
    }

    /// Returns the variant's name, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SelectsAllPods => "SelectsAllPods",
            Self::SelectsNoPods => "SelectsNoPods",
            Self::SelectorMissesTemplate => "SelectorMissesTemplate",
            Self::OtherNamespace { .. } => "OtherNamespace",
            Self::NoUid => "NoUid",
            Self::NoBurst => "NoBurst",
            Self::UnknownContainer { .. } => "UnknownContainer",
            Self::NamespaceBeingDeleted { .. } => "NamespaceBeingDeleted",
            Self::WaitsForFinalizers { .. } => "WaitsForFinalizers",
            Self::ClockNotGiven => "ClockNotGiven",
            Self::InvalidAffinityTerm { .. } => "InvalidAffinityTerm",
            Self::InvalidNodeSelector { .. } => "InvalidNodeSelector",
            Self::InvalidPolicy { .. } => "InvalidPolicy",
            Self::MisplacedPolicy { .. } => "MisplacedPolicy",
            Self::HistoryNotGiven => "HistoryNotGiven",
            Self::NodesNotGiven => "NodesNotGiven",
            Self::PodsNotGiven => "PodsNotGiven",
            Self::NamespaceNotGiven { .. } => "NamespaceNotGiven",
            Self::DuplicateNode { .. } => "DuplicateNode",
            Self::DuplicateRevision { .. } => "DuplicateRevision",
            Self::RelabelsOtherTemplate { .. } => "RelabelsOtherTemplate",
            Self::CountsByGeneration { .. } => "CountsByGeneration",
            Self::RunsOtherImage { .. } => "RunsOtherImage",
            Self::EvictedRepeatedly { .. } => "EvictedRepeatedly",
            Self::RevisionSaysMore { .. } => "RevisionSaysMore",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelectsAllPods => f.write_str("the selector is empty and selects all pods: nothing is done"),
            Self::SelectsNoPods => f.write_str("no selector: no pod is ever claimed, not even the created ones"),
            Self::InvalidAffinityTerm { term, error } => {
                write!(f, "term {} of the required node affinity matches no node: {error}", term + 1)
            }
            Self::InvalidNodeSelector { source, text, error } => {
                write!(f, "the controller ignores the namespace's {source}: {text:?} does not parse: {error}")
            }
            Self::InvalidPolicy { error } => write!(f, "updates are paused: {error}"),
            Self::MisplacedPolicy { misplaced } => f.write_str(&misplaced.advice()),
            Self::HistoryNotGiven => f.write_str(
                "no ControllerRevisions were given: pods count as up to date by the template's own hash or generation",
            ),
            Self::NodesNotGiven => f.write_str("the input has no nodes: where pods should run is not known"),
            Self::PodsNotGiven => f.write_str("the input has no pods: which nodes lack one is not known"),
            Self::NamespaceNotGiven { namespace } => write!(
                f,
                "the input does not have the namespace {namespace}: its node selector, and with it where pods should \
                 run, is not known"
            ),
            Self::SelectorMissesTemplate => f.write_str(
                "the selector does not match the template's labels: created pods are released, and created again",
            ),
            Self::OtherNamespace { expected, found } => {
                write!(f, "namespace {found} was given, not the DaemonSet's namespace {expected}: nothing is done")
            }
            Self::NoUid => f.write_str("the DaemonSet has no uid, like one that is not in a cluster yet: no pod of a cluster counts as its own"),
            Self::NoBurst => f.write_str("the burst limit is 0: no pod is created or deleted"),
            Self::UnknownContainer { nodes, container } => write_unknown_container(f, nodes, container),
            Self::NamespaceBeingDeleted { namespace } => write!(
                f,
                "the namespace {namespace} is being deleted: the API server refuses to create pods in it, and deletes \
                 those that are there"
            ),
            Self::WaitsForFinalizers { finalizers } => write!(
                f,
                "the DaemonSet is being deleted, and waits for its finalizers ({}): its pods stay until they are gone",
                finalizers.join(", ")
            ),
            Self::ClockNotGiven => f.write_str(
                "the time was not given: availability under minReadySeconds, back-offs and the waits of policies are not \
                 known; no update deletes a pod because of them, and no back-off starts or ends",
            ),
            Self::DuplicateNode { node } => write!(f, "node {node} was given more than once, with different contents"),
            Self::DuplicateRevision { revision } => {
                write!(f, "revision {revision} was given more than once, with different contents")
            }
            Self::RelabelsOtherTemplate { pods } => {
                let (count, first) = count_and_first(pods);
                write!(
                    f,
                    "several revisions equal the template, so that {count} of another template ({first}) will be \
                     labelled as up to date, and never be updated: delete the surplus revisions first, or the pods \
                     afterwards (kubernetes/kubernetes#111280)",
                )
            }
            Self::CountsByGeneration { pods } => {
                let (count, first) = count_and_first(pods);
                let [counts, them] = if pods.len() == 1 { ["counts", "it"] } else { ["count", "them"] };
                write!(
                    f,
                    "by the label pod-template-generation alone, {count} of an older revision ({first}) {counts} as up to \
                     date, and will not be updated: delete {them} by hand"
                )
            }
            Self::RunsOtherImage { pods, image, expected, revision } => {
                let (count, first) = count_and_first(pods);
                let [runs, it, is, them] =
                    if pods.len() == 1 { ["runs", "it", "is", "it"] } else { ["run", "they", "are", "them"] };
                let origin = match revision {
                    Some(revision) => format!(", the image of the older revision {revision}"),
                    None => String::new(),
                };
                write!(
                    f,
                    "{count} ({first}) with the label of the current template {runs} {image}{origin}, not {expected}: {it} \
                     will not be updated, as the controller judges by the label alone; delete {them} by hand if {it} {is} \
                     not meant to differ (kubernetes/kubernetes#111280)"
                )
            }
            Self::EvictedRepeatedly { nodes, taint, seconds } => {
                let (count, first) = match nodes.as_slice() {
                    [only] => ("1 node".to_owned(), only.to_string()),
                    all => (format!("{} nodes", all.len()), all.first().map(|first| format!("{first}, …")).unwrap_or_default()),
                };
                write!(
                    f,
                    "the taint {taint} of {count} ({first}) is tolerated for {seconds}s only: pods there are evicted after \
                     that time and created again, without end, as the controller ignores tolerationSeconds"
                )
            }
            Self::RevisionSaysMore { revision, fields } => write!(
                f,
                "revision {revision} equals the template but for {}, which only it has: unless that was removed on \
                 purpose, the DaemonSet was read with types that do not know it, and this rollout is a mistake",
                fields.join(", ")
            ),
        }
    }
}

fn write_unknown_container(f: &mut fmt::Formatter<'_>, nodes: &str, container: &str) -> fmt::Result {
    let nodes = if nodes.is_empty() { "all nodes" } else { nodes };
    write!(
        f,
        "the resources set for {nodes} name the container {container}, which the template does not have: they have no effect \
         there"
    )
}

/// The number of pods, and the name of the first.
fn count_and_first(pods: &[Text]) -> (String, String) {
    let first = pods.first().map(Text::as_str).unwrap_or_default();
    match pods.len() {
        1 => ("1 pod".to_owned(), first.to_owned()),
        count => (format!("{count} pods"), format!("{first}, …")),
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Warning", 2)?;
        fields.serialize_field("code", self.code())?;
        fields.serialize_field("message", &self.to_string())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::TaintEffect;

    #[test]
    fn every_warning_has_a_code_and_says_what_it_is_about() {
        let term_error = RequirementError::Key("bad key".into());
        let text_error = "a,,b".parse::<crate::selector::SelectorExpression>().unwrap_err();
        let (source, text) = (SelectorSource::ProjectAnnotation, Text::from("a,,b"));
        for (warning, code, about) in [
            (Warning::SelectsAllPods, "SelectsAllPods", "empty"),
            (Warning::SelectsNoPods, "SelectsNoPods", "no selector"),
            (Warning::InvalidAffinityTerm { term: 0, error: term_error }, "InvalidAffinityTerm", "term 1"),
            (Warning::InvalidNodeSelector { source, text, error: text_error }, "InvalidNodeSelector", "a,,b"),
            (Warning::HistoryNotGiven, "HistoryNotGiven", "ControllerRevisions"),
            (Warning::NodesNotGiven, "NodesNotGiven", "nodes"),
            (Warning::PodsNotGiven, "PodsNotGiven", "pods"),
            (Warning::NamespaceNotGiven { namespace: "prod".into() }, "NamespaceNotGiven", "prod"),
            (
                Warning::UnknownContainer { nodes: "size=large".into(), container: "agnet".into() },
                "UnknownContainer",
                "for size=large name the container agnet",
            ),
            (Warning::DuplicateNode { node: "node-7".into() }, "DuplicateNode", "node-7"),
            (Warning::DuplicateRevision { revision: "agent-one".into() }, "DuplicateRevision", "agent-one"),
            (Warning::SelectorMissesTemplate, "SelectorMissesTemplate", "template's labels"),
            (Warning::OtherNamespace { expected: "prod".into(), found: "dev".into() }, "OtherNamespace", "dev"),
            (Warning::RelabelsOtherTemplate { pods: vec!["agent-one".into()] }, "RelabelsOtherTemplate", "agent-one"),
            (Warning::CountsByGeneration { pods: vec!["agent-one".into()] }, "CountsByGeneration", "agent-one"),
            (
                Warning::RunsOtherImage {
                    pods: vec!["agent-one".into()],
                    image: "agent:1".into(),
                    expected: "agent:2".into(),
                    revision: Some("agent-old".into()),
                },
                "RunsOtherImage",
                "runs agent:1, the image of the older revision agent-old, not agent:2",
            ),
            (
                Warning::EvictedRepeatedly {
                    nodes: vec!["node-7".into()],
                    taint: Taint::new("a", "", TaintEffect::NoExecute),
                    seconds: 60,
                },
                "EvictedRepeatedly",
                "the taint a:NoExecute of 1 node (node-7) is tolerated for 60s only",
            ),
            (Warning::NoUid, "NoUid", "uid"),
            (Warning::NoBurst, "NoBurst", "0"),
            (Warning::NamespaceBeingDeleted { namespace: "prod".into() }, "NamespaceBeingDeleted", "prod"),
            (Warning::WaitsForFinalizers { finalizers: vec!["a.io/b".into()] }, "WaitsForFinalizers", "(a.io/b)"),
            (Warning::ClockNotGiven, "ClockNotGiven", "time"),
            (
                Warning::RevisionSaysMore { revision: "agent-one".into(), fields: vec!["spec.hostUsers".into()] },
                "RevisionSaysMore",
                "spec.hostUsers",
            ),
        ] {
            let message = warning.to_string();
            assert!(message.contains(about), "{message}");
            assert_eq!(serde_json::to_value(&warning).unwrap(), json!({"code": code, "message": message}));
        }
    }
}

//! Where a DaemonSet's pods belong: for each node, whether one *should run* there and whether one that is there *may
//! keep running*, and why.
//!
//! The rules are compiled once for a DaemonSet and its namespace; judging a node allocates nothing.

mod check;

use std::fmt;

use serde::Serialize;

use crate::{
    Settings, Warning,
    matching::write_mismatch,
    matching::{SelectorExpression, TermMismatch},
    model::{
        DaemonSet, LabelLookup, Labels, Namespace, Node, NodeSelector, NodeSelectorTerm, Requirement, Taint,
        TaintEffect, Text, Toleration,
    },
    template::automatic_tolerations,
};

pub use check::{PlacementCheck, PlacementRule, Remedy};

/// The two answers for a node.
///
/// ```
/// use daemonplan::Verdict;
/// assert!(!Verdict::Keep.should_run() && Verdict::Keep.may_keep_running());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Verdict {
    /// A pod should run here.
    Run,
    /// No pod should be created here, but one that is here may keep running.
    Keep,
    /// No pod should run here; one that is here is deleted.
    Refuse,
}

/// The decision for one node, with its reason.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node, Taint, TaintEffect}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let mut nodes = [Node::new("node-7")];
/// nodes[0].taints = vec![Taint::new("a", "b", TaintEffect::NoSchedule)];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace);
/// assert_eq!(
///     snapshot.plan().placement("node-7").unwrap().to_string(),
///     "node-7: not placed, but a pod that is there stays: taint a=b:NoSchedule is not tolerated",
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The node's name.
    pub node: Text,
    /// The decision.
    pub verdict: Verdict,
    /// What decided.
    pub reason: PlacementReason,
}

/// What decided about a node: the first rule that does not hold, or that all do.
///
/// ```
/// use daemonplan::PlacementReason;
/// let reason = PlacementReason::NodeSelector { key: "role".into(), required: "worker".into(), found: None };
/// assert_eq!(reason.to_string(), "node selector role=worker is required, the node has no label role");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "rule", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum PlacementReason {
    /// Every rule holds.
    AllRulesHold,
    /// The template's `spec.nodeName` names another node.
    NodeName {
        /// The node that it names.
        required: Text,
    },
    /// A pair of the template's `spec.nodeSelector` is not on the node.
    NodeSelector {
        /// The label.
        key: Text,
        /// The value that it must have.
        required: Text,
        /// The value that it has, if it is there.
        found: Option<Text>,
    },
    /// No term of the template's required node affinity matches.
    NodeAffinity {
        /// Why not, term by term.
        terms: Vec<TermMismatch>,
    },
    /// A taint that is not tolerated.
    Taint {
        /// The taint.
        taint: Taint,
    },
    /// The namespace's node selector does not match.
    NamespaceNodeSelector {
        /// Where the selector stands.
        source: SelectorSource,
        /// The requirement that does not hold.
        requirement: Requirement,
        /// The label's value on the node, if it is there.
        found: Option<Text>,
    },
}

/// Where a namespace's node selector stands.
///
/// ```
/// use daemonplan::SelectorSource;
/// assert_eq!(SelectorSource::ProjectAnnotation.to_string(), "annotation openshift.io/node-selector");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum SelectorSource {
    /// The annotation `scheduler.alpha.kubernetes.io/node-selector`.
    KubernetesAnnotation,
    /// The annotation `openshift.io/node-selector`.
    ProjectAnnotation,
    /// The cluster's default project node selector.
    ProjectDefault,
    /// The Kubernetes default node selector.
    ClusterDefault,
}

impl Verdict {
    fn of(failure: Option<Failure<'_>>) -> Self {
        match failure {
            None => Self::Run,
            Some(Failure::Taint { evicts: false, .. }) => Self::Keep,
            Some(_) => Self::Refuse,
        }
    }

    /// Whether a pod is created here if there is none.
    pub fn should_run(self) -> bool {
        self == Self::Run
    }

    /// Whether a pod that is here stays.
    pub fn may_keep_running(self) -> bool {
        self != Self::Refuse
    }
}

/// Everything that decides about a node, compiled once per DaemonSet and namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlacementRules {
    node_name: Text,
    node_selector: Labels,
    affinity: Option<NodeSelector>,
    tolerations: Vec<Toleration>,
    toleration_comparison: bool,
    namespace: Vec<(SelectorSource, SelectorExpression)>,
}

/// How many nodes are looked at at a time.
const BATCH: usize = 16;

/// One rule. Its failure alone decides, unless a rule before it fails.
#[derive(Clone, Copy)]
enum Rule<'a> {
    NodeName,
    /// A label, and the value that it has to have.
    NodeSelector(&'a Text, &'a Text),
    /// A requirement on labels of an affinity that is nothing but such requirements, which all have to hold.
    AffinityLabel(&'a NodeSelector, &'a Requirement),
    NodeAffinity(&'a NodeSelector),
    Taints,
    Namespace(SelectorSource, &'a Requirement),
}

/// The first rule that does not hold, borrowed from the rules and the node.
#[derive(Clone, Copy)]
enum Failure<'a> {
    NodeName,
    NodeSelector(&'a Text, &'a Text),
    NodeAffinity(&'a NodeSelector),
    Taint { first: &'a Taint, evicts: bool },
    Namespace(SelectorSource, &'a Requirement),
}

impl PlacementRules {
    pub(crate) fn compile(
        daemonset: &DaemonSet,
        namespace: &Namespace,
        settings: &Settings,
        warnings: &mut Vec<Warning>,
    ) -> Self {
        let template = &daemonset.template;
        let affinity = template.required_affinity().cloned();
        for (term, content) in affinity.iter().flat_map(NodeSelector::terms).enumerate() {
            if let NodeSelectorTerm::Invalid(error) = content {
                warnings.push(Warning::InvalidAffinityTerm { term, error: error.clone() });
            }
        }
        let mut tolerations = template.tolerations().to_vec();
        tolerations.extend(automatic_tolerations(template.host_network()));
        Self {
            node_name: template.node_name().clone(),
            node_selector: template.node_selector().clone(),
            affinity,
            tolerations,
            toleration_comparison: settings.toleration_comparison,
            namespace: namespace_selectors(namespace, settings, warnings),
        }
    }

    /// The decision for `node`. Allocates nothing.
    pub(crate) fn verdict(&self, node: &Node) -> Verdict {
        Verdict::of(self.first_failure(node))
    }

    /// The decisions for many nodes: rule by rule, so that memory is waited for at several nodes at the same time.
    pub(crate) fn verdicts(&self, nodes: &[&Node]) -> Vec<Verdict> {
        let mut rules: Vec<_> = self.rules().map(|rule| (rule, LabelLookup::default())).collect();
        let mut verdicts = vec![Verdict::Run; nodes.len()];
        for (nodes, verdicts) in nodes.chunks(BATCH).zip(verdicts.chunks_mut(BATCH)) {
            for (rule, lookup) in &mut rules {
                for (node, verdict) in nodes.iter().zip(&mut *verdicts).filter(|(_, verdict)| verdict.should_run()) {
                    *verdict = Verdict::of(self.failure(*rule, node, |key| lookup.get(&node.labels, key)));
                }
            }
        }
        verdicts
    }

    pub(crate) fn placement(&self, node: &Node) -> Placement {
        Placement { node: node.name.clone(), verdict: self.verdict(node), reason: self.reason(node) }
    }

    pub(crate) fn reason(&self, node: &Node) -> PlacementReason {
        let failure = self.first_failure(node);
        failure.map_or(PlacementReason::AllRulesHold, |failure| self.reason_for(failure, node))
    }

    fn reason_for(&self, failure: Failure<'_>, node: &Node) -> PlacementReason {
        let found = |key: &Text| node.labels.get_text(key).cloned();
        match failure {
            Failure::NodeName => PlacementReason::NodeName { required: self.node_name.clone() },
            Failure::NodeSelector(key, required) => {
                PlacementReason::NodeSelector { key: key.clone(), required: required.clone(), found: found(key) }
            }
            Failure::NodeAffinity(affinity) => {
                let terms = affinity.terms().iter().filter_map(|term| term.mismatch(node)).collect();
                PlacementReason::NodeAffinity { terms }
            }
            Failure::Taint { first, .. } => PlacementReason::Taint { taint: first.clone() },
            Failure::Namespace(source, requirement) => PlacementReason::NamespaceNodeSelector {
                source,
                requirement: requirement.clone(),
                found: found(requirement.key()),
            },
        }
    }

    fn first_failure<'a>(&'a self, node: &'a Node) -> Option<Failure<'a>> {
        self.rules().find_map(|rule| self.failure(rule, node, |key| node.labels.get_text(key)))
    }

    /// All rules, in the order in which they decide.
    fn rules(&self) -> impl Iterator<Item = Rule<'_>> {
        let node_name = (!self.node_name.is_empty()).then_some(Rule::NodeName);
        let pairs = self.node_selector.iter().map(|(key, value)| Rule::NodeSelector(key, value));
        let affinity = self.affinity.iter().flat_map(|affinity| {
            let (expressions, whole) = match affinity.terms() {
                // That they all hold is asked of each for itself.
                [NodeSelectorTerm::All { expressions, fields }] if fields.is_empty() => (&**expressions, None),
                _ => (&[][..], Some(Rule::NodeAffinity(affinity))),
            };
            expressions.iter().map(move |requirement| Rule::AffinityLabel(affinity, requirement)).chain(whole)
        });
        let namespace = self.namespace.iter().flat_map(|(source, selector)| {
            selector.requirements().iter().map(|requirement| Rule::Namespace(*source, requirement))
        });
        node_name.into_iter().chain(pairs).chain(affinity).chain([Rule::Taints]).chain(namespace)
    }

    /// How `rule` fails on `node`, if it does, whose labels `find` looks up.
    fn failure<'a>(
        &'a self,
        rule: Rule<'a>,
        node: &'a Node,
        find: impl FnOnce(&'a Text) -> Option<&'a Text>,
    ) -> Option<Failure<'a>> {
        match rule {
            Rule::NodeName => (self.node_name != node.name).then_some(Failure::NodeName),
            Rule::NodeSelector(key, value) => (find(key) != Some(value)).then_some(Failure::NodeSelector(key, value)),
            Rule::AffinityLabel(affinity, requirement) => {
                (!requirement.allows(find(requirement.key()))).then_some(Failure::NodeAffinity(affinity))
            }
            Rule::NodeAffinity(affinity) => (!affinity.matches(node)).then_some(Failure::NodeAffinity(affinity)),
            Rule::Taints => {
                let mut untolerated = node.taints.iter().filter(|taint| !self.tolerates(taint));
                let first = untolerated.next()?;
                let evicts = |taint: &Taint| taint.effect == TaintEffect::NoExecute;
                // The taint that evicts is the one to name.
                let evicting = if evicts(first) { Some(first) } else { untolerated.find(|taint| evicts(taint)) };
                Some(Failure::Taint { first: evicting.unwrap_or(first), evicts: evicting.is_some() })
            }
            Rule::Namespace(source, requirement) => {
                (!requirement.allows(find(requirement.key()))).then_some(Failure::Namespace(source, requirement))
            }
        }
    }

    fn tolerates(&self, taint: &Taint) -> bool {
        !matches!(taint.effect, TaintEffect::NoSchedule | TaintEffect::NoExecute)
            || self.tolerations.iter().any(|toleration| toleration.tolerates(taint, self.toleration_comparison))
    }
}

/// Which node selectors a namespace brings: its annotations, else the cluster's defaults.
fn namespace_selectors(
    namespace: &Namespace,
    settings: &Settings,
    warnings: &mut Vec<Warning>,
) -> Vec<(SelectorSource, SelectorExpression)> {
    let mut annotation = |source, key| {
        let text = Text::from(namespace.annotations.get(key)?);
        let selector = text.parse().inspect_err(|error: &crate::matching::ExpressionError| {
            warnings.push(Warning::InvalidNodeSelector { source, text: text.clone(), error: error.clone() });
        });
        // One that does not parse is there all the same, and keeps the defaults away.
        Some((source, selector.unwrap_or_default()))
    };
    let default = |source, selector: &Option<SelectorExpression>| Some((source, selector.clone()?));

    if let Some(kubernetes) =
        annotation(SelectorSource::KubernetesAnnotation, "scheduler.alpha.kubernetes.io/node-selector")
    {
        return vec![kubernetes];
    }
    let project = annotation(SelectorSource::ProjectAnnotation, "openshift.io/node-selector")
        .or_else(|| default(SelectorSource::ProjectDefault, &settings.project_node_selector));
    let cluster = default(SelectorSource::ClusterDefault, &settings.default_node_selector);
    project.into_iter().chain(cluster).collect()
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, reason, .. } = self;
        match self.verdict {
            Verdict::Run => write!(f, "{node}: placed"),
            Verdict::Keep => write!(f, "{node}: not placed, but a pod that is there stays: {reason}"),
            Verdict::Refuse => write!(f, "{node}: not placed: {reason}"),
        }
    }
}

impl Serialize for Placement {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            node: &'a Text,
            should_run: bool,
            may_keep_running: bool,
            reason: &'a PlacementReason,
            message: String,
        }
        let (should_run, may_keep_running) = (self.verdict.should_run(), self.verdict.may_keep_running());
        let message = self.reason.to_string();
        Wire { node: &self.node, should_run, may_keep_running, reason: &self.reason, message }.serialize(serializer)
    }
}

impl fmt::Display for PlacementReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllRulesHold => f.write_str("all rules hold"),
            Self::NodeName { required } => write!(f, "the template names node {required} (spec.nodeName)"),
            Self::NodeSelector { key, required, found: Some(found) } => {
                write!(f, "node selector {key}={required} is required, the node has {key}={found}")
            }
            Self::NodeSelector { key, required, found: None } => {
                write!(f, "node selector {key}={required} is required, the node has no label {key}")
            }
            Self::NodeAffinity { terms } => match terms.as_slice() {
                [] => f.write_str("the required node affinity has no term and matches no node"),
                [term] => write!(f, "node affinity: {term}"),
                terms => {
                    write!(f, "no term of the node affinity matches: ")?;
                    for (at, term) in terms.iter().enumerate() {
                        write!(f, "{}({}) {term}", if at > 0 { "; " } else { "" }, at + 1)?;
                    }
                    Ok(())
                }
            },
            Self::Taint { taint } => write!(f, "taint {taint} is not tolerated"),
            Self::NamespaceNodeSelector { source, requirement, found } => {
                write!(f, "{source}: ")?;
                write_mismatch(f, requirement, found.as_ref())
            }
        }
    }
}

impl fmt::Display for SelectorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KubernetesAnnotation => "annotation scheduler.alpha.kubernetes.io/node-selector",
            Self::ProjectAnnotation => "annotation openshift.io/node-selector",
            Self::ProjectDefault => "default project node selector",
            Self::ClusterDefault => "default node selector",
        })
    }
}

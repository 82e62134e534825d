//! The compiled rules about nodes, in the order in which they decide.

use super::{Placement, PlacementReason, SelectorSource, Verdict};
use crate::{
    affinity::automatic_tolerations,
    model::{
        DaemonSet, LabelLookup, Labels, Namespace, Node, NodeSelector, NodeSelectorTerm, Requirement, RequirementError,
        Taint, TaintEffect, Text, Toleration,
        well_known::{NODE_SELECTOR_ANNOTATION, PROJECT_NODE_SELECTOR_ANNOTATION},
    },
    selector::{ExpressionError, SelectorExpression},
    settings::Settings,
};

/// The rules about nodes, compiled once per DaemonSet and namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlacementRules {
    pub(super) node_name: Text,
    node_selector: Labels,
    affinity: Option<NodeSelector>,
    tolerations: Vec<Toleration>,
    toleration_comparison: bool,
    namespace: Vec<(SelectorSource, SelectorExpression)>,
    /// The namespace's annotation, if it could not be parsed.
    invalid_selector: Option<InvalidSelector>,
}

/// A node selector annotation that is not a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidSelector {
    pub(crate) source: SelectorSource,
    pub(crate) text: Text,
    pub(crate) error: ExpressionError,
}

/// The number of nodes in a batch.
const BATCH: usize = 16;

/// A rule. The first rule that fails decides.
#[derive(Clone, Copy)]
pub(super) enum Rule<'a> {
    NodeName,
    /// The key and the required value of a label.
    NodeSelector(&'a Text, &'a Text),
    /// A requirement of an affinity with one term that has only requirements on labels.
    AffinityLabel(&'a NodeSelector, &'a Requirement),
    NodeAffinity(&'a NodeSelector),
    Taints,
    Namespace(SelectorSource, &'a Requirement),
}

/// The first rule that does not hold, borrowed from the rules and the node.
#[derive(Clone, Copy)]
pub(super) enum Failure<'a> {
    NodeName,
    NodeSelector(&'a Text, &'a Text),
    NodeAffinity(&'a NodeSelector),
    Taint { first: &'a Taint, evicts: bool },
    Namespace(SelectorSource, &'a Requirement),
}

impl Verdict {
    fn of(failure: Option<Failure<'_>>) -> Self {
        match failure {
            None => Self::Run,
            Some(Failure::Taint { evicts: false, .. }) => Self::Keep,
            Some(_) => Self::Refuse,
        }
    }
}

impl PlacementRules {
    pub(crate) fn compile(daemonset: &DaemonSet, namespace: &Namespace, settings: &Settings) -> Self {
        let template = &daemonset.template;
        let mut tolerations = template.tolerations().to_vec();
        tolerations.extend(automatic_tolerations(template.host_network()));
        let (namespace, invalid_selector) = namespace_selectors(namespace, settings);
        Self {
            node_name: template.node_name().clone(),
            node_selector: template.node_selector().clone(),
            affinity: template.required_affinity().cloned(),
            tolerations,
            toleration_comparison: settings.toleration_comparison,
            namespace,
            invalid_selector,
        }
    }

    /// Iterates over the malformed terms of the required node affinity, which match no node, with their index.
    pub(crate) fn invalid_terms(&self) -> impl Iterator<Item = (usize, &RequirementError)> {
        let terms = self.affinity.iter().flat_map(NodeSelector::terms).enumerate();
        terms.filter_map(|(index, term)| match term {
            NodeSelectorTerm::Invalid(error) => Some((index, error)),
            NodeSelectorTerm::All { .. } | NodeSelectorTerm::Empty => None,
        })
    }

    /// Returns the namespace's node selector annotation if it is invalid and therefore ignored.
    pub(crate) fn invalid_selector(&self) -> Option<&InvalidSelector> {
        self.invalid_selector.as_ref()
    }

    /// Decides for `node`. Allocates no memory.
    pub(crate) fn verdict(&self, node: &Node) -> Verdict {
        Verdict::of(self.first_failure(node))
    }

    /// Decides for many nodes. Evaluates each batch rule by rule, so that memory accesses to several nodes overlap.
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

    /// Decides for `node`, with the reason.
    pub(crate) fn placement(&self, node: &Node) -> Placement {
        Placement { node: node.name.clone(), verdict: self.verdict(node), reason: self.reason(node) }
    }

    pub(crate) fn reason(&self, node: &Node) -> PlacementReason {
        let failure = self.first_failure(node);
        failure.map_or(PlacementReason::AllRulesHold, |failure| self.reason_for(failure, node))
    }

    pub(super) fn reason_for(&self, failure: Failure<'_>, node: &Node) -> PlacementReason {
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

    /// Iterates over all rules, in the order in which they decide.
    pub(super) fn rules(&self) -> impl Iterator<Item = Rule<'_>> {
        let node_name = (!self.node_name.is_empty()).then_some(Rule::NodeName);
        let pairs = self.node_selector.iter().map(|(key, value)| Rule::NodeSelector(key, value));
        let affinity = self.affinity.iter().flat_map(|affinity| {
            let (expressions, whole) = match affinity.terms() {
                // All requirements must hold, so each is a rule of its own.
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

    /// Returns the failure of `rule` for `node`, if any. `find` looks up the node's labels.
    pub(super) fn failure<'a>(
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
                // Report a taint that evicts pods before others.
                let evicting = if evicts(first) { Some(first) } else { untolerated.find(|taint| evicts(taint)) };
                Some(Failure::Taint { first: evicting.unwrap_or(first), evicts: evicting.is_some() })
            }
            Rule::Namespace(source, requirement) => {
                (!requirement.allows(find(requirement.key()))).then_some(Failure::Namespace(source, requirement))
            }
        }
    }

    pub(super) fn tolerates(&self, taint: &Taint) -> bool {
        !matches!(taint.effect, TaintEffect::NoSchedule | TaintEffect::NoExecute)
            || self.tolerations.iter().any(|toleration| toleration.tolerates(taint, self.toleration_comparison))
    }
}

/// Returns the node selectors that apply in a namespace: its annotations, or the cluster's defaults.
fn namespace_selectors(
    namespace: &Namespace,
    settings: &Settings,
) -> (Vec<(SelectorSource, SelectorExpression)>, Option<InvalidSelector>) {
    let mut invalid = None;
    let mut annotation = |source, key| {
        let text = Text::from(namespace.annotations.get(key)?);
        let selector = text.parse().unwrap_or_else(|error| {
            invalid = Some(InvalidSelector { source, text: text.clone(), error });
            // An invalid annotation still replaces the defaults.
            SelectorExpression::default()
        });
        Some((source, selector))
    };
    let default = |source, selector: &Option<SelectorExpression>| Some((source, selector.clone()?));

    if let Some(kubernetes) = annotation(SelectorSource::KubernetesAnnotation, NODE_SELECTOR_ANNOTATION) {
        return (vec![kubernetes], invalid);
    }
    let project = annotation(SelectorSource::ProjectAnnotation, PROJECT_NODE_SELECTOR_ANNOTATION)
        .or_else(|| default(SelectorSource::ProjectDefault, &settings.project_node_selector));
    let cluster = default(SelectorSource::ClusterDefault, &settings.default_node_selector);
    (project.into_iter().chain(cluster).collect(), invalid)
}

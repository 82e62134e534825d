//! The compiled rules about nodes, in the order in which they decide.

use super::{Placement, PlacementReason, PlacementRule, SelectorSource, Verdict};
use crate::{
    affinity::automatic_tolerations,
    model::{
        DaemonSet, LabelLookup, Namespace, Node, NodeSelectorTerm, RequirementError, Taint, TaintEffect, Text,
        Toleration,
        well_known::{NODE_SELECTOR_ANNOTATION, PROJECT_NODE_SELECTOR_ANNOTATION},
    },
    selector::{ExpressionError, SelectorExpression, TermMismatch, untolerated},
    settings::Settings,
};

/// The rules of a DaemonSet about nodes, compiled once for the DaemonSet, its namespace and the settings.
///
/// ```
/// use daemonplan::{Settings, model::{DaemonSet, Labels, Namespace, Node}, placement::PlacementRules};
/// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// daemonset.template = daemonset.template.with_node_selector([("role", "worker")]);
/// let rules = PlacementRules::new(&daemonset, &Namespace::new("prod"), &Settings::default());
/// let mut node = Node::new("node-7");
/// assert!(!rules.verdict(&node).should_run());
/// node.labels = Labels::from([("role", "worker")]);
/// assert!(rules.verdict(&node).should_run());
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementRules {
    rules: Vec<PlacementRule>,
    /// Those of the template, and then those that each daemon pod gets.
    tolerations: Vec<Toleration>,
    /// The number of tolerations of the template.
    own_tolerations: usize,
    toleration_comparison: bool,
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

impl PlacementRules {
    /// Compiles the rules of `daemonset` in `namespace`, which must be the DaemonSet's own.
    pub fn new(daemonset: &DaemonSet, namespace: &Namespace, settings: &Settings) -> Self {
        let template = &daemonset.template;
        let mut tolerations = template.tolerations().to_vec();
        let own_tolerations = tolerations.len();
        tolerations.extend(automatic_tolerations(template.host_network()));
        let (namespace, invalid_selector) = namespace_selectors(namespace, settings);
        let mut rules = Vec::new();
        if !template.node_name().is_empty() {
            rules.push(PlacementRule::NodeName { required: template.node_name().clone() });
        }
        rules.extend(
            template
                .node_selector()
                .into_iter()
                .map(|(key, required)| PlacementRule::NodeSelector { key: key.clone(), required: required.clone() }),
        );
        if let Some(affinity) = template.required_affinity() {
            match affinity.terms() {
                // All requirements must hold, so each is a rule of its own.
                [NodeSelectorTerm::All { expressions, fields }] if fields.is_empty() => rules.extend(
                    expressions
                        .iter()
                        .map(|requirement| PlacementRule::NodeAffinityLabel { requirement: requirement.clone() }),
                ),
                _ => rules.push(PlacementRule::NodeAffinity { terms: affinity.clone() }),
            }
        }
        rules.push(PlacementRule::Taints);
        rules.extend(namespace.iter().flat_map(|(source, selector)| {
            selector.requirements().iter().map(|requirement| PlacementRule::NamespaceNodeSelector {
                source: *source,
                requirement: requirement.clone(),
            })
        }));
        let toleration_comparison = settings.toleration_comparison;
        Self { rules, tolerations, own_tolerations, toleration_comparison, invalid_selector }
    }

    /// Returns all rules, in the order in which they decide.
    pub fn rules(&self) -> &[PlacementRule] {
        &self.rules
    }

    /// Iterates over the malformed terms of the required node affinity, which match no node, with their index.
    pub(crate) fn invalid_terms(&self) -> impl Iterator<Item = (usize, &RequirementError)> {
        let affinities = self.rules.iter().filter_map(|rule| match rule {
            PlacementRule::NodeAffinity { terms } => Some(terms.terms().iter().enumerate()),
            _ => None,
        });
        affinities.flatten().filter_map(|(index, term)| match term {
            NodeSelectorTerm::Invalid(error) => Some((index, error)),
            NodeSelectorTerm::All { .. } | NodeSelectorTerm::Empty => None,
        })
    }

    /// Returns the namespace's node selector annotation if it is invalid and therefore ignored.
    pub(crate) fn invalid_selector(&self) -> Option<&InvalidSelector> {
        self.invalid_selector.as_ref()
    }

    /// Decides for `node`: the first rule that does not hold decides. Allocates no memory.
    pub fn verdict(&self, node: &Node) -> Verdict {
        let verdicts = self.rules.iter().map(|rule| self.apply(rule, node, |key| node.labels.get_text(key)));
        verdicts.into_iter().find(|verdict| !verdict.should_run()).unwrap_or(Verdict::Run)
    }

    /// Decides for many nodes. Evaluates each batch rule by rule, so that memory accesses to several nodes overlap.
    pub(crate) fn verdicts(&self, nodes: &[&Node]) -> Vec<Verdict> {
        let mut rules: Vec<_> = self.rules.iter().map(|rule| (rule, LabelLookup::default())).collect();
        let mut verdicts = vec![Verdict::Run; nodes.len()];
        for (nodes, verdicts) in nodes.chunks(BATCH).zip(verdicts.chunks_mut(BATCH)) {
            for (rule, lookup) in &mut rules {
                for (node, verdict) in nodes.iter().zip(&mut *verdicts).filter(|(_, verdict)| verdict.should_run()) {
                    *verdict = self.apply(rule, node, |key| lookup.get(&node.labels, key));
                }
            }
        }
        verdicts
    }

    /// Decides for `node`, with the reason.
    pub fn placement(&self, node: &Node) -> Placement {
        Placement { node: node.name.clone(), verdict: self.verdict(node), reason: self.reason(node) }
    }

    /// Returns the first rule that does not hold for `node`, as the reason of its verdict.
    pub(crate) fn reason(&self, node: &Node) -> PlacementReason {
        self.rules.iter().find_map(|rule| self.failure(rule, node)).unwrap_or(PlacementReason::AllRulesHold)
    }

    /// Decides for `node` by one rule alone. `find` looks up the node's labels.
    #[inline]
    fn apply<'a>(
        &self,
        rule: &'a PlacementRule,
        node: &'a Node,
        find: impl FnOnce(&'a Text) -> Option<&'a Text>,
    ) -> Verdict {
        let holds = match rule {
            PlacementRule::NodeName { required } => *required == node.name,
            PlacementRule::NodeSelector { key, required } => find(key) == Some(required),
            PlacementRule::NodeAffinityLabel { requirement }
            | PlacementRule::NamespaceNodeSelector { requirement, .. } => requirement.allows(find(requirement.key())),
            PlacementRule::NodeAffinity { terms } => terms.matches(node),
            PlacementRule::Taints => {
                return match self.deciding_taint(node) {
                    None => Verdict::Run,
                    Some(taint) if taint.effect == TaintEffect::NoExecute => Verdict::Refuse,
                    Some(_) => Verdict::Keep,
                };
            }
        };
        if holds { Verdict::Run } else { Verdict::Refuse }
    }

    /// Returns why `rule` does not hold for `node`, independently of the other rules; `None` if it holds.
    pub(super) fn failure(&self, rule: &PlacementRule, node: &Node) -> Option<PlacementReason> {
        if self.apply(rule, node, |key| node.labels.get_text(key)).should_run() {
            return None;
        }
        let found = |key: &Text| node.labels.get_text(key).cloned();
        Some(match rule {
            PlacementRule::NodeName { required } => PlacementReason::NodeName { required: required.clone() },
            PlacementRule::NodeSelector { key, required } => {
                PlacementReason::NodeSelector { key: key.clone(), required: required.clone(), found: found(key) }
            }
            PlacementRule::NodeAffinityLabel { requirement } => {
                let found = found(requirement.key());
                let mismatch = TermMismatch::Label { requirement: requirement.clone(), found };
                PlacementReason::NodeAffinity { terms: vec![mismatch] }
            }
            PlacementRule::NodeAffinity { terms } => {
                PlacementReason::NodeAffinity { terms: terms.mismatches(node).unwrap_or_default() }
            }
            PlacementRule::Taints => {
                let taint = self.deciding_taint(node)?.clone();
                let near = self.own_tolerations().iter().find(|toleration| toleration.key == taint.key).cloned();
                PlacementReason::Taint { taint, near }
            }
            PlacementRule::NamespaceNodeSelector { source, requirement } => PlacementReason::NamespaceNodeSelector {
                source: *source,
                requirement: requirement.clone(),
                found: found(requirement.key()),
            },
        })
    }

    /// The taints of `node` that no toleration covers.
    pub(super) fn untolerated<'n>(&self, node: &'n Node) -> impl Iterator<Item = &'n Taint> {
        untolerated(&node.taints, &self.tolerations, self.toleration_comparison)
    }

    /// The taints of `node` that keep a pod away or evict it, but for the tolerations that each daemon pod gets.
    pub(crate) fn tolerated_automatically<'n>(&self, node: &'n Node) -> impl Iterator<Item = &'n Taint> {
        let covered = |taint: &&Taint| {
            let mut tolerations = self.tolerations.iter();
            tolerations.any(|toleration| toleration.tolerates(taint, self.toleration_comparison))
        };
        untolerated(&node.taints, self.own_tolerations(), self.toleration_comparison).filter(covered)
    }

    /// Whether each daemon pod gets this toleration.
    pub(crate) fn is_added(&self, toleration: &Toleration) -> bool {
        self.tolerations.get(self.own_tolerations..).unwrap_or_default().contains(toleration)
    }

    /// The tolerations of the template.
    fn own_tolerations(&self) -> &[Toleration] {
        self.tolerations.get(..self.own_tolerations).unwrap_or_default()
    }

    /// The taint that decides: the first one that evicts pods, or else the first one that keeps new pods away.
    fn deciding_taint<'n>(&self, node: &'n Node) -> Option<&'n Taint> {
        let mut untolerated = self.untolerated(node);
        let evicts = |taint: &&Taint| taint.effect == TaintEffect::NoExecute;
        let first = untolerated.next()?;
        Some(if evicts(&first) { first } else { untolerated.find(evicts).unwrap_or(first) })
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

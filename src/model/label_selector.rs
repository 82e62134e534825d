use serde::{Deserialize, Serialize};

use crate::model::{Labels, Operator, Requirement, RequirementError, requirement::RawRequirement};

/// A valid label selector: all of `matchLabels` and `matchExpressions` must hold.
///
/// An empty selector matches everything; a *missing* one (`None` in [`DaemonSet`](super::DaemonSet)) matches nothing.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>
///
/// ```
/// use daemonplan::model::{LabelSelector, Labels};
/// let selector: LabelSelector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#).unwrap();
/// assert!(selector.matches(&Labels::from_iter([("app", "agent"), ("tier", "node")])));
/// let malformed = r#"{"matchExpressions": [{"key": "a", "operator": "Near"}]}"#;
/// assert!(serde_json::from_str::<LabelSelector>(malformed).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "SelectorWire", into = "SelectorWire")]
pub struct LabelSelector {
    match_labels: Labels,
    match_expressions: Vec<Requirement>,
    requirements: Vec<Requirement>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SelectorWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    match_labels: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    match_expressions: Option<Vec<RawRequirement>>,
}

impl LabelSelector {
    /// Returns a selector that requires all of `match_labels` and `match_expressions`.
    ///
    /// # Errors
    /// If a key or a value of `match_labels` is invalid, or if an operator is `Gt` or `Lt`, which are for nodes only.
    pub fn new(match_labels: Labels, match_expressions: Vec<Requirement>) -> Result<Self, RequirementError> {
        for requirement in &match_expressions {
            RawRequirement::from(requirement).for_label_selector()?;
        }
        let pairs =
            match_labels.iter().map(|(key, value)| Requirement::new(key.clone(), Operator::In(vec![value.clone()])));
        let mut requirements = pairs.collect::<Result<Vec<_>, _>>()?;
        requirements.extend(match_expressions.iter().cloned());
        Ok(Self { match_labels, match_expressions, requirements })
    }

    /// Returns a selector that has these requirements, too.
    pub(crate) fn and(&self, more: impl IntoIterator<Item = Requirement>) -> Result<Self, RequirementError> {
        Self::new(self.match_labels.clone(), self.match_expressions.iter().cloned().chain(more).collect())
    }

    /// Returns `matchLabels`.
    pub fn match_labels(&self) -> &Labels {
        &self.match_labels
    }

    /// Returns all requirements, those of `matchLabels` included.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether the selector has no requirements and so matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

/// Requires all of these labels.
impl TryFrom<Labels> for LabelSelector {
    type Error = RequirementError;

    fn try_from(match_labels: Labels) -> Result<Self, RequirementError> {
        Self::new(match_labels, Vec::new())
    }
}

impl TryFrom<SelectorWire> for LabelSelector {
    type Error = RequirementError;

    fn try_from(wire: SelectorWire) -> Result<Self, RequirementError> {
        let expressions = wire.match_expressions.unwrap_or_default().into_iter();
        let expressions = expressions.map(RawRequirement::for_label_selector).collect::<Result<_, _>>()?;
        Self::new(wire.match_labels.unwrap_or_default(), expressions)
    }
}

impl From<LabelSelector> for SelectorWire {
    fn from(selector: LabelSelector) -> Self {
        let expressions = selector.match_expressions.iter().map(RawRequirement::from).collect::<Vec<_>>();
        Self {
            match_labels: (!selector.match_labels.is_empty()).then_some(selector.match_labels),
            match_expressions: (!expressions.is_empty()).then_some(expressions),
        }
    }
}

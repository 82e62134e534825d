use serde::Serialize;

use crate::{
    model::DaemonSet,
    policy::{PolicyError, RolloutPolicy},
    selector::{ExpressionError, SelectorExpression},
};

/// What the cluster's operator has configured, as opposed to what a DaemonSet says.
///
/// ```
/// use daemonplan::Settings;
/// let settings = Settings::default().burst(500).project_node_selector("role=worker")?;
/// assert!(Settings::default().project_node_selector("role in worker").is_err());
/// # Ok::<(), daemonplan::selector::ExpressionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    pub(crate) burst: usize,
    pub(crate) project_node_selector: Option<SelectorExpression>,
    pub(crate) default_node_selector: Option<SelectorExpression>,
    pub(crate) collect_pods_on_missing_nodes: bool,
    pub(crate) toleration_comparison: bool,
    pub(crate) rollout_policy: RolloutPolicy,
    pub(crate) ignore_policy_annotations: bool,
}

impl Default for Settings {
    /// Those of the built-in controller: a burst of 250 and no node selectors; pods on missing nodes are deleted.
    fn default() -> Self {
        Self {
            burst: 250,
            project_node_selector: None,
            default_node_selector: None,
            collect_pods_on_missing_nodes: true,
            toleration_comparison: false,
            rollout_policy: RolloutPolicy::default(),
            ignore_policy_annotations: false,
        }
    }
}

impl Settings {
    /// How many pods one plan creates at most, and how many it deletes at most. Default: 250.
    #[must_use]
    pub fn burst(self, burst: usize) -> Self {
        Self { burst, ..self }
    }

    /// The cluster's default project node selector (`spec.defaultNodeSelector` of OpenShift's Scheduler
    /// configuration): for namespaces without a node selector annotation. Empty text: none.
    ///
    /// # Errors
    /// If the text is no selector expression.
    pub fn project_node_selector(self, text: &str) -> Result<Self, ExpressionError> {
        Ok(Self { project_node_selector: selector(text)?, ..self })
    }

    /// The Kubernetes default node selector (`clusterDefaultNodeSelector` of the admission plugin `PodNodeSelector`):
    /// for namespaces without the annotation `scheduler.alpha.kubernetes.io/node-selector`. Empty text: none.
    ///
    /// # Errors
    /// If the text is no selector expression.
    pub fn default_node_selector(self, text: &str) -> Result<Self, ExpressionError> {
        Ok(Self { default_node_selector: selector(text)?, ..self })
    }

    /// Leaves pods that are bound to a missing node to the cluster's own pod garbage collector.
    #[must_use]
    pub fn keep_pods_on_missing_nodes(self) -> Self {
        Self { collect_pods_on_missing_nodes: false, ..self }
    }

    /// Heeds the toleration operators `Lt` and `Gt` (the feature gate `TaintTolerationComparisonOperators`).
    #[must_use]
    pub fn toleration_comparison(self) -> Self {
        Self { toleration_comparison: true, ..self }
    }

    /// What the updates of all DaemonSets keep to, where their annotations do not say otherwise. Default: nothing.
    #[must_use]
    pub fn rollout_policy(self, policy: RolloutPolicy) -> Self {
        Self { rollout_policy: policy, ..self }
    }

    /// The policy that holds for a DaemonSet: what its annotations say, and where they say nothing, the general one.
    ///
    /// # Errors
    /// If an annotation cannot be read; updates are paused then.
    ///
    /// ```
    /// use daemonplan::{Settings, model::{DaemonSet, Labels}};
    /// let mut daemonset = DaemonSet::new("prod", "agent");
    /// daemonset.annotations = Labels::from_iter([("daemonplan/paused", "true")]);
    /// assert!(Settings::default().policy_of(&daemonset)?.paused);
    /// # Ok::<(), daemonplan::policy::PolicyError>(())
    /// ```
    pub fn policy_of(&self, daemonset: &DaemonSet) -> Result<RolloutPolicy, PolicyError> {
        let general = self.rollout_policy.clone();
        if self.ignore_policy_annotations { Ok(general) } else { general.annotated(&daemonset.annotations) }
    }

    /// Takes no notice of the annotations that a [`RolloutPolicy`] is read from, as the built-in controller does.
    #[must_use]
    pub fn ignore_policy_annotations(self) -> Self {
        Self { ignore_policy_annotations: true, ..self }
    }
}

fn selector(text: &str) -> Result<Option<SelectorExpression>, ExpressionError> {
    let selector: SelectorExpression = text.parse()?;
    Ok((!selector.requirements().is_empty()).then_some(selector))
}

use serde::Serialize;

use crate::{
    model::DaemonSet,
    policy::{PolicyError, RolloutPolicy},
    selector::{ExpressionError, SelectorExpression},
};

/// The cluster-wide configuration of the planner.
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
    /// Returns the settings of the built-in controller.
    ///
    /// The burst is 250, no node selectors apply, and pods on missing nodes are deleted.
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
    /// Sets the maximum number of pods that a plan creates, and of those that it deletes. Default: 250.
    #[must_use]
    pub fn burst(self, burst: usize) -> Self {
        Self { burst, ..self }
    }

    /// Sets the default project node selector, which applies in namespaces without a node selector annotation.
    ///
    /// It is `spec.defaultNodeSelector` of OpenShift's Scheduler configuration. An empty `text` removes it.
    ///
    /// # Errors
    /// If `text` is not a selector expression.
    pub fn project_node_selector(self, text: &str) -> Result<Self, ExpressionError> {
        Ok(Self { project_node_selector: selector(text)?, ..self })
    }

    /// Sets the Kubernetes default node selector.
    ///
    /// It applies in namespaces without the annotation `scheduler.alpha.kubernetes.io/node-selector`, and is
    /// `clusterDefaultNodeSelector` of the admission plugin `PodNodeSelector`. An empty `text` removes it.
    ///
    /// # Errors
    /// If `text` is not a selector expression.
    pub fn default_node_selector(self, text: &str) -> Result<Self, ExpressionError> {
        Ok(Self { default_node_selector: selector(text)?, ..self })
    }

    /// Leaves pods that are bound to a missing node to the cluster's pod garbage collector.
    #[must_use]
    pub fn keep_pods_on_missing_nodes(self) -> Self {
        Self { collect_pods_on_missing_nodes: false, ..self }
    }

    /// Enables the toleration operators `Lt` and `Gt` (feature gate `TaintTolerationComparisonOperators`).
    #[must_use]
    pub fn toleration_comparison(self) -> Self {
        Self { toleration_comparison: true, ..self }
    }

    /// Sets the rollout policy of all DaemonSets. Their annotations take precedence. Default: no policy.
    #[must_use]
    pub fn rollout_policy(self, policy: RolloutPolicy) -> Self {
        Self { rollout_policy: policy, ..self }
    }

    /// Returns the policy of `daemonset`: its annotations, with the general policy as the default.
    ///
    /// # Errors
    /// If an annotation is invalid. Updates are paused in this case.
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

    /// Ignores all annotations with a [`RolloutPolicy`], as the built-in controller does.
    #[must_use]
    pub fn ignore_policy_annotations(self) -> Self {
        Self { ignore_policy_annotations: true, ..self }
    }
}

fn selector(text: &str) -> Result<Option<SelectorExpression>, ExpressionError> {
    let selector: SelectorExpression = text.parse()?;
    Ok((!selector.requirements().is_empty()).then_some(selector))
}

use serde::{Deserialize, Serialize};

use crate::{
    affinity::NodeResources,
    model::{DaemonSet, Labels, Node, Resource, Text},
    policy::{PolicyError, RolloutPolicy},
    selector::SelectorExpression,
};

/// The cluster-wide configuration of the planner. The default is that of the built-in controller.
///
/// ```
/// use daemonplan::Settings;
/// let mut settings = Settings::default();
/// settings.burst = 500;
/// settings.project_node_selector = Some("role=worker".parse()?);
/// let kept = serde_json::to_string(&settings).unwrap();
/// assert_eq!(serde_json::from_str::<Settings>(&kept).unwrap(), settings);
/// # Ok::<(), daemonplan::selector::ExpressionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The maximum number of pods that a plan creates, and of those that it deletes. Default: 250. With 0, plans create
    /// and delete none, and [say so](crate::plan::Warning::NoBurst).
    pub burst: usize,
    /// The default project node selector, which applies in namespaces without a node selector annotation:
    /// `spec.defaultNodeSelector` of OpenShift's Scheduler configuration, which
    /// [`SchedulingObjects`](crate::scheduling::SchedulingObjects::project_node_selector) read.
    pub project_node_selector: Option<SelectorExpression>,
    /// The Kubernetes default node selector: `clusterDefaultNodeSelector` of the admission plugin `PodNodeSelector`. It
    /// applies in namespaces without the annotation `scheduler.alpha.kubernetes.io/node-selector`.
    pub default_node_selector: Option<SelectorExpression>,
    /// Whether plans delete pods that are bound to a missing node. Default: yes. Turn it off in clusters whose own pod
    /// garbage collector does that.
    pub collect_pods_on_missing_nodes: bool,
    /// Whether the toleration operators `Lt` and `Gt` are enabled (feature gate `TaintTolerationComparisonOperators`).
    pub toleration_comparison: bool,
    /// The rollout policy of all DaemonSets. Their annotations take precedence. Default: no policy.
    pub rollout_policy: RolloutPolicy,
    /// Whether the annotations with a [`RolloutPolicy`] are ignored, as the built-in controller does.
    pub ignore_policy_annotations: bool,
    /// The prefix of the annotations with a [`RolloutPolicy`], with its slash. Default: [`RolloutPolicy::PREFIX`].
    pub policy_prefix: Text,
    /// What the pods of DaemonSets request on some nodes, instead of what their templates say. The first that selects a node counts
    /// there. Default: none.
    pub node_resources: Vec<NodeResources>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            burst: 250,
            project_node_selector: None,
            default_node_selector: None,
            collect_pods_on_missing_nodes: true,
            toleration_comparison: false,
            rollout_policy: RolloutPolicy::default(),
            ignore_policy_annotations: false,
            policy_prefix: RolloutPolicy::PREFIX.into(),
            node_resources: Vec::new(),
        }
    }
}

impl Settings {
    /// Returns the policy of `daemonset`: its annotations, with the general policy as the default.
    ///
    /// # Errors
    /// If an annotation is invalid. Updates are paused in this case.
    ///
    /// ```
    /// use daemonplan::{Settings, model::{DaemonSet, Labels}};
    /// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
    /// daemonset.annotations = Labels::from([("daemonplan/paused", "true")]);
    /// assert!(Settings::default().policy_of(&daemonset)?.paused);
    /// # Ok::<(), daemonplan::policy::PolicyError>(())
    /// ```
    pub fn policy_of(&self, daemonset: &DaemonSet) -> Result<RolloutPolicy, PolicyError> {
        self.policy_with(&daemonset.annotations)
    }

    fn policy_with(&self, annotations: &Labels) -> Result<RolloutPolicy, PolicyError> {
        let general = self.rollout_policy.clone();
        if self.ignore_policy_annotations {
            Ok(general)
        } else {
            general.annotated_under(&self.policy_prefix, annotations)
        }
    }

    /// Returns the same without the annotations that cannot be read, and what is wrong with the first of them: what can be
    /// read counts.
    pub(crate) fn readable_policy_of(&self, daemonset: &DaemonSet) -> (RolloutPolicy, Option<PolicyError>) {
        let (mut annotations, mut first) = (daemonset.annotations.clone(), None);
        loop {
            let error = match self.policy_with(&annotations) {
                Ok(policy) => return (policy, first),
                Err(error) => error,
            };
            let left = annotations.without(error.annotation());
            if left.len() == annotations.len() {
                return (self.rollout_policy.clone(), first.or(Some(error)));
            }
            annotations = left;
            first.get_or_insert(error);
        }
    }

    /// Returns the settings about what a DaemonSet's pods request on some nodes.
    pub(crate) fn resources_of(&self, daemonset: &DaemonSet) -> impl Iterator<Item = &NodeResources> {
        let key = if self.node_resources.is_empty() { None } else { Some(daemonset.key()) };
        self.node_resources.iter().filter(move |resources| Some(&resources.daemon_set) == key.as_ref())
    }

    /// Returns the setting about what a DaemonSet's pods request on a node, if there is one.
    pub(crate) fn resources_on(&self, daemonset: &DaemonSet, node: &Node) -> Option<&NodeResources> {
        self.resources_of(daemonset).find(|resources| resources.nodes.matches(&node.labels))
    }

    /// Returns those of the settings about what a DaemonSet's pods request that count on one of these nodes.
    pub(crate) fn resources_for<'n>(
        &self,
        daemonset: &DaemonSet,
        nodes: impl IntoIterator<Item = &'n Node>,
    ) -> Vec<&NodeResources> {
        let mut all: Vec<_> = self.resources_of(daemonset).map(|resources| (resources, false)).collect();
        if !all.is_empty() {
            for node in nodes {
                if let Some((_, counts)) = all.iter_mut().find(|(resources, _)| resources.nodes.matches(&node.labels)) {
                    *counts = true;
                }
            }
        }
        all.into_iter().filter_map(|(resources, counts)| counts.then_some(resources)).collect()
    }

    /// Returns the annotation of a policy such as `paused`.
    ///
    /// ```
    /// use daemonplan::Settings;
    /// assert_eq!(Settings::default().policy_annotation("paused"), "daemonplan/paused");
    /// ```
    pub fn policy_annotation(&self, name: &str) -> Text {
        format!("{}{name}", self.policy_prefix).into()
    }
}

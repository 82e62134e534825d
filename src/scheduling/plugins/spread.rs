//! The constraints on how pods spread over the values of a node label.

use std::collections::BTreeMap;

use super::{
    super::{
        Cause, Code, Plugin, SchedulingBlocker, cluster_state::NodeInfo, load::is_same, pod_info::PodInfo,
        trial_node::TrialNode,
    },
    allows_node,
};
use crate::{
    model::{Node, Pod, Text, TopologySpreadConstraint},
    selector::untolerated,
};

/// The matching pods for each value of a label, for each constraint of the incoming pod.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct SpreadCounts(Vec<Domains>);

#[derive(Clone, Debug)]
enum Domains {
    /// The same for all nodes.
    Of(BTreeMap<Text, i64>),
    /// Only the node counts that is looked at, because the pod is for one node.
    OfNode,
}

impl SpreadCounts {
    pub(in super::super) fn new(own: &PodInfo<'_>) -> Self {
        let count = |constraint: &TopologySpreadConstraint| {
            if own.spec.is_for_one_node && !constraint.counts_excluded_nodes {
                return Domains::OfNode;
            }
            Domains::Of(count(own, constraint, own.state.nodes.iter()))
        };
        Self(own.spec.topology_spread.iter().map(count).collect())
    }

    pub(in super::super) fn depends_on_node(&self) -> bool {
        self.0.iter().any(|domains| matches!(domains, Domains::OfNode))
    }

    /// Counts the pods of the node that is looked at, where only these count, after others have come and left.
    pub(in super::super) fn count_on<'p>(
        &mut self,
        own: &PodInfo<'_>,
        info: NodeInfo<'_>,
        others: &(impl Iterator<Item = (&'p Pod, i64)> + Clone),
    ) {
        for (domains, constraint) in self.0.iter_mut().zip(&own.spec.topology_spread) {
            if matches!(domains, Domains::OfNode) {
                let mut counted = count(own, constraint, [info]);
                for pods in counted.values_mut() {
                    *pods += others
                        .clone()
                        .filter(|(pod, _)| is_counted(own, constraint, pod))
                        .map(|(_, by)| by)
                        .sum::<i64>();
                }
                *domains = Domains::Of(counted);
            }
        }
    }

    /// Counts a pod that comes to a node, or leaves it if `by` is negative.
    ///
    /// In a dry run of the scheduler terminating pods count, too, and an empty selector selects all.
    pub(in super::super) fn count(&mut self, own: &PodInfo<'_>, pod: &Pod, node: &Node, by: i64, is_dry_run: bool) {
        let constraints = &own.spec.topology_spread;
        if pod.namespace != own.pod.namespace || !has_all_labels(constraints, node) {
            return;
        }
        for (domains, constraint) in self.0.iter_mut().zip(constraints) {
            let selector = constraint.selector.as_ref();
            let counts = |empty: bool| is_dry_run || !empty && !pod.is_being_deleted();
            let selects = selector.is_some_and(|own| own.matches(&pod.labels) && counts(own.is_empty()));
            if let (Domains::Of(domains), Some(value)) = (domains, node.labels.get_text(&constraint.topology_key))
                && selects
                && counts_node(own, constraint, node)
            {
                *domains.entry(value.clone()).or_default() += by;
            }
        }
    }

    pub(in super::super) fn check(&self, own: &PodInfo<'_>, node: &TrialNode<'_, '_>) -> Option<SchedulingBlocker> {
        let labels = &node.info.node.labels;
        for (domains, constraint) in self.0.iter().zip(&own.spec.topology_spread) {
            let key = constraint.topology_key.clone();
            let Some(value) = labels.get_text(&key) else {
                let (plugin, code) = (Plugin::PodTopologySpread, Code::UnschedulableAndUnresolvable);
                return Some(SchedulingBlocker::of(plugin, code, Cause::SpreadWithoutLabel { key }));
            };
            let Domains::Of(domains) = domains else { continue };
            let is_few = i64::try_from(domains.len()).is_ok_and(|count| count < i64::from(constraint.min_domains));
            // Without any value the scheduler takes the largest number, and so allows the pod.
            let smallest = domains.values().min().copied().unwrap_or(i64::from(i32::MAX));
            let smallest = if is_few { 0 } else { smallest };
            let selects_itself = constraint.selector.as_ref().is_some_and(|selector| selector.matches(&own.pod.labels));
            let pods = domains.get(value).copied().unwrap_or_default() + i64::from(selects_itself);
            if pods - smallest > i64::from(constraint.max_skew) {
                let (value, max_skew) = (value.clone(), constraint.max_skew);
                let cause = Cause::Spread { key, value, pods, smallest, max_skew };
                return Some(SchedulingBlocker::of(Plugin::PodTopologySpread, Code::Unschedulable, cause));
            }
        }
        None
    }
}

/// Whether pods like this one count for each other on different nodes.
pub(in super::super) fn counts_itself(own: &PodInfo<'_>) -> bool {
    let mut over_nodes = own.spec.topology_spread.iter().filter(|constraint| constraint.counts_excluded_nodes);
    over_nodes.any(|constraint| constraint.selector.as_ref().is_some_and(|selector| selector.matches(&own.pod.labels)))
}

/// Counts the matching pods for each value of the label.
fn count<'n>(
    own: &PodInfo<'_>,
    constraint: &TopologySpreadConstraint,
    nodes: impl IntoIterator<Item = NodeInfo<'n>>,
) -> BTreeMap<Text, i64> {
    let mut domains = BTreeMap::new();
    for info in nodes {
        let (node, labels) = (info.node, &info.node.labels);
        let Some(value) = labels.get_text(&constraint.topology_key) else { continue };
        if !has_all_labels(&own.spec.topology_spread, node) || !counts_node(own, constraint, node) {
            continue;
        }
        let pods = info.pods.iter().filter(|pod| is_counted(own, constraint, pod));
        let pods = i64::try_from(pods.count()).unwrap_or(i64::MAX);
        *domains.entry(value.clone()).or_default() += pods;
    }
    domains
}

/// Whether a pod counts. Terminating pods do not, and an empty selector selects none.
fn is_counted(own: &PodInfo<'_>, constraint: &TopologySpreadConstraint, pod: &Pod) -> bool {
    let selector = constraint.selector.as_ref().filter(|selector| !selector.is_empty());
    pod.namespace == own.pod.namespace
        && !pod.is_being_deleted()
        && !is_same(pod, own.pod)
        && selector.is_some_and(|selector| selector.matches(&pod.labels))
}

/// Whether a node has the labels of all constraints. Others count for none.
fn has_all_labels(constraints: &[TopologySpreadConstraint], node: &Node) -> bool {
    constraints.iter().all(|constraint| node.labels.contains_key(&constraint.topology_key))
}

fn counts_node(own: &PodInfo<'_>, constraint: &TopologySpreadConstraint, node: &Node) -> bool {
    (constraint.counts_excluded_nodes || allows_node(&own.spec, &own.node, node))
        && !(constraint.omits_tainted_nodes
            && untolerated(&node.taints, &own.spec.tolerations, own.state.toleration_comparison).next().is_some())
}

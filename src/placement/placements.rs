//! The placements of a plan: decisions that are computed on demand, not stored.

use std::{fmt, sync::Arc};

use super::{NodeIndex, Placement, PlacementRules};
use crate::model::{Node, Text};

/// Nodes that are stored elsewhere, found by name.
pub(crate) trait NodeSource: fmt::Debug + Send + Sync {
    fn find_node(&self, name: &Text) -> Option<&Node>;

    /// All nodes, in any order.
    fn all_nodes(&self) -> Vec<&Node>;
}

/// The nodes of a plan.
#[derive(Clone, Debug)]
pub(crate) enum PlannedNodes<'a> {
    Indexed(Arc<NodeIndex<'a>>),
    Stored(&'a dyn NodeSource),
}

/// A view of the decision for every node.
#[derive(Clone, Debug)]
pub(crate) struct Placements<'a> {
    rules: Arc<PlacementRules>,
    nodes: PlannedNodes<'a>,
}

impl<'a> Placements<'a> {
    pub(crate) fn new(rules: Arc<PlacementRules>, nodes: PlannedNodes<'a>) -> Self {
        Self { rules, nodes }
    }

    /// The decision for every node, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = Placement> {
        let mut nodes = match &self.nodes {
            PlannedNodes::Indexed(index) => index.all().to_vec(),
            PlannedNodes::Stored(nodes) => nodes.all_nodes(),
        };
        nodes.sort_unstable_by_key(|node| &node.name);
        nodes.into_iter().map(|node| self.rules.placement(node))
    }

    /// The decision for the node of this name; `None` if it does not exist.
    pub(crate) fn get(&self, node: &str) -> Option<Placement> {
        let name = node.into();
        let node = match &self.nodes {
            PlannedNodes::Indexed(index) => index.get(&name),
            PlannedNodes::Stored(nodes) => nodes.find_node(&name),
        };
        node.map(|node| self.rules.placement(node))
    }
}

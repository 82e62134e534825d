//! The placements of a plan: decisions about nodes, computed on demand.

use std::{fmt, sync::Arc};

use super::{NodeIndex, Placement, PlacementRules};
use crate::model::{Node, Text};

/// A store of nodes outside of the plan.
pub(crate) trait NodeSource: fmt::Debug + Send + Sync {
    fn find_node(&self, name: &Text) -> Option<&Node>;

    /// Returns all nodes, in no particular order.
    fn all_nodes(&self) -> Vec<&Node>;
}

/// The nodes of a plan.
#[derive(Clone, Debug)]
pub(crate) enum PlannedNodes<'a> {
    Indexed(Arc<NodeIndex<'a>>),
    Stored(&'a dyn NodeSource),
}

/// The decisions for all nodes.
#[derive(Clone, Debug)]
pub(crate) struct Placements<'a> {
    rules: Arc<PlacementRules>,
    nodes: PlannedNodes<'a>,
}

impl<'a> Placements<'a> {
    pub(crate) fn new(rules: Arc<PlacementRules>, nodes: PlannedNodes<'a>) -> Self {
        Self { rules, nodes }
    }

    /// Iterates over the decisions for all nodes, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = Placement> {
        let mut nodes = match &self.nodes {
            PlannedNodes::Indexed(index) => index.all().to_vec(),
            PlannedNodes::Stored(nodes) => nodes.all_nodes(),
        };
        nodes.sort_unstable_by_key(|node| &node.name);
        nodes.into_iter().map(|node| self.rules.placement(node))
    }

    /// Returns the decision for the node of this name, or `None` if it does not exist.
    pub(crate) fn get(&self, node: &str) -> Option<Placement> {
        let name = node.into();
        let node = match &self.nodes {
            PlannedNodes::Indexed(index) => index.get(&name),
            PlannedNodes::Stored(nodes) => nodes.find_node(&name),
        };
        node.map(|node| self.rules.placement(node))
    }
}

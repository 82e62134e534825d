use super::SelectorExpression;
use crate::model::Node;

/// A value that all nodes have in common, but for those for which it is another one.
///
/// ```
/// use daemonplan::{model::{Labels, Node}, selector::PerNode};
/// let pods = PerNode::from(110).with("size=large".parse()?, 250);
/// let mut node = Node::new("a");
/// assert_eq!(*pods.on(&node), 110);
/// node.labels = Labels::from([("size", "large")]);
/// assert_eq!(*pods.on(&node), 250);
/// # Ok::<(), daemonplan::selector::ExpressionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerNode<T> {
    general: T,
    /// By the labels of nodes. The first that matches counts.
    special: Vec<(SelectorExpression, T)>,
}

impl<T> From<T> for PerNode<T> {
    fn from(general: T) -> Self {
        Self { general, special: Vec::new() }
    }
}

impl<T> PerNode<T> {
    /// Sets another value for nodes with these labels that no earlier call has singled out.
    #[must_use]
    pub fn with(mut self, nodes: SelectorExpression, value: T) -> Self {
        self.special.push((nodes, value));
        self
    }

    /// Returns the value for a node.
    pub fn on(&self, node: &Node) -> &T {
        let special = self.special.iter().find(|(nodes, _)| nodes.matches(&node.labels));
        special.map_or(&self.general, |(_, value)| value)
    }

    /// Returns the value for a node, if it is known, or else the general one.
    pub(crate) fn on_known(&self, node: Option<&Node>) -> &T {
        node.map_or(&self.general, |node| self.on(node))
    }

    /// Returns the value for nodes that are not singled out.
    pub fn general(&self) -> &T {
        &self.general
    }

    /// Returns the other values, each with the labels of its nodes.
    pub fn special(&self) -> impl Iterator<Item = (&SelectorExpression, &T)> {
        self.special.iter().map(|(nodes, value)| (nodes, value))
    }

    /// Returns all values, the general one first.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        [&self.general].into_iter().chain(self.special.iter().map(|(_, value)| value))
    }

    /// Returns all values, to change them.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        [&mut self.general].into_iter().chain(self.special.iter_mut().map(|(_, value)| value))
    }

    /// Whether no node is singled out.
    pub(crate) fn is_uniform(&self) -> bool {
        self.special.is_empty()
    }

    /// Makes other values of these.
    pub fn map<'a, U>(&'a self, mut each: impl FnMut(&'a T) -> U) -> PerNode<U> {
        let general = each(&self.general);
        let special = self.special.iter().map(|(nodes, value)| (nodes.clone(), each(value)));
        PerNode { general, special: special.collect() }
    }

    /// Makes other values of these, if that is possible for each.
    pub(crate) fn try_map<U>(&self, mut each: impl FnMut(&T) -> Option<U>) -> Option<PerNode<U>> {
        let general = each(&self.general)?;
        let special = self.special.iter().map(|(nodes, value)| Some((nodes.clone(), each(value)?)));
        Some(PerNode { general, special: special.collect::<Option<_>>()? })
    }
}

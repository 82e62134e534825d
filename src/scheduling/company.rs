//! The pods that come and go while another one is tried on a node.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use crate::model::{Pod, Text};

/// Pods by their nodes.
pub(super) type ByNode<'a> = HashMap<Text, Vec<&'a Pod>, RandomState>;

/// The pods that have come and gone, while one is tried on a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Company<'s> {
    /// Those of others, which count already where pods are counted.
    pub(super) others: Arc<Changes<'s>>,
    /// The pods that leave the node for the one that is tried.
    pub(super) leave: Vec<&'s Pod>,
}

/// Pods that come and go.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes<'s> {
    pub(super) come: ByNode<'s>,
    /// Pods that come to any node, and are counted on none.
    pub(super) anywhere: Vec<&'s Pod>,
    pub(super) leave: ByNode<'s>,
}

impl<'s> Changes<'s> {
    pub(super) fn coming_to(&self, node: &Text) -> impl Iterator<Item = &'s Pod> + Clone {
        self.come.get(node).into_iter().flatten().chain(&self.anywhere).copied()
    }

    pub(super) fn leaving(&self, node: &Text) -> impl Iterator<Item = &'s Pod> + Clone {
        self.leave.get(node).into_iter().flatten().copied()
    }

    pub(super) fn comes_to(&self, node: &Text) -> bool {
        self.coming_to(node).next().is_some()
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in [(&mut self.come, &other.come), (&mut self.leave, &other.leave)] {
            for (node, pods) in more {
                sum.entry(node.clone()).or_default().extend(pods);
            }
        }
        self.anywhere.extend(&other.anywhere);
    }

    /// The same, but that nothing comes to a node, nor leaves it unless told so.
    pub(super) fn without(&self, node: &Text, leave: bool) -> Self {
        let mut changes = self.clone();
        changes.come.remove(node);
        if !leave {
            changes.leave.remove(node);
        }
        changes
    }

    /// Only those of a node, if they come and leave.
    pub(super) fn of_node(&self, node: &Text, comes: bool, leave: bool) -> Self {
        let of = |pods: &ByNode<'s>| pods.get(node).map(|pods| (node.clone(), pods.clone())).into_iter().collect();
        let (come, anywhere) =
            if comes { (of(&self.come), self.anywhere.clone()) } else { (ByNode::default(), Vec::new()) };
        Self { come, anywhere, leave: if leave { of(&self.leave) } else { ByNode::default() } }
    }
}

//! An index of a snapshot's nodes by name.

use std::{cmp::min, collections::BTreeSet};

use hashbrown::{HashTable, hash_table::Entry};

use crate::model::{Node, Text};

/// The nodes of a snapshot, with distinct names.
#[derive(Debug)]
pub(crate) struct NodeIndex<'a> {
    nodes: Vec<&'a Node>,
    slots: HashTable<u32>,
    /// The names that are shared by several different nodes, sorted.
    ambiguous: Vec<Text>,
}

impl<'a> NodeIndex<'a> {
    /// Indexes the nodes. Of nodes with the same name the smallest is kept, so that their order does not matter.
    pub(crate) fn new(all: &'a [Node]) -> Self {
        let mut nodes = Vec::with_capacity(all.len());
        let mut slots = HashTable::with_capacity(all.len());
        let mut ambiguous = BTreeSet::new();
        for node in all {
            let entry = slots.entry(
                node.name.code(),
                |slot| at(&nodes, *slot).is_some_and(|other| other.name == node.name),
                |slot| at(&nodes, *slot).map_or(0, |node| node.name.code()),
            );
            match entry {
                Entry::Vacant(entry) => {
                    entry.insert(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
                    nodes.push(node);
                }
                Entry::Occupied(entry) => {
                    let known = usize::try_from(*entry.get()).ok().and_then(|slot| nodes.get_mut(slot));
                    if let Some(known) = known.filter(|known| **known != node) {
                        ambiguous.insert(&node.name);
                        *known = min(*known, node);
                    }
                }
            }
        }
        Self { nodes, slots, ambiguous: ambiguous.into_iter().cloned().collect() }
    }

    /// Returns the index of a node in [`NodeIndex::all`].
    #[allow(clippy::inline_always)] // the loop over all pods calls it
    #[inline(always)]
    pub(crate) fn slot(&self, name: &Text) -> Option<usize> {
        let has_name = |slot: &u32| at(&self.nodes, *slot).is_some_and(|node| node.name == *name);
        let slot = self.slots.find(name.code(), has_name)?;
        usize::try_from(*slot).ok()
    }

    /// Returns a node.
    pub(crate) fn get(&self, name: &Text) -> Option<&'a Node> {
        self.nodes.get(self.slot(name)?).copied()
    }

    /// Returns the names that are shared by several different nodes, sorted.
    pub(crate) fn ambiguous(&self) -> &[Text] {
        &self.ambiguous
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn all(&self) -> &[&'a Node] {
        &self.nodes
    }
}

fn at<'a>(nodes: &[&'a Node], slot: u32) -> Option<&'a Node> {
    nodes.get(usize::try_from(slot).ok()?).copied()
}

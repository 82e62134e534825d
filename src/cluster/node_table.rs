//! The nodes of a cluster in numbered slots, found by name.

use hashbrown::HashTable;

use crate::{
    model::{Node, Text},
    util::slab::Slab,
};

/// The number of a node, which may be missing and only referenced by a pod.
pub(crate) type Slot = u32;

/// Every node, and every missing node that pods refer to, in numbered slots, so that a DaemonSet's decisions fit in a
/// list.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeTable {
    slots: Slab<Entry>,
    by_name: HashTable<Slot>,
    /// The number of nodes that are not missing.
    count: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Text,
    node: Option<Node>,
    /// The number of pods on the node.
    pods: u32,
}

impl NodeTable {
    pub(crate) fn get(&self, name: &Text) -> Option<&Node> {
        self.at(self.find(name)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.slots.iter().filter_map(|entry| entry.node.as_ref())
    }

    /// The node in a slot; `None` if it is missing.
    pub(crate) fn at(&self, slot: Slot) -> Option<&Node> {
        self.slots.get(slot)?.node.as_ref()
    }

    pub(crate) fn name(&self, slot: Slot) -> Option<&Text> {
        self.slots.get(slot).map(|entry| &entry.name)
    }

    pub(crate) fn find(&self, name: &Text) -> Option<Slot> {
        let is_it = |slot: &Slot| self.name(*slot) == Some(name);
        self.by_name.find(name.code(), is_it).copied()
    }

    /// The number of nodes.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The number of slots, free ones included.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Puts a node into its slot and returns the previous one.
    pub(crate) fn put(&mut self, mut node: Node) -> (Slot, Option<Node>) {
        node.taints.shrink_to_fit();
        let slot = self.slot(&node.name);
        let before = self.slots.get_mut(slot).and_then(|entry| entry.node.replace(node));
        self.count += usize::from(before.is_none());
        (slot, before)
    }

    /// Takes a node out. Its slot stays while pods refer to it.
    pub(crate) fn take(&mut self, slot: Slot) -> Option<Node> {
        let node = self.slots.get_mut(slot)?.node.take()?;
        self.count -= 1;
        Some(node)
    }

    /// Returns the slot of a node for one more pod on it.
    pub(crate) fn enter(&mut self, name: &Text) -> Slot {
        let slot = self.slot(name);
        if let Some(entry) = self.slots.get_mut(slot) {
            entry.pods += 1;
        }
        slot
    }

    /// Removes one pod from a slot's count.
    pub(crate) fn leave(&mut self, slot: Slot) {
        if let Some(entry) = self.slots.get_mut(slot) {
            entry.pods = entry.pods.saturating_sub(1);
        }
    }

    /// Whether a slot holds neither a node nor pods.
    pub(crate) fn is_vacant(&self, slot: Slot) -> bool {
        self.slots.get(slot).is_some_and(|entry| entry.node.is_none() && entry.pods == 0)
    }

    /// Frees a vacant slot for another name.
    pub(crate) fn free(&mut self, slot: Slot) {
        let Some(Entry { name, .. }) = self.slots.remove(slot) else { return };
        if let Ok(found) = self.by_name.find_entry(name.code(), |other| *other == slot) {
            found.remove();
        }
    }

    fn slot(&mut self, name: &Text) -> Slot {
        if let Some(slot) = self.find(name) {
            return slot;
        }
        let slot = self.slots.insert(Entry { name: name.clone(), node: None, pods: 0 });
        let code = |slot: &Slot| self.slots.get(*slot).map_or(0, |entry| entry.name.code());
        self.by_name.insert_unique(name.code(), slot, code);
        slot
    }
}

//! A list with an index by name.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

use foldhash::fast::RandomState;

/// Items with an index by name. A later item replaces an earlier one of the same name.
#[derive(Clone, Debug)]
pub(crate) struct ByName<K, T> {
    pub(crate) items: Vec<T>,
    index: HashMap<K, usize, RandomState>,
}

impl<K: Eq + Hash, T> ByName<K, T> {
    /// Adds or replaces the item of this name. Returns the one that it replaces.
    pub(crate) fn insert(&mut self, name: K, item: T) -> Option<T> {
        let slot = *self.index.entry(name).or_insert(self.items.len());
        if let Some(known) = self.items.get_mut(slot) {
            return Some(std::mem::replace(known, item));
        }
        self.items.push(item);
        None
    }

    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, name: &Q) -> Option<&mut T>
    where
        K: Borrow<Q>,
    {
        self.items.get_mut(*self.index.get(name)?)
    }

    /// Removes the item of this name. Returns whether it existed.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, name: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let Some(slot) = self.index.remove(name) else { return false };
        self.items.remove(slot);
        for other in self.index.values_mut().filter(|other| **other > slot) {
            *other -= 1;
        }
        true
    }
}

impl<K, T> Default for ByName<K, T> {
    fn default() -> Self {
        Self { items: Vec::new(), index: HashMap::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_order_and_are_found_by_name() {
        let mut items = ByName::default();
        for (name, item) in [("a", 1), ("b", 2), ("c", 3)] {
            assert_eq!(items.insert(name, item), None);
        }
        assert_eq!(items.insert("b", 4), Some(2));
        assert!(items.remove("a") && !items.remove("a"));
        *items.get_mut("c").unwrap() += 10;
        assert_eq!(items.items, [4, 13]);
        assert_eq!(items.get_mut("a"), None);
    }
}

//! Shared storage for equal values.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Replaces equal values with one shared value. Stores a limited number of values.
#[derive(Clone, Debug)]
pub(crate) struct SharedValues<T> {
    known: HashTable<T>,
    hasher: RandomState,
}

const REMEMBERED: usize = 4096;

impl<T> Default for SharedValues<T> {
    fn default() -> Self {
        Self { known: HashTable::new(), hasher: RandomState::default() }
    }
}

impl<T: Clone + Eq + Hash> SharedValues<T> {
    /// Replaces `value` with a stored equal value, or stores it.
    pub(crate) fn share(&mut self, value: &mut T) {
        let hash = self.hasher.hash_one(&*value);
        if let Some(known) = self.known.find(hash, |known| known == value) {
            *value = known.clone();
            return;
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let hasher = &self.hasher;
        self.known.insert_unique(hash, value.clone(), |known| hasher.hash_one(known));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_shared_and_memory_is_bounded() {
        let mut shared = SharedValues::default();
        let mut first = std::sync::Arc::<str>::from("a");
        let mut second = std::sync::Arc::<str>::from("a");
        shared.share(&mut first);
        shared.share(&mut "b".into());
        shared.share(&mut second);
        assert!(std::sync::Arc::ptr_eq(&first, &second));
        for number in 0..10_000 {
            shared.share(&mut number.to_string().into());
        }
        assert!(shared.known.len() <= REMEMBERED);
    }
}

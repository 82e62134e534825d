//! Numbered places for things that come and go, and a pool for things that are equal.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Things in numbered places. A place that has become free is used again; growing moves nothing.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
}

const CHUNK: usize = 1024;

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }
}

impl<T> Shelf<T> {
    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        let place = usize::try_from(place).ok()?;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.place_mut(place)?.as_mut()
    }

    /// Everything, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten().flatten()
    }

    /// How many places there are, free ones included.
    pub(crate) fn places(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    pub(crate) fn insert(&mut self, thing: T) -> u32 {
        if let Some(place) = self.free.pop()
            && let Some(free) = self.place_mut(place)
        {
            *free = Some(thing);
            return place;
        }
        let place = u32::try_from(self.places()).unwrap_or(u32::MAX);
        if let Some(chunk) = self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            chunk.push(Some(thing));
        } else {
            let mut chunk = Vec::with_capacity(CHUNK);
            chunk.push(Some(thing));
            self.chunks.push(chunk);
        }
        place
    }

    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let thing = self.place_mut(place)?.take()?;
        self.free.push(place);
        Some(thing)
    }

    fn place_mut(&mut self, place: u32) -> Option<&mut Option<T>> {
        let place = usize::try_from(place).ok()?;
        self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
    }
}

/// Lets equal things be one and the same: it remembers those that came, up to a limit.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    known: HashTable<T>,
    hasher: RandomState,
}

const REMEMBERED: usize = 4096;

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { known: HashTable::new(), hasher: RandomState::default() }
    }
}

impl<T: Clone + Eq + Hash> Pool<T> {
    /// Puts an equal thing that is known in place of this one, or remembers it.
    pub(crate) fn share(&mut self, thing: &mut T) {
        let hash = self.hasher.hash_one(&*thing);
        if let Some(known) = self.known.find(hash, |known| known == thing) {
            *thing = known.clone();
            return;
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let hasher = &self.hasher;
        self.known.insert_unique(hash, thing.clone(), |known| hasher.hash_one(known));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_free_is_used_again() {
        let mut shelf = Shelf::default();
        let places: Vec<_> = (0..3000).map(|number| shelf.insert(number)).collect();
        assert_eq!(shelf.remove(1500), Some(1500));
        assert_eq!((shelf.remove(1500), shelf.get(1500), shelf.get(9999)), (None, None, None));
        assert_eq!(shelf.iter().count(), 2999);
        assert_eq!(shelf.insert(7), 1500);
        *shelf.get_mut(2999).unwrap() += 1;
        assert_eq!(
            (shelf.get(2999), shelf.get(1500), shelf.places(), places.len()),
            (Some(&3000), Some(&7), 3000, 3000)
        );
    }

    #[test]
    fn equal_things_are_shared_and_the_pool_stays_small() {
        let mut pool = Pool::default();
        let mut first = std::sync::Arc::<str>::from("a");
        let mut second = std::sync::Arc::<str>::from("a");
        pool.share(&mut first);
        pool.share(&mut "b".into());
        pool.share(&mut second);
        assert!(std::sync::Arc::ptr_eq(&first, &second));
        for number in 0..10_000 {
            pool.share(&mut number.to_string().into());
        }
        assert!(pool.known.len() <= REMEMBERED);
    }
}

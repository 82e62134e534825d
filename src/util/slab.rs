//! A store of values in numbered slots.

/// Values in numbered slots. Freed slots are reused; growing moves no value, unlike a `Vec`.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
}

const CHUNK: usize = 1024;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        let slot = usize::try_from(slot).ok()?;
        self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slot_mut(slot)?.as_mut()
    }

    /// Iterates over all values, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten().flatten()
    }

    /// Returns the number of slots, free ones included.
    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(slot) = self.free.pop()
            && let Some(free) = self.slot_mut(slot)
        {
            *free = Some(value);
            return slot;
        }
        let slot = u32::try_from(self.len()).unwrap_or(u32::MAX);
        if let Some(chunk) = self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            chunk.push(Some(value));
        } else {
            let mut chunk = Vec::with_capacity(CHUNK);
            chunk.push(Some(value));
            self.chunks.push(chunk);
        }
        slot
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.slot_mut(slot)?.take()?;
        self.free.push(slot);
        Some(value)
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Option<T>> {
        let slot = usize::try_from(slot).ok()?;
        self.chunks.get_mut(slot / CHUNK)?.get_mut(slot % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_slot_is_reused() {
        let mut slab = Slab::default();
        let slots: Vec<_> = (0..3000).map(|number| slab.insert(number)).collect();
        assert_eq!(slab.remove(1500), Some(1500));
        assert_eq!((slab.remove(1500), slab.get(1500), slab.get(9999)), (None, None, None));
        assert_eq!(slab.iter().count(), 2999);
        assert_eq!(slab.insert(7), 1500);
        *slab.get_mut(2999).unwrap() += 1;
        assert_eq!((slab.get(2999), slab.get(1500), slab.len(), slots.len()), (Some(&3000), Some(&7), 3000, 3000));
    }
}

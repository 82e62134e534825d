//! A small cache of the most recently used values.

/// A few values, the most recently used one first.
#[derive(Debug)]
pub(crate) struct MruCache<T> {
    values: Vec<T>,
    capacity: usize,
}

impl<T> MruCache<T> {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self { values: Vec::new(), capacity }
    }

    /// Returns the value that `is_match` accepts, or replaces the least recently used value with the result of `make`.
    pub(crate) fn get(&mut self, is_match: impl FnMut(&T) -> bool, make: impl FnOnce() -> T) -> Option<&mut T> {
        match self.values.iter().position(is_match) {
            None => {
                self.values.truncate(self.capacity.saturating_sub(1));
                self.values.insert(0, make());
            }
            Some(0) => {}
            Some(at) => self.values.get_mut(..=at)?.rotate_right(1),
        }
        self.values.first_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_value_is_replaced() {
        let mut recent = MruCache::new(2);
        let mut made = Vec::new();
        for number in [1, 2, 1, 3, 1, 2, 3, 3] {
            let new = || {
                made.push(number);
                number
            };
            assert_eq!(recent.get(|known| *known == number, new), Some(&mut number.clone()));
        }
        assert_eq!(made, [1, 2, 3, 2, 3]);
    }
}

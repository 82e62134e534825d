//! What was last in use, so that what comes again is not made again.

/// A few things, the one that was last in use first.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    things: Vec<T>,
    most: usize,
}

impl<T> Recent<T> {
    pub(crate) const fn new(most: usize) -> Self {
        Self { things: Vec::new(), most }
    }

    /// The one that it is, or a new one in place of the one that was longest out of use.
    pub(crate) fn get(&mut self, is_it: impl FnMut(&T) -> bool, make: impl FnOnce() -> T) -> Option<&mut T> {
        match self.things.iter().position(is_it) {
            None => {
                self.things.truncate(self.most.saturating_sub(1));
                self.things.insert(0, make());
            }
            Some(0) => {}
            Some(at) => self.things.get_mut(..=at)?.rotate_right(1),
        }
        self.things.first_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_longest_out_of_use_makes_room() {
        let mut recent = Recent::new(2);
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

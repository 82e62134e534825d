use oorandom::Rand32;

use crate::{adoption::template_hash::safe_letters, model::Text};

/// A generator of pseudo-random numbers, which are the same for the same seed in every release.
#[derive(Debug)]
pub(super) struct Random(Rand32);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rand32::new(seed))
    }

    /// Returns a number below `end`.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        self.0.rand_range(0..end.max(1))
    }

    /// Returns `true` with a probability of `permille` / 1000.
    pub(super) fn happens(&mut self, permille: u32) -> bool {
        self.below(1000) < permille
    }

    pub(super) fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let end = u32::try_from(all.len()).unwrap_or(u32::MAX);
        all.get(usize::try_from(self.below(end)).ok()?)
    }

    /// Returns a uid in the format of Kubernetes.
    pub(super) fn uid(&mut self) -> Text {
        let [a, b, c, d] = [(); 4].map(|()| self.0.rand_u32());
        format!("{a:08x}-{:04x}-4{:03x}-a{:03x}-{:04x}{d:08x}", b >> 16, b & 0xfff, c >> 20, c & 0xffff).into()
    }
}

/// Returns `count` letters as in Kubernetes' generated names. They differ for all numbers below 27^`count`.
pub(super) fn letters(number: usize, count: u32) -> String {
    let all = 27_u128.pow(count);
    // The factor and 27 are coprime, so that different numbers give different texts.
    let scattered = number as u128 % all * 2_654_435_761 % all;
    safe_letters(u64::try_from(scattered).unwrap_or_default(), usize::try_from(count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn different_numbers_give_different_letters() {
        let all: HashSet<_> = (0..200_000).map(|number| letters(number, 5)).collect();
        assert_eq!(all.len(), 200_000);
        assert!(all.iter().all(|text| text.len() == 5));
    }

    #[test]
    fn a_uid_has_the_format_of_a_uuid() {
        let uid = Random::new(1).uid();
        assert_eq!(uid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{uid}");
        assert_eq!(Random::new(1).uid(), uid);
        assert_ne!(Random::new(2).uid(), uid);
    }
}

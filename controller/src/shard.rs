//! One of several parts of all DaemonSets.

use std::{fmt, str::FromStr};

use daemonplan::Key;

/// One of several parts of all DaemonSets, each managed by another replica: `K/N`, with K from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: u32,
    of: u32,
}

impl Shard {
    /// Returns the number of this shard, from 0.
    pub fn number(self) -> u32 {
        self.number
    }

    /// Returns how many shards there are.
    pub fn of(self) -> u32 {
        self.of
    }

    /// Whether a DaemonSet is in this shard: the 64-bit FNV-1a hash of `NAMESPACE/NAME`, modulo the number of shards.
    pub fn has(self, daemonset: &Key) -> bool {
        let bytes = [daemonset.namespace.as_bytes(), b"/", daemonset.name.as_bytes()];
        let hash = bytes
            .into_iter()
            .flatten()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        hash % u64::from(self.of) == u64::from(self.number)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((number, of)) if number < of => Ok(Self { number, of }),
            _ => Err("expected K/N, with K from 0 to N-1".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_daemonset_is_in_one_shard_and_shards_are_about_equal() {
        let shards: Vec<Shard> = (0..4).map(|number| format!("{number}/4").parse().unwrap()).collect();
        let mut counts = [0; 4];
        for number in 0..1000 {
            let key = Key::new(format!("team-{}", number % 7), format!("agent-{number}"));
            let holders: Vec<_> = shards.iter().filter(|shard| shard.has(&key)).collect();
            let [holder] = holders[..] else { panic!("{key:?} is in {} shards", holders.len()) };
            counts[holder.number() as usize] += 1;
        }
        assert!(counts.iter().all(|count| (200..300).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_shard_of_a_daemonset_is_the_same_in_every_version() {
        // FNV-1a of "kube-system/kube-proxy" is 0xe746625f0894d7ff by an independent implementation.
        let shard = |text: &str| text.parse::<Shard>().unwrap();
        let proxy = Key::new("kube-system", "kube-proxy");
        assert!(shard("0/1").has(&proxy));
        assert_eq!((0..16).find(|number| shard(&format!("{number}/16")).has(&proxy)), Some(15));
    }

    #[test]
    fn shards_are_numbered_from_zero() {
        for text in ["", "1", "2/2", "0/0", "-1/2", "1/2/3", "a/b"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        assert_eq!("1/2".parse::<Shard>().unwrap().to_string(), "1/2");
    }
}

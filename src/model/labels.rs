use std::{cmp::Ordering, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::MapAccess};

use super::Text;

/// A small map from text to text, sorted by key: labels, annotations, a `nodeSelector`.
///
/// Equal pairs make equal maps, whatever the order in which they were written. A clone is a reference count. Of a
/// key that is given twice the last value stands, as in Kubernetes' own JSON reader. It holds up to 4 GiB of text, far
/// more than Kubernetes allows, and leaves out what is beyond.
///
/// All keys and values lie in one block, beside an index with a fingerprint of each key: to look up a label that is not
/// there touches the index alone.
///
/// ```
/// use daemonplan::model::Labels;
/// let labels = Labels::from_iter([("role", "worker"), ("zone", "a")]);
/// assert_eq!(labels.get("role"), Some("worker"));
/// assert_eq!(labels.get("disk"), None);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Labels(Option<Block>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Block {
    index: Arc<[Entry]>,
    /// Key, value, key, value and so on, in the order of the keys.
    text: Arc<str>,
}

/// Where a pair stands in the text. It begins where the one before it ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Entry {
    fingerprint: u32,
    /// Where the key ends and the value begins.
    middle: u32,
    end: u32,
}

/// The key's length and its last three bytes, in which keys differ most.
fn fingerprint(key: &[u8]) -> u32 {
    let [length, ..] = key.len().to_le_bytes();
    let [a, b, c] = key.last_chunk().copied().unwrap_or_default();
    u32::from_le_bytes([length, a, b, c])
}

impl Labels {
    /// The value under `key`, if there is one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.find(key.as_bytes())
    }

    /// The value under `key`, if there is one.
    pub(crate) fn get_text(&self, key: &Text) -> Option<&str> {
        self.find(key.as_bytes())
    }

    fn find(&self, key: &[u8]) -> Option<&str> {
        let block = self.0.as_ref()?;
        let wanted = fingerprint(key);
        let alike = block.index.iter().enumerate().filter(|(_, entry)| entry.fingerprint == wanted);
        alike.map(|(at, _)| block.pair(at)).find(|(found, _)| found.as_bytes() == key).map(|(_, value)| value)
    }

    /// All pairs, by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        (0..self.len()).map(|at| self.0.as_ref().map(|block| block.pair(at)).unwrap_or_default())
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |block| block.index.len())
    }

    /// Whether there is no pair at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The same pairs, with `key` set to `value`.
    #[must_use]
    pub fn with(&self, key: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.iter().chain([(key.as_ref(), value.as_ref())]).collect()
    }
}

impl Block {
    fn pair(&self, at: usize) -> (&str, &str) {
        let place = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
        let entry = |at| self.index.get(at);
        let begin = at.checked_sub(1).and_then(entry).map_or(0, |before| place(before.end));
        let (middle, end) = entry(at).map(|entry| (place(entry.middle), place(entry.end))).unwrap_or_default();
        let part = |range| self.text.get(range).unwrap_or_default();
        (part(begin..middle), part(middle..end))
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<(K, V)> = pairs.into_iter().collect();
        pairs.reverse();
        pairs.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        pairs.dedup_by(|(later, _), (kept, _)| later.as_ref() == kept.as_ref());

        let mut text = String::with_capacity(pairs.iter().map(|(k, v)| k.as_ref().len() + v.as_ref().len()).sum());
        let index = pairs.iter().map_while(|(key, value)| {
            let (key, value) = (key.as_ref(), value.as_ref());
            let middle = u32::try_from(text.len() + key.len()).ok()?;
            let end = middle.checked_add(u32::try_from(value.len()).ok()?)?;
            text.push_str(key);
            text.push_str(value);
            Some(Entry { fingerprint: fingerprint(key.as_bytes()), middle, end })
        });
        let index: Arc<[Entry]> = index.collect();
        Self((!index.is_empty()).then(|| Block { index, text: text.into() }))
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Labels, M::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(0).min(64));
                while let Some(key) = map.next_key::<Text>()? {
                    // Kubernetes reads a null value in a map of strings as an empty string.
                    let value = map.next_value::<Option<Text>>()?.unwrap_or_default();
                    pairs.push((key, value));
                }
                Ok(pairs.into_iter().collect())
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::Labels;

    #[test]
    fn of_a_key_given_twice_the_last_value_stands() {
        let labels = Labels::from_iter([("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(labels, Labels::from_iter([("b", "2"), ("a", "3")]));
    }

    #[test]
    fn what_is_no_map_of_strings_is_refused() {
        for text in ["7", "[]", r#"{"a": 1}"#] {
            assert!(serde_json::from_str::<Labels>(text).is_err(), "{text}");
        }
        let error = serde_json::from_str::<Labels>("7").unwrap_err();
        assert!(error.to_string().contains("expected a map of strings"), "{error}");
    }

    #[test]
    fn they_are_shown_as_a_map() {
        assert_eq!(format!("{:?}", Labels::from_iter([("b", "2"), ("a", "1")])), r#"{"a": "1", "b": "2"}"#);
    }

    #[test]
    fn an_empty_map_and_no_map_are_the_same() {
        let empty: Labels = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, Labels::default());
        assert!(empty.is_empty() && empty.iter().len() == 0);
        assert_eq!(Labels::from_iter([("a", ""), ("b", "")]).len(), 2);
    }
}

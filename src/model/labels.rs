use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::MapAccess};

use super::Text;

/// A small map from text to text, sorted by key: labels, annotations, a `nodeSelector`.
///
/// Equal pairs make equal maps, whatever the order in which they were written. A clone is a reference count. Of a
/// key that is given twice the last value stands, as in Kubernetes' own JSON reader.
///
/// ```
/// use daemonplan::model::Labels;
/// let labels = Labels::from_iter([("role", "worker"), ("zone", "a")]);
/// assert_eq!(labels.get("role"), Some("worker"));
/// assert_eq!(labels.get("disk"), None);
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels(Option<Arc<[(Text, Text)]>>);

impl Labels {
    /// The value under `key`, if there is one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.get_text(key).map(Text::as_str)
    }

    pub(crate) fn get_text(&self, key: &str) -> Option<&Text> {
        let pairs = self.pairs();
        let at = pairs.binary_search_by(|(k, _)| k.as_str().cmp(key)).ok()?;
        pairs.get(at).map(|(_, value)| value)
    }

    /// All pairs, by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Text)> {
        self.pairs().iter().map(|(key, value)| (key, value))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs().len()
    }

    /// Whether there is no pair at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The same pairs, with `key` set to `value`.
    #[must_use]
    pub fn with(&self, key: impl Into<Text>, value: impl Into<Text>) -> Self {
        let old = self.pairs().iter().cloned();
        old.chain([(key.into(), value.into())]).collect()
    }

    fn pairs(&self) -> &[(Text, Text)] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl<K: Into<Text>, V: Into<Text>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<(Text, Text)> = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        pairs.reverse();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs.dedup_by(|(later, _), (kept, _)| later == kept);
        Self((!pairs.is_empty()).then(|| pairs.into()))
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

use std::{cmp::Ordering, collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::MapAccess};

use crate::model::Text;

/// A small map of strings, sorted by key: labels, annotations or a `nodeSelector`.
///
/// The order of insertion does not matter. If a key occurs twice, the last value wins, as in Kubernetes' JSON decoder.
/// Cloning only increments reference counts. A change copies the map.
///
/// Maps that an [`Interner`](crate::model::Interner) has seen share memory: equal maps, such as the labels of a
/// DaemonSet's pods, share everything, and maps with equal keys, such as the labels of all nodes, share the keys.
///
/// ```
/// use daemonplan::model::Labels;
/// let mut labels = Labels::from([("role", "worker"), ("zone", "a")]);
/// assert_eq!(labels.get("role"), Some("worker"));
/// assert_eq!(labels.get("disk"), None);
/// labels.insert("disk", "ssd");
/// assert!(labels.contains_key("disk") && !labels.without("disk").contains_key("disk"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Labels(Option<Pairs>);

/// Keys and their values. Both have the same length.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Pairs {
    keys: Arc<Keys>,
    values: Arc<[Text]>,
}

/// The distinct keys of a map, sorted.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Keys(Box<[Text]>);

impl Labels {
    /// Returns the value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.find(|other| other == key).map(Text::as_str)
    }

    /// Returns the value of `key`.
    pub(crate) fn get_text(&self, key: &Text) -> Option<&Text> {
        self.find(|other| other == key)
    }

    fn find(&self, is_match: impl FnMut(&Text) -> bool) -> Option<&Text> {
        let Pairs { keys, values } = self.0.as_ref()?;
        values.get(keys.0.iter().position(is_match)?)
    }

    /// Whether the map has a value for `key`.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Iterates over all pairs, by key.
    pub fn iter(&self) -> LabelsIter<'_> {
        let (keys, values) = self.0.as_ref().map(|Pairs { keys, values }| (&*keys.0, &**values)).unwrap_or_default();
        keys.iter().zip(values)
    }

    /// Returns the number of pairs.
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Whether the map has no pairs.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether both maps share keys and values in memory, and so are equal.
    pub(crate) fn are_the_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(&a.keys, &b.keys) && Arc::ptr_eq(&a.values, &b.values),
            (a, b) => a.is_none() && b.is_none(),
        }
    }

    /// Sets the value of `key`.
    pub fn insert(&mut self, key: impl Into<Text>, value: impl Into<Text>) {
        self.extend([(key, value)]);
    }

    /// Returns a copy with `key` set to `value`.
    #[must_use]
    pub fn with(&self, key: impl Into<Text>, value: impl Into<Text>) -> Self {
        let mut labels = self.clone();
        labels.insert(key, value);
        labels
    }

    /// Returns a copy without `key`.
    #[must_use]
    pub fn without(&self, key: &str) -> Self {
        self.iter().filter(|(other, _)| *other != key).collect()
    }

    /// The keys, to be replaced by equal ones that other maps use.
    pub(super) fn keys_mut(&mut self) -> Option<&mut Arc<Keys>> {
        self.0.as_mut().map(|pairs| &mut pairs.keys)
    }
}

/// An iterator over the pairs of [`Labels`].
type LabelsIter<'a> = std::iter::Zip<std::slice::Iter<'a, Text>, std::slice::Iter<'a, Text>>;

/// Looks up one key in many maps that mostly share their keys. Caches the key's positions.
#[derive(Default)]
pub(crate) struct LabelLookup<'a>(Vec<(&'a Arc<Keys>, Option<usize>)>);

impl<'a> LabelLookup<'a> {
    /// Returns the value of `key` in `labels`. Every call must use the same `key`.
    pub(crate) fn get(&mut self, labels: &'a Labels, key: &Text) -> Option<&'a Text> {
        const CAPACITY: usize = 8;
        let Pairs { keys, values } = labels.0.as_ref()?;
        if let Some((_, position)) = self.0.iter().find(|(known, _)| Arc::ptr_eq(known, keys)) {
            return values.get((*position)?);
        }
        let position = keys.0.iter().position(|other| other == key);
        if self.0.len() == CAPACITY {
            self.0.clear();
        }
        self.0.push((keys, position));
        values.get(position?)
    }
}

impl<K: Into<Text>, V: Into<Text>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<(Text, Text)> = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        if !pairs.is_sorted_by(|(a, _), (b, _)| a < b) {
            pairs.reverse();
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            pairs.dedup_by(|(later, _), (kept, _)| later == kept);
        }
        if pairs.is_empty() {
            return Self::default();
        }
        let (keys, values): (Vec<Text>, Vec<Text>) = pairs.into_iter().unzip();
        Self(Some(Pairs { keys: Arc::new(Keys(keys.into())), values: values.into() }))
    }
}

impl<K: Into<Text>, V: Into<Text>> Extend<(K, V)> for Labels {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        let more = pairs.into_iter().map(|(key, value)| (key.into(), value.into()));
        *self = std::mem::take(self).into_iter().chain(more).collect();
    }
}

impl<K: Into<Text>, V: Into<Text>, const N: usize> From<[(K, V); N]> for Labels {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<K: Into<Text>, V: Into<Text>> From<BTreeMap<K, V>> for Labels {
    fn from(pairs: BTreeMap<K, V>) -> Self {
        pairs.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a Text, &'a Text);
    type IntoIter = LabelsIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Labels {
    type Item = (Text, Text);
    type IntoIter = std::vec::IntoIter<(Text, Text)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter().map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>().into_iter()
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
        struct LabelsVisitor;

        impl<'de> serde::de::Visitor<'de> for LabelsVisitor {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Labels, M::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(0).min(64));
                while let Some(key) = map.next_key::<Text>()? {
                    // Kubernetes decodes a null value in a map of strings as an empty string.
                    let value = map.next_value::<Option<Text>>()?.unwrap_or_default();
                    pairs.push((key, value));
                }
                Ok(pairs.into_iter().collect())
            }
        }

        deserializer.deserialize_map(LabelsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_repeated_key_wins() {
        let labels = Labels::from_iter([("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(labels, Labels::from_iter([("b", "2"), ("a", "3")]));
        assert_eq!(Labels::from_iter([("a", "1"), ("a", "2")]), Labels::from_iter([("a", "2")]));
    }

    #[test]
    fn only_maps_of_strings_are_accepted() {
        for text in ["7", "[]", r#"{"a": 1}"#] {
            assert!(serde_json::from_str::<Labels>(text).is_err(), "{text}");
        }
        let error = serde_json::from_str::<Labels>("7").unwrap_err();
        assert!(error.to_string().contains("expected a map of strings"), "{error}");
    }

    #[test]
    fn labels_are_formatted_as_a_map() {
        assert_eq!(format!("{:?}", Labels::from_iter([("b", "2"), ("a", "1")])), r#"{"a": "1", "b": "2"}"#);
    }

    #[test]
    fn an_empty_map_equals_the_default() {
        let empty: Labels = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, Labels::default());
        assert!(empty.is_empty() && empty.iter().len() == 0);
        assert_eq!(Labels::from_iter([("a", ""), ("b", "")]).len(), 2);
    }

    #[test]
    fn exactly_the_keys_of_small_and_large_maps_are_found() {
        for count in [1, 2, 15, 64, 65, 254, 255, 256, 1000] {
            let key = |number: usize| format!("{}{number}", ["", "example.com/"][number % 2]);
            let labels: Labels = (0..count).map(|number| (key(number), number.to_string())).collect();
            assert_eq!(labels.len(), count);
            for number in 0..2 * count {
                let expected = (number < count).then(|| number.to_string());
                assert_eq!(labels.get(&key(number)), expected.as_deref(), "{number} of {count}");
                assert_eq!(labels.get_text(&key(number).into()).map(ToString::to_string), expected);
            }
        }
    }
}

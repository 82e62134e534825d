use std::{cell::RefCell, cmp::Ordering, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::MapAccess};

use crate::model::Text;
use crate::util::mru_cache::MruCache;

/// A small immutable map of strings, sorted by key: labels, annotations or a `nodeSelector`.
///
/// The order of insertion does not matter. If a key occurs twice, the last value wins, as in Kubernetes' JSON decoder.
/// Cloning only increments a reference count.
///
/// Recently created maps share memory. Maps with equal keys, such as the labels of all nodes, share the keys. Equal
/// maps, such as the labels of a DaemonSet's pods, share keys and values. A lookup follows one pointer.
///
/// ```
/// use daemonplan::model::Labels;
/// let labels = Labels::from_iter([("role", "worker"), ("zone", "a")]);
/// assert_eq!(labels.get("role"), Some("worker"));
/// assert_eq!(labels.get("disk"), None);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Labels(Option<Pairs>);

/// Keys and their values. Both have the same length.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Pairs {
    keys: Arc<Keys>,
    values: Arc<[Text]>,
}

/// The distinct keys of a map, sorted, with an index for lookups.
#[derive(PartialEq, Eq, Hash)]
struct Keys {
    keys: Box<[Text]>,
    /// By [slot](slot_of): 0 if no key hashes to it, [`SEVERAL`] if several do, else the key's position plus one.
    slots: [u8; SLOTS],
}

const SLOTS: usize = 64;

/// The slot has several keys, or the key's position exceeds a byte.
const SEVERAL: u8 = u8::MAX;

impl Labels {
    /// Returns the value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.find(key.as_bytes(), |other| other == key).map(Text::as_str)
    }

    /// Returns the value of `key`.
    pub(crate) fn get_text(&self, key: &Text) -> Option<&Text> {
        self.find(key.as_bytes(), |other| other == key)
    }

    fn find(&self, key: &[u8], is_match: impl Fn(&Text) -> bool) -> Option<&Text> {
        let Pairs { keys, values } = self.0.as_ref()?;
        values.get(keys.find(key, is_match)?)
    }

    /// Iterates over all pairs, by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Text)> {
        let (keys, values) = self.0.as_ref().map(|Pairs { keys, values }| (&*keys.keys, &**values)).unwrap_or_default();
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

    /// Returns a copy with `key` set to `value`.
    #[must_use]
    pub fn with(&self, key: impl Into<Text>, value: impl Into<Text>) -> Self {
        let old = self.iter().map(|(key, value)| (key.clone(), value.clone()));
        old.chain([(key.into(), value.into())]).collect()
    }
}

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
        let position = keys.find(key.as_bytes(), |other| other == key);
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
        Self((!pairs.is_empty()).then(|| Pairs::shared(&pairs)))
    }
}

/// A recently used set of keys.
struct Known {
    keys: Arc<Keys>,
    /// Recently used values of these keys.
    values: MruCache<Arc<[Text]>>,
}

/// The capacity of a thread's cache: the number of sets of keys, and of sets of values for each.
const REMEMBERED: (usize, usize) = (16, 4);

/// The maximum number of keys, and of bytes of text, in a map that is cached.
const SMALL: (usize, usize) = (64, 4096);

thread_local! {
    /// Recently used maps. Affects memory use only, never results.
    static RECENT: RefCell<MruCache<Known>> = const { RefCell::new(MruCache::new(REMEMBERED.0)) };
}

impl Pairs {
    /// Stores `pairs`, and shares memory with recently used maps where possible.
    fn shared(pairs: &[(Text, Text)]) -> Self {
        let (most_keys, most_text) = SMALL;
        let text = pairs.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let is_small = pairs.len() <= most_keys && text <= most_text;
        let cached = || RECENT.try_with(|recent| Self::cached(&mut *recent.try_borrow_mut().ok()?, pairs)).ok()?;
        let shared = if is_small { cached() } else { None };
        shared.unwrap_or_else(|| Self { keys: Arc::new(Keys::new(pairs)), values: values(pairs).cloned().collect() })
    }

    fn cached(recent: &mut MruCache<Known>, pairs: &[(Text, Text)]) -> Option<Self> {
        let has_equal_keys = |known: &Known| known.keys.equal_those_of(pairs);
        let make = || Known { keys: Arc::new(Keys::new(pairs)), values: MruCache::new(REMEMBERED.1) };
        let known = recent.get(has_equal_keys, make)?;
        let has_equal_values = |known: &Arc<[Text]>| known.iter().eq(values(pairs));
        let values = known.values.get(has_equal_values, || values(pairs).cloned().collect())?;
        Some(Self { keys: Arc::clone(&known.keys), values: Arc::clone(values) })
    }
}

fn values(pairs: &[(Text, Text)]) -> impl Iterator<Item = &Text> {
    pairs.iter().map(|(_, value)| value)
}

impl Keys {
    fn new(pairs: &[(Text, Text)]) -> Self {
        let mut slots = [0; SLOTS];
        for ((key, _), number) in pairs.iter().zip(1_u32..) {
            if let Some(slot) = slots.get_mut(slot_of(key.as_bytes())) {
                let number = u8::try_from(number).unwrap_or(SEVERAL);
                *slot = if *slot == 0 { number } else { SEVERAL };
            }
        }
        Self { keys: pairs.iter().map(|(key, _)| key.clone()).collect(), slots }
    }

    /// Returns the position of a key.
    fn find(&self, key: &[u8], is_match: impl Fn(&Text) -> bool) -> Option<usize> {
        match *self.slots.get(slot_of(key))? {
            SEVERAL => self.keys.iter().position(is_match),
            number => {
                let position = usize::from(number.checked_sub(1)?);
                self.keys.get(position).is_some_and(is_match).then_some(position)
            }
        }
    }

    fn equal_those_of(&self, pairs: &[(Text, Text)]) -> bool {
        self.keys.len() == pairs.len() && self.keys.iter().zip(pairs).all(|(known, (key, _))| known == key)
    }
}

/// Hashes a key to a slot by its length and its last four bytes, where keys differ most.
fn slot_of(key: &[u8]) -> usize {
    let [length, ..] = key.len().to_le_bytes();
    let end = key.last_chunk().copied().map_or(u32::from(key.first().copied().unwrap_or_default()), u32::from_le_bytes);
    let mixed = (end ^ u32::from(length)).wrapping_mul(0x9e37_79b1);
    usize::try_from(mixed >> 26).unwrap_or_default()
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

    fn keys(labels: &Labels) -> &Arc<Keys> {
        &labels.0.as_ref().unwrap().keys
    }

    fn numbered(set: usize, count: usize) -> Labels {
        (0..count).map(|number| (format!("{set}-{number:03}"), "")).collect()
    }

    fn share_keys(a: &Labels, b: &Labels) -> bool {
        Arc::ptr_eq(keys(a), keys(b))
    }

    #[test]
    fn recently_created_maps_share_equal_keys() {
        let ((sets, _), (longest, _)) = (REMEMBERED, SMALL);
        let make = || (0..sets).map(|set| numbered(set, longest)).collect::<Vec<_>>();
        let (first, again) = (make(), make());
        assert!(first.iter().zip(&again).all(|(a, b)| share_keys(a, b)));
        // The least recently used set of keys is removed.
        let other = numbered(sets, longest);
        assert!(!share_keys(&first[0], &numbered(0, longest)));
        assert!(share_keys(&other, &numbered(sets, longest)));
        assert!(share_keys(&first[sets - 1], &numbered(sets - 1, longest)));
    }

    #[test]
    fn recently_created_equal_maps_share_their_memory() {
        let (_, sets) = REMEMBERED;
        let make = || (0..sets).map(|value| Labels::from_iter([("a", value.to_string())])).collect::<Vec<_>>();
        let (first, again) = (make(), make());
        for (a, b) in first.iter().zip(&again) {
            assert!(a.are_the_same(b));
        }
        assert!(!first[0].are_the_same(&first[1]) && share_keys(&first[0], &first[1]));
        assert!(!first[0].are_the_same(&Labels::from_iter([("b", "0")])), "other keys");
        let other = Labels::from_iter([("a", "other")]);
        assert!(!first[0].are_the_same(&Labels::from_iter([("a", "0")])), "least recently used");
        assert!(other.are_the_same(&Labels::from_iter([("a", "other")])));
        assert!(Labels::default().are_the_same(&Labels::default()) && !Labels::default().are_the_same(&other));
    }

    #[test]
    fn large_maps_are_not_cached() {
        let (longest, text) = SMALL;
        let are_the_same = |make: &dyn Fn() -> Labels| make().are_the_same(&make());
        assert!(are_the_same(&|| numbered(0, longest)) && !are_the_same(&|| numbered(0, longest + 1)));
        let of_length = |length| move || Labels::from_iter([("key", "v".repeat(length - 3))]);
        assert!(are_the_same(&of_length(text)) && !are_the_same(&of_length(text + 1)));
        assert_eq!(numbered(0, longest + 1), numbered(0, longest + 1));
    }

    #[test]
    fn most_labels_of_a_node_do_not_share_a_slot() {
        let all = [
            "beta.kubernetes.io/arch",
            "beta.kubernetes.io/instance-type",
            "beta.kubernetes.io/os",
            "failure-domain.beta.kubernetes.io/region",
            "failure-domain.beta.kubernetes.io/zone",
            "kubernetes.io/arch",
            "kubernetes.io/hostname",
            "kubernetes.io/os",
            "node-role.kubernetes.io/worker",
            "node.kubernetes.io/instance-type",
            "topology.kubernetes.io/region",
            "topology.kubernetes.io/zone",
        ];
        let labels: Labels = all.map(|key| (key, "")).into_iter().collect();
        let alone = keys(&labels).slots.iter().filter(|slot| **slot != 0 && **slot != SEVERAL).count();
        assert!(alone >= 8, "{alone} of {}", all.len());
        assert_ne!(slot_of(b"a"), slot_of(b"b"), "short keys have different slots too");
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

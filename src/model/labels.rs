use std::{cell::RefCell, cmp::Ordering, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::MapAccess};

use crate::model::Text;
use crate::util::mru_cache::MruCache;

/// A small map from text to text, sorted by key: labels, annotations, a `nodeSelector`.
///
/// Equal pairs make equal maps, whatever the order in which they were written. A clone is a reference count. Of a
/// key that is given twice the last value stands, as in Kubernetes' own JSON reader.
///
/// Maps with the same keys that are made one after the other, such as the labels of all nodes, share them, and equal
/// maps, such as the labels of a DaemonSet's pods, share all they have: so they are small, and to look at one value
/// follows one pointer.
///
/// ```
/// use daemonplan::model::Labels;
/// let labels = Labels::from_iter([("role", "worker"), ("zone", "a")]);
/// assert_eq!(labels.get("role"), Some("worker"));
/// assert_eq!(labels.get("disk"), None);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Labels(Option<Pairs>);

/// As many values as keys.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Pairs {
    keys: Arc<Keys>,
    values: Arc<[Text]>,
}

/// The keys, sorted, each once.
#[derive(PartialEq, Eq, Hash)]
struct Keys {
    keys: Box<[Text]>,
    /// For each [slot](slot_of) the place of the one key that belongs there, plus one; 0 for none; [`SEVERAL`].
    slots: [u8; SLOTS],
}

const SLOTS: usize = 64;

/// There are several keys for this slot, or so many keys that places have no number.
const SEVERAL: u8 = u8::MAX;

impl Labels {
    /// The value under `key`, if there is one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.find(key.as_bytes(), |other| other == key).map(Text::as_str)
    }

    /// The value under `key`, if there is one.
    pub(crate) fn get_text(&self, key: &Text) -> Option<&Text> {
        self.find(key.as_bytes(), |other| other == key)
    }

    fn find(&self, key: &[u8], is_it: impl Fn(&Text) -> bool) -> Option<&Text> {
        let Pairs { keys, values } = self.0.as_ref()?;
        values.get(keys.find(key, is_it)?)
    }

    /// All pairs, by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Text)> {
        let (keys, values) = self.0.as_ref().map(|Pairs { keys, values }| (&*keys.keys, &**values)).unwrap_or_default();
        keys.iter().zip(values)
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Whether there is no pair at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether these are held in the same place, and so are equal.
    pub(crate) fn are_the_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(&a.keys, &b.keys) && Arc::ptr_eq(&a.values, &b.values),
            (a, b) => a.is_none() && b.is_none(),
        }
    }

    /// The same pairs, with `key` set to `value`.
    #[must_use]
    pub fn with(&self, key: impl Into<Text>, value: impl Into<Text>) -> Self {
        let old = self.iter().map(|(key, value)| (key.clone(), value.clone()));
        old.chain([(key.into(), value.into())]).collect()
    }
}

/// Looks up one key in many maps, of which most share their keys: a few places at which it was found.
#[derive(Default)]
pub(crate) struct LabelLookup<'a>(Vec<(&'a Arc<Keys>, Option<usize>)>);

impl<'a> LabelLookup<'a> {
    /// The value under `key`, which is always the same one, if there is one.
    pub(crate) fn get(&mut self, labels: &'a Labels, key: &Text) -> Option<&'a Text> {
        const FEW: usize = 8;
        let Pairs { keys, values } = labels.0.as_ref()?;
        if let Some((_, place)) = self.0.iter().find(|(known, _)| Arc::ptr_eq(known, keys)) {
            return values.get((*place)?);
        }
        let place = keys.find(key.as_bytes(), |other| other == key);
        if self.0.len() == FEW {
            self.0.clear();
        }
        self.0.push((keys, place));
        values.get(place?)
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

/// What a thread remembers of the maps that it made.
struct Known {
    keys: Arc<Keys>,
    /// Values that these keys had.
    values: MruCache<Arc<[Text]>>,
}

/// How many sets of keys a thread remembers, and for each how many sets of values.
const REMEMBERED: (usize, usize) = (16, 4);

/// How many keys, and how many bytes of text, a map has at most that is remembered.
const SMALL: (usize, usize) = (64, 4096);

thread_local! {
    /// The maps that were last in use. Nothing depends on what is in there but the use of memory.
    static RECENT: RefCell<MruCache<Known>> = const { RefCell::new(MruCache::new(REMEMBERED.0)) };
}

impl Pairs {
    /// These pairs, shared with other maps as far as possible.
    fn shared(pairs: &[(Text, Text)]) -> Self {
        let (most_keys, most_text) = SMALL;
        let text = pairs.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let is_small = pairs.len() <= most_keys && text <= most_text;
        let remembered = || RECENT.try_with(|recent| Self::among(&mut *recent.try_borrow_mut().ok()?, pairs)).ok()?;
        let shared = if is_small { remembered() } else { None };
        shared.unwrap_or_else(|| Self { keys: Arc::new(Keys::new(pairs)), values: values(pairs).cloned().collect() })
    }

    fn among(recent: &mut MruCache<Known>, pairs: &[(Text, Text)]) -> Option<Self> {
        let are_keys = |known: &Known| known.keys.are_those_of(pairs);
        let make = || Known { keys: Arc::new(Keys::new(pairs)), values: MruCache::new(REMEMBERED.1) };
        let known = recent.get(are_keys, make)?;
        let are_values = |known: &Arc<[Text]>| known.iter().eq(values(pairs));
        let values = known.values.get(are_values, || values(pairs).cloned().collect())?;
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

    /// The place of a key.
    fn find(&self, key: &[u8], is_it: impl Fn(&Text) -> bool) -> Option<usize> {
        match *self.slots.get(slot_of(key))? {
            SEVERAL => self.keys.iter().position(is_it),
            number => {
                let place = usize::from(number.checked_sub(1)?);
                self.keys.get(place).is_some_and(is_it).then_some(place)
            }
        }
    }

    fn are_those_of(&self, pairs: &[(Text, Text)]) -> bool {
        self.keys.len() == pairs.len() && self.keys.iter().zip(pairs).all(|(known, (key, _))| known == key)
    }
}

/// Which slot a key belongs to, by its length and its last four bytes, in which keys differ most.
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
    use super::*;

    #[test]
    fn of_a_key_given_twice_the_last_value_stands() {
        let labels = Labels::from_iter([("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(labels, Labels::from_iter([("b", "2"), ("a", "3")]));
        assert_eq!(Labels::from_iter([("a", "1"), ("a", "2")]), Labels::from_iter([("a", "2")]));
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
    fn maps_that_are_made_one_after_the_other_share_their_keys() {
        let ((sets, _), (longest, _)) = (REMEMBERED, SMALL);
        let make = || (0..sets).map(|set| numbered(set, longest)).collect::<Vec<_>>();
        let (first, again) = (make(), make());
        assert!(first.iter().zip(&again).all(|(a, b)| share_keys(a, b)));
        // The one that was longest out of use makes room.
        let other = numbered(sets, longest);
        assert!(!share_keys(&first[0], &numbered(0, longest)));
        assert!(share_keys(&other, &numbered(sets, longest)));
        assert!(share_keys(&first[sets - 1], &numbered(sets - 1, longest)));
    }

    #[test]
    fn equal_maps_that_are_made_one_after_the_other_are_the_same() {
        let (_, sets) = REMEMBERED;
        let make = || (0..sets).map(|value| Labels::from_iter([("a", value.to_string())])).collect::<Vec<_>>();
        let (first, again) = (make(), make());
        for (a, b) in first.iter().zip(&again) {
            assert!(a.are_the_same(b));
        }
        assert!(!first[0].are_the_same(&first[1]) && share_keys(&first[0], &first[1]));
        assert!(!first[0].are_the_same(&Labels::from_iter([("b", "0")])), "other keys");
        let other = Labels::from_iter([("a", "other")]);
        assert!(!first[0].are_the_same(&Labels::from_iter([("a", "0")])), "it was longest out of use");
        assert!(other.are_the_same(&Labels::from_iter([("a", "other")])));
        assert!(Labels::default().are_the_same(&Labels::default()) && !Labels::default().are_the_same(&other));
    }

    #[test]
    fn large_maps_are_not_remembered() {
        let (longest, text) = SMALL;
        let are_the_same = |make: &dyn Fn() -> Labels| make().are_the_same(&make());
        assert!(are_the_same(&|| numbered(0, longest)) && !are_the_same(&|| numbered(0, longest + 1)));
        let of_length = |length| move || Labels::from_iter([("key", "v".repeat(length - 3))]);
        assert!(are_the_same(&of_length(text)) && !are_the_same(&of_length(text + 1)));
        assert_eq!(numbered(0, longest + 1), numbered(0, longest + 1));
    }

    #[test]
    fn most_labels_of_a_node_have_a_slot_of_their_own() {
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
        assert_ne!(slot_of(b"a"), slot_of(b"b"), "short keys, too");
    }

    #[test]
    fn every_key_is_found_among_few_and_among_many_and_no_other() {
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

use std::{
    borrow::{Borrow, Cow},
    cmp::Ordering,
    convert::Infallible,
    fmt,
    hash::{self, BuildHasher},
    ops::Deref,
    str::FromStr,
    sync::Arc,
};

use foldhash::fast::{FixedState, RandomState};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A short immutable string that is cheap to clone: a name, uid, key or value.
///
/// A `Text` takes 24 bytes. Up to 22 bytes of text are stored inline, so comparing two names rarely follows a pointer.
/// Longer text is reference-counted, so actions, reasons and warnings share the names of the input.
///
/// ```
/// use daemonplan::model::Text;
/// let node = Text::from("node-7");
/// assert_eq!(&*node, "node-7");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Repr);

/// The representation of a text. Equal texts have equal representations.
#[derive(Clone, PartialEq, Eq)]
enum Repr {
    /// Up to [`INLINE`] bytes, padded with zeros.
    Inline { len: u8, bytes: [u8; INLINE] },
    /// More than [`INLINE`] bytes. The hash tells most different texts apart without following the pointer.
    Shared { hash: u32, text: Arc<str> },
}

const INLINE: usize = 22;

/// Hashes alike everywhere, so that texts need no common state.
const HASHER: FixedState = FixedState::with_seed(0);

impl Text {
    /// Returns the text as a string slice.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // The bytes were copied from a `str`, so they are valid UTF-8.
            Repr::Inline { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Repr::Shared { text, .. } => text,
        }
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Shared { text, .. } => text.as_bytes(),
        }
    }

    /// Returns a hash without a seed, for tables of nodes. Names that collide slow them down.
    pub(crate) fn code(&self) -> u64 {
        match &self.0 {
            Repr::Inline { .. } => HASHER.hash_one(self.as_bytes()),
            Repr::Shared { hash, .. } => u64::from(*hash).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// Returns the hash for a table with this seed, which makes collisions unpredictable.
    pub(crate) fn hash_with(&self, seed: &RandomState) -> u64 {
        seed.hash_one(self.as_bytes())
    }

    fn shared(text: &str) -> Self {
        let [a, b, c, d, ..] = HASHER.hash_one(text.as_bytes()).to_le_bytes();
        Self(Repr::Shared { hash: u32::from_le_bytes([a, b, c, d]), text: text.into() })
    }

    fn inline(text: &str) -> Option<Self> {
        let mut bytes = [0; INLINE];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let len = u8::try_from(text.len()).ok()?;
        Some(Self(Repr::Inline { len, bytes }))
    }
}

impl Default for Text {
    fn default() -> Self {
        Self(Repr::Inline { len: 0, bytes: [0; INLINE] })
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl hash::Hash for Text {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::inline(text).unwrap_or_else(|| Self::shared(text))
    }
}

impl From<&Self> for Text {
    fn from(text: &Self) -> Self {
        text.clone()
    }
}

impl From<char> for Text {
    fn from(text: char) -> Self {
        let mut bytes = [0; 4];
        (&*text.encode_utf8(&mut bytes)).into()
    }
}

macro_rules! from_owned {
    ($($owned:ty),+) => {$(
        impl From<$owned> for Text {
            fn from(text: $owned) -> Self {
                let text: &str = text.as_ref();
                text.into()
            }
        }
    )+};
}

from_owned!(String, &String, Box<str>, Arc<str>, Cow<'_, str>);

impl FromStr for Text {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

macro_rules! equals {
    ($($other:ty),+) => {$(
        impl PartialEq<$other> for Text {
            fn eq(&self, other: &$other) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<Text> for $other {
            fn eq(&self, other: &Text) -> bool {
                other == self
            }
        }
    )+};
}

equals!(str, &str, String);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl serde::de::Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text::from(text))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Borrow, collections::HashSet};

    use super::{RandomState, Text};

    #[test]
    fn a_text_is_borrowed_as_a_string_slice_in_every_way() {
        let text = Text::from("node-7");
        let borrowed: [&str; 4] = [&text, text.as_str(), text.as_ref(), text.borrow()];
        assert_eq!(borrowed, ["node-7"; 4]);
    }

    #[test]
    fn short_and_long_texts_compare_like_string_slices() {
        let words =
            ["", "a", "aa", "b", "bbbbbbbbbbbbbbbbbbbbbb", "bbbbbbbbbbbbbbbbbbbbbbb", "bbbbbbbbbbbbbbbbbbbbbc", "é"];
        for a in words {
            for b in words {
                let (x, y) = (Text::from(a), Text::from(b.to_owned()));
                assert_eq!((x == y, x.cmp(&y), x == *b), (a == b, a.cmp(b), a == b), "{a} {b}");
            }
            let seed = RandomState::default();
            assert_eq!(Text::from(a).hash_with(&seed), Text::from(a.to_owned()).hash_with(&seed));
            assert_eq!(HashSet::from([Text::from(a)]).contains(a), HashSet::from([a]).contains(a));
        }
        assert_eq!(size_of::<Option<Text>>(), 24);
    }

    #[test]
    fn a_text_is_read_only_from_a_string() {
        assert_eq!(serde_json::from_str::<Text>("\"a\"").unwrap(), "a");
        let error = serde_json::from_str::<Text>("7").unwrap_err();
        assert!(error.to_string().contains("expected a string"), "{error}");
    }
}

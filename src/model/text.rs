use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{self, BuildHasher},
    ops::Deref,
    sync::{Arc, LazyLock},
};

use foldhash::fast::RandomState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A short immutable string that is cheap to share: names, uids, keys and values.
///
/// Actions, reasons and warnings hold the very names that the input holds. A clone copies 24 bytes: up to 22 bytes of
/// text are held in place, so that comparing two names mostly follows no pointer; longer text is shared by a reference
/// count.
///
/// ```
/// use daemonplan::model::Text;
/// let node = Text::from("node-7");
/// assert_eq!(&*node, "node-7");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Repr);

/// Each text has one representation, so that equal texts are equal here.
#[derive(Clone, PartialEq, Eq)]
enum Repr {
    /// Padded with zeros.
    InPlace { len: u8, bytes: [u8; IN_PLACE] },
    /// Longer than [`IN_PLACE`]. Most texts that differ do so in their hash, which is found without a look at the text.
    Shared { hash: u32, text: Arc<str> },
}

const IN_PLACE: usize = 22;

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

impl Text {
    /// The text as a plain string slice.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // It was text when it came in.
            Repr::InPlace { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Repr::Shared { text, .. } => text,
        }
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether it has no letter.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::InPlace { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Shared { text, .. } => text.as_bytes(),
        }
    }

    /// A number that is equal for equal texts, and another one in each process.
    pub(crate) fn code(&self) -> u64 {
        match &self.0 {
            Repr::InPlace { .. } => HASHER.hash_one(self.as_bytes()),
            Repr::Shared { hash, .. } => u64::from(*hash).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    fn shared(text: &str) -> Self {
        let [a, b, c, d, ..] = HASHER.hash_one(text.as_bytes()).to_le_bytes();
        Self(Repr::Shared { hash: u32::from_le_bytes([a, b, c, d]), text: text.into() })
    }

    fn in_place(text: &str) -> Option<Self> {
        let mut bytes = [0; IN_PLACE];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let len = u8::try_from(text.len()).ok()?;
        Some(Self(Repr::InPlace { len, bytes }))
    }
}

impl Default for Text {
    fn default() -> Self {
        Self(Repr::InPlace { len: 0, bytes: [0; IN_PLACE] })
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
        Self::in_place(text).unwrap_or_else(|| Self::shared(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

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
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text::from(text))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Borrow, collections::HashSet};

    use super::Text;

    #[test]
    fn it_is_lent_as_a_string_slice_in_every_way() {
        let text = Text::from("node-7");
        let lent: [&str; 4] = [&text, text.as_str(), text.as_ref(), text.borrow()];
        assert_eq!(lent, ["node-7"; 4]);
    }

    #[test]
    fn long_and_short_texts_compare_as_their_letters_do() {
        let words =
            ["", "a", "aa", "b", "bbbbbbbbbbbbbbbbbbbbbb", "bbbbbbbbbbbbbbbbbbbbbbb", "bbbbbbbbbbbbbbbbbbbbbc", "é"];
        for a in words {
            for b in words {
                let (x, y) = (Text::from(a), Text::from(b.to_owned()));
                assert_eq!((x == y, x.cmp(&y), x == *b), (a == b, a.cmp(b), a == b), "{a} {b}");
            }
            assert_eq!(Text::from(a).code(), Text::from(a).code());
            assert_eq!(HashSet::from([Text::from(a)]).contains(a), HashSet::from([a]).contains(a));
        }
        assert_eq!(size_of::<Option<Text>>(), 24);
    }

    #[test]
    fn it_reads_from_a_string_and_from_nothing_else() {
        assert_eq!(serde_json::from_str::<Text>("\"a\"").unwrap(), "a");
        let error = serde_json::from_str::<Text>("7").unwrap_err();
        assert!(error.to_string().contains("expected a string"), "{error}");
    }
}

//! The syntax of label keys and label values.
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>

use crate::model::RequirementError;

pub(super) fn check_key(key: &str) -> Result<(), RequirementError> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && is_label_text(name) {
        Ok(())
    } else {
        Err(RequirementError::Key(key.into()))
    }
}

pub(super) fn check_value(value: &str) -> Result<(), RequirementError> {
    if is_label_text(value) { Ok(()) } else { Err(RequirementError::Value(value.into())) }
}

/// Whether `text` is empty or has at most 63 letters, digits, `-`, `_` and `.`, alphanumeric at both ends.
fn is_label_text(text: &str) -> bool {
    text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && ends_are(text, |b| b.is_ascii_alphanumeric())
}

fn is_dns_subdomain(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !text.is_empty()
        && text.len() <= 253
        && text
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|b| is_plain(b) || b == b'-') && ends_are(part, is_plain))
}

fn ends_are(text: &str, fits: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_none_or(|&b| fits(b)) && bytes.last().is_none_or(|&b| fits(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_name_with_an_optional_dns_prefix() {
        for good in ["a", "a-b_c.d", "example.com/a", "x.y-z/A", &"k".repeat(63)] {
            assert_eq!(check_key(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "/a", "a/", "a/b/c", "Ex.com/a", "a..b/c", "-.a/b", "ä", &"k".repeat(64)] {
            assert_eq!(check_key(bad), Err(RequirementError::Key(bad.into())), "{bad}");
        }
    }

    #[test]
    fn a_value_may_be_empty_and_has_at_most_63_characters() {
        for good in ["", "a", "007", "a.b_c-d", &"v".repeat(63)] {
            assert_eq!(check_value(good), Ok(()), "{good}");
        }
        for bad in ["-1", "a ", "a/b", "ö", &"v".repeat(64)] {
            assert_eq!(check_value(bad), Err(RequirementError::Value(bad.into())), "{bad}");
        }
    }
}

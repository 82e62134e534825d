//! Durations as policies write them.

use std::{fmt, str::FromStr, time::Duration};

use jiff::SignedDuration;

use super::InvalidPolicyText;

/// A duration in text form, such as `90s` or `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span(pub(super) Duration);

impl FromStr for Span {
    type Err = InvalidPolicyText;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyText> {
        let span: SignedDuration = text.parse().map_err(|_| InvalidPolicyText)?;
        Ok(Self(span.try_into().map_err(|_| InvalidPolicyText)?))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX))
    }
}

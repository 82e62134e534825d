//! Spans of time, for people and for programs.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Serialize, Serializer};

/// In whole seconds, rounded up so that nobody looks too early.
pub(crate) fn whole(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// In words, such as `2m 5s`, rounded up.
pub(crate) fn words(duration: Duration) -> String {
    let seconds = i64::try_from(whole(duration)).unwrap_or(i64::MAX);
    format!("{:#}", SignedDuration::from_secs(seconds))
}

/// As an integer, rounded up.
pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    whole(*duration).serialize(serializer)
}

/// As an integer, rounded up.
#[allow(clippy::ref_option)] // as serde asks for it
pub(crate) fn serialize_whole<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(whole).serialize(serializer)
}

//! Formatting and serialization of durations.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Serialize, Serializer};

/// Returns the duration in seconds, rounded up so that a requeue is never too early.
pub(crate) fn whole(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Formats the duration as text such as `2m 5s`, rounded up to seconds.
pub(crate) fn words(duration: Duration) -> String {
    let seconds = i64::try_from(whole(duration)).unwrap_or(i64::MAX);
    format!("{:#}", SignedDuration::from_secs(seconds))
}

/// Serializes the duration as an integer in seconds, rounded up.
pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    whole(*duration).serialize(serializer)
}

/// Serializes the duration as an integer in seconds, rounded up.
#[allow(clippy::ref_option)] // serde requires this signature
pub(crate) fn serialize_whole<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(whole).serialize(serializer)
}

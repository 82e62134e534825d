//! Formatting and serialization of durations.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize, Serializer};

/// Returns the duration in seconds, rounded up so that a requeue is never too early.
pub(crate) fn whole(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Formats the duration as text such as `2m 5s`, rounded up to seconds; from two days on in days and hours.
pub(crate) fn words(duration: Duration) -> String {
    let seconds = i64::try_from(whole(duration)).unwrap_or(i64::MAX);
    let hours = seconds / 3600;
    match (hours / 24, hours % 24) {
        (0..2, _) => format!("{:#}", SignedDuration::from_secs(seconds)),
        (days, 0) => format!("{days}d"),
        (days, hours) => format!("{days}d {hours}h"),
    }
}

/// Serializes the duration as an integer in seconds, rounded up.
#[allow(clippy::ref_option)] // serde requires this signature
pub(crate) fn serialize_whole<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(whole).serialize(serializer)
}

/// A duration in seconds, as an integer if they are whole.
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        match duration.subsec_nanos() {
            0 => duration.as_secs().serialize(serializer),
            _ => duration.as_secs_f64().serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let whole = number.as_u64().map(Duration::from_secs);
        let duration = whole.or_else(|| Duration::try_from_secs_f64(number.as_f64()?).ok());
        duration.ok_or_else(|| D::Error::custom(format_args!("expected seconds, found {number}")))
    }
}

/// Durations in seconds, as integers if they are whole.
pub(crate) mod list_of_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Seconds;

    pub(crate) fn serialize<S: Serializer>(durations: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(durations.iter().copied().map(Seconds))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().map(|Seconds(duration)| duration).collect())
    }
}

/// A duration in seconds, as an integer if they are whole.
#[derive(Serialize, Deserialize)]
struct Seconds(#[serde(with = "seconds")] Duration);

/// A duration in seconds, as an integer if they are whole, or null.
pub(crate) mod optional_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Seconds;

    #[allow(clippy::ref_option)] // serde requires this signature
    pub(crate) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(Seconds).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Seconds>::deserialize(deserializer)?.map(|Seconds(duration)| duration))
    }
}

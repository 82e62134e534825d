use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    Key, Text,
    metadata::{Metadata, MissingName},
};

/// An Event as the API server has it: what a controller, the scheduler or a kubelet said about an object.
/// <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>
///
/// ```
/// use daemonplan::model::ReportedEvent;
/// let text = r#"{"metadata": {"name": "agent.1", "namespace": "prod"}, "type": "Warning", "reason": "FailedCreate",
///     "involvedObject": {"kind": "DaemonSet", "name": "agent", "namespace": "prod"},
///     "message": "exceeded quota", "count": 17, "lastTimestamp": "2026-01-02T03:04:05Z"}"#;
/// let event: ReportedEvent = serde_json::from_str(text)?;
/// assert_eq!(event.to_string(), "FailedCreate (17 times, last at 2026-01-02T03:04:05Z): exceeded quota");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "EventWire", rename_all(serialize = "camelCase"))]
#[non_exhaustive]
pub struct ReportedEvent {
    /// `metadata.namespace`.
    #[serde(skip_serializing)]
    pub namespace: Text,
    /// `metadata.name`.
    #[serde(skip_serializing)]
    pub name: Text,
    /// The kind of the object that the Event is about.
    #[serde(skip_serializing)]
    pub kind: Text,
    /// Its namespace and name.
    #[serde(skip_serializing)]
    pub about: Key,
    /// Its uid; often empty.
    #[serde(skip_serializing)]
    pub uid: Text,
    /// `type`: `Normal` or `Warning`.
    pub r#type: Text,
    /// `reason`, such as `FailedScheduling`.
    pub reason: Text,
    /// The message.
    pub message: Text,
    /// How often it happened.
    pub count: u32,
    /// When it happened last, if that is known.
    pub last: Option<Timestamp>,
}

impl ReportedEvent {
    /// Whether the Event is about an object. A uid that is not known may be any.
    pub(crate) fn is_about(&self, kind: &str, key: &Key, uid: &Text) -> bool {
        let is_same = self.uid == *uid || self.uid.is_empty() || uid.is_empty();
        self.kind == *kind && self.about == *key && is_same
    }
}

impl std::fmt::Display for ReportedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)?;
        match (self.count, self.last) {
            (0 | 1, None) => {}
            (0 | 1, Some(last)) => write!(f, " (at {last})")?,
            (count, None) => write!(f, " ({count} times)")?,
            (count, Some(last)) => write!(f, " ({count} times, last at {last})")?,
        }
        write!(f, ": {}", self.message.trim())
    }
}

/// An Event of `v1` or of `events.k8s.io/v1`, which has other names for some fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventWire {
    metadata: Metadata,
    #[serde(alias = "regarding", default)]
    involved_object: ObjectWire,
    #[serde(default)]
    r#type: Option<Text>,
    reason: Option<Text>,
    #[serde(alias = "note")]
    message: Option<Text>,
    #[serde(alias = "deprecatedCount")]
    count: Option<u32>,
    #[serde(alias = "deprecatedLastTimestamp")]
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
    series: Option<SeriesWire>,
}

#[derive(Default, Deserialize)]
struct ObjectWire {
    #[serde(default)]
    kind: Text,
    #[serde(default)]
    namespace: Text,
    #[serde(default)]
    name: Text,
    #[serde(default)]
    uid: Text,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeriesWire {
    count: Option<u32>,
    last_observed_time: Option<Timestamp>,
}

impl TryFrom<EventWire> for ReportedEvent {
    type Error = MissingName;

    fn try_from(mut wire: EventWire) -> Result<Self, MissingName> {
        let ObjectWire { kind, namespace, name, uid } = wire.involved_object;
        let series = wire.series.as_ref();
        Ok(Self {
            name: wire.metadata.take_name()?,
            namespace: wire.metadata.take_namespace(),
            kind,
            about: Key::new(namespace, name),
            uid,
            r#type: wire.r#type.unwrap_or_default(),
            reason: wire.reason.unwrap_or_default(),
            message: wire.message.unwrap_or_default(),
            count: series.and_then(|series| series.count).or(wire.count).unwrap_or(1),
            last: series.and_then(|series| series.last_observed_time).or(wire.last_timestamp).or(wire.event_time),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn both_versions_of_events_are_read() {
        let time = "2026-01-02T03:04:05Z";
        let old = json!({
            "metadata": {"name": "a", "namespace": "prod"}, "type": "Warning", "reason": "FailedScheduling", "count": 3,
            "involvedObject": {"kind": "Pod", "namespace": "prod", "name": "agent-x2k", "uid": "7"},
            "message": "0/1 nodes are available", "lastTimestamp": time, "eventTime": null,
        });
        let new = json!({
            "metadata": {"name": "a", "namespace": "prod"}, "type": "Warning", "reason": "FailedScheduling",
            "regarding": {"kind": "Pod", "namespace": "prod", "name": "agent-x2k", "uid": "7"},
            "note": "0/1 nodes are available", "eventTime": "2025-12-31T00:00:00Z",
            "series": {"count": 3, "lastObservedTime": time},
        });
        let [old, new]: [ReportedEvent; 2] = [old, new].map(|json| from_value(json).unwrap());
        assert_eq!(old, new);
        assert_eq!((old.count, old.last), (3, time.parse().ok()));
        let key = Key::new("prod", "agent-x2k");
        let about = |kind: &str, uid: &str| old.is_about(kind, &key, &uid.into());
        assert_eq!(
            [about("Pod", "7"), about("Pod", ""), about("Pod", "8"), about("Node", "7")],
            [true, true, false, false]
        );
    }

    #[test]
    fn an_event_that_says_little_has_defaults() {
        let event: ReportedEvent = from_value(json!({"metadata": {"name": "a"}})).unwrap();
        assert_eq!((event.count, event.last, event.to_string().as_str()), (1, None, ": "));
        assert!(from_value::<ReportedEvent>(json!({"metadata": {}})).is_err());
    }
}

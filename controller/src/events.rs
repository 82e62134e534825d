//! Kubernetes Events about DaemonSets: the built-in controller's texts and rate limits.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use daemonplan::{
    Key,
    model::{DaemonSet, Text},
    plan::EventType,
};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{self, Recorder, Reporter},
};
use tokio::sync::mpsc;
use tracing::warn;

use crate::{api::reasons, metrics::Metrics};

/// The reporting component of the Events.
pub const REPORTER: &str = "daemonplan-controller";

/// Events per object in a burst, and the time until one more is allowed.
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_mins(5);

/// Maximum length of an Event's message in bytes.
const MAX_MESSAGE: usize = 1024;

/// Maximum number of Events waiting to be emitted.
const BACKLOG: usize = 1024;

/// An Event about a DaemonSet.
#[derive(Clone, Debug)]
pub struct Note {
    about: ObjectReference,
    pod: Option<ObjectReference>,
    kind: EventType,
    reason: &'static str,
    message: String,
}

/// Queues Events without blocking; drops them when the queue is full.
#[derive(Clone, Debug)]
pub struct Events {
    notes: mpsc::Sender<Note>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// Creates a queue: the sender, and the receiver for [`emit`].
    pub fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Note>) {
        let (notes, receiver) = mpsc::channel(BACKLOG);
        (Self { notes, metrics }, receiver)
    }

    /// Queues an Event about a DaemonSet, and about one of its pods if `pod` is given.
    pub fn record(
        &self,
        daemonset: &DaemonSet,
        pod: Option<&Key>,
        kind: EventType,
        reason: &'static str,
        mut message: String,
    ) {
        if message.len() > MAX_MESSAGE {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE - '…'.len_utf8()));
            message.push('…');
        }
        let about = ObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: Some("DaemonSet".to_owned()),
            namespace: Some(daemonset.namespace.to_string()),
            name: Some(daemonset.name.to_string()),
            uid: Some(daemonset.uid.to_string()),
            ..ObjectReference::default()
        };
        let pod = pod.map(|pod| ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace.to_string()),
            name: Some(pod.name.to_string()),
            ..ObjectReference::default()
        });
        if self.notes.try_send(Note { about, pod, kind, reason, message }).is_err() {
            self.metrics.events_dropped.inc();
        }
    }
}

/// Emits queued Events until every sender is dropped.
pub async fn emit(client: Client, mut notes: mpsc::Receiver<Note>, metrics: Arc<Metrics>, limit: Duration) {
    let recorder = Recorder::new(client, Reporter::from(REPORTER));
    let mut allowances = Allowances::default();
    while let Some(Note { about, pod, kind, reason, message }) = notes.recv().await {
        let uid = Text::from(about.uid.as_deref().unwrap_or_default());
        if !allowances.take(&uid, Instant::now()) {
            metrics.events_dropped.inc();
            continue;
        }
        let event = events::Event {
            type_: match kind {
                EventType::Normal => events::EventType::Normal,
                EventType::Warning => events::EventType::Warning,
            },
            reason: reason.to_owned(),
            action: "Reconcile".to_owned(),
            note: Some(message),
            // Events about two pods are two Events, not one repeated.
            secondary: pod,
        };
        match tokio::time::timeout(limit, recorder.publish(&event, &about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = reasons(&error), reason, "failed to emit Event"),
            Err(_) => warn!(reason, "timed out emitting Event"),
        }
    }
}

/// The remaining Events of each object.
#[derive(Debug, Default)]
struct Allowances(HashMap<Text, (u32, Instant)>);

impl Allowances {
    fn take(&mut self, uid: &Text, now: Instant) -> bool {
        let full = |since: Instant| now.duration_since(since) >= REFILL * BURST;
        self.0.retain(|_, (_, since)| !full(*since));
        let (left, since) = self.0.entry(uid.clone()).or_insert((BURST, now));
        let refills = u32::try_from(now.duration_since(*since).as_secs() / REFILL.as_secs()).unwrap_or(u32::MAX);
        if refills > 0 {
            (*left, *since) = ((*left).saturating_add(refills).min(BURST), *since + REFILL * refills);
        }
        let allowed = *left > 0;
        *left = left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use daemonplan::model::DaemonSet;

    use super::*;

    #[test]
    fn an_event_names_its_daemonset_and_its_pod_and_long_messages_are_truncated() {
        let (events, mut notes) = Events::new(Arc::default());
        let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
        daemonset.uid = "42".into();
        let mut recorded = |pod: Option<&Key>, message: String| {
            events.record(&daemonset, pod, EventType::Normal, "SuccessfulCreate", message);
            notes.try_recv().unwrap()
        };
        let note = recorded(Some(&Key::new("prod", "agent-x2k")), "x".repeat(1024));
        let reference = |api: &str, kind: &str, name: &str, uid: Option<&str>| ObjectReference {
            api_version: Some(api.to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some("prod".to_owned()),
            name: Some(name.to_owned()),
            uid: uid.map(str::to_owned),
            ..ObjectReference::default()
        };
        assert_eq!(note.about, reference("apps/v1", "DaemonSet", "agent", Some("42")));
        assert_eq!(note.pod, Some(reference("v1", "Pod", "agent-x2k", None)));
        assert_eq!(note.message.len(), 1024);
        let note = recorded(None, "é".repeat(513));
        assert_eq!((note.pod, note.message), (None, "é".repeat(510) + "…"));
    }

    #[test]
    fn events_beyond_the_backlog_are_dropped_and_counted() {
        let metrics = Arc::<Metrics>::default();
        let (events, _notes) = Events::new(Arc::clone(&metrics));
        let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
        for _ in 0..BACKLOG + 3 {
            events.record(&daemonset, None, EventType::Normal, "SuccessfulCreate", String::new());
        }
        assert_eq!(metrics.events_dropped.get(), 3);
    }

    #[test]
    fn a_burst_is_allowed_and_then_a_slow_rate() {
        let (mut allowances, start) = (Allowances::default(), Instant::now());
        let mut allowed = |uid: &str, seconds| allowances.take(&uid.into(), start + Duration::from_secs(seconds));
        assert_eq!((0..40).filter(|_| allowed("a", 0)).count(), 25);
        assert!(allowed("b", 0), "each object has its own allowance");
        assert!(!allowed("a", 299));
        assert!(allowed("a", 300) && !allowed("a", 301));
        assert_eq!((0..40).filter(|_| allowed("a", 300 * 100)).count(), 25);
    }
}

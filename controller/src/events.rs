//! Kubernetes Events about DaemonSets, in the built-in controller's words and no more of them than it would emit.

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

/// The name that Events are reported by.
pub const REPORTER: &str = "daemonplan-controller";

/// What may be said about one object at once, and how long it takes until one more may be said.
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_mins(5);

/// How long the text of an Event may be.
const LONGEST: usize = 1024;

/// What waits to be emitted at most.
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

/// Takes Events and never waits.
#[derive(Clone, Debug)]
pub struct Events {
    notes: mpsc::Sender<Note>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// The end where Events go in, and the one where they come out, for [`emit`].
    pub fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Note>) {
        let (notes, receiver) = mpsc::channel(BACKLOG);
        (Self { notes, metrics }, receiver)
    }

    /// Says something about a DaemonSet, and one of its pods.
    pub fn say(
        &self,
        daemonset: &DaemonSet,
        pod: Option<&Key>,
        kind: EventType,
        reason: &'static str,
        mut message: String,
    ) {
        if message.len() > LONGEST {
            message.truncate(message.floor_char_boundary(LONGEST - '…'.len_utf8()));
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

/// Emits Events until nobody is left who says anything.
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
            // What is said about two pods is two Events, not one that is repeated.
            secondary: pod,
        };
        match tokio::time::timeout(limit, recorder.publish(&event, &about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = reasons(&error), reason, "an Event could not be emitted"),
            Err(_) => warn!(reason, "no answer to an Event"),
        }
    }
}

/// How much may be said about each object.
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
        let some = *left > 0;
        *left = left.saturating_sub(1);
        some
    }
}

#[cfg(test)]
mod tests {
    use daemonplan::model::DaemonSet;

    use super::*;

    #[test]
    fn an_event_is_about_its_daemonset_and_its_pod_and_no_longer_than_it_may_be() {
        let (events, mut notes) = Events::new(Arc::default());
        let mut daemonset = DaemonSet::new("prod", "agent");
        daemonset.uid = "42".into();
        let mut said = |pod: Option<&Key>, message: String| {
            events.say(&daemonset, pod, EventType::Normal, "SuccessfulCreate", message);
            notes.try_recv().unwrap()
        };
        let note = said(Some(&Key::new("prod", "agent-x2k")), "x".repeat(1024));
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
        let note = said(None, "é".repeat(513));
        assert_eq!((note.pod, note.message), (None, "é".repeat(510) + "…"));
    }

    #[test]
    fn what_is_too_much_is_dropped_and_counted() {
        let metrics = Arc::<Metrics>::default();
        let (events, _notes) = Events::new(Arc::clone(&metrics));
        for _ in 0..BACKLOG + 3 {
            events.say(&DaemonSet::new("prod", "agent"), None, EventType::Normal, "SuccessfulCreate", String::new());
        }
        assert_eq!(metrics.events_dropped.get(), 3);
    }

    #[test]
    fn much_may_be_said_at_once_and_then_little() {
        let (mut allowances, start) = (Allowances::default(), Instant::now());
        let mut said = |uid: &str, seconds| allowances.take(&uid.into(), start + Duration::from_secs(seconds));
        assert_eq!((0..40).filter(|_| said("a", 0)).count(), 25);
        assert!(said("b", 0), "another one has its own allowance");
        assert!(!said("a", 299));
        assert!(said("a", 300) && !said("a", 301));
        assert_eq!((0..40).filter(|_| said("a", 300 * 100)).count(), 25);
    }
}

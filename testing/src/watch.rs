//! Watches.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{sync::watch::Receiver, time};

use crate::{
    form::Form,
    refusal::Refusal,
    resource::Resource,
    selection::Selection,
    shared::Shared,
    store::{Change, Store},
};

/// How long a watch lasts for which the client asks for no time.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(5);

/// How long a quiet watch waits until it sends a bookmark. The API server waits for about a minute.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(1);

struct Watch {
    shared: Arc<Shared>,
    versions: Receiver<u64>,
    resource: Resource,
    selection: Selection,
    form: Form,
    /// The version up to which everything was sent.
    sent: u64,
    /// What to send first: the objects there are, for a client that names no version.
    first: Option<String>,
    bookmarks: bool,
    end: time::Instant,
    ended: bool,
}

/// Answers with a stream of events.
pub(crate) fn watch(
    shared: Arc<Shared>,
    resource: Resource,
    selection: Selection,
    form: Form,
    query: &HashMap<String, String>,
) -> Result<Response, Refusal> {
    let is_true = |name: &str| query.get(name).is_some_and(|value| value == "true");
    let from = query.get("resourceVersion").filter(|version| !version.is_empty() && *version != "0");
    let from = from.map(|version| version.parse::<u64>()).transpose();
    let from = from.map_err(|_| Refusal::bad_request("invalid resource version"))?;
    let seconds = query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok());
    let versions = shared.version.subscribe();
    let (sent, first) = {
        let store = shared.store();
        let initial = is_true("sendInitialEvents");
        match from.filter(|_| !initial) {
            Some(from) if store.changes_since(from).is_none() => return Err(Refusal::expired()),
            Some(from) => (from, None),
            None => {
                let found = store.range(selection.resource()).filter(|(id, object)| selection.has(id, object));
                let mut lines: String =
                    found.map(|(_, object)| line("ADDED", &form.write(&resource, object, false))).collect();
                if initial {
                    let annotations = json!({"k8s.io/initial-events-end": "true"});
                    lines += &bookmark(form, &resource, store.version(), &annotations);
                }
                (store.version(), Some(lines))
            }
        }
    };
    let end = time::Instant::now() + seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    let bookmarks = is_true("allowWatchBookmarks");
    let watch = Watch { shared, versions, resource, selection, form, sent, first, bookmarks, end, ended: false };
    let lines = futures::stream::unfold(watch, |mut watch| async move {
        let lines = watch.next().await?;
        Some((Ok::<_, Infallible>(lines), watch))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}

impl Watch {
    /// Returns the next lines to send; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take().filter(|lines| !lines.is_empty()) {
            return Some(first);
        }
        while !self.ended {
            let (lag, holds) = {
                let faults = &self.shared.store().faults;
                (faults.watch_lag, faults.holds == Some(self.selection.resource()))
            };
            time::sleep(lag).await;
            if holds {
                time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            let lines = self.changes();
            if !lines.is_empty() {
                return Some(lines);
            }
            let pause = self.end.min(time::Instant::now() + BOOKMARK_INTERVAL);
            if !self.ended && time::timeout_at(pause, self.versions.changed()).await.is_err() {
                self.ended = time::Instant::now() >= self.end;
                if self.bookmarks {
                    return Some(bookmark(self.form, &self.resource, self.sent, &Value::Null));
                }
            }
        }
        None
    }

    /// Returns the lines for what has changed.
    fn changes(&mut self) -> String {
        self.versions.borrow_and_update();
        let mut store = self.shared.store();
        let mut lines = String::new();
        let Some(changes) = store.changes_since(self.sent) else {
            self.ended = true;
            return line("ERROR", &Refusal::expired().status().to_string());
        };
        let changes: Vec<Change> = changes.cloned().collect();
        for change in changes {
            self.sent = change.version;
            let Some(event) = self.event(&change) else { continue };
            lines += &event;
            if ends(&mut store) {
                self.ended = true;
                break;
            }
        }
        lines
    }

    /// Returns the line for a change, if the selected objects change by it.
    fn event(&self, Change { version, id, before, after }: &Change) -> Option<String> {
        let Self { resource, selection, form, .. } = self;
        let before = before.as_deref().filter(|before| selection.has(id, before));
        let after = after.as_deref().filter(|after| selection.has(id, after));
        let (kind, object) = match (before, after) {
            (None, Some(after)) => ("ADDED", form.write(resource, after, false)),
            (Some(_), Some(after)) => ("MODIFIED", form.write(resource, after, false)),
            (Some(before), None) => {
                let mut last = before.clone();
                last["metadata"]["resourceVersion"] = json!(version.to_string());
                ("DELETED", form.write(resource, &last, false))
            }
            (None, None) => return None,
        };
        Some(line(kind, &object))
    }
}

fn ends(store: &mut Store) -> bool {
    let probability = store.faults.watch_ends;
    store.by_chance(probability)
}

fn line(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn bookmark(form: Form, resource: &Resource, version: u64, annotations: &Value) -> String {
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if !annotations.is_null() {
        metadata["annotations"] = annotations.clone();
    }
    line("BOOKMARK", &form.write(resource, &json!({"metadata": metadata}), false))
}

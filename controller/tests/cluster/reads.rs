//! Lists and watches.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::time;

use super::{
    server::{Server, Target, concerns, refusal, reply, selected},
    store::{Change, Faults, Store, id},
};

pub(super) fn list(store: &Store, target: &Target, query: &HashMap<String, String>) -> Response {
    // "version/namespace/name": the version of the first page, and the last object of the previous page.
    let token: Option<Vec<&str>> = query.get("continue").map(|token| token.splitn(3, '/').collect());
    let version = token.as_ref().map_or(store.version, |token| token[0].parse().unwrap());
    if version < store.oldest {
        return refusal(410, "Expired", "the continue token is too old");
    }
    let after = token.map(|token| (token[1].to_owned(), token[2].to_owned()));
    let limit =
        query.get("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let of_plural = store.objects.range(id(&target.plural, "", "")..).take_while(|(id, _)| id.0 == target.plural);
    let later = of_plural.filter(|((_, namespace, name), _)| {
        after.as_ref().is_none_or(|(space, last)| (namespace, name) > (space, last))
    });
    let mut found = later.filter(|(id, object)| concerns(target, id) && selected(object, query)).peekable();
    let (mut items, mut token) = (Vec::new(), String::new());
    while let Some((id, object)) = found.next() {
        items.push(object.to_string());
        if items.len() == limit && found.peek().is_some() {
            token = format!("{version}/{}/{}", id.1, id.2);
            break;
        }
    }
    let metadata = json!({"resourceVersion": version.to_string(), "continue": token});
    let body = format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{metadata},"items":[{}]}}"#, items.join(","));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub(super) fn watch_from(server: Server, target: Target, query: &HashMap<String, String>) -> Response {
    let from: u64 = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    if from < server.store().oldest {
        return refusal(410, "Expired", "too old resource version");
    }
    let limit = query
        .get("timeoutSeconds")
        .and_then(|seconds| seconds.parse().ok())
        .map_or(Duration::from_secs(290), Duration::from_secs);
    let bookmarks = query.get("allowWatchBookmarks").is_some_and(|wanted| wanted == "true");
    let end = time::Instant::now() + limit;
    let query = query.clone();
    let start = (server, target, query, from, false);
    let lines = futures::stream::unfold(start, move |(server, target, query, mut from, ended)| async move {
        if ended {
            return None;
        }
        let mut versions = server.version.subscribe();
        loop {
            let Faults { watch_lag, holds, .. } = server.store().faults.clone();
            time::sleep(watch_lag).await;
            if holds == Some(&*target.plural) {
                time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            let mut lines = String::new();
            let mut ends = false;
            {
                let mut store = server.store();
                if from < store.oldest {
                    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
                        "reason": "Expired", "message": "too old resource version"});
                    let line = json!({"type": "ERROR", "object": gone}).to_string() + "\n";
                    return Some((Ok::<_, Infallible>(line), (server.clone(), target, query, from, true)));
                }
                let newer = store.changes.partition_point(|change| change.version <= from);
                let changes: Vec<Change> = store.changes.range(newer..).cloned().collect();
                for Change { version, id, before, after } in changes {
                    from = version;
                    if !concerns(&target, &id) {
                        continue;
                    }
                    let before = before.filter(|before| selected(before, &query));
                    let now = after.as_ref().filter(|after| selected(after, &query));
                    let (kind, object) = match (before, now) {
                        (None, Some(now)) => ("ADDED", now.to_string()),
                        (Some(_), Some(now)) => ("MODIFIED", now.to_string()),
                        (Some(before), None) => {
                            let mut last = Value::clone(&before);
                            last["metadata"]["resourceVersion"] = json!(version.to_string());
                            ("DELETED", last.to_string())
                        }
                        (None, None) => continue,
                    };
                    lines.extend([r#"{"type":""#, kind, r#"","object":"#, &object, "}\n"]);
                    let probability = store.faults.watch_ends;
                    if store.by_chance(probability) {
                        ends = true;
                        break;
                    }
                }
            }
            if lines.is_empty() && bookmarks && !ends {
                // One bookmark per quiet second, so that a restarted watch continues there.
                let silent =
                    time::timeout_at(end.min(time::Instant::now() + Duration::from_secs(1)), versions.changed());
                if silent.await.is_err() {
                    let kind = if target.plural == "daemonsets" { "DaemonSet" } else { "Resource" };
                    let mark =
                        json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": from.to_string()}});
                    lines = json!({"type": "BOOKMARK", "object": mark}).to_string() + "\n";
                    ends = time::Instant::now() >= end;
                }
            }
            if !lines.is_empty() || ends {
                return Some((Ok(lines), (server, target, query, from, ends)));
            }
        }
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}

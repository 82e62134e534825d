//! Lists, in pages.

use std::collections::{BTreeMap, HashMap};

use axum::{http::StatusCode, response::Response};
use serde_json::{Value, json};

use crate::{
    form::Form,
    id::Id,
    refusal::{Refusal, reply},
    resource::Resource,
    selection::Selection,
    store::Store,
};

/// Returns a page of the objects, all of them as they were at the version of the first page.
pub(crate) fn list(
    store: &Store,
    resource: &Resource,
    selection: &Selection,
    form: Form,
    query: &HashMap<String, String>,
) -> Result<Response, Refusal> {
    let token = query.get("continue").filter(|token| !token.is_empty());
    let (version, last) = match token.map(|token| Continue::read(token)) {
        None => (store.version(), None),
        Some(Some(Continue { version, namespace, name })) => {
            (version, Some(Id::new(selection.resource(), &namespace, &name)))
        }
        Some(None) => return Err(Refusal::bad_request("invalid continue token")),
    };
    let exact = query.get("resourceVersionMatch").is_some_and(|wanted| wanted == "Exact");
    let version = match query.get("resourceVersion").and_then(|version| version.parse().ok()) {
        Some(asked) if exact => asked,
        _ => version,
    };
    let past = past(store, version)?;
    let limit =
        query.get("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let first = last.clone().unwrap_or_else(|| Id::new(selection.resource(), "", ""));
    let current = store.range_from(first.clone()).filter(|(id, _)| !past.contains_key(id));
    let mut then: Vec<(&Id, &Value)> = past.iter().filter_map(|(id, object)| Some((*id, (*object)?))).collect();
    then.retain(|(id, _)| id.resource == first.resource && **id >= first);
    let all = merge(current.map(|(id, object)| (id, &**object)), then.into_iter());
    let found = all.filter(|(id, object)| last.as_ref() != Some(id) && selection.has(id, object));
    let mut found = found.peekable();
    let (mut items, mut token) = (Vec::new(), String::new());
    while let Some((id, object)) = found.next() {
        items.push(form.write(resource, object, true));
        if items.len() == limit && found.peek().is_some() {
            token = Continue { version, namespace: id.namespace.clone(), name: id.name.clone() }.to_string();
            break;
        }
    }
    let (kind, api_version) = form.types(resource);
    let metadata = json!({"resourceVersion": version.to_string(), "continue": token});
    let items = items.join(",");
    let body =
        format!(r#"{{"kind":"{kind}List","apiVersion":"{api_version}","metadata":{metadata},"items":[{items}]}}"#);
    Ok(reply(StatusCode::OK, body))
}

/// Merges two series that are ordered by their places.
fn merge<'a>(
    one: impl Iterator<Item = (&'a Id, &'a Value)>,
    other: impl Iterator<Item = (&'a Id, &'a Value)>,
) -> impl Iterator<Item = (&'a Id, &'a Value)> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some((a, _)), Some((b, _))) if b < a => other.next(),
        (None, _) => other.next(),
        _ => one.next(),
    })
}

/// Returns the objects that have changed since a version, as they were then; `None` for one that did not exist.
fn past(store: &Store, version: u64) -> Result<BTreeMap<&Id, Option<&Value>>, Refusal> {
    let mut past = BTreeMap::new();
    if version < store.version() {
        for change in store.changes_since(version).ok_or_else(Refusal::expired)? {
            past.entry(&change.id).or_insert(change.before.as_deref());
        }
    }
    Ok(past)
}

/// Where the next page goes on: the version of the first page, and the last object of this one.
struct Continue {
    version: u64,
    namespace: String,
    name: String,
}

impl Continue {
    fn read(token: &str) -> Option<Self> {
        let mut parts = token.splitn(3, '/').map(str::to_owned);
        let version = parts.next()?.parse().ok()?;
        Some(Self { version, namespace: parts.next()?, name: parts.next()? })
    }
}

impl std::fmt::Display for Continue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.version, self.namespace, self.name)
    }
}

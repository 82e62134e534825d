//! The HTTP side: paths, forms of objects, and answers.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    discovery::discover,
    faults,
    list::list,
    resource::Resource,
    selection::Selection,
    server::Shared,
    store::{Id, Store},
    watch::watch,
    write::write,
};

/// What a request is about.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) resource: Resource,
    pub(crate) namespace: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    fn of(store: &Store, uri: &Uri) -> Option<Self> {
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (plural, None, None),
            [plural, name] => (plural, Some(name), None),
            [plural, name, subresource] => (plural, Some(name), Some(subresource)),
            _ => return None,
        };
        let resource = store.resource_at(group, version, plural)?;
        let is_placed = match (resource.is_namespaced, namespace.is_empty()) {
            (false, is_global) => is_global,
            // Only lists and watches reach over all namespaces.
            (true, true) => name.is_none(),
            (true, false) => true,
        };
        let owned = |text: Option<&&str>| text.map(|text| (*text).to_owned());
        is_placed.then(|| Self {
            resource,
            namespace: namespace.to_owned(),
            name: owned(name),
            subresource: owned(subresource),
        })
    }

    /// Returns the place of the object with this name.
    pub(crate) fn id(&self, name: &str) -> Id {
        Id::new(&self.resource.name(), &self.namespace, name)
    }
}

/// How a client wants its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Whole,
    /// As `PartialObjectMetadata`.
    Metadata,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accepted.contains("as=PartialObjectMetadata") { Self::Metadata } else { Self::Whole }
    }

    /// Returns `kind` and `apiVersion` of an object.
    pub(crate) fn types(self, resource: &Resource) -> (Cow<'static, str>, String) {
        match self {
            Self::Whole => (resource.kind.clone(), resource.api_version()),
            Self::Metadata => ("PartialObjectMetadata".into(), "meta.k8s.io/v1".to_owned()),
        }
    }

    /// Writes an object; in a list of a built-in kind, without `kind` and `apiVersion`, as the API server does.
    pub(crate) fn write(self, resource: &Resource, object: &Value, in_list: bool) -> String {
        let object = match self {
            Self::Whole => object.to_string(),
            Self::Metadata => json!({"metadata": object["metadata"]}).to_string(),
        };
        if in_list && self == Self::Whole && !resource.is_custom {
            return object;
        }
        let (kind, api_version) = self.types(resource);
        let fields = object.strip_prefix('{').unwrap_or_default();
        format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}",{fields}"#)
    }
}

/// An error of the API server, as it says it.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: StatusCode,
    reason: &'static str,
    message: String,
    details: Value,
}

impl Refusal {
    pub(crate) fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", message)
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{what} not found"))
    }

    pub(crate) fn expired() -> Self {
        Self::new(StatusCode::GONE, "Expired", "too old resource version")
    }

    pub(crate) fn too_many(message: impl Into<String>, seconds: Option<u64>) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        let details = seconds.map_or(Value::Null, |seconds| json!({"retryAfterSeconds": seconds}));
        Self { details, ..refusal }
    }

    /// A creation in a namespace that is being deleted.
    pub(crate) fn terminating(namespace: &str) -> Self {
        let message = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let details =
            json!({"causes": [{"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}]});
        Self { details, ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message) }
    }

    /// Returns the `Status` object.
    pub(crate) fn status(&self) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": self.code.as_u16(),
            "reason": self.reason, "message": self.message, "details": self.details})
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        reply(self.code, self.status().to_string())
    }
}

pub(crate) fn reply(code: StatusCode, body: String) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub(crate) async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match respond(shared, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn respond(shared: Arc<Shared>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    if let Some(answer) = discover(&shared.store(), parts.uri.path()) {
        return Ok(reply(StatusCode::OK, answer.to_string()));
    }
    let found = Target::of(&shared.store(), &parts.uri);
    let target = found.ok_or_else(|| Refusal::not_found(format!("the resource at {}", parts.uri.path())))?;
    let query: HashMap<String, String> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    let body = axum::body::to_bytes(body, usize::MAX).await.map_err(|error| Refusal::bad_request(error.to_string()))?;
    if faults::before(&mut shared.store(), &parts.method, &target)? {
        return std::future::pending().await; // until the client is gone
    }
    let form = Form::of(&parts.headers);
    let is_set = |name: &str| query.get(name).is_some_and(|value| value != "false" && value != "0");
    if parts.method != Method::GET {
        if query.contains_key("dryRun") {
            return Err(Refusal::bad_request("this server has no dry runs"));
        }
        let media_type =
            parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let outcome = write(&mut shared.store(), &parts.method, &target, &query, media_type, &body);
        let response = outcome.map(|(code, object)| match object {
            Some(object) => reply(code, form.write(&target.resource, &object, false)),
            None => reply(code, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}).to_string()),
        });
        return faults::after_write(&mut shared.store(), response);
    }
    let selection = Selection::of(&target, &query)?;
    if is_set("watch") {
        return watch(shared, target.resource, selection, form, &query);
    }
    let Some(name) = &target.name else { return list(&shared.store(), &target.resource, &selection, form, &query) };
    let mut store = shared.store();
    store.reads += usize::from(target.resource.kind != "Lease");
    let id = target.id(name);
    let object = store.get(&id).ok_or_else(|| Refusal::not_found(&id))?;
    Ok(reply(StatusCode::OK, form.write(&target.resource, object, false)))
}

//! An in-memory API server for tests: the HTTP API that a DaemonSet controller uses, with injectable faults.
//!
//! Lists have pages; watches have resource versions, bookmarks and timeouts; old versions expire (410). Writes check
//! uid and resource version, patches merge by their media type, and deletions are graceful where the real ones are.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use daemonplan::{model::Labels, selector::SelectorExpression};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use super::{
    reads::{list, watch_from},
    store::{Faults, Id, Store, id},
    writes::write,
};

#[derive(Clone)]
pub struct Server {
    store: Arc<Mutex<Store>>,
    pub(super) version: watch::Sender<u64>,
    pub address: SocketAddr,
}

impl Server {
    /// Starts a server with an empty cluster.
    pub async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let store = Store { version: 1, random: Some(fastrand::Rng::with_seed(seed)), ..Store::default() };
        let address = listener.local_addr().unwrap();
        let server = Self { store: Arc::new(Mutex::new(store)), version: watch::channel(1).0, address };
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    /// Locks the store to read or change it, as other parts of the cluster do. Dropping the guard notifies watches.
    pub fn store(&self) -> Guard<'_> {
        Guard { store: self.store.lock().unwrap_or_else(PoisonError::into_inner), version: &self.version }
    }

    /// Returns a client for this server.
    pub fn client(&self) -> kube::Client {
        let mut config = kube::Config::new(format!("http://{}", self.address).parse().unwrap());
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    /// Returns a kubeconfig for this server.
    pub fn kubeconfig(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{}", self.address)}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": {}}]})
    }

    /// Resolves after the next change.
    pub async fn changed(&self) {
        let mut version = self.version.subscribe();
        version.changed().await.unwrap();
    }
}

pub struct Guard<'a> {
    store: MutexGuard<'a, Store>,
    version: &'a watch::Sender<u64>,
}

impl std::ops::Deref for Guard<'_> {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl std::ops::DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let version = self.store.version;
        self.version.send_if_modified(|known| std::mem::replace(known, version) != version);
    }
}

/// A parsed path of the API.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) plural: String,
    pub(super) namespace: String,
    pub(super) name: Option<String>,
    pub(super) status: bool,
}

impl Target {
    fn of(uri: &Uri) -> Option<Self> {
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let (["api", "v1", rest @ ..] | ["apis", _, "v1", rest @ ..]) = parts.as_slice() else { return None };
        let target = |plural: &str, namespace: &str, name: Option<&str>, status| {
            Some(Self {
                plural: plural.to_owned(),
                namespace: namespace.to_owned(),
                name: name.map(str::to_owned),
                status,
            })
        };
        match rest {
            ["namespaces", namespace, plural] => target(plural, namespace, None, false),
            ["namespaces", namespace, plural, name] => target(plural, namespace, Some(name), false),
            ["namespaces", namespace, plural, name, "status"] => target(plural, namespace, Some(name), true),
            [plural] => target(plural, "", None, false),
            [plural, name] => target(plural, "", Some(name), false),
            _ => None,
        }
    }
}

/// Returns an error response in Kubernetes' format.
pub(super) fn refusal(code: u16, reason: &str, message: &str) -> Response {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": message});
    if code == 429 {
        status["details"] = json!({"retryAfterSeconds": 1});
    }
    if reason == "NamespaceTerminating" {
        status["reason"] = json!("Forbidden");
        status["details"] = json!({"causes": [{"reason": "NamespaceTerminating", "message": message}]});
    }
    reply(StatusCode::from_u16(code).unwrap(), &status)
}

pub(super) fn reply(code: StatusCode, body: &Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

pub(super) async fn answer(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(target) = Target::of(&parts.uri) else { return refusal(404, "NotFound", "no such path") };
    let query: HashMap<String, String> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    if parts.method == Method::GET && server.store().faults.forbidden == Some(&*target.plural) {
        return refusal(403, "Forbidden", "injected error");
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let writes = parts.method != Method::GET;
    let held = {
        let mut store = server.store();
        let faults = store.faults.clone();
        let counts = writes && !matches!(target.plural.as_str(), "leases" | "events");
        match store.faults.writes_left.as_mut().filter(|_| counts) {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => {
                if store.by_chance(faults.refused) {
                    return refusal(500, "InternalError", "injected error");
                }
                if store.by_chance(faults.too_many) {
                    return refusal(429, "TooManyRequests", "injected error");
                }
                if writes && target.plural != "events" && store.by_chance(faults.conflict) {
                    return refusal(409, "Conflict", "injected error");
                }
                false
            }
        }
    };
    if held {
        return std::future::pending().await; // until the client is gone
    }
    if query.get("watch").is_some_and(|watch| watch != "false" && watch != "0") {
        return watch_from(server, target, &query);
    }
    let media_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let response = match (parts.method.clone(), &target.name) {
        (Method::GET, None) => return list(&server.store(), &target, &query),
        (Method::GET, Some(name)) => {
            let mut store = server.store();
            store.reads += usize::from(target.plural != "leases");
            return match store.get(&id(&target.plural, &target.namespace, name)) {
                Some(object) => reply(StatusCode::OK, object),
                None => refusal(404, "NotFound", "not found"),
            };
        }
        (verb, _) => write(&mut server.store(), &verb, &target, media_type, &body),
    };
    let mut store = server.store();
    let Faults { done_and_failed, done_and_dropped, .. } = store.faults;
    if store.by_chance(done_and_failed) {
        return refusal(500, "InternalError", "injected error, after it was done");
    }
    if store.by_chance(done_and_dropped) {
        drop(store);
        let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("injected error")) });
        return Response::new(Body::from_stream(broken));
    }
    response
}

pub(super) fn selected(object: &Value, query: &HashMap<String, String>) -> bool {
    let labels: Labels = serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default();
    let by_labels = query
        .get("labelSelector")
        .is_none_or(|text| text.parse::<SelectorExpression>().is_ok_and(|selector| selector.matches(&labels)));
    let name = query.get("fieldSelector").and_then(|text| text.strip_prefix("metadata.name="));
    by_labels && name.is_none_or(|name| object["metadata"]["name"] == name)
}

pub(super) fn concerns(target: &Target, id: &Id) -> bool {
    target.plural == id.0 && (target.namespace.is_empty() || target.namespace == id.1)
}

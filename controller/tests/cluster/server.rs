//! An API server for tests: it speaks HTTP as far as a controller of DaemonSets hears, keeps all in memory, and can be told to
//! fail.
//!
//! Lists have pages, watches have resource versions, bookmarks and an end; what is too old is gone (410). Writes heed uid and
//! resource version, patches merge as their media type says, and a deletion takes its time where the real one does.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use daemonplan::{model::Labels, selector::SelectorExpression};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, sync::watch, time};

/// The plural, the namespace (empty for none) and the name.
pub type Id = (String, String, String);

/// How many changes a watch can go back.
const MEMORY: usize = 200_000;

/// A change that watches tell of.
#[derive(Clone, Debug)]
struct Change {
    version: u64,
    id: Id,
    before: Option<Arc<Value>>,
    after: Option<Arc<Value>>,
}

/// A write that was asked for over HTTP.
#[derive(Clone, Debug)]
pub struct Write {
    pub verb: Method,
    pub id: Id,
    /// Whether it is about a subresource.
    pub status: bool,
    /// The object before; for a creation, after.
    pub object: Value,
    /// The answer.
    pub code: u16,
}

/// What goes wrong, each with its probability.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A request is answered by 500 and not done.
    pub refused: f64,
    /// A write is done and answered by 500.
    pub done_and_failed: f64,
    /// A request is answered by 429.
    pub too_many: f64,
    /// A write is answered by 409 and not done.
    pub conflict: f64,
    /// A write is done and the connection closed.
    pub done_and_dropped: f64,
    /// A watch ends after an event.
    pub watch_ends: f64,
    /// How long a watch holds events back.
    pub watch_lag: Duration,
    /// Watches of this plural hold everything back.
    pub holds: Option<&'static str>,
    /// After so many more writes to pods, revisions and DaemonSets no further one is let in.
    pub writes_left: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Store {
    version: u64,
    uids: u64,
    objects: BTreeMap<Id, Arc<Value>>,
    changes: VecDeque<Change>,
    /// Watches that begin before this version are told that it is gone.
    oldest: u64,
    pub writes: Vec<Write>,
    pub faults: Faults,
    /// Pods of one DaemonSet that were at work on a node when one more was created there, and are more than may be.
    pub crowds: Vec<String>,
    random: Option<fastrand::Rng>,
    /// The pods that are on a node or meant for it, by namespace and node.
    places: HashMap<(String, String), BTreeSet<Id>>,
}

#[derive(Clone)]
pub struct Server {
    store: Arc<Mutex<Store>>,
    version: watch::Sender<u64>,
    pub address: SocketAddr,
}

impl Server {
    /// An empty cluster.
    pub async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let store = Store { version: 1, random: Some(fastrand::Rng::with_seed(seed)), ..Store::default() };
        let address = listener.local_addr().unwrap();
        let server = Self { store: Arc::new(Mutex::new(store)), version: watch::channel(1).0, address };
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    /// To look at it and to change it, as other parts of the cluster do. Watches are told once the guard is gone.
    pub fn store(&self) -> Guard<'_> {
        Guard { store: self.store.lock().unwrap_or_else(PoisonError::into_inner), version: &self.version }
    }

    /// A client for it.
    pub fn client(&self) -> kube::Client {
        let mut config = kube::Config::new(format!("http://{}", self.address).parse().unwrap());
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
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

pub fn id(plural: &str, namespace: &str, name: &str) -> Id {
    (plural.to_owned(), namespace.to_owned(), name.to_owned())
}

impl Store {
    pub fn get(&self, id: &Id) -> Option<&Value> {
        self.objects.get(id).map(|object| &**object)
    }

    /// All objects of a plural, in all namespaces.
    pub fn all(&self, plural: &str) -> Vec<(Id, Arc<Value>)> {
        let of_plural = self.objects.range(id(plural, "", "")..).take_while(|((of, ..), _)| of == plural);
        of_plural.map(|(id, object)| (id.clone(), Arc::clone(object))).collect()
    }

    /// Creates an object.
    pub fn create(&mut self, plural: &str, mut object: Value) -> Id {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let id = id(plural, &text(&object["metadata"]["namespace"]), &text(&object["metadata"]["name"]));
        self.uids += 1;
        object["metadata"]["uid"] = json!(format!("00000000-0000-0000-0000-{:012}", self.uids));
        object["metadata"]["creationTimestamp"] = json!(now());
        if plural == "daemonsets" {
            object["metadata"]["generation"] = json!(1);
        }
        self.put(&id, Some(object));
        id
    }

    /// Changes an object, if it is there. What does not change it makes no new version.
    pub fn edit(&mut self, id: &Id, change: impl FnOnce(&mut Value)) {
        let Some(before) = self.objects.get(id).cloned() else { return };
        let mut after = Value::clone(&before);
        change(&mut after);
        if after == *before {
            return;
        }
        if id.0 == "daemonsets" && after["spec"] != before["spec"] {
            after["metadata"]["generation"] = json!(after["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
            if after["spec"]["template"] != before["spec"]["template"] {
                let generation = &mut after["metadata"]["annotations"]["deprecated.daemonset.template.generation"];
                let number: i64 = generation.as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
                *generation = json!((number + 1).to_string());
            }
        }
        let deleted = after["metadata"].get("deletionTimestamp").is_some();
        let waits = after["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        let is_pod = id.0 == "pods";
        self.put(id, (!deleted || waits || is_pod).then_some(after));
    }

    /// Removes an object, whatever holds it.
    pub fn remove(&mut self, id: &Id) {
        self.put(id, None);
    }

    /// Asks for an object to go: a pod that runs somewhere has time, and finalizers hold it.
    pub fn delete(&mut self, id: &Id) {
        let Some(object) = self.objects.get(id).cloned() else { return };
        if object["metadata"].get("deletionTimestamp").is_some() {
            return;
        }
        let holds = object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        if holds || (id.0 == "pods" && object["spec"].get("nodeName").is_some()) {
            self.edit(id, |object| object["metadata"]["deletionTimestamp"] = json!(now()));
        } else {
            self.put(id, None);
        }
    }

    /// From now on watches and pages that are older are gone.
    pub fn compact(&mut self) {
        self.oldest = self.version;
        self.changes.clear();
    }

    fn put(&mut self, id: &Id, after: Option<Value>) {
        let before = self.objects.get(id).cloned();
        if before.is_none() && after.is_none() {
            return;
        }
        self.version += 1;
        let version = self.version;
        let created = before.is_none();
        let after = after.map(|mut object| {
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            Arc::new(object)
        });
        if id.0 == "pods" {
            if let Some(node) = before.as_deref().and_then(node_of) {
                self.places.entry((id.1.clone(), node)).or_default().remove(id);
            }
            if let Some(node) = after.as_deref().and_then(node_of) {
                self.places.entry((id.1.clone(), node)).or_default().insert(id.clone());
            }
        }
        match &after {
            Some(object) => self.objects.insert(id.clone(), Arc::clone(object)),
            None => self.objects.remove(id),
        };
        self.changes.push_back(Change { version, id: id.clone(), before, after });
        while self.changes.len() > MEMORY {
            self.oldest = self.changes.pop_front().map_or(self.oldest, |change| change.version);
        }
        if id.0 == "pods" && created {
            self.look_for_crowds(id);
        }
    }

    /// More than one pod of a DaemonSet at work on a node, or two if it surges.
    fn look_for_crowds(&mut self, id: &Id) {
        let at_work = |pod: &Value| {
            let ends = matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
            (!ends && pod["metadata"].get("deletionTimestamp").is_none()).then(|| (owner(pod).cloned(), node_of(pod)))
        };
        let Some(Some((Some(owner), Some(node)))) = self.get(id).map(at_work) else { return };
        let daemonset = self.get(&self::id("daemonsets", &id.1, owner["name"].as_str().unwrap_or_default()));
        // What is made for one that is gone meanwhile goes, too.
        let Some(daemonset) = daemonset.filter(|daemonset| daemonset["metadata"]["uid"] == owner["uid"]) else {
            return;
        };
        let surge = &daemonset["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"];
        let surges = !surge.is_null() && *surge != 0 && *surge != "0%";
        let place = Some((Some(owner.clone()), Some(node.clone())));
        let pods = self.places.get(&(id.1.clone(), node.clone())).into_iter().flatten();
        let together = pods.filter(|pod| self.get(pod).map(at_work).as_ref() == Some(&place)).count();
        if together > if surges { 2 } else { 1 } {
            self.crowds.push(format!("{together} pods of {} on {node}", owner["name"]));
        }
    }

    fn by_chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.as_mut().is_some_and(|random| random.f64() < probability)
    }
}

/// The owner that is a controller.
pub fn owner(object: &Value) -> Option<&Value> {
    object["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)
}

/// The node that a pod is on or meant for.
pub fn node_of(pod: &Value) -> Option<String> {
    let bound = pod["spec"]["nodeName"].as_str();
    let terms = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let meant = terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0].as_str();
    bound.or(meant).map(str::to_owned)
}

pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A path of the API.
#[derive(Debug)]
struct Target {
    plural: String,
    namespace: String,
    name: Option<String>,
    status: bool,
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

/// A refusal as Kubernetes words it.
fn refusal(code: u16, reason: &str, message: &str) -> Response {
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

fn reply(code: StatusCode, body: &Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(target) = Target::of(&parts.uri) else { return refusal(404, "NotFound", "no such path") };
    let query: HashMap<String, String> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
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
                    return refusal(500, "InternalError", "an error of tests");
                }
                if store.by_chance(faults.too_many) {
                    return refusal(429, "TooManyRequests", "an error of tests");
                }
                if writes && target.plural != "events" && store.by_chance(faults.conflict) {
                    return refusal(409, "Conflict", "an error of tests");
                }
                false
            }
        }
    };
    if held {
        return std::future::pending().await; // until the client is no more
    }
    if query.get("watch").is_some_and(|watch| watch != "false" && watch != "0") {
        return watch_from(server, target, &query);
    }
    let media_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let response = match (parts.method.clone(), &target.name) {
        (Method::GET, None) => return list(&server.store(), &target, &query),
        (Method::GET, Some(name)) => {
            let store = server.store();
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
        return refusal(500, "InternalError", "an error of tests, after it was done");
    }
    if store.by_chance(done_and_dropped) {
        drop(store);
        let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("an error of tests")) });
        return Response::new(Body::from_stream(broken));
    }
    response
}

fn selected(object: &Value, query: &HashMap<String, String>) -> bool {
    let labels: Labels = serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default();
    let by_labels = query
        .get("labelSelector")
        .is_none_or(|text| text.parse::<SelectorExpression>().is_ok_and(|selector| selector.matches(&labels)));
    let name = query.get("fieldSelector").and_then(|text| text.strip_prefix("metadata.name="));
    by_labels && name.is_none_or(|name| object["metadata"]["name"] == name)
}

fn concerns(target: &Target, id: &Id) -> bool {
    target.plural == id.0 && (target.namespace.is_empty() || target.namespace == id.1)
}

fn list(store: &Store, target: &Target, query: &HashMap<String, String>) -> Response {
    // "version/namespace/name" of the first page and of the last object of the page before.
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

fn watch_from(server: Server, target: Target, query: &HashMap<String, String>) -> Response {
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
                // One bookmark for every silence, so that a watch that is begun again begins there.
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

fn write(store: &mut Store, verb: &Method, target: &Target, media_type: &str, body: &[u8]) -> Response {
    let body: Value = match body {
        [] => json!({}),
        body => match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => return refusal(400, "BadRequest", &error.to_string()),
        },
    };
    let name = target.name.as_deref().or(body["metadata"]["name"].as_str()).unwrap_or_default().to_owned();
    let id = id(&target.plural, &target.namespace, &name);
    let before = store.objects.get(&id).cloned();
    let response = match (verb.clone(), &before) {
        (Method::POST, _) => create(store, target, &name, body.clone()),
        (_, None) => refusal(404, "NotFound", &format!("{} \"{name}\" not found", target.plural)),
        (Method::PUT, Some(before)) => replace(store, &id, before, body.clone()),
        (Method::PATCH, Some(before)) => patch(store, &id, before, target.status, media_type, &body),
        (Method::DELETE, Some(before)) => delete(store, &id, before, &body),
        _ => refusal(405, "MethodNotAllowed", "no such verb"),
    };
    let object = before.map_or(body, |before| Value::clone(&before));
    let code = response.status().as_u16();
    store.writes.push(Write { verb: verb.clone(), id, status: target.status, object, code });
    response
}

fn create(store: &mut Store, target: &Target, name: &str, mut object: Value) -> Response {
    let namespace = store.get(&id("namespaces", "", &target.namespace));
    let known = ["leases", "events"].contains(&target.plural.as_str());
    match namespace {
        None if !known => return refusal(404, "NotFound", &format!("namespaces \"{}\" not found", target.namespace)),
        Some(namespace) if namespace["metadata"].get("deletionTimestamp").is_some() => {
            return refusal(
                403,
                "NamespaceTerminating",
                "unable to create new content: the namespace is being terminated",
            );
        }
        _ => {}
    }
    if name.is_empty() {
        return refusal(422, "Invalid", "metadata.name: Required value");
    }
    if object["metadata"].get("resourceVersion").is_some() {
        return refusal(400, "BadRequest", "resourceVersion should not be set on objects to be created");
    }
    if store.get(&id(&target.plural, &target.namespace, name)).is_some() {
        return refusal(409, "AlreadyExists", &format!("{} \"{name}\" already exists", target.plural));
    }
    if target.plural == "pods" {
        if object["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
            return refusal(422, "Invalid", "spec.containers: Required value");
        }
        object["status"] = json!({"phase": "Pending"});
    }
    object["metadata"]["namespace"] = json!(target.namespace);
    let id = store.create(&target.plural, object);
    reply(StatusCode::CREATED, store.get(&id).unwrap())
}

fn replace(store: &mut Store, id: &Id, before: &Value, mut object: Value) -> Response {
    let given = &object["metadata"]["resourceVersion"];
    if !given.is_null() && *given != before["metadata"]["resourceVersion"] {
        return refusal(409, "Conflict", "the object has been modified");
    }
    object["metadata"]["uid"] = before["metadata"]["uid"].clone();
    store.edit(id, |stored| *stored = object);
    reply(StatusCode::OK, store.get(id).unwrap())
}

fn patch(store: &mut Store, id: &Id, before: &Value, status: bool, media_type: &str, patch: &Value) -> Response {
    for precondition in ["uid", "resourceVersion"] {
        let given = &patch["metadata"][precondition];
        if !given.is_null() && *given != before["metadata"][precondition] {
            return refusal(409, "Conflict", &format!("Precondition failed: {precondition} in precondition: {given}"));
        }
    }
    let mut after = before.clone();
    match media_type {
        "application/merge-patch+json" => merge(&mut after, patch),
        "application/strategic-merge-patch+json" => {
            let mut rest = patch.clone();
            let owners = rest["metadata"].as_object_mut().and_then(|metadata| metadata.remove("ownerReferences"));
            merge(&mut after, &rest);
            merge_owners(&mut after, owners.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice));
        }
        other => return refusal(415, "UnsupportedMediaType", other),
    }
    store.edit(id, |object| {
        if status {
            object["status"] = after["status"].clone();
        } else {
            let kept = object.get("status").cloned();
            *object = after;
            match (kept, object.as_object_mut()) {
                (Some(kept), Some(object)) => drop(object.insert("status".to_owned(), kept)),
                (None, Some(object)) => drop(object.remove("status")),
                _ => {}
            }
        }
    });
    store.get(id).map_or_else(|| refusal(404, "NotFound", "it is gone by this"), |object| reply(StatusCode::OK, object))
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let target = target.as_object_mut().unwrap();
    // Of a strategic patch.
    if fields.get("$patch").is_some_and(|directive| directive == "replace") {
        target.clear();
    }
    for (key, value) in fields.iter().filter(|(key, _)| *key != "$patch") {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Owner references, whose merge key is the uid.
fn merge_owners(object: &mut Value, changes: &[Value]) {
    if changes.is_empty() {
        return;
    }
    let mut owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    for change in changes {
        owners.retain(|owner| owner["uid"] != change["uid"]);
        if change["$patch"] != "delete" {
            owners.push(change.clone());
        }
    }
    object["metadata"]["ownerReferences"] = json!(owners);
}

fn delete(store: &mut Store, id: &Id, before: &Value, options: &Value) -> Response {
    for precondition in ["uid", "resourceVersion"] {
        let given = &options["preconditions"][precondition];
        if !given.is_null() && *given != before["metadata"][precondition] {
            return refusal(409, "Conflict", &format!("Precondition failed: {precondition} in precondition: {given}"));
        }
    }
    if options["propagationPolicy"] == "Orphan" {
        store.edit(id, |object| object["metadata"]["finalizers"] = json!(["orphan"]));
    }
    store.delete(id);
    reply(StatusCode::OK, store.get(id).unwrap_or(before))
}

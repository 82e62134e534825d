//! Replays decisions of the built-in DaemonSet controller (Kubernetes and OpenShift v1.36.2) on 3,000 random small
//! clusters. Each case is replayed at once and event by event. `tests/recorded/README.md` describes the recording and
//! the comparison.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    time::Duration,
};

use daemonplan::{
    Action, Backoff, Cluster, DeleteReason, Key, Object, Placement, Plan, Settings, Snapshot,
    backoff::{BackoffEntry, BackoffKey},
    model::{ControllerRevision, DaemonSet, DaemonSetStatus, Namespace, Node, Pod, PodNode, PodPhase, Readiness},
};
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    clock: jiff::Timestamp,
    daemon_set: Value,
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    namespace: Namespace,
    revisions: Vec<ControllerRevision>,
    settings: CaseSettings,
    backoff: Vec<CaseBackoff>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CaseSettings {
    burst_replicas: usize,
    openshift_default_node_selector: String,
    kube_default_node_selector: String,
    namespace_aware: bool,
    expectations_satisfied: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CaseBackoff {
    node: String,
    delay_seconds: u64,
    last_update: jiff::Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expect {
    error: Option<String>,
    hash: String,
    creates: Choice,
    deletes: Choice,
    created_pods: BTreeMap<String, Value>,
    adopt: BTreeSet<String>,
    release: BTreeSet<String>,
    adopt_revisions: BTreeSet<String>,
    release_revisions: BTreeSet<String>,
    create_revision: Option<CreatedRevision>,
    update_revisions: Vec<UpdatedRevision>,
    delete_revisions: BTreeSet<String>,
    relabel_pods: Vec<Relabelled>,
    status: Option<DaemonSetStatus>,
    requeue_after_seconds: Vec<f64>,
    events: Vec<ExpectedEvent>,
    should_run: BTreeMap<String, (bool, bool)>,
}

#[derive(Deserialize)]
struct Choice {
    always: BTreeSet<String>,
    sometimes: BTreeSet<String>,
    total: usize,
}

#[derive(Deserialize)]
struct CreatedRevision {
    revision: i64,
    data: Value,
}

#[derive(Deserialize, PartialEq, PartialOrd, Eq, Ord, Debug)]
struct UpdatedRevision {
    name: String,
    revision: i64,
    hash: String,
}

#[derive(Deserialize, PartialEq, PartialOrd, Eq, Ord, Debug)]
struct Relabelled {
    pod: String,
    hash: String,
}

#[derive(Deserialize, PartialEq, PartialOrd, Eq, Ord, Debug)]
struct ExpectedEvent {
    r#type: String,
    reason: String,
}

#[test]
fn every_recorded_decision_agrees() {
    check_all(|case, facts| {
        compare(case, &facts.daemonset, &facts.snapshot(case).plan(), facts.snapshot(case).placements())
    });
}

#[test]
fn every_recorded_decision_agrees_event_by_event() {
    check_all(|case, facts| {
        let key = Key::new(facts.daemonset.namespace.clone(), facts.daemonset.name.clone());
        let mut cluster = by_events(case, facts, &key);
        let plan = cluster.plan(&key, case.clock).unwrap();
        let rules = cluster.placement_rules(&key).unwrap();
        compare(case, &facts.daemonset, &plan, cluster.nodes().map(|node| rules.placement(node)))
    });
}

fn check_all(check: impl Fn(&Case, &Facts) -> Result<(), String>) {
    let cases = cases();
    assert_eq!(cases.len(), 3000);
    let mut differences = Vec::new();
    for case in &cases {
        let outcome = Facts::of(case).and_then(|facts| facts.map_or(Ok(()), |facts| check(case, &facts)));
        if let Err(difference) = outcome {
            differences.push(format!("{}: {difference}", case.name));
        }
    }
    assert!(differences.is_empty(), "{} cases differ:\n{}", differences.len(), differences.join("\n"));
}

fn cases() -> Vec<Case> {
    let packed: &[u8] = include_bytes!("cases.jsonl.gz");
    let lines = BufReader::new(GzDecoder::new(packed)).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// The inputs of a plan besides the lists of the case.
struct Facts {
    daemonset: DaemonSet,
    namespace: Namespace,
    settings: Settings,
    backoff: Backoff,
}

impl Facts {
    /// Returns `None` where an error was recorded and is expected here, too.
    fn of(case: &Case) -> Result<Option<Self>, String> {
        let daemonset = match serde_json::from_value::<DaemonSet>(case.daemon_set.clone()) {
            Ok(daemonset) => daemonset,
            Err(error) => {
                let recorded = case.expect.error.as_deref();
                let invalid_there = recorded.is_some_and(|error| error.contains("not a valid label selector"));
                return if invalid_there { Ok(None) } else { Err(error.to_string()) };
            }
        };
        if let Some(error) = &case.expect.error {
            // The built-in controller fails the whole sync on a missing node; the planner continues.
            return if error.contains("couldn't get node") { Ok(None) } else { Err(format!("expected {error}")) };
        }
        let backoff = case.backoff.iter().map(|entry| backoff_entry(&daemonset, entry)).collect();
        let namespace = if case.settings.namespace_aware { case.namespace.clone() } else { Namespace::new("prod") };
        Ok(Some(Self { daemonset, namespace, settings: settings(&case.settings), backoff }))
    }

    fn snapshot<'a>(&'a self, case: &'a Case) -> Snapshot<'a> {
        let snapshot = Snapshot::new(&self.daemonset, &case.nodes, &case.pods, &self.namespace)
            .revisions(&case.revisions)
            .at(case.clock)
            .settings(&self.settings)
            .backoff(&self.backoff);
        if case.settings.expectations_satisfied { snapshot } else { snapshot.expectations_unsatisfied() }
    }
}

/// Builds the case's cluster event by event, with extra events, and a plan after each.
fn by_events(case: &Case, facts: &Facts, key: &Key) -> Cluster {
    let mut cluster = Cluster::new(facts.settings.clone());
    cluster.set_complete();
    cluster.apply(Namespace::new(facts.namespace.name.clone()));
    cluster.apply(facts.daemonset.clone());
    cluster.set_expectations_satisfied(key, case.settings.expectations_satisfied);
    let (nodes, pods) = (case.nodes.iter(), case.pods.iter());
    let early = nodes.clone().map(|node| Object::from(Node::new(node.name.clone())));
    let early = early.chain(pods.clone().map(|pod| {
        let mut early = pod.clone();
        (early.phase, early.ready, early.deleted) = (PodPhase::Pending, Readiness::default(), None);
        early.node = PodNode::Bound("node-that-goes".into());
        Object::from(early)
    }));
    let late = nodes.cloned().map(Object::from).chain(pods.cloned().map(Object::from));
    let late = late.chain(case.revisions.iter().cloned().map(Object::from));
    let late = late.chain([Object::from(facts.namespace.clone())]);
    let goes = Object::from(Node::new("node-that-goes"));
    for object in [goes.clone()].into_iter().chain(early).chain(late) {
        cluster.apply(object);
        assert!(cluster.plan(key, case.clock).is_some());
    }
    cluster.delete_any(goes.kind(), &goes.key());
    cluster.update_backoff(facts.backoff.iter().map(|(key, entry)| (key.clone(), *entry)), case.clock);
    cluster
}

fn settings(given: &CaseSettings) -> Settings {
    let mut settings = Settings::default();
    (settings.burst, settings.collect_pods_on_missing_nodes) = (given.burst_replicas, false);
    if given.namespace_aware {
        settings.project_node_selector = Some(given.openshift_default_node_selector.parse().unwrap());
        settings.default_node_selector = Some(given.kube_default_node_selector.parse().unwrap());
    }
    settings
}

fn backoff_entry(daemonset: &DaemonSet, entry: &CaseBackoff) -> (BackoffKey, BackoffEntry) {
    let key = BackoffKey::new(daemonset.uid.clone(), daemonset.status.observed_generation, entry.node.as_str());
    let delay = Duration::from_secs(entry.delay_seconds);
    (key, BackoffEntry::new(delay, entry.last_update))
}

fn compare(
    case: &Case,
    daemonset: &DaemonSet,
    plan: &Plan,
    placements: impl Iterator<Item = Placement>,
) -> Result<(), String> {
    let expect = &case.expect;
    let mut done = Done::default();
    for action in &plan.actions {
        done.add(action);
    }
    let placements: BTreeMap<String, (bool, bool)> =
        placements.map(|p| (p.node.to_string(), (p.verdict.should_run(), p.verdict.may_keep_running()))).collect();
    same("shouldRun", &expect.should_run, &placements)?;
    if daemonset.is_being_deleted() {
        return compare_deleted(case, &done);
    }
    choice("creates", &expect.creates, &done.creates, case.settings.burst_replicas)?;
    choice("deletes", &expect.deletes, &done.deletes, case.settings.burst_replicas)?;
    same("adopt", &expect.adopt, &done.adopt)?;
    same("release", &expect.release, &done.release)?;
    same("adoptRevisions", &expect.adopt_revisions, &done.adopt_revisions)?;
    same("releaseRevisions", &expect.release_revisions, &done.release_revisions)?;
    same("deleteRevisions", &expect.delete_revisions, &done.delete_revisions)?;
    same("updateRevisions", &sorted(&expect.update_revisions), &sorted(&done.update_revisions))?;
    same("relabelPods", &sorted(&expect.relabel_pods), &sorted(&done.relabel))?;
    same("status", &expect.status, &done.status)?;
    same("events", &sorted(&expect.events), &sorted(&events(plan)))?;
    let created = expect.create_revision.as_ref().map(|created| (created.revision, without_nothing(&created.data)));
    same("createRevision", &created, &done.create_revision.map(|(number, data)| (number, without_nothing(&data))))?;
    if expect.create_revision.is_none() && !expect.hash.is_empty() {
        same("hash", &expect.hash.as_str(), &&*plan.hash)?;
    }
    for (node, pod) in &done.created_pods {
        if let Some(expected) = expect.created_pods.get(node) {
            same("createdPods", &as_created(expected, &plan.hash), &as_created(pod, &plan.hash))?;
        }
    }
    match expect.requeue_after_seconds.iter().copied().reduce(f64::min) {
        Some(longest) if plan.requeue_after.is_none_or(|after| after.as_secs_f64() > longest) => {
            Err(format!("requeue: expected at most {longest} s, found {:?}", plan.requeue_after))
        }
        _ => Ok(()),
    }
}

/// Compares the plan for a DaemonSet being deleted. In Kubernetes, the garbage collector does this work.
fn compare_deleted(case: &Case, done: &Done) -> Result<(), String> {
    let owned = |owner: Option<&daemonplan::model::ControllerRef>| {
        owner.is_some_and(|o| o.uid == "uid-agent" && o.name == "agent")
    };
    let pods: BTreeSet<String> = case
        .pods
        .iter()
        .filter(|pod| pod.namespace == "prod" && owned(pod.controller.as_deref()))
        .filter(|pod| case.daemon_set["metadata"]["finalizers"][0] == "orphan" || !pod.is_being_deleted())
        .map(|pod| pod.name.to_string())
        .collect();
    let none = BTreeSet::new();
    let orphan = case.daemon_set["metadata"]["finalizers"][0] == "orphan";
    let (released, deleted) = if orphan { (&pods, &none) } else { (&none, &pods) };
    same("status of one being deleted", &None, &done.status)?;
    same("creations of one being deleted", &none, &done.creates)?;
    same("adoptions of one being deleted", &none, &done.adopt)?;
    same("released with orphan", released, &done.release)?;
    if case.settings.expectations_satisfied && deleted.len() <= case.settings.burst_replicas {
        same("deleted without orphan", deleted, &done.deletes)?;
    }
    Ok(())
}

#[derive(Default)]
struct Done {
    creates: BTreeSet<String>,
    deletes: BTreeSet<String>,
    created_pods: BTreeMap<String, Value>,
    adopt: BTreeSet<String>,
    release: BTreeSet<String>,
    adopt_revisions: BTreeSet<String>,
    release_revisions: BTreeSet<String>,
    delete_revisions: BTreeSet<String>,
    update_revisions: Vec<UpdatedRevision>,
    create_revision: Option<(i64, Value)>,
    relabel: Vec<Relabelled>,
    status: Option<DaemonSetStatus>,
}

impl Done {
    fn add(&mut self, action: &Action) {
        let new = match action {
            Action::AdoptPod { pod, .. } => self.adopt.insert(pod.name.to_string()),
            Action::ReleasePod { pod, .. } => self.release.insert(pod.name.to_string()),
            Action::AdoptRevision { revision, .. } => self.adopt_revisions.insert(revision.name.to_string()),
            Action::ReleaseRevision { revision, .. } => self.release_revisions.insert(revision.name.to_string()),
            Action::DeleteRevision { revision, .. } => self.delete_revisions.insert(revision.name.to_string()),
            Action::DeletePod { pod, reason, .. } => {
                assert_ne!(*reason, DeleteReason::Duplicate { kept: pod.name.clone() });
                self.deletes.insert(pod.name.to_string())
            }
            Action::CreatePod { node, blueprint, .. } => {
                self.created_pods.insert(node.to_string(), blueprint.manifest(node));
                self.creates.insert(node.to_string())
            }
            Action::CreateRevision { revision } => {
                self.create_revision.replace((revision.revision, (*revision.data).clone())).is_none()
            }
            Action::UpdateRevision { revision, number, hash, .. } => {
                let (name, hash) = (revision.name.to_string(), hash.to_string());
                self.update_revisions.push(UpdatedRevision { name, revision: *number, hash });
                true
            }
            Action::RelabelPod { pod, hash } => {
                self.relabel.push(Relabelled { pod: pod.name.to_string(), hash: hash.to_string() });
                true
            }
            Action::UpdateStatus { status, .. } => self.status.replace(status.clone()).is_none(),
            other => panic!("unknown action {other}"),
        };
        assert!(new, "duplicate action: {action}");
    }
}

fn choice(what: &str, expect: &Choice, found: &BTreeSet<String>, burst: usize) -> Result<(), String> {
    same(&format!("number of {what}"), &expect.total, &found.len())?;
    let allowed: BTreeSet<_> = expect.always.union(&expect.sometimes).cloned().collect();
    if expect.total == burst || (expect.always.is_subset(found) && found.is_subset(&allowed)) {
        return Ok(());
    }
    Err(format!("{what}: expected {:?} and of {:?}, found {found:?}", expect.always, expect.sometimes))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}: expected {expected:?}, found {found:?}")) }
}

fn sorted<T: Ord>(items: &[T]) -> Vec<&T> {
    let mut items: Vec<_> = items.iter().collect();
    items.sort();
    items
}

fn events(plan: &Plan) -> Vec<ExpectedEvent> {
    let events = plan.events.iter();
    events.map(|e| ExpectedEvent { r#type: format!("{:?}", e.r#type), reason: e.reason.to_owned() }).collect()
}

/// Returns the parts of a pod that come from the template, with the hash label of this plan.
fn as_created(pod: &Value, hash: &str) -> Value {
    let mut metadata = Map::new();
    for field in ["labels", "annotations", "finalizers"] {
        metadata.insert(field.into(), pod["metadata"].get(field).cloned().unwrap_or_default());
    }
    metadata["labels"]["controller-revision-hash"] = json!(hash);
    without_nothing(&json!({"metadata": metadata, "spec": pod["spec"]}))
}

/// Removes nulls, empty objects and empty lists, which equal absent fields.
fn without_nothing(value: &Value) -> Value {
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), without_nothing(value)));
            Value::Object(fields.filter(|(_, value)| !is_nothing(value)).collect())
        }
        Value::Array(items) => items.iter().map(without_nothing).collect(),
        scalar => scalar.clone(),
    }
}

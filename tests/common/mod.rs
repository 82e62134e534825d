//! A cluster builder with defaults, so that a test states only what matters; it can also carry out plans.

#![allow(unreachable_pub, dead_code)] // each test uses its own part
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking
#![allow(clippy::needless_pass_by_value)] // json!(…) reads better than &json!(…)

use std::sync::Arc;

use daemonplan::{
    Action, Backoff, Plan, Settings, Snapshot,
    model::{
        ControllerRef, ControllerRevision, DaemonSet, HASH_LABEL, LabelSelector, Labels, Namespace, Node, Pod, PodNode,
        PodPhase, PodTemplate, Readiness, Taint, Text,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The DaemonSet `prod/agent` with the pods and revisions around it.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub daemonset: DaemonSet,
    pub nodes: Vec<Node>,
    pub pods: Vec<Pod>,
    pub namespace: Namespace,
    pub revisions: Vec<ControllerRevision>,
    pub now: Timestamp,
    pub settings: Settings,
    pub backoff: Backoff,
    /// Number of created pods.
    pub born: u64,
}

/// Returns a cluster with these nodes, a DaemonSet `agent` with image `agent:1`, and its revision (hash `one`).
pub fn cluster(nodes: impl IntoIterator<Item = Node>) -> Cluster {
    let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
    daemonset.uid = "uid-agent".into();
    daemonset.generation = 1;
    daemonset.template = template(json!({"containers": [{"name": "agent", "image": "agent:1"}]}));
    let mut cluster = Cluster {
        daemonset,
        nodes: nodes.into_iter().collect(),
        pods: Vec::new(),
        namespace: Namespace::new("prod"),
        revisions: Vec::new(),
        now: "2026-01-02T03:04:05Z".parse().unwrap(),
        settings: Settings::default(),
        backoff: Backoff::default(),
        born: 0,
    };
    cluster.revisions.push(cluster.revision("one", 1));
    cluster
}

pub fn node(name: &str) -> Node {
    Node::new(name)
}

pub fn labelled(name: &str, labels: &[(&str, &str)]) -> Node {
    let mut node = node(name);
    node.labels = labels.iter().copied().collect();
    node
}

/// Returns a node with taints such as `dedicated=db:NoSchedule`.
pub fn tainted(name: &str, taints: &[&str]) -> Node {
    let mut node = node(name);
    node.taints = taints.iter().map(|text| taint(text)).collect();
    node
}

pub fn taint(text: &str) -> Taint {
    let (key, effect) = text.split_once(':').unwrap();
    let (key, value) = key.split_once('=').unwrap_or((key, ""));
    serde_json::from_value(json!({"key": key, "value": value, "effect": effect})).unwrap()
}

pub fn selector(key: &str, value: &str) -> LabelSelector {
    LabelSelector::new(Labels::from_iter([(key, value)]), Vec::new()).unwrap()
}

pub fn template(spec: Value) -> PodTemplate {
    serde_json::from_value(json!({"metadata": {"labels": {"app": "agent"}}, "spec": spec})).unwrap()
}

/// Returns a required node affinity with these terms.
pub fn affinity(terms: Value) -> Value {
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
}

impl Cluster {
    /// Edits the DaemonSet.
    pub fn with(mut self, change: impl FnOnce(&mut DaemonSet)) -> Self {
        change(&mut self.daemonset);
        self
    }

    /// Sets the template's spec, and the revision for it.
    pub fn with_spec(mut self, spec: Value) -> Self {
        self.daemonset.template = template(spec);
        self.revisions = vec![self.revision("one", 1)];
        self
    }

    /// Sets a new template: the old revision has the hash `one`, the new one `two`.
    pub fn with_new_template(mut self) -> Self {
        self.daemonset.template = template(json!({"containers": [{"name": "agent", "image": "agent:2"}]}));
        self.daemonset.generation += 1;
        self.revisions.push(self.revision("two", 2));
        self
    }

    pub fn with_strategy(mut self, strategy: Value) -> Self {
        let wire = json!({"metadata": {"name": "x"}, "spec": {"updateStrategy": strategy}});
        self.daemonset.update_strategy = serde_json::from_value::<DaemonSet>(wire).unwrap().update_strategy;
        self
    }

    pub fn rolling(self, max_unavailable: Value, max_surge: Value) -> Self {
        let bounds = json!({"maxUnavailable": max_unavailable, "maxSurge": max_surge});
        self.with_strategy(json!({"type": "RollingUpdate", "rollingUpdate": bounds}))
    }

    pub fn with_pod(mut self, pod: Pod) -> Self {
        self.pods.push(pod);
        self
    }

    pub fn with_pods(mut self, pods: impl IntoIterator<Item = Pod>) -> Self {
        self.pods.extend(pods);
        self
    }

    pub fn annotated(mut self, annotations: &[(&str, &str)]) -> Self {
        self.namespace.annotations = annotations.iter().copied().collect();
        self
    }

    pub fn with_settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Returns the revision of the DaemonSet's template with this hash.
    pub fn revision(&self, hash: &str, number: i64) -> ControllerRevision {
        let mut patch = serde_json::to_value(&self.daemonset.template).unwrap();
        patch["$patch"] = json!("replace");
        let data = json!({"spec": {"template": patch}});
        let mut revision = ControllerRevision::new("prod", format!("agent-{hash}"), number, data);
        revision.labels = Labels::from_iter([("app", "agent"), (HASH_LABEL, hash)]);
        revision.controller = Some(owner());
        revision
    }

    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(&self.daemonset, &self.nodes, &self.pods, &self.namespace)
            .revisions(&self.revisions)
            .at(self.now)
            .settings(&self.settings)
            .backoff(&self.backoff)
    }

    pub fn plan(&self) -> Plan {
        self.snapshot().plan()
    }

    /// Returns all actions except the status update, one per line.
    pub fn actions(&self) -> Vec<String> {
        lines(&self.plan())
    }

    /// Carries out the plan as a cluster would: created pods are bound, run, and are ready at once.
    pub fn apply(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::AdoptPod { pod, .. } => self.pod(&pod.name).controller = Some(owner()),
                Action::ReleasePod { pod, .. } => self.pod(&pod.name).controller = None,
                Action::RelabelPod { pod, hash } => {
                    let pod = self.pod(&pod.name);
                    pod.labels = pod.labels.with(HASH_LABEL, hash.clone());
                }
                Action::DeletePod { pod, .. } => self.pods.retain(|other| other.name != pod.name),
                Action::CreatePod { node, blueprint, .. } => {
                    let created = self.born_on(node, blueprint.manifest(node));
                    self.pods.push(created);
                }
                Action::AdoptRevision { revision, .. } => self.revision_mut(&revision.name).controller = Some(owner()),
                Action::ReleaseRevision { revision, .. } => self.revision_mut(&revision.name).controller = None,
                Action::CreateRevision { revision } => self.revisions.push((**revision).clone()),
                Action::UpdateRevision { revision, number, hash, .. } => {
                    let revision = self.revision_mut(&revision.name);
                    revision.revision = *number;
                    revision.labels = revision.labels.with(HASH_LABEL, hash.clone());
                }
                Action::DeleteRevision { revision, .. } => self.revisions.retain(|other| other.name != revision.name),
                Action::RollBack { revision, .. } => {
                    self.daemonset = daemonplan::history::rollback(&self.daemonset, revision).unwrap();
                    self.annotate(&action.patch().unwrap());
                }
                Action::RecordRollout { .. } => self.annotate(&action.patch().unwrap()),
                Action::UpdateStatus { status, .. } => self.daemonset.status = status.clone(),
                other => panic!("unknown action {other}"),
            }
        }
    }

    /// Applies the annotations of a patch.
    fn annotate(&mut self, patch: &Value) {
        for (annotation, text) in patch["metadata"]["annotations"].as_object().unwrap() {
            let annotations = &self.daemonset.annotations;
            self.daemonset.annotations = match text.as_str() {
                Some(text) => annotations.with(annotation.as_str(), text),
                None => annotations.iter().filter(|(key, _)| key.as_str() != annotation).collect(),
            };
        }
    }

    /// Returns an owned snapshot.
    #[cfg(feature = "proptest")]
    pub fn facts(&self) -> daemonplan::OwnedSnapshot {
        let (daemonset, nodes) = (self.daemonset.clone(), self.nodes.clone());
        let mut facts = daemonplan::OwnedSnapshot::new(daemonset, nodes, self.pods.clone(), self.namespace.clone());
        facts.revisions = Some(self.revisions.clone());
        facts.now = Some(self.now);
        facts.settings = self.settings.clone();
        facts.backoff = self.backoff.clone();
        facts
    }

    /// Carries out plans, an hour apart, until one has no action; returns the number of plans.
    pub fn settle(&mut self) -> usize {
        for plans in 1..200 {
            let plan = self.plan();
            let (actions, backoff) = (plan.actions.clone(), plan.backoff.clone());
            if actions.is_empty() {
                return plans;
            }
            self.backoff.update(backoff, self.now);
            self.apply(&actions);
            self.now += SignedDuration::from_hours(1);
        }
        panic!("the cluster does not settle: {:#?}", lines(&self.plan()));
    }

    fn born_on(&mut self, node: &Text, mut manifest: Value) -> Pod {
        self.born += 1;
        manifest["metadata"]["name"] = json!(format!("agent-new-{}", self.born));
        manifest["metadata"]["creationTimestamp"] = json!(self.now.to_string());
        let mut pod: Pod = serde_json::from_value(manifest).unwrap();
        assert_eq!(pod.node.name(), Some(node));
        pod.node = PodNode::Bound(node.clone());
        pod.phase = PodPhase::Running;
        pod.ready = Readiness::Ready { since: Some(self.now) };
        pod
    }

    fn pod(&mut self, name: &Text) -> &mut Pod {
        self.pods.iter_mut().find(|pod| pod.name == *name).unwrap()
    }

    fn revision_mut(&mut self, name: &Text) -> &mut ControllerRevision {
        self.revisions.iter_mut().find(|revision| revision.name == *name).unwrap()
    }
}

pub fn lines(plan: &Plan) -> Vec<String> {
    let actions = plan.actions.iter().filter(|action| !matches!(action, Action::UpdateStatus { .. }));
    actions.map(ToString::to_string).collect()
}

pub fn owner() -> Arc<ControllerRef> {
    ControllerRef { kind: "DaemonSet".into(), name: "agent".into(), uid: "uid-agent".into() }.into()
}

/// Returns a ready pod of the DaemonSet, bound to `node`, with the hash `one`.
pub fn pod(name: &str, node: &str) -> Pod {
    let mut pod = Pod::new("prod", name);
    pod.uid = format!("uid-{name}").into();
    pod.labels = Labels::from_iter([("app", "agent"), (HASH_LABEL, "one")]);
    pod.controller = Some(owner());
    pod.node = PodNode::Bound(node.into());
    pod.phase = PodPhase::Running;
    pod.ready = Readiness::Ready { since: Some("2026-01-02T03:00:00Z".parse().unwrap()) };
    pod.created = Some("2026-01-02T02:00:00Z".parse().unwrap());
    pod
}

/// Returns the pod after `change`.
pub trait PodExt {
    fn but(self, change: impl FnOnce(&mut Pod)) -> Pod;
    fn of(self, hash: &str) -> Pod;
    fn phase(self, phase: PodPhase) -> Pod;
    fn unready(self) -> Pod;
    fn being_deleted(self) -> Pod;
}

impl PodExt for Pod {
    fn but(mut self, change: impl FnOnce(&mut Pod)) -> Pod {
        change(&mut self);
        self
    }

    fn of(self, hash: &str) -> Pod {
        self.but(|pod| pod.labels = pod.labels.with(HASH_LABEL, hash))
    }

    fn phase(self, phase: PodPhase) -> Pod {
        self.unready().but(|pod| pod.phase = phase)
    }

    fn unready(self) -> Pod {
        self.but(|pod| pod.ready = Readiness::default())
    }

    fn being_deleted(self) -> Pod {
        self.but(|pod| pod.deleted = Some("2026-01-02T03:04:00Z".parse().unwrap()))
    }
}

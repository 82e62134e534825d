//! Connects the model to the planner: a [`Cluster`] becomes a snapshot, a plan becomes [`Act`]s.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use daemonplan::{
    Action, Backoff, DeleteReason, Plan, Settings, Snapshot,
    backoff::{BackoffEntry, BackoffKey},
    gc::orphans,
    model as k8s,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::world::{Act, Cluster, Phase, Pod, Rest, TEMPLATES, Taint, Why, template_of};

/// The DaemonSets of the model, and their settings.
pub struct Planner {
    pub strategy: k8s::UpdateStrategy,
    min_ready_seconds: u32,
    /// Whether the planner knows the namespace's node selector.
    knows_selector: bool,
    hashes: Vec<String>,
    memory: Mutex<HashMap<Question, Arc<Vec<Act>>>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Question {
    cluster: Cluster,
    backoff: Vec<u8>,
    unobserved: bool,
}

/// Maximum attempts to find a free name.
const MOST_COLLISIONS: u8 = 4;

fn now() -> Timestamp {
    Timestamp::constant(1_800_000_000, 0)
}

fn node_name(node: u8) -> String {
    format!("node-{node}")
}

fn uid(number: u8) -> k8s::Text {
    format!("uid-{number}").into()
}

fn number(name: &str) -> u8 {
    name.rsplit('-').next().unwrap().parse().unwrap()
}

fn labels() -> k8s::Labels {
    k8s::Labels::from_iter([("app", "agent")])
}

fn owner(number: u8) -> k8s::ControllerRef {
    k8s::ControllerRef { kind: "DaemonSet".into(), name: "agent".into(), uid: uid(number) }
}

fn template(number: u8) -> k8s::PodTemplate {
    let spec = json!({"nodeSelector": {"role": "worker"}, "containers": [{"name": "agent", "image": number}]});
    serde_json::from_value(json!({"metadata": {"labels": {"app": "agent"}}, "spec": spec})).unwrap()
}

impl Planner {
    pub fn new(strategy: k8s::UpdateStrategy, min_ready_seconds: u32, knows_selector: bool) -> Self {
        let mut planner =
            Self { strategy, min_ready_seconds, knows_selector, hashes: Vec::new(), memory: Mutex::default() };
        let namespace = k8s::Namespace::new("prod");
        let hash = |number| {
            let (template, revisions) = (template_of(number), Vec::new());
            let mut daemonset =
                planner.daemonset(&Rest { template, uid: 0, orphaning: false, revisions, selector: false });
            daemonset.status.collision_count = Some(i32::from(number / TEMPLATES));
            Snapshot::new(&daemonset, &[], &[], &namespace).plan().hash.to_string()
        };
        planner.hashes = (0..TEMPLATES * (MOST_COLLISIONS + 1)).map(hash).collect();
        planner
    }

    /// Returns the phase of a started pod: available, unless that takes time.
    pub fn phase_of_a_started_pod(&self) -> Phase {
        if self.min_ready_seconds == 0 { Phase::Available } else { Phase::Ready }
    }

    fn daemonset(&self, rest: &Rest) -> k8s::DaemonSet {
        let mut daemonset = k8s::DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
        daemonset.uid = uid(rest.uid);
        daemonset.selector = k8s::LabelSelector::new(labels(), Vec::new()).ok();
        daemonset.template = template(rest.template);
        daemonset.update_strategy = self.strategy;
        daemonset.min_ready_seconds = self.min_ready_seconds;
        daemonset.revision_history_limit = 0;
        daemonset.deleted = rest.orphaning.then(now);
        daemonset.finalizers = if rest.orphaning { vec!["orphan".into()] } else { Vec::new() };
        daemonset
    }

    fn namespace(&self, rest: &Rest) -> k8s::Namespace {
        let mut namespace = k8s::Namespace::new("prod");
        let annotation = (rest.selector && self.knows_selector).then_some(("openshift.io/node-selector", "zone=a"));
        namespace.annotations = annotation.into_iter().collect();
        namespace
    }

    fn pod(&self, pod: Pod) -> k8s::Pod {
        let mut made = k8s::Pod::new("prod", format!("pod-{}", pod.id));
        made.uid = uid(pod.id);
        made.labels = labels().with(k8s::HASH_LABEL, self.hashes[usize::from(pod.hash)].as_str());
        made.created = Some(now() - SignedDuration::from_hours(100 - i64::from(pod.id)));
        made.deleted = pod.deleting.then(now);
        made.controller = pod.owner.map(|number| owner(number).into());
        let node = node_name(pod.node).into();
        made.node = if pod.bound { k8s::PodNode::Bound(node) } else { k8s::PodNode::Intended(node) };
        let ready = |hours| k8s::Readiness::Ready { since: Some(now() - SignedDuration::from_hours(hours)) };
        (made.phase, made.ready) = match pod.phase {
            Phase::Unready => (k8s::PodPhase::Pending, k8s::Readiness::default()),
            Phase::Ready => (k8s::PodPhase::Running, ready(0)),
            Phase::Available => (k8s::PodPhase::Running, ready(1)),
            Phase::Failed => (k8s::PodPhase::Failed, k8s::Readiness::default()),
            Phase::Succeeded => (k8s::PodPhase::Succeeded, k8s::Readiness::default()),
        };
        made
    }

    fn revisions(&self, rest: &Rest) -> Vec<k8s::ControllerRevision> {
        let revision = |&(number, order, owned): &(u8, i64, Option<u8>)| {
            let hash = self.hashes[usize::from(number)].as_str();
            let mut patch = serde_json::to_value(template(template_of(number))).unwrap();
            patch["$patch"] = json!("replace");
            let data = json!({"spec": {"template": patch}});
            let mut revision = k8s::ControllerRevision::new("prod", format!("agent-{hash}"), order, data);
            revision.labels = labels().with(k8s::HASH_LABEL, hash);
            revision.controller = owned.map(|number| owner(number).into());
            revision
        };
        rest.revisions.iter().map(revision).collect()
    }

    /// Plans a DaemonSet with this status and passes the plan on.
    fn with_plan<T>(
        &self,
        status: k8s::DaemonSetStatus,
        cluster: &Cluster,
        backoff: &[u8],
        unobserved: bool,
        look: impl FnOnce(&Plan) -> T,
    ) -> T {
        let mut daemonset = self.daemonset(&cluster.rest);
        daemonset.status = status;
        let numbered = (0_u8..).zip(&cluster.nodes);
        let nodes = numbered.filter_map(|(number, node)| {
            let node = (*node)?;
            let mut made = k8s::Node::new(node_name(number));
            let role = if node.selected { "worker" } else { "other" };
            made.labels = k8s::Labels::from_iter([("role", role), ("zone", zone(number))]);
            let effect = node.taint.map(|taint| match taint {
                Taint::NoSchedule => k8s::TaintEffect::NoSchedule,
                Taint::NoExecute => k8s::TaintEffect::NoExecute,
            });
            let taint = |effect| k8s::Taint::new("dedicated", "", effect);
            made.taints = effect.into_iter().map(taint).collect();
            Some(made)
        });
        let nodes: Vec<_> = nodes.collect();
        let pods: Vec<_> = cluster.pods.iter().map(|pod| self.pod(*pod)).collect();
        let (namespace, revisions) = (self.namespace(&cluster.rest), self.revisions(&cluster.rest));
        let entry = |node: &u8| {
            let key = BackoffKey::new(daemonset.uid.clone(), 0, node_name(*node));
            (key, BackoffEntry::new(std::time::Duration::from_secs(60), now()))
        };
        let backoff: Backoff = backoff.iter().map(entry).collect();
        let settings = Settings::default();
        let snapshot = Snapshot::new(&daemonset, &nodes, &pods, &namespace)
            .revisions(&revisions)
            .at(now())
            .settings(&settings)
            .backoff(&backoff);
        let snapshot = if unobserved { snapshot.expectations_unsatisfied() } else { snapshot };
        look(&snapshot.plan())
    }

    /// Returns whether a plan has no action once its status is written.
    pub fn has_nothing_to_do(&self, cluster: &Cluster) -> bool {
        let status = self.with_plan(k8s::DaemonSetStatus::default(), cluster, &[], false, |plan| plan.status.clone());
        self.with_plan(status.unwrap(), cluster, &[], false, |plan| plan.actions.is_empty())
    }

    /// Returns what a controller that sees `cluster` would do, except the status update.
    pub fn acts(&self, cluster: Cluster, backoff: &[u8], unobserved: bool) -> Arc<Vec<Act>> {
        let question = Question { cluster, backoff: backoff.to_vec(), unobserved };
        if let Some(known) = self.memory.lock().unwrap().get(&question) {
            return Arc::clone(known);
        }
        let uid = question.cluster.rest.uid;
        let status = k8s::DaemonSetStatus::default();
        let acts = self.with_plan(status, &question.cluster, backoff, unobserved, |plan| {
            plan.actions.iter().filter_map(|action| self.act(action, uid)).collect()
        });
        let acts = Arc::new(acts);
        self.memory.lock().unwrap().insert(question, Arc::clone(&acts));
        acts
    }

    /// Returns all actions of all plans so far.
    pub fn all_acts(&self) -> HashSet<Act> {
        self.memory.lock().unwrap().values().flat_map(|acts| acts.iter().copied()).collect()
    }

    fn act(&self, action: &Action, uid: u8) -> Option<Act> {
        let known = |hash: &str| u8::try_from(self.hashes.iter().position(|known| known == hash).unwrap()).unwrap();
        let hash_in = |name: &str| known(name.strip_prefix("agent-").unwrap());
        Some(match action {
            Action::AdoptPod { pod, .. } => Act::Adopt { pod: number(&pod.name), uid },
            Action::ReleasePod { pod, .. } => Act::Release { pod: number(&pod.name), uid },
            Action::RelabelPod { pod, hash } => Act::Relabel { pod: number(&pod.name), hash: known(hash) },
            Action::AdoptRevision { revision, .. } => Act::AdoptRevision { hash: hash_in(&revision.name), uid },
            Action::ReleaseRevision { revision, .. } => Act::ReleaseRevision { hash: hash_in(&revision.name), uid },
            Action::CreateRevision { revision } => {
                Act::CreateRevision { hash: hash_in(&revision.name), number: revision.revision, uid }
            }
            Action::UpdateRevision { revision, number, .. } => {
                Act::Renumber { hash: hash_in(&revision.name), number: *number }
            }
            Action::DeleteRevision { revision, .. } => Act::DeleteRevision { hash: hash_in(&revision.name) },
            Action::CreatePod { node, blueprint, .. } => {
                let manifest = blueprint.manifest(node);
                let hash = manifest["metadata"]["labels"][k8s::HASH_LABEL].as_str().unwrap();
                Act::Create { node: number(node), hash: known(hash), uid }
            }
            Action::DeletePod { pod, reason, .. } => {
                let reason = match reason {
                    DeleteReason::Outdated => Why::Turn,
                    DeleteReason::SurgeFinished => Why::SurgeFinished,
                    DeleteReason::Failed => Why::Failed,
                    _ => Why::Other,
                };
                Act::Delete { pod: number(&pod.name), reason }
            }
            Action::UpdateStatus { .. } => return None,
            other => panic!("action not in the model: {other}"),
        })
    }

    /// Returns the pods and revisions (by hash) whose DaemonSet is gone.
    pub fn orphans(&self, cluster: &Cluster) -> (Vec<u8>, Vec<u8>) {
        let pods: Vec<_> = cluster.pods.iter().map(|pod| self.pod(*pod)).collect();
        let revisions = self.revisions(&cluster.rest);
        let gone = orphans([&self.daemonset(&cluster.rest)], &pods, &revisions);
        let hash = |name: &k8s::Text| self.hashes.iter().position(|hash| name.ends_with(hash.as_str()));
        (
            gone.pods.iter().map(|pod| number(&pod.name)).collect(),
            gone.revisions.iter().filter_map(|revision| u8::try_from(hash(&revision.name)?).ok()).collect(),
        )
    }
}

/// The namespace's selector requires zone a, which only the first node has.
pub fn zone(node: u8) -> &'static str {
    if node == 0 { "a" } else { "b" }
}

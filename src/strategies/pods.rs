use std::sync::Arc;

use jiff::Timestamp;
use proptest::{option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use crate::strategies::{ago, hash_labels, with_hash};
use crate::{
    model::{
        Container, ControllerRef, ControllerRevision, DaemonSet, HASH_LABEL, Labels, Namespace, Node, Pod, PodNode,
        PodPhase, PodProblem, PodSpec, PodTemplate, Readiness, TEMPLATE_GENERATION_LABEL, Text,
    },
    planner::Snapshot,
};

/// Generates the controller of a pod or a revision.
fn controllers(daemonset: &DaemonSet) -> impl Strategy<Value = Option<Arc<ControllerRef>>> + use<> {
    let own = ControllerRef::from(daemonset);
    let predecessor = ControllerRef { uid: "uid-predecessor".into(), ..own.clone() };
    let other_kind = ControllerRef { kind: "ReplicaSet".into(), ..own.clone() };
    prop_oneof![
        8 => Just(Some(own.into())),
        2 => Just(None),
        1 => Just(Some(predecessor.into())),
        1 => Just(Some(other_kind.into())),
    ]
}

/// Generates labels. The DaemonSet selects most of them.
fn selected() -> impl Strategy<Value = Labels> {
    prop_oneof![
        8 => Just(Labels::from_iter([("app", "agent")])),
        1 => Just(Labels::from_iter([("app", "agent"), ("tier", "old")])),
        1 => Just(Labels::from_iter([("app", "other")])),
    ]
}

pub(super) fn revisions(daemonset: &DaemonSet) -> impl Strategy<Value = Vec<ControllerRevision>> + use<> {
    let own_hash = own_hash(daemonset);
    let namespaces = vec![daemonset.namespace.clone(), daemonset.namespace.clone(), "elsewhere".into()];
    let revision = (
        (0..4_usize, select(hash_labels(["".into()])), 0..5_i64, select(SHAPES.to_vec())),
        (controllers(daemonset), selected(), prop::bool::weighted(0.05), prop::bool::weighted(0.1)),
        (select(namespaces), ages()),
    );
    let daemonset = daemonset.clone();
    prop::collection::vec(revision, 0..6).prop_map(move |revisions| {
        let mut taken = false;
        let numbered = revisions.into_iter().enumerate();
        let revision = |(
            at,
            ((edition, hash, number, shape), (controller, labels, deleted, takes_name), (namespace, created)),
        )| {
            // At most one revision has the name of the revision that a plan creates.
            let name = if takes_name && !taken { own_hash.to_string() } else { format!("r{at}") };
            taken |= takes_name;
            let data = data(&daemonset.template, edition, shape);
            let mut revision =
                ControllerRevision::new(Text::clone(&namespace), format!("{}-{name}", daemonset.name), number, data);
            revision.uid = format!("uid-r{at}").into();
            revision.labels = with_hash(&labels, hash);
            revision.controller = controller;
            revision.created = created;
            revision.deleted = if deleted { Some(ago(1)) } else { None };
            revision
        };
        numbered.map(revision).collect()
    })
}

/// Returns a revision's data, for the current template (edition 0) or an older one.
fn data(template: &PodTemplate, edition: usize, shape: fn(Value) -> Value) -> Value {
    let mut json = template.json().clone();
    if edition > 0 {
        json.insert("edition".into(), edition.into());
    }
    json.insert("$patch".into(), "replace".into());
    shape(json!({"spec": {"template": json}}))
}

/// Transformations of a revision's data that must not affect plans.
const SHAPES: [fn(Value) -> Value; 3] = [as_is, reversed, with_nulls];

fn as_is(value: Value) -> Value {
    value
}

/// Reverses the keys of all objects.
fn reversed(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().rev().map(|(key, value)| (key, reversed(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(reversed).collect(),
        scalar => scalar,
    }
}

/// Adds null fields.
fn with_nulls(mut value: Value) -> Value {
    for path in ["/spec/template", "/spec/template/spec"] {
        if let Some(fields) = value.pointer_mut(path).and_then(Value::as_object_mut) {
            fields.insert("absent".into(), Value::Null);
        }
    }
    value
}

/// Returns the hashes of the revisions, and twice the hash of the current template.
fn hashes(daemonset: &DaemonSet, revisions: &[ControllerRevision]) -> Vec<Option<Text>> {
    let own_hash = own_hash(daemonset);
    let known = revisions.iter().filter_map(|revision| revision.labels.get(HASH_LABEL)).map(Text::from);
    hash_labels(known.chain([own_hash.clone(), own_hash]))
}

fn own_hash(daemonset: &DaemonSet) -> Text {
    Snapshot::new(daemonset, &[], &[], &Namespace::new(daemonset.namespace.clone())).plan().hash
}

/// Generates pods in any state on any node.
pub(super) fn arbitrary_pods(
    daemonset: &DaemonSet,
    nodes: &[Node],
    revisions: &[ControllerRevision],
) -> impl Strategy<Value = Vec<Pod>> + use<> {
    let mut names: Vec<Text> = nodes.iter().map(|node| node.name.clone()).collect();
    let max_count = nodes.len() + nodes.len() / 2 + 3;
    names.push("gone".into());
    let place = prop_oneof![
        8 => select(names.clone()).prop_map(PodNode::Bound),
        2 => select(names).prop_map(PodNode::Intended),
        1 => Just(PodNode::None),
    ];
    let phases = prop_oneof![
        1 => Just(PodPhase::Pending),
        6 => Just(PodPhase::Running),
        1 => Just(PodPhase::Failed),
        1 => Just(PodPhase::Succeeded),
        1 => Just(PodPhase::Unknown),
    ];
    let namespaces = prop_oneof![20 => Just(daemonset.namespace.clone()), 1 => Just("elsewhere".into())];
    let metadata = (namespaces, controllers(daemonset), selected(), select(hashes(daemonset, revisions)), ages());
    let state = (place, phases, readiness(), prop::bool::weighted(0.1), problems(), containers());
    let pod = (metadata, template_generations(), state).prop_map(|(metadata, generation, state)| {
        let (namespace, controller, labels, hash, created) = metadata;
        let (node, phase, ready, deleted, problem, container) = state;
        let mut pod = Pod::new(namespace, "");
        let labels = with_hash(&labels, hash);
        pod.labels = match generation {
            Some(generation) => labels.with(TEMPLATE_GENERATION_LABEL, generation),
            None => labels,
        };
        pod.controller = controller;
        // Pods of a DaemonSet are for one node, also as they are read again.
        pod.spec = container.map(|container| {
            let mut spec = PodSpec::default();
            (spec.containers, spec.is_for_one_node) = (vec![container], node.name().is_some());
            Arc::new(spec)
        });
        pod.node = node;
        pod.phase = phase;
        pod.ready = ready;
        pod.problem = problem;
        pod.created = created;
        pod.deleted = deleted.then(|| ago(10));
        pod
    });
    prop::collection::vec(pod, 0..=max_count).prop_map(|pods| numbered(pods.into_iter()))
}

/// Generates pods as in a settled cluster or during an update: usually one running pod on each of `nodes`.
pub(super) fn typical_pods(
    daemonset: &DaemonSet,
    nodes: Vec<Text>,
    revisions: &[ControllerRevision],
) -> impl Strategy<Value = Vec<Pod>> + use<> {
    let owner = Arc::new(ControllerRef::from(daemonset));
    let namespace = daemonset.namespace.clone();
    let hash = select(hashes(daemonset, revisions));
    let state = (hash, readiness(), prop::bool::weighted(0.05), ages(), problems());
    let pods = prop_oneof![
        8 => prop::collection::vec(state.clone(), 1),
        1 => prop::collection::vec(state, 0..3),
    ];
    prop::collection::vec(pods, nodes.len()).prop_map(move |by_node| {
        let placed = nodes.iter().zip(by_node).flat_map(|(node, pods)| pods.into_iter().map(move |pod| (node, pod)));
        let pod = |(node, state): (&Text, (_, _, bool, _, _))| {
            let (hash, ready, deleted, created, problem) = state;
            let mut pod = Pod::new(namespace.clone(), "");
            pod.labels = with_hash(&Labels::from_iter([("app", "agent")]), hash);
            pod.controller = Some(owner.clone());
            pod.node = PodNode::Bound(node.clone());
            pod.phase = PodPhase::Running;
            pod.ready = ready;
            pod.problem = problem;
            pod.created = created;
            pod.deleted = deleted.then(|| ago(10));
            pod
        };
        numbered(placed.map(pod))
    })
}

fn ages() -> impl Strategy<Value = Option<Timestamp>> + Clone {
    option::weighted(0.9, (1..5_i64).prop_map(|hours| ago(3600 * hours)))
}

/// Containers as those of the generated templates, and others.
fn containers() -> impl Strategy<Value = Option<Container>> + Clone {
    let container = (select(vec!["agent", "other"]), select(vec!["agent:1", "agent:2"]));
    option::weighted(0.8, container.prop_map(|(name, image)| Container::new(name, image)))
}

fn problems() -> impl Strategy<Value = Option<Box<PodProblem>>> + Clone {
    let reasons = select(vec!["", "", "Evicted", "OutOfcpu", "NodeAffinity"]);
    let waiting = select(vec!["", "", "CrashLoopBackOff", "ImagePullBackOff", "SomethingElse"]);
    let refused = option::weighted(0.3, option::weighted(0.8, select(vec![60, 600, 3600])));
    let problem = (reasons, 0..5_u32, any::<bool>(), waiting, refused);
    let problem = problem.prop_map(|(reason, restarts, rebooted, waiting, refused)| {
        let mut problem = PodProblem::default();
        (problem.reason, problem.restarts, problem.waiting) = (reason.into(), restarts, waiting.into());
        problem.rebooted = rebooted && restarts > 0;
        if let Some(age) = refused {
            (problem.unschedulable_reason, problem.unschedulable_since) = ("Unschedulable".into(), age.map(ago));
        }
        // JSON does not distinguish an empty problem from a missing one.
        (problem != PodProblem::default()).then(|| Box::new(problem))
    });
    option::weighted(0.2, problem).prop_map(Option::flatten)
}

fn readiness() -> impl Strategy<Value = Readiness> + Clone {
    let unready = option::weighted(0.8, select(vec![0, 60, 599, 600, 3000, 7200]).prop_map(ago));
    prop_oneof![
        3 => unready.prop_map(|since| Readiness::NotReady { since }),
        8 => select(vec![0, 30, 59, 60, 61, 3600, 3600, 90_000]).prop_map(|age| Readiness::Ready { since: Some(ago(age)) }),
        1 => Just(Readiness::Ready { since: None }),
    ]
}

fn template_generations() -> impl Strategy<Value = Option<&'static str>> {
    option::weighted(0.2, select(vec!["3", "4"]))
}

/// Sets the names and uids of `pods`.
fn numbered(pods: impl Iterator<Item = Pod>) -> Vec<Pod> {
    let named = pods.enumerate().map(|(number, mut pod)| {
        pod.name = format!("agent-{number}").into();
        pod.uid = format!("uid-{number}").into();
        pod
    });
    named.collect()
}

//! Strategies for property tests (feature `proptest`): nodes, templates, DaemonSets and whole clusters.
//!
//! Names, labels, taints and hashes come from small sets, so that generated objects are related. Most pods run on nodes
//! of the cluster, have hashes of its revisions and tolerate its taints.
//!
//! The strategies include input that Kubernetes accepts and then ignores, such as malformed affinity terms. They
//! exclude input that Kubernetes rejects.
//!
//! ```
//! use daemonplan::{Action, strategies::clusters};
//! use proptest::prelude::*;
//!
//! proptest!(|(cluster in clusters(0..20))| {
//!     let plan = cluster.snapshot().plan();
//!     // Test your controller here: it must handle the plan of any cluster.
//!     for action in &plan.actions {
//!         if let Action::CreatePod { node, .. } = action {
//!             prop_assert!(cluster.nodes.iter().any(|known| known.name == *node));
//!         }
//!     }
//! });
//! ```

mod daemon_set;
mod pods;
mod policy;
mod template;

use jiff::{SignedDuration, Timestamp};
use proptest::{collection::SizeRange, option, prelude::*, sample::select};

use crate::{
    affinity::NodeResources,
    backoff::{Backoff, BackoffEntry, BackoffKey},
    model::{DaemonSet, HASH_LABEL, Key, Labels, Namespace, Node, Taint, TaintEffect, Text},
    planner::{OwnedSnapshot, Snapshot},
    settings::Settings,
};

pub use daemon_set::{daemon_sets, int_or_percents};
pub use policy::rollout_policies;
pub use template::pod_templates;

/// Generates clusters with a DaemonSet, the given number of nodes, a few revisions and pods.
///
/// In half of the clusters, pods are in any state on any node. In the other half, most nodes run one pod, as in a
/// settled cluster or during an update.
///
/// ```
/// use daemonplan::strategies::clusters;
/// use proptest::prelude::*;
/// proptest!(|(facts in clusters(0..5))| {
///     prop_assert!(facts.nodes.len() < 5);
/// });
/// ```
pub fn clusters(nodes: impl Into<SizeRange>) -> impl Strategy<Value = OwnedSnapshot> {
    // What makes up a strategy lies on the stack, unless it is boxed.
    let base = (daemon_sets().boxed(), self::nodes(nodes.into()).boxed(), namespaces().boxed(), settings().boxed());
    base.prop_flat_map(|(daemonset, nodes, namespace, settings)| {
        let revisions = pods::revisions(&daemonset);
        revisions.prop_flat_map(move |revisions| {
            let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).settings(&settings);
            let allowed = snapshot.placements().filter(|placement| placement.verdict.may_keep_running());
            let allowed = allowed.map(|placement| placement.node).collect();
            let pods = prop_oneof![
                pods::arbitrary_pods(&daemonset, &nodes, &revisions),
                pods::typical_pods(&daemonset, allowed, &revisions),
            ];
            let backoff = backoffs(&daemonset, &nodes);
            let (daemonset, nodes) = (daemonset.clone(), nodes.clone());
            let (namespace, settings) = (namespace.clone(), settings.clone());
            let given = (prop::bool::weighted(0.9), prop::bool::weighted(0.9), prop::bool::weighted(0.9));
            (pods, backoff, given).prop_map(move |(pods, backoff, (revisions_given, clock, expectations_satisfied))| {
                OwnedSnapshot {
                    daemonset: daemonset.clone(),
                    nodes: nodes.clone(),
                    pods,
                    namespace: namespace.clone(),
                    revisions: revisions_given.then(|| revisions.clone()),
                    now: clock.then_some(now()),
                    settings: settings.clone(),
                    backoff,
                    expectations_satisfied,
                }
            })
        })
    })
}

/// Generates [`clusters`] whose DaemonSet has [rollout policies](rollout_policies) in its annotations.
///
/// ```
/// use daemonplan::strategies::guided_clusters;
/// use proptest::prelude::*;
/// proptest!(|(facts in guided_clusters(0..5))| {
///     prop_assert!(!facts.daemonset.annotations.is_empty());
/// });
/// ```
pub fn guided_clusters(nodes: impl Into<SizeRange>) -> impl Strategy<Value = OwnedSnapshot> {
    let record = option::weighted(0.4, policy::rollout_records());
    (clusters(nodes.into()).boxed(), rollout_policies().boxed(), record).prop_map(|(mut facts, policy, record)| {
        let current = facts.snapshot().plan().hash;
        let policy = policy.annotations();
        // Some policies approve the current template.
        let policy = policy.iter().map(|(key, value)| match value.as_str() {
            approved if approved.starts_with("approve-current") => {
                (key.clone(), approved.replace("approve-current", &current).into())
            }
            _ => (key.clone(), value.clone()),
        });
        let record = record.map(|record| {
            let text = record.to_string().replace("current", &current);
            (Text::from("daemonplan/rollout-record"), text.into())
        });
        let before = facts.daemonset.annotations.iter().map(|(key, value)| (key.clone(), value.clone()));
        facts.daemonset.annotations = before.chain(policy).chain(record).collect();
        facts
    })
}

/// Generates the given number of nodes: `node-0`, `node-1` and so on.
///
/// ```
/// use daemonplan::strategies::nodes;
/// use proptest::prelude::*;
/// proptest!(|(nodes in nodes(3))| {
///     prop_assert_eq!(nodes.len(), 3);
/// });
/// ```
pub fn nodes(count: impl Into<SizeRange>) -> impl Strategy<Value = Vec<Node>> {
    let deleted = option::weighted(0.05, 0..1200_i64);
    let created = option::of(select(vec![0, 600, 640, 3600]).prop_map(ago));
    let node = (labels(), prop::collection::vec(taints(), 0..3), (deleted, created));
    prop::collection::vec(node, count).prop_map(|nodes| {
        let numbered = nodes.into_iter().enumerate();
        let node = |(number, (labels, taints, (deleted, created))): (_, (_, _, (Option<i64>, _)))| {
            let mut node = Node::new(format!("node-{number}"));
            node.uid = format!("uid-node-{number}").into();
            node.labels = labels;
            node.taints = taints;
            (node.deleted, node.created) = (deleted.map(ago), created);
            node
        };
        numbered.map(node).collect()
    })
}

/// Generates selector expressions as text, as in `--selector`, node selector annotations and settings.
///
/// One in ten is malformed.
///
/// ```
/// use daemonplan::{selector::SelectorExpression, strategies::selector_texts};
/// use proptest::prelude::*;
/// proptest!(|(text in selector_texts())| {
///     let _: Result<SelectorExpression, _> = text.parse(); // some are malformed
/// });
/// ```
pub fn selector_texts() -> impl Strategy<Value = String> {
    let key = || select(vec!["role", "zone", "speed", "example.com/gpu"]);
    let value = || select(vec!["worker", "infra", "a", "b", ""]);
    let requirement = prop_oneof![
        4 => (key(), select(vec!["=", "==", "!="]), value()).prop_map(|(k, op, v)| format!("{k}{op}{v}")),
        2 => (key(), select(vec!["in", "notin"]), value(), value()).prop_map(|(k, op, v, w)| format!("{k} {op} ({v}, {w})")),
        1 => (select(vec!["", "!"]), key()).prop_map(|(not, k)| format!("{not}{k}")),
        1 => (select(vec!["<", ">"]), 0..30).prop_map(|(op, bound)| format!("speed {op} {bound}")),
    ];
    let malformed = select(vec!["role in worker", "=worker", "a,,b", "speed>fast", "role=a b", "!", "a in (b"]);
    prop_oneof![
        9 => prop::collection::vec(requirement, 0..3).prop_map(|all| all.join(",")),
        1 => malformed.prop_map(str::to_owned),
    ]
}

/// Generates settings. Most have no node selectors.
///
/// ```
/// use daemonplan::{Cluster, strategies::settings};
/// use proptest::prelude::*;
/// proptest!(|(settings in settings())| {
///     let _ = Cluster::new(settings);
/// });
/// ```
pub fn settings() -> impl Strategy<Value = Settings> {
    let selector = || option::weighted(0.2, selector_texts());
    let burst = prop_oneof![3 => Just(250_usize), 1 => 0..4_usize];
    let resources = prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(node_resources(), 1..3)];
    (burst, selector(), selector(), prop::bool::weighted(0.2), prop::bool::weighted(0.2), resources).prop_map(
        |(burst, project, default, keep, compare, node_resources)| {
            // Malformed selectors are left out: settings cannot hold them.
            Settings {
                burst,
                project_node_selector: project.and_then(|text| text.parse().ok()),
                default_node_selector: default.and_then(|text| text.parse().ok()),
                collect_pods_on_missing_nodes: !keep,
                toleration_comparison: compare,
                node_resources: node_resources.into_iter().flatten().collect(),
                ..Settings::default()
            }
        },
    )
}

/// What the container of [`pod_templates`] requests on some nodes, unless the selector is malformed.
fn node_resources() -> impl Strategy<Value = Option<NodeResources>> {
    let amounts = || option::of((select(vec!["cpu", "memory"]), 0..9_i64));
    (selector_texts(), amounts(), amounts()).prop_map(|(nodes, requests, limits)| {
        let mut resources = NodeResources::new(Key::new(NAMESPACE, "agent"), nodes.parse().ok()?);
        let own = resources.containers.entry("agent".into()).or_default();
        for (list, amounts) in [(&mut own.requests, requests), (&mut own.limits, limits)] {
            *list = amounts.into_iter().map(|(resource, amount)| (resource, amount.into())).collect();
        }
        Some(resources)
    })
}

/// Generates the namespace of [`daemon_sets`], with and without node selector annotations.
///
/// ```
/// use daemonplan::strategies::namespaces;
/// use proptest::prelude::*;
/// proptest!(|(namespace in namespaces())| {
///     prop_assert!(!namespace.name.is_empty());
/// });
/// ```
pub fn namespaces() -> impl Strategy<Value = Namespace> {
    (option::weighted(0.3, selector_texts()), option::weighted(0.1, selector_texts())).prop_map(
        |(project, kubernetes)| {
            let mut namespace = Namespace::new(NAMESPACE);
            let project = project.map(|text| ("openshift.io/node-selector", text));
            let kubernetes = kubernetes.map(|text| ("scheduler.alpha.kubernetes.io/node-selector", text));
            namespace.annotations = project.into_iter().chain(kubernetes).collect();
            namespace
        },
    )
}

const NAMESPACE: &str = "prod";
const UID: &str = "uid-agent";

fn now() -> Timestamp {
    Timestamp::constant(1_767_323_045, 0)
}

fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn labels() -> impl Strategy<Value = Labels> {
    let role = option::weighted(0.8, select(vec!["worker", "worker", "infra"]));
    let zone = option::of(select(vec!["a", "b", ""]));
    let speed = option::weighted(0.3, select(vec!["5", "20", "fast", "-1"]));
    let gpu = option::weighted(0.2, Just("true"));
    (role, zone, speed, gpu).prop_map(|(role, zone, speed, gpu)| {
        let pairs = [("role", role), ("zone", zone), ("speed", speed), ("example.com/gpu", gpu)];
        pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    })
}

fn taint_keys() -> impl Strategy<Value = &'static str> {
    select(vec![
        "dedicated",
        "dedicated",
        "node.kubernetes.io/unschedulable",
        "node.kubernetes.io/network-unavailable",
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ])
}

fn taints() -> impl Strategy<Value = Taint> {
    let effects = [
        TaintEffect::NoSchedule,
        TaintEffect::NoSchedule,
        TaintEffect::NoExecute,
        TaintEffect::PreferNoSchedule,
        TaintEffect::Unknown,
    ];
    let added = option::of(0..1200_i64);
    (taint_keys(), select(vec!["", "db", "7"]), select(effects.to_vec()), added).prop_map(
        |(key, value, effect, added)| {
            let mut taint = Taint::new(key, value, effect);
            taint.added = added.map(ago);
            taint
        },
    )
}

fn backoffs(daemonset: &DaemonSet, nodes: &[Node]) -> impl Strategy<Value = Backoff> + use<> {
    let (uid, observed) = (daemonset.uid.clone(), daemonset.status.observed_generation);
    let names: Vec<Text> = nodes.iter().map(|node| node.name.clone()).chain(["gone".into()]).collect();
    let reasons = select(vec!["", "", "", "Evicted", "OutOfcpu", BackoffKey::REFUSED]);
    let entry = (select(names), prop::bool::weighted(0.9), select(vec![1, 2, 64, 900]), 0..4000_i64, reasons);
    prop::collection::vec(entry, 0..4).prop_map(move |entries| {
        let entry = |(node, current, delay, age, reason)| {
            let observed_generation = if current { observed } else { observed + 1 };
            let key = BackoffKey::new(uid.clone(), observed_generation, node).because(reason);
            (key, BackoffEntry::new(std::time::Duration::from_secs(delay), ago(age)))
        };
        entries.into_iter().map(entry).collect()
    })
}

/// Returns the hash labels of pods and revisions; `None` is a missing label.
fn hash_labels(more: impl IntoIterator<Item = Text>) -> Vec<Option<Text>> {
    let known = ["one", "two", "three"].into_iter().map(Text::from);
    known.chain(more).map(Some).chain([None]).collect()
}

fn with_hash(labels: &Labels, hash: Option<Text>) -> Labels {
    match hash {
        Some(hash) => labels.with(HASH_LABEL, hash),
        None => labels.clone(),
    }
}

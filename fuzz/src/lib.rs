//! Code shared by the fuzz targets: the input bytes choose a cluster from the crate's own strategies, and change it.

use daemonplan::{
    OwnedSnapshot,
    model::{
        ControllerRef, HASH_LABEL, IntOrPercent, Labels, PodNode, PodPhase, PodProblem, Readiness, Taint, TaintEffect,
        UpdateStrategy,
    },
    strategies::clusters,
};
use jiff::{SignedDuration, Timestamp};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// Returns the cluster chosen by the first two bytes, changed by each three bytes that follow.
pub fn cluster(bytes: &[u8]) -> Option<OwnedSnapshot> {
    let (seed, changes) = bytes.split_at_checked(2)?;
    let seed: Vec<u8> = seed.iter().copied().cycle().take(32).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut facts = clusters(0..8).new_tree(&mut runner).ok()?.current();
    let own_hash = facts.snapshot().plan().hash;
    for change in changes.chunks_exact(3) {
        let &[what, which, value] = change else { continue };
        change_one(&mut facts, &own_hash, what, usize::from(which), value);
    }
    Some(facts)
}

fn change_one(facts: &mut OwnedSnapshot, own_hash: &str, what: u8, which: usize, value: u8) {
    let now = facts.now.unwrap_or(Timestamp::UNIX_EPOCH);
    let odd = value % 2 == 1;
    let nodes: Vec<_> = facts.nodes.iter().map(|node| node.name.clone()).chain(["gone".into()]).collect();
    let (pod_count, node_count) = (facts.pods.len().max(1), facts.nodes.len().max(1));
    let owner = ControllerRef {
        kind: "DaemonSet".into(),
        name: facts.daemonset.name.clone(),
        uid: if odd { facts.daemonset.uid.clone() } else { "uid-other".into() },
    };
    match what % 14 {
        0..=6 => {
            let Some(pod) = facts.pods.get_mut(which % pod_count) else { return };
            let node = nodes[usize::from(value / 4) % nodes.len()].clone();
            match what % 14 {
                0 => {
                    pod.node = match value % 4 {
                        0 => PodNode::None,
                        1 => PodNode::Intended(node),
                        _ => PodNode::Bound(node),
                    }
                }
                1 => {
                    pod.phase = match value % 5 {
                        0 => PodPhase::Pending,
                        1 => PodPhase::Failed,
                        2 => PodPhase::Succeeded,
                        3 => PodPhase::Unknown,
                        _ => PodPhase::Running,
                    }
                }
                2 => {
                    let since = Some(now - SignedDuration::from_secs(i64::from(value)));
                    pod.ready = if odd { Readiness::Ready { since } } else { Readiness::default() };
                }
                3 => {
                    let hash = ["one", "two", own_hash, ""][usize::from(value) % 4];
                    pod.labels = pod.labels.with(HASH_LABEL, hash);
                }
                4 => pod.deleted = odd.then_some(now),
                5 => pod.controller = (value % 4 != 0).then_some(owner.into()),
                _ => pod.labels = pod.labels.with("app", if odd { "agent" } else { "other" }),
            }
        }
        7 => {
            let Some(node) = facts.nodes.get_mut(which % node_count) else { return };
            let role = ["worker", "infra", ""][usize::from(value) % 3];
            node.labels = node.labels.with("role", role);
        }
        8 => {
            let Some(node) = facts.nodes.get_mut(which % node_count) else { return };
            let effect = match value % 3 {
                0 => TaintEffect::NoSchedule,
                1 => TaintEffect::NoExecute,
                _ => return node.taints.clear(),
            };
            node.taints.push(Taint::new("dedicated", "db", effect));
        }
        9 => {
            let bound = if odd { IntOrPercent::Int(value.into()) } else { IntOrPercent::Percent(value.into()) };
            let zero = IntOrPercent::Int(0);
            facts.daemonset.update_strategy = match which % 3 {
                0 => UpdateStrategy::OnDelete,
                1 => UpdateStrategy::RollingUpdate { max_unavailable: bound, max_surge: zero },
                _ => UpdateStrategy::RollingUpdate { max_unavailable: zero, max_surge: bound },
            };
        }
        10 => {
            let selector = ["role=worker", "role!=worker", "", "role in"][usize::from(value) % 4];
            facts.namespace.annotations = Labels::from_iter([("openshift.io/node-selector", selector)]);
        }
        11 => {
            const POLICIES: [(&str, [&str; 2]); 16] = [
                ("paused", ["true", "true"]),
                ("update-nodes", ["role=worker", "role"]),
                ("partition", ["1", "40%"]),
                ("order", ["oldest-pod", "random=7"]),
                ("groups", ["role", "zone"]),
                ("strict-budget", ["true", "true"]),
                ("away", ["cordoned", "deleted,unreachable=5m"]),
                ("canary", ["1", "2"]),
                ("canary", ["25%", "1"]),
                ("on-failure", ["pause", "roll-back"]),
                ("on-failure", ["roll-back", "pause"]),
                ("backoff", ["by-reason", "by-reason"]),
                ("order", ["priority=speed", "oldest-pod"]),
                ("partition", ["0", "2"]),
                ("groups", ["zone", "role"]),
                ("away", ["not-ready", "not-ready=10m,unreachable"]),
            ];
            let (name, values) = POLICIES[which % POLICIES.len()];
            let annotation = format!("daemonplan/{name}");
            facts.daemonset.annotations = facts.daemonset.annotations.with(annotation, values[usize::from(odd)]);
        }
        12 => {
            let Some(pod) = facts.pods.get_mut(which % pod_count) else { return };
            let mut problem = PodProblem::default();
            problem.restarts = u32::from(value % 5);
            problem.waiting = ["", "CrashLoopBackOff", "ImagePullBackOff"][usize::from(value) % 3].into();
            problem.reason = ["", "Evicted", "OutOfcpu"][usize::from(value / 3) % 3].into();
            pod.problem = (problem != PodProblem::default()).then(|| Box::new(problem));
        }
        _ => match which % 4 {
            0 => facts.settings.burst = value.into(),
            1 => facts.daemonset.min_ready_seconds = u32::from(value),
            2 => facts.daemonset.revision_history_limit = u32::from(value % 4),
            _ => facts.expectations_satisfied = odd,
        },
    }
}

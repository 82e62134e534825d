//! Updates with a rollout policy.

mod annotations;
mod away;
mod backoff;
mod budget;
mod canaries;
mod failures;
mod memory;
mod order;
mod scope;
mod ways;

use daemonplan::{
    Action, RolloutPolicy,
    explain::UpdateState,
    lint::{Lint, lint},
    model::{IntOrPercent, Node, Pod, PodNode, PodPhase, PodProblem, Readiness},
    policy::{CanaryStep, ReplacedNodes, RolloutPhase, RolloutRecord},
};
use jiff::SignedDuration;
use serde_json::json;

use crate::common::*;

/// The step of canaries that have only one.
const ONLY: CanaryStep = CanaryStep { number: 1, of: 1 };

/// Returns nodes a, b, … with a new template (hash `two`), `maxUnavailable` 2, and these annotations.
pub(super) fn update(nodes: impl IntoIterator<Item = Node>, annotations: &[(&str, &str)]) -> Cluster {
    let annotations: Vec<_> = annotations.iter().map(|(key, value)| (format!("daemonplan/{key}"), *value)).collect();
    cluster(nodes).with_new_template().rolling(json!(2), json!(0)).with(|daemonset| {
        daemonset.annotations = annotations.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    })
}

fn plain(names: &[&str]) -> Vec<Node> {
    names.iter().map(|name| node(name)).collect()
}

pub(super) fn old(node: &str) -> Pod {
    pod(&format!("old-{node}"), node)
}

fn new(node: &str) -> Pod {
    pod(&format!("new-{node}"), node).of("two")
}

fn crashing(node: &str) -> Pod {
    new(node).unready().but(|pod| {
        let mut problem = PodProblem::default();
        (problem.waiting, problem.restarts) = ("CrashLoopBackOff".into(), 3);
        pod.problem = Some(Box::new(problem));
    })
}

/// Returns the nodes that are updated next.
fn next_nodes(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.plan().actions.into_iter().filter_map(|action| match action {
        Action::DeletePod { node: Some(node), .. } | Action::CreatePod { node, .. } => Some(node.to_string()),
        _ => None,
    });
    nodes.collect()
}

fn phase(cluster: &Cluster) -> RolloutPhase {
    cluster.plan().rollout.unwrap().phase
}

/// Returns the image of the pod to be created on a node.
fn created_image(cluster: &Cluster) -> String {
    let image = cluster.plan().actions.iter().find_map(|action| match action {
        Action::CreatePod { node, blueprint, .. } => {
            Some(blueprint.manifest(node)["spec"]["containers"][0]["image"].as_str().unwrap().to_owned())
        }
        _ => None,
    });
    image.unwrap()
}

#[test]
fn without_a_policy_a_plan_has_no_rollout_status() {
    assert_eq!(update(plain(&["a"]), &[]).plan().rollout, None);
}

pub(super) fn zoned() -> Vec<Node> {
    ["a", "b", "c", "d"]
        .into_iter()
        .zip(["east", "west", "east", "west"])
        .map(|(name, zone)| labelled(name, &[("zone", zone)]))
        .collect()
}

/// Returns an outdated pod that keeps crashing.
fn broken(node: &str) -> Pod {
    old(node).unready().but(|pod| pod.problem = Some(Box::new(restarted(9, "CrashLoopBackOff"))))
}

fn restarted(restarts: u32, waiting: &str) -> PodProblem {
    let mut problem = PodProblem::default();
    (problem.restarts, problem.waiting) = (restarts, waiting.into());
    problem
}

/// Returns the time so many minutes ago.
fn minutes_ago(minutes: i64) -> jiff::Timestamp {
    "2026-01-02T03:04:05Z".parse::<jiff::Timestamp>().unwrap() - SignedDuration::from_mins(minutes)
}

/// Returns a node that has been unreachable for so many minutes.
fn unreachable(name: &str, minutes: i64) -> Node {
    let mut node = tainted(name, &["node.kubernetes.io/unreachable:NoExecute"]);
    node.taints[0].added = Some(minutes_ago(minutes));
    node
}

/// Returns what the DaemonSet records of its updates.
fn record(cluster: &Cluster) -> RolloutRecord {
    RolloutRecord::of(&cluster.daemonset.annotations, RolloutPolicy::PREFIX).unwrap()
}

/// Carries the next plan out.
fn step(cluster: &mut Cluster) -> Vec<String> {
    let plan = cluster.plan();
    cluster.apply(&plan.actions);
    lines(&plan)
}

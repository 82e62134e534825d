//! Guides, one page each.

/// How to embed the planner in a controller.
///
/// A controller keeps a [`Cluster`](crate::Cluster) and repeats three steps: it applies the events of its watches
/// ([`apply`](crate::Cluster::apply), [`delete`](crate::Cluster::delete), and [`resync`](crate::Cluster::resync) after a
/// new list), [plans](crate::Cluster::plan) for the [stale](crate::Cluster::stale) DaemonSets, and carries the plans out.
///
/// - **Order.** Carry actions out in their order. Stopping after any of them is safe: the next plan continues.
/// - **Preconditions.** [`Action::object`](crate::Action::object) has the uid that the object must still have. Send it with
///   a deletion; a conflict only means to plan again.
/// - **Expectations.** Until the watch has shown all of a plan's writes, call
///   [`set_expectations_satisfied`](crate::Cluster::set_expectations_satisfied) with `false`. Plans then create and delete
///   nothing, so that no pod is created twice because its first creation has not shown up yet. Stop waiting after some
///   minutes: a write may have been undone before the watch saw it.
/// - **Time.** [`next_stale_after`](crate::Cluster::next_stale_after) tells when time alone makes a plan stale, for example
///   when a pod becomes available or a back-off ends. Plan then, even without an event.
/// - **Back-off.** Keep [`Plan::backoff`](crate::Plan::backoff) with [`update_backoff`](crate::Cluster::update_backoff).
/// - **Revisions.** Create them with [`ControllerRevision::manifest`](crate::model::ControllerRevision::manifest): if the
///   built-in controller takes the DaemonSet back, it recognises its revisions by their bytes.
/// - **Policies.** DaemonSets may carry [policies](policies) in their annotations. One of them asks for
///   [`Action::RollBack`](crate::Action::RollBack): patch the DaemonSet with the revision's data, with its generation as a
///   precondition. [`Plan::rollout`](crate::Plan::rollout) is the state of the update. If the API server refuses to create a
///   pod, pass [`Backoff::refused`](crate::Backoff::refused) to `update_backoff`.
/// - **Adoption.** Read the DaemonSet again before carrying out an adoption: a DaemonSet that is being deleted adopts
///   nothing, and the watch may lag.
///
/// Objects come in as the API server's JSON, read directly into the types of [`model`](crate::model), which keep only what
/// plans need. The feature `k8s-openapi` converts that crate's objects, for a controller that already has them.
///
/// A complete example with an API server in memory (`examples/controller.rs`, run by
/// `cargo run --features manifest --example controller`):
#[cfg_attr(feature = "manifest", doc = "```no_run")]
#[cfg_attr(not(feature = "manifest"), doc = "```ignore")]
#[doc = include_str!("../../examples/controller.rs")]
#[doc = "```"]
///
/// For a real API server see the package `daemonplan-controller` in the repository, a controller on the crate kube with
/// watches, a queue, expectations, preconditions, leader election, and the handling of failures.
pub mod embed {}

/// How to test a controller with generated clusters.
///
/// The features `proptest` and `synthetic` provide clusters for tests of a controller, or of any other embedder:
///
/// - `strategies`: small clusters with many edge cases, for properties: pods of other owners, malformed affinity terms,
///   outdated revisions, missing nodes. Failing cases are shrunk.
/// - `synthetic`: large clusters that resemble real ones, the same for the same seed, for benchmarks and load tests.
///
/// A property of a controller is a sentence about its behaviour with any cluster. Here: whatever the plan, your `carry_out`
/// deletes only the pods that the plan deletes.
///
#[cfg_attr(feature = "proptest", doc = "```")]
#[cfg_attr(not(feature = "proptest"), doc = "```ignore")]
/// use daemonplan::{Action, model::Pod, strategies::clusters};
/// use proptest::prelude::*;
///
/// fn carry_out(pods: &mut Vec<Pod>, actions: &[Action]) {
///     for action in actions {
///         if let Action::DeletePod { pod, .. } = action {
///             pods.retain(|other| other.uid != pod.uid || other.name != pod.name);
///         }
///     }
/// }
///
/// proptest!(|(cluster in clusters(0..20))| {
///     let plan = cluster.snapshot().plan();
///     let mut pods = cluster.pods.clone();
///     carry_out(&mut pods, &plan.actions);
///     let deletions = plan.actions.iter().filter(|action| matches!(action, Action::DeletePod { .. })).count();
///     prop_assert_eq!(pods.len(), cluster.pods.len() - deletions);
/// });
/// ```
///
/// Other sentences worth a property: stopping after any action and planning again leads to the same end; a second replica
/// that acts at the same time does no harm; a failed write is repeated.
///
/// To simulate a rollout without an API server, use `Snapshot::forecast` (feature `forecast`), which plays it forward under
/// stated assumptions, and `PodBlueprint::pod` for a simulator of your own.
pub mod testing {}

#[allow(clippy::doc_markdown)] // prose with many Kubernetes names
#[doc = include_str!("policies.md")]
pub mod policies {}

#[allow(clippy::doc_markdown)] // prose with many Kubernetes names
#[doc = include_str!("differences.md")]
pub mod differences {}

#[allow(clippy::doc_markdown)] // prose with many Kubernetes names
#[doc = include_str!("cookbook.md")]
pub mod cookbook {}

#[allow(clippy::doc_markdown)] // prose with many Kubernetes names
#[doc = include_str!("output.md")]
pub mod output {}

//! How to use it, page by page.

/// Embed it in your controller.
///
/// A controller keeps a [`Cluster`](crate::cluster::Cluster), and goes round and round three steps: what a watch tells goes in
/// ([`apply`](crate::cluster::Cluster::apply), [`delete`](crate::cluster::Cluster::delete), and [`resync`](crate::cluster::Cluster::resync) once a watch
/// starts anew), what is [`stale`](crate::cluster::Cluster::stale) is [planned](crate::cluster::Cluster::plan), and plans are carried out. What
/// to mind:
///
/// - **Order.** Carry actions out in their order. It is safe to stop after any of them: the next plan takes up what is left.
/// - **Preconditions.** [`Action::object`](crate::plan::Action::object) has the uid that the object must still have. Give it to the
///   API server with a deletion; a conflict means to plan again, no more.
/// - **Effects unobserved.** Until all that was written has come back through the watch, say so with
///   [`set_expectations_satisfied`](crate::cluster::Cluster::set_expectations_satisfied). Plans create and delete nothing then, so that no pod is
///   created twice because its first creation has not shown up yet. Give up waiting after some minutes: a write may have been
///   undone before the watch saw it.
/// - **Time.** [`next_stale_after`](crate::cluster::Cluster::next_stale_after) says when time alone makes a plan stale: a pod that has been
///   ready for long enough, a back-off that is over. Plan then, even if nothing happens.
/// - **Back-off.** Keep [`Plan::backoff`](crate::plan::Plan::backoff) with [`update_backoff`](crate::cluster::Cluster::update_backoff).
/// - **Revisions.** Create them with [`ControllerRevision::manifest`](crate::model::ControllerRevision::manifest): the built-in
///   controller, should it get the DaemonSet back, knows them by their bytes.
/// - **Policies.** DaemonSets may have [policies](policies) in their annotations. One of them asks for
///   [`Action::RollBack`](crate::plan::Action::RollBack): patch the DaemonSet with the revision's data, on condition that its
///   generation is still the one that was planned for. [`Plan::rollout`](crate::plan::Plan::rollout) says where the update stands. If the API
///   server refuses to create a pod, hand [`Backoff::refused`](crate::backoff::Backoff::refused) to `update_backoff`.
/// - **Adoption.** Before you carry out an adoption, read the DaemonSet anew: one that is being deleted adopts nothing, and the
///   watch may lag behind.
///
/// Objects come in as the API server's JSON, straight into the types of [`model`](crate::model), which keep what is planned
/// from. The feature `k8s-openapi` converts that crate's objects, for a controller that has them already.
///
/// The whole of it, with an API server in memory in place of yours (`examples/controller.rs`, run by
/// `cargo run --features yaml --example controller`):
#[cfg_attr(feature = "manifest", doc = "```no_run")]
#[cfg_attr(not(feature = "manifest"), doc = "```ignore")]
#[doc = include_str!("../../examples/controller.rs")]
#[doc = "```"]
///
/// For a real API server see `examples/kube-controller` in the repository, a controller on the crate kube: watches, a queue, what is
/// written and does not show yet, preconditions, leader election, and all that goes wrong.
pub mod embed {}

/// Test your controller with our generators.
///
/// The features `proptest` and `synthetic` give you clusters to test a controller, or whatever else embeds the planner, on:
///
/// - `strategies`: small clusters, any that you could think of and many more, for properties: pods of other owners, malformed
///   affinity terms, stale revisions, nodes that are missing. What fails is made as small as it can be.
/// - `synthetic`: large clusters that look like real ones, the same for the same seed, for benchmarks and load tests.
///
/// A property of a controller is a sentence about what it does with any cluster. Here: whatever plan it gets, it deletes no
/// pod that it was not asked to, if your `carry_out` stands where ours does.
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
/// Other sentences that are worth a property: to stop after any action and to plan again leads to the same end; a second
/// replica of the controller that does the same at the same time does no harm; a write that fails is made up for.
///
/// To let a whole cluster live through a roll-out without any API server, use `Snapshot::forecast` (feature `forecast`), which
/// plays it forward under stated assumptions, and `PodBlueprint::pod` for a simulator of your own.
pub mod testing {}

#[allow(clippy::doc_markdown)] // it is prose about Kubernetes' words
#[doc = include_str!("policies.md")]
pub mod policies {}

#[allow(clippy::doc_markdown)] // it is prose about Kubernetes' words
#[doc = include_str!("differences.md")]
pub mod differences {}

#[allow(clippy::doc_markdown)] // it is prose about Kubernetes' words
#[doc = include_str!("cookbook.md")]
pub mod cookbook {}

#[allow(clippy::doc_markdown)] // it is prose about Kubernetes' words
#[doc = include_str!("output.md")]
pub mod output {}

//! Guides, one page each.

/// How to embed the planner in a controller.
///
/// A controller keeps a [`Cluster`](crate::Cluster) and repeats three steps: it applies the events of its watches, plans for
/// the [stale](crate::Cluster::stale) DaemonSets, and carries the plans out:
///
/// ```
/// use std::collections::HashSet;
/// use daemonplan::{Action, Cluster, Key, Settings, model::{ControllerRevision, DaemonSet, Namespace, Node, Pod}};
/// use jiff::Timestamp;
///
/// let mut cluster = Cluster::new(Settings::default());
/// let mut waiting = HashSet::<Key>::new();
/// let now: Timestamp = "2026-01-02T03:04:05Z".parse()?;
///
/// // 1. A list of each of the five kinds, and then every event. There is no plan before the last list.
/// cluster.resync([Namespace::new("prod")]);
/// cluster.resync([Node::new("node-1"), Node::new("node-2")]);
/// cluster.resync([DaemonSet::new("prod", "agent", [("app", "agent")])?]);
/// cluster.resync::<ControllerRevision>([]);
/// cluster.resync::<Pod>([]);
/// cluster.apply(Node::new("node-3"));
/// cluster.delete::<Node>("node-2");
///
/// // 2. Plan what is stale, now and when `next_stale_after` says, but not while writes are on their way.
/// for key in cluster.stale(now) {
///     if waiting.contains(&key) {
///         continue;
///     }
///     let Some(plan) = cluster.plan(&key, now) else { continue };
///     cluster.update_backoff(plan.backoff, now);
///
///     // 3. Carry the plan out in its order.
///     for action in &plan.actions {
///         match action {
///             Action::CreatePod { node, blueprint, .. } => println!("POST {}", blueprint.manifest(node)),
///             Action::CreateRevision { revision } => println!("POST {}", revision.manifest()),
///             Action::DeletePod { pod: object, .. } | Action::DeleteRevision { revision: object, .. } => {
///                 println!("DELETE {object} if its uid is {}", object.uid);
///             }
///             // Only if the DaemonSet, read again, still has this generation; with its resourceVersion in the patch.
///             Action::RollBack { generation, .. } => println!("PATCH if {generation} {:?}", action.patch()),
///             // Only if the DaemonSet, read again, has this uid and is not being deleted.
///             Action::AdoptPod { .. } | Action::AdoptRevision { .. } => println!("PATCH if … {:?}", action.patch()),
///             Action::UpdateStatus { daemonset, .. } => println!("PATCH {daemonset}/status {:?}", action.patch()),
///             other => println!("PATCH {:?}", other.patch()), // releases, relabelling, revisions
///         }
///     }
///     // Stop at the first write that fails. In any case wait until the writes that succeeded show.
///     waiting.insert(key);
/// }
/// // 4. When the watches have shown every write of a DaemonSet that succeeded: `waiting.remove(&key)`, after a failure also
/// //    `cluster.mark_stale(&key)`, and go on with 2.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Reading objects
///
/// Read the API server's JSON with serde directly into the types of [`model`](crate::model), which keep only what plans
/// need, and of a template everything. Any other type that serialises as Kubernetes' JSON comes in through
/// [`Resource::from_serializable`](crate::model::Resource::from_serializable), whatever its version; the feature
/// `k8s-openapi` adds `TryFrom`. A type that does not know a field of a DaemonSet's template loses it, and the next plan
/// would roll the remaining template out: read DaemonSets and ControllerRevisions as JSON. Where a revision says more than
/// the template, the plan [warns](crate::Warning::RevisionSaysMore).
///
/// The five kinds are types of the trait [`Resource`](crate::model::Resource). A stream that mixes them has
/// [`Object`](crate::Object)s, which are read from JSON by its `kind`. A `Cluster` shares the memory of equal labels between objects by itself; for a
/// [`Snapshot`](crate::Snapshot) of many objects an [`Interner`](crate::model::Interner) does.
///
/// # Carrying plans out
///
/// - **Order.** Carry actions out in their order. Stopping after any of them is safe: the next plan continues.
/// - **Preconditions.** [`Action::object`](crate::Action::object) has the uid that the object must still have. Send it with
///   a deletion; [`Action::patch`](crate::Action::patch) holds it already. A refusal (404, 409, 422) means that the object
///   has changed: plan again.
/// - **Patches, not updates.** Do not write the types of [`model`](crate::model) back: they lack the fields that plans do
///   not need. Created pods come from [`PodBlueprint::manifest`](crate::PodBlueprint::manifest), revisions from
///   [`ControllerRevision::manifest`](crate::model::ControllerRevision::manifest), byte for byte as the built-in controller
///   writes them: if it takes the DaemonSet back, it recognises its revisions by their bytes.
/// - **Waiting.** A plan knows only what was applied. Until the watches have shown everything that the last plan wrote, the
///   next one would ask for it again, and create pods twice. A creation shows when its name appears, a patch when the object
///   has the `resourceVersion` of the answer or a later one, a deletion when the object has a deletion timestamp; each also
///   when the object is gone or has another uid. Look at the events themselves: the types of [`model`](crate::model) do not
///   keep the `resourceVersion`, and a `Cluster` does not keep every pod. Stop waiting after some minutes and call
///   [`mark_stale`](crate::Cluster::mark_stale): a write may have been undone before the watch saw it.
/// - **Planning on meanwhile.** A controller that wants the status written while it waits, as the built-in one, sets
///   [`set_expectations_satisfied`](crate::Cluster::set_expectations_satisfied) to `false`, plans on, and leaves out what is
///   still on its way. It must be set again for a DaemonSet that is recreated.
/// - **Failures.** [`plan`](crate::Cluster::plan) takes a DaemonSet off the stale ones. If a write fails, leave out the rest,
///   wait for the writes before it, and then call [`mark_stale`](crate::Cluster::mark_stale), with a growing pause.
/// - **Time.** [`next_stale_after`](crate::Cluster::next_stale_after) tells when time alone makes a plan of a `Cluster` stale,
///   for example when a pod becomes available or a back-off ends. Plan then, even without an event.
///   [`Plan::requeue_after`](crate::Plan::requeue_after) says the same of one plan, for whoever keeps no `Cluster`.
/// - **Events.** [`Plan::events`](crate::Plan::events) are the Kubernetes Events to emit about the DaemonSet.
/// - **Deleted DaemonSets.** While a DaemonSet is being deleted, its plans delete or release what it controls. Once it is
///   gone there are no more plans: the cluster's garbage collector deletes the rest, and removes the finalizer `orphan`
///   before. Where there is none, you do with [`gc`](crate::gc), after reading each object again: a release may not show yet.
/// - **Back-off.** Keep [`Plan::backoff`](crate::Plan::backoff) with [`update_backoff`](crate::Cluster::update_backoff), and
///   over a restart by serialising [`Cluster::backoff`](crate::Cluster::backoff).
/// - **Warnings.** [`Plan::warnings`](crate::Plan::warnings) tell what the input lacks or contradicts, and what the plan made
///   of that. Log the new ones.
/// - **Policies.** DaemonSets may carry [policies](policies) in their annotations. One of them asks for
///   [`Action::RollBack`](crate::Action::RollBack). Kubernetes knows no precondition on a generation: read the DaemonSet,
///   compare its generation, and add its `resourceVersion` to the patch. [`Plan::rollout`](crate::Plan::rollout) is the state
///   of the update. If the API server refuses to create a pod, pass [`Backoff::refused`](crate::Backoff::refused) to
///   `update_backoff`.
/// - **Adoption.** Read the DaemonSet again before carrying out an adoption: a DaemonSet that is being deleted adopts
///   nothing, and the watch may lag.
///
/// # Questions with short answers
///
/// | question | answer |
/// |---|---|
/// | Does this DaemonSet want a pod on this node, and why not? | [`PlacementRules`](crate::placement::PlacementRules)`::new(&daemonset, &namespace, &settings).placement(&node)` |
/// | … for all nodes | [`Snapshot::placements`](crate::Snapshot::placements), [`Cluster::placement_rules`](crate::Cluster::placement_rules) |
/// | Is this pod the DaemonSet's? | [`claim_pod`](crate::adoption::claim_pod)`(&daemonset, &pod)` |
/// | Is it available? | [`Pod::is_available`](crate::model::Pod::is_available) |
/// | Which revision is current? | [`RevisionHistory::of`](crate::adoption::RevisionHistory::of)`(&daemonset, &revisions).current()` |
/// | What hash would this template get? | [`template_hash`](crate::adoption::template_hash)`(&template, 0)` |
/// | Whose pods and revisions are left over? | [`gc::orphans`](crate::gc::orphans), [`gc::pods_on_missing_nodes`](crate::gc::pods_on_missing_nodes) |
/// | A selector of these labels? | [`LabelSelector::try_from`](crate::model::LabelSelector)`(labels)`, which fails if a key or a value is invalid |
/// | A DaemonSet, template or toleration without JSON? | [`DaemonSet::new`](crate::model::DaemonSet::new), [`PodTemplate::with_labels`](crate::model::PodTemplate::with_labels) and its siblings, [`Toleration::new`](crate::model::Toleration::new) |
/// | Other settings for a running cluster? | [`Cluster::set_settings`](crate::Cluster::set_settings) |
/// | A struct that is `#[non_exhaustive]`? | its constructor or `Default`, then set its public fields |
///
/// # A whole controller
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
#[doc = include_str!("scheduling.md")]
pub mod scheduling {}

#[allow(clippy::doc_markdown)] // prose with many Kubernetes names
#[doc = include_str!("cookbook.md")]
pub mod cookbook {}

#[allow(clippy::doc_markdown)] // prose with many Kubernetes names
#[doc = include_str!("output.md")]
pub mod output {}

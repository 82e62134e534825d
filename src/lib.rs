//! Decides what a Kubernetes DaemonSet needs, without doing anything: no clock, no I/O, nothing that depends on more than
//! what goes in.
//!
//! Facts go in as values, a [`Plan`] comes out: ordered [`Action`]s, each with its reason, the status, a decision for
//! every node, Kubernetes Events, warnings, and when to plan again. The same facts give the same plan, byte for byte,
//! whatever the order of nodes and pods. What it decides is what the built-in controller decides ([`rules`]), proved on
//! that controller's own recorded decisions.
//!
//! ```
//! use daemonplan::{Action, Snapshot, model::{DaemonSet, Namespace, Node}};
//!
//! let daemonset: DaemonSet = serde_json::from_str(r#"{
//!     "metadata": {"namespace": "prod", "name": "agent", "uid": "42"},
//!     "spec": {
//!         "selector": {"matchLabels": {"app": "agent"}},
//!         "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"nodeSelector": {"role": "worker"}}}
//!     }
//! }"#)?;
//! let nodes: Vec<Node> = serde_json::from_str(r#"[
//!     {"metadata": {"name": "node-1", "labels": {"role": "worker"}}},
//!     {"metadata": {"name": "node-2", "labels": {"role": "infra"}}}
//! ]"#)?;
//! let namespace = Namespace::new("prod");
//!
//! let plan = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]).plan();
//! assert!(plan.actions.iter().any(|action| matches!(action, Action::CreatePod { node, .. } if node == "node-1")));
//! assert_eq!(
//!     plan.placement("node-2").unwrap().to_string(),
//!     "node-2: not placed: node selector role=worker is required, the node has role=infra",
//! );
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! # The words
//!
//! - A **snapshot** is all that a plan is made from, at one moment: the DaemonSet, the nodes, the pods, the namespace, the revisions.
//! - A **policy** is what an update keeps to besides the DaemonSet's own strategy.
//! - A **placement** says of a node whether a pod should run there, whether one that is there may stay, and why.
//! - A **claim** says of a pod whose it is: the DaemonSet's, to be adopted, to be released, or none of its business.
//! - The **hash** ties pods to revisions of the template: a pod that carries the current one is up to date.
//! - A **cell** is what a plan has to know of one node; the **fold** is the sum of all cells.
//! - The **budget** of an update is how many nodes may lack an available pod, or run two, at a time.
//! - A **plan** is the actions, in order, with all that goes with them.
//!
//! # The way the data goes
//!
//! ```text
//! model ──> matching ──> placement ─┐
//!   │                               ├──> cell ──> fold ──> plan ──> Plan { actions, status, … }
//!   ├─────> ownership ──> history ──┤              │        │
//!   └─────> template, policy ───────┘      rollout, turns   gc
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | `model` | the objects, as Kubernetes writes them, checked as they are read |
//! | `matching` | whether labels, node affinity terms and tolerations match |
//! | `ownership` | whose a pod or a revision is |
//! | `template` | the pod to create: the rewritten affinity, the automatic tolerations, the labels |
//! | `placement` | which nodes should run a pod, and by which rule not |
//! | `history` | which revision is current, and what becomes of the others |
//! | `member` | a pod as its node's cell sees it |
//! | `cell` | what is to be done on one node, and what it counts as |
//! | `policy`, `resolved`, `seat` | what updates keep to besides the DaemonSet's strategy, and what that makes of one node |
//! | `tally`, `rollout` | the counts, and the nodes of an update in their order |
//! | `gate`, `turns` | how far a policy lets an update go, and whose turn it is |
//! | `fold` | the sum of all cells |
//! | `gc` | what becomes of the objects of a DaemonSet that is being deleted, or is gone |
//! | `plan` | the order of actions, the burst limit, the status |
//! | `snapshot`, `cluster` | the two ways to a plan: all at once, and event by event |
//! | `rollback` | the revisions, and the way back to one |
//! | `fleet` | which DaemonSets a new node would run, and what they would take of it |
//! | `k8s` | the same objects as the crate k8s-openapi has them |
//! | `explain`, `lint` | why it is as it is, and what is dangerous about it |
//! | `forecast`, `diff` | the plans carried out in a time of their own, and two outcomes compared |
//!
//! Everything that is the same for all nodes is compiled once per DaemonSet: selectors, tolerations, the hash. Then each
//! node becomes a *cell*: its placement, the pods on it, what has to happen there, what it adds to the status and what it
//! means to an update. A *fold* over all cells makes the plan. A cell that asks for nothing owns no memory, and ten
//! thousand creations share one template.
//!
//! A [`Snapshot`] makes all cells and folds them. A [`Cluster`] keeps cells and fold for every DaemonSet and takes single
//! cells out and in again as events come, so that a plan costs what has changed. Both give the same plans.
//!
//! [`Snapshot::explain`] goes through the same cells and tells of each why it is as it is. `Snapshot::forecast` and
//! `Snapshot::diff` (feature `forecast`) carry out the plans of a [`Cluster`] until nothing is left to do.
//!
//! # How to use it
//!
//! 1. Read the objects: with serde from Kubernetes' JSON ([`model`]), or whole files with `manifest` (feature `manifest`).
//! 2. Make a [`Snapshot`], add what is known (revisions, time, [`Settings`], [`Backoff`]), and call [`Snapshot::plan`];
//!    or call [`plan`] for the actions alone.
//!    In a long-lived controller keep a [`Cluster`] instead and hand it every event.
//! 3. Carry out [`Plan::actions`] in their order, with the uid of [`Action::object`] as the precondition. To stop after
//!    any of them and to plan again is safe. Until their effects show in the input, plan with
//!    [`Snapshot::expectations_unsatisfied`] or [`Cluster::set_expectations_satisfied`].
//! 4. Keep the entries of [`Plan::backoff`] with [`Backoff::update`] or [`Cluster::update_backoff`], and plan again when
//!    something changes, or after [`Plan::requeue_after`].
//!
//! # What holds for every plan
//!
//! - It is a function of the snapshot: the order of nodes, pods and revisions makes no difference.
//! - A pod is created only where one should run, and beside a live one of the DaemonSet only to surge.
//! - A pod or revision is touched only if the DaemonSet controls it, or if nobody does and the same plan adopts it.
//! - An update deletes an available pod only while fewer nodes than `maxUnavailable` lack one, and surges on no more nodes
//!   than `maxSurge`.
//! - No more pods are created, and no more deleted, than the burst limit lets through.
//! - Carried out in whole or in part, again and again, plans lead to one that asks for nothing, once the cluster is quiet.
//!
//! Property tests hold each of these on generated clusters, a model checker holds them in every state that a small
//! cluster can reach, and a slow re-statement of the [`rules`] agrees with every plan. That both forms give the same plans
//! is a property too, over any sequence of events.
//!
//! # More
//!
//! [`guide`] has pages of its own: [policies](guide::policies) for updates, to [embed](guide::embed) it, to [test](guide::testing) a controller with it, what is
//! decided [otherwise](guide::differences) than by the built-in controller, a [cookbook](guide::cookbook) for the command line, and
//! its [output](guide::output) for programs. [`rules`] says what is decided, rule by rule.
//!
//! # Features
//!
//! - `yaml`: the module `manifest`, for YAML and JSON files and streams.
//! - `forecast`: `Snapshot::forecast` and `Snapshot::diff`, what comes next and what if.
//! - `cli`: the command line `daemonplan`.
//! - `k8s-openapi`: `TryFrom` both ways between the objects of [`model`] and that crate's.
//! - `proptest`: the module `strategies`, generated clusters for property tests.
//! - `synthetic`: the module `synthetic`, large seeded clusters for benchmarks and simulators.

pub mod adoption;
pub mod affinity;
pub mod backoff;
mod cluster;
mod context;
pub mod explain;
#[cfg(feature = "forecast")]
pub mod forecast;
pub mod gc;
pub mod guide;
pub mod history;
#[cfg(feature = "k8s-openapi")]
pub mod k8s;
pub mod lint;
#[cfg(feature = "manifest")]
pub mod manifest;
pub mod model;
mod node;
pub mod overhead;
pub mod placement;
pub mod plan;
mod planner;
pub mod policy;
mod rollout;
pub mod selector;
mod settings;
#[cfg(feature = "proptest")]
pub mod strategies;
#[cfg(feature = "synthetic")]
pub mod synthetic;
mod util;

#[allow(clippy::doc_markdown, clippy::doc_lazy_continuation)] // it is prose about Kubernetes' words
#[doc = include_str!("rules.md")]
pub mod rules {}

pub use affinity::PodBlueprint;
pub use backoff::Backoff;
pub use cluster::Cluster;
pub use explain::Explanation;
#[cfg(feature = "forecast")]
pub use forecast::{Diff, Forecast};
pub use model::{Key, Kind, ObjectRef, Resource};
pub use placement::{Placement, Verdict};
pub use plan::{Action, CreateReason, DeleteReason, Event, Plan, Warning};
pub use planner::{OwnedSnapshot, Snapshot, plan};
pub use policy::RolloutPolicy;
pub use settings::Settings;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

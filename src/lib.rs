//! Decides what a Kubernetes [DaemonSet] needs: `plan(&daemonset, &nodes, &pods, &namespace) -> Vec<Action>`.
//!
//! The planner is a pure function. Facts go in as values, and a [`Plan`] comes out: ordered [`Action`]s with their reasons,
//! the status, the decision for every node, Kubernetes Events, warnings, and the time of the next plan. There is no clock,
//! no I/O and no global state. The same facts give the same plan, byte for byte. What the planner decides is what the
//! built-in controller decides ([`rules`]), verified against recorded decisions of that controller.
//!
//! [DaemonSet]: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/
//!
//! # Example
//!
//! ```
//! use daemonplan::{Action, Snapshot, model::{DaemonSet, Namespace, Node}};
//!
//! let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
//! daemonset.uid = "42".into();
//! daemonset.template = daemonset.template.with_node_selector([("role", "worker")]);
//! let nodes: Vec<Node> = serde_json::from_str(r#"[
//!     {"metadata": {"name": "node-1", "labels": {"role": "worker"}}},
//!     {"metadata": {"name": "node-2", "labels": {"role": "infra"}}}
//! ]"#)?; // as Kubernetes writes them
//! let namespace = Namespace::new("prod");
//! let now = "2026-01-02T03:04:05Z".parse()?;
//!
//! let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]).at(now);
//! let plan = snapshot.plan();
//! assert!(plan.actions.iter().any(|action| matches!(action, Action::CreatePod { node, .. } if node == "node-1")));
//! assert_eq!(
//!     snapshot.placement("node-2").unwrap().to_string(),
//!     "node-2: not placed: node selector role=worker is required, the node has role=infra",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Usage
//!
//! 1. Read the objects: with serde from Kubernetes' JSON ([`model`]), from files with [`manifest`], or from other types that
//!    serialise as Kubernetes' JSON ([`Resource::from_serializable`]).
//! 2. Build a [`Snapshot`], add what is known (revisions, time, [`Settings`], [`Backoff`]) and call [`Snapshot::plan`], or
//!    call [`plan()`] for the actions alone. A long-lived controller keeps a [`Cluster`] instead and applies every event.
//! 3. Carry out [`Plan::actions`] in their order, with the uid of [`Action::object`] as a precondition; [`Action::patch`]
//!    is the patch to send. Stopping after any of them and planning again is safe. Until the effects show in the input, plan with
//!    [`Snapshot::expectations_unsatisfied`] or [`Cluster::set_expectations_satisfied`].
//! 4. Keep the entries of [`Plan::backoff`] with [`Backoff::update`] or [`Cluster::update_backoff`], and plan again when
//!    something changes, or after [`Plan::requeue_after`].
//!
//! # Modules
//!
//! Planning:
//!
//! - [`model`]: the objects as Kubernetes writes them, checked as they are read.
//! - [`plan`](mod@plan): plans, actions and their reasons.
//! - [`placement`]: whether a node should run a pod, and which rule decides.
//! - [`policy`]: rollout policies, for updates that keep to more than the DaemonSet's own strategy.
//! - [`backoff`]: how long Failed pods are left alone.
//!
//! Four that are callable on their own, without a [`Snapshot`]:
//!
//! - [`selector`]: label selectors, node selector terms, tolerations: does it match, and if not, why.
//! - [`affinity`]: the pod for a node, with its rewritten node affinity and automatic tolerations; the node of a pod.
//! - [`adoption`]: whose a pod or a revision is, the template's hash, and which revision is current.
//! - [`gc`]: pods and revisions whose DaemonSet is being deleted or gone, and pods of missing nodes.
//!
//! Questions about plans:
//!
//! - [`explain`]: why pods run where they do, and what blocks an update.
//! - [`forecast`]: how a rollout goes on, and what a change does.
//! - [`lint`](mod@lint): what is dangerous about a DaemonSet.
//! - [`history`]: the revisions, and the way back to one.
//! - [`overhead`]: which DaemonSets a new node would run, and their requests.
//!
//! For tests: [`strategies`] generates clusters for property tests, [`synthetic`] large ones for benchmarks.
//!
//! # Guarantees
//!
//! - A plan depends on its input only: the order of nodes, pods and revisions makes no difference.
//! - A pod is created only where one should run, and beside a live pod of the DaemonSet only to surge.
//! - A pod or revision is changed only if the DaemonSet controls it, or if it is an orphan that the same plan adopts.
//! - An update deletes an available pod only while fewer nodes than `maxUnavailable` lack one (at least one node at a time),
//!   or, with `maxSurge`, where a new pod is available or no pod should run. Beside available pods it surges on at most
//!   `maxSurge` nodes.
//! - A plan creates at most as many pods as the burst limit allows, and deletes at most as many.
//! - Carried out in whole or in part, plans converge to one without actions once the cluster is quiet, unless a
//!   [`Warning`] says otherwise.
//!
//! Property tests check each of these on generated clusters. A model checker checks them in every state that a small
//! cluster can reach. A second, slow implementation of the [`rules`] agrees with every plan, and so do [`Snapshot`] and
//! [`Cluster`], after any sequence of events.
//!
//! # Guides
//!
//! [Embed](guide::embed) the planner in a controller, [test](guide::testing) a controller with it, rollout
//! [policies](guide::policies), the [differences](guide::differences) from the built-in controller,
//! [what the scheduler will say](guide::scheduling), a
//! [cookbook](guide::cookbook) for the command line, and its [output](guide::output) for programs.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `manifest`: YAML and JSON files and streams.
//! - `clap`: command-line [flags] for the settings.
//! - `forecast`: [`Snapshot::forecast`] and [`Snapshot::diff`].
//! - `k8s-openapi`: `TryFrom` that crate's objects for those of [`model`].
//! - `proptest`: generated clusters for property tests.
//! - `synthetic`: large seeded clusters for benchmarks and simulators.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod adoption;
pub mod affinity;
pub mod api_server;
pub mod backoff;
mod cluster;
mod context;
pub mod explain;
#[cfg(feature = "clap")]
pub mod flags;
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
pub mod scheduling;
pub mod selector;
mod settings;
#[cfg(feature = "proptest")]
pub mod strategies;
#[cfg(feature = "synthetic")]
pub mod synthetic;
mod util;

#[allow(clippy::doc_markdown, clippy::doc_lazy_continuation)] // prose with many Kubernetes names
#[doc = include_str!("rules.md")]
pub mod rules {}

pub use affinity::PodBlueprint;
pub use backoff::Backoff;
pub use cluster::Cluster;
pub use explain::Explanation;
#[cfg(feature = "forecast")]
pub use forecast::{Diff, Forecast};
pub use model::{Key, Kind, Object, ObjectRef, Resource};
pub use placement::{Placement, Verdict};
pub use plan::{Action, CreateReason, DeleteReason, Event, MissingFact, Plan, Warning};
pub use planner::{OwnedSnapshot, Snapshot, plan};
pub use policy::RolloutPolicy;
pub use settings::Settings;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
struct LibraryPage;

#[cfg(doctest)]
#[doc = include_str!("../docs/crate.md")]
struct CratePage;

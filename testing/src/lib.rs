//! A Kubernetes cluster in memory, for tests of controllers in Rust.
//!
//! [`Server`] is an API server that speaks HTTP, with what a controller lives on and stumbles over: `resourceVersion`s, watches
//! with bookmarks that expire, lists in pages, conflicts, preconditions, patches of all kinds, finalizers, graceful deletions and
//! owner references. [`Workloads`] brings it to life: pods are scheduled, started and removed, garbage is collected.
//! [`Faults`] let it fail. The [`Store`] shows every object and every write, and is where a test changes the cluster as
//! others would.
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! use std::time::Duration;
//! use daemonplan_testing::{Id, Pace, Server, Workloads, objects};
//! use k8s_openapi::api::core::v1::Pod;
//! use kube::{Api, api::{DeleteParams, PostParams, Preconditions}};
//!
//! let server = Server::start().await?;
//! let _workloads = Workloads::start(&server, Pace::default());
//! server.store().create("namespaces", objects::namespace("prod"));
//! server.store().create("nodes", objects::node("node-1"));
//!
//! // The controller under test is given this client.
//! let pods: Api<Pod> = Api::namespaced(server.client()?, "prod");
//! let pod = serde_json::from_value(serde_json::json!({
//!     "metadata": {"name": "web"}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}))?;
//! let created = pods.create(&PostParams::default(), &pod).await?;
//!
//! let web = Id::new("pods", "prod", "web");
//! let runs = |store: &daemonplan_testing::Store| store.get(&web).is_some_and(|pod| pod["status"]["phase"] == "Running");
//! assert!(server.wait_for(Duration::from_secs(10), runs).await);
//!
//! // The pod has changed since it was created: a deletion of what was created is refused.
//! let preconditions = Preconditions { resource_version: created.metadata.resource_version, uid: None };
//! let deletion = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
//! let refused = pods.delete("web", &deletion).await.unwrap_err();
//! assert!(matches!(refused, kube::Error::Api(status) if status.code == 409));
//! assert_eq!(server.store().writes.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is not
//!
//! It has no authentication, authorization, admission, quotas, defaults, conversion or validation, apart from a few fields:
//! what a real API server would refuse or complete, it stores as it is. There are no dry runs, no tables, no Protobuf, and of
//! the subresources only `status`, `binding` and `eviction`. Server-side apply keeps the owners of fields for managers that
//! apply; a list of objects is matched by the merge key that Kubernetes' own types have, or replaced as a whole, and bodies are
//! JSON. The kinds of `CustomResourceDefinition`s that are created are served. Built-in kinds are served in their stable
//! version.

#![allow(clippy::indexing_slicing)] // of JSON, where what is missing reads as null

mod apply;
pub mod daemonsets;
mod discovery;
mod faults;
mod form;
mod garbage;
mod http;
mod id;
mod inject;
mod kubelet;
mod list;
pub mod objects;
mod pace;
mod patch;
mod refusal;
mod resource;
mod scheduler;
mod selection;
mod server;
mod shared;
mod store;
mod strategy;
mod target;
mod watch;
mod workloads;
mod write;

pub use faults::Faults;
pub use id::Id;
pub use pace::Pace;
pub use server::Server;
pub use shared::Guard;
pub use store::{Change, Invariant, Store, Write};
pub use workloads::Workloads;

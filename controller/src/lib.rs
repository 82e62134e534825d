//! A DaemonSet controller that embeds the planner `daemonplan` and can replace the built-in one of Kubernetes.
//!
//! | module | |
//! |---|---|
//! | [`watched`] | deserializes the API server's JSON into the planner's types |
//! | [`state`] | the planner's `Cluster`, fed by the watches, and the queue of DaemonSets to plan |
//! | [`job`] | a plan's actions, for the workers |
//! | [`expectations`] | writes that the watches do not show yet |
//! | [`scope`], [`shard`] | which DaemonSets a replica manages: those of some namespaces, or of a shard |
//! | [`statuses`], [`versions`] | when a status is written; versions of pods, for preconditions |
//! | [`executor`], [`api`] | carries out plans by requests with preconditions |
//! | [`leader`] | leader election: only one replica writes |
//! | [`controller`] | runs the watches, the workers and the web server |
//! | [`config`], [`shared`] | command-line flags; state shared by watches, workers and web pages |
//! | [`events`], [`metrics`], [`web`] | Kubernetes Events, Prometheus metrics, the web page |

pub mod api;
mod claimable;
pub mod config;
pub mod controller;
pub mod events;
pub mod executor;
pub mod expectations;
pub mod job;
pub mod leader;
mod listings;
pub mod metrics;
mod retries;
pub mod scope;
pub mod shard;
pub mod shared;
pub mod state;
pub mod statuses;
mod updates;
pub mod versions;
pub mod watched;
pub mod web;

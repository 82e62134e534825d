//! A controller for DaemonSets that embeds the planner `daemonplan`, and can stand in for Kubernetes' own.
//!
//! | module | |
//! |---|---|
//! | [`watched`] | the API server's JSON, straight into the planner's types |
//! | [`state`] | what is known, whose turn it is: the planner's `Cluster`, fed by the watches |
//! | [`job`] | what a plan asks of the workers |
//! | [`expectations`] | what has been written and does not show yet |
//! | [`apply`], [`api`] | plans carried out, by requests with preconditions |
//! | [`leader`] | who of several may write |
//! | [`controller`] | all of it together |
//! | [`events`], [`metrics`], [`web`] | what it tells: Kubernetes Events, Prometheus metrics, the page |

pub mod api;
pub mod config;
pub mod controller;
pub mod events;
pub mod executor;
pub mod expectations;
pub mod job;
pub mod leader;
pub mod metrics;
pub mod state;
pub mod watched;
pub mod web;

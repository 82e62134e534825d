//! Scenario tests: one test per rule, named as a sentence.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking
#![allow(clippy::needless_pass_by_value)] // json!(…) reads better than &json!(…)
#![allow(clippy::wildcard_imports)] // of the builder

#[path = "../common/mod.rs"]
mod common;

mod competition;
mod contract;
mod created_pod;
mod diff;
mod embedding;
mod explain;
mod forecast;
mod garbage;
mod guide;
mod history;
mod incremental;
mod lint;
mod manifests;
mod missing;
mod nodes;
mod objects;
mod ownership;
mod placement;
mod policies;
mod remedies;
mod rollback;
mod room;
mod scheduler;
mod status;
mod stops;
mod updates;

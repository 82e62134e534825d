//! Property tests on generated clusters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;
#[path = "../reference/mod.rs"]
mod reference;
#[path = "../reference/scheduling.rs"]
mod reference_scheduler;
#[path = "../reference/volumes.rs"]
mod reference_volumes;

mod analysis_properties;
mod api_server;
mod incremental;
#[cfg(feature = "k8s-openapi")]
mod k8s_openapi;
mod plan_properties;
mod policies;
mod reference_agreement;
mod scheduling;
mod state_machine;
mod synthetic;
mod volumes;
mod yaml;

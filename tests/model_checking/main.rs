//! Model checking: visits every reachable state of small clusters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking
#![allow(unreachable_pub)] // tests have no public API

#[path = "../common/mod.rs"]
mod common;

mod cluster;
mod policies;

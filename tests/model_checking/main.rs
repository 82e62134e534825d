//! Every state that a small cluster can reach, checked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking
#![allow(unreachable_pub)] // no item of a test is reachable

#[path = "../common/mod.rs"]
mod common;

mod cluster;
mod policies;

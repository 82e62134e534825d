//! Decisions and results recorded from Kubernetes' own code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

mod admission;
mod conformance;
mod forecasts;
mod quantities;
mod requests;
mod scalars;
mod scheduling;
mod validation;

//! Compares the planner with the reference implementation of its rules.
#![no_main]

#[path = "../../tests/reference/mod.rs"]
mod reference;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(facts) = daemonplan_fuzz::cluster(bytes) {
        reference::check_agreement(&facts);
    }
});

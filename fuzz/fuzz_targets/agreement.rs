//! The planner against the slow re-statement of its rules.
#![no_main]

#[path = "../../tests/restatement/mod.rs"]
mod restatement;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(facts) = daemonplan_fuzz::cluster(bytes) {
        restatement::check_agreement(&facts);
    }
});

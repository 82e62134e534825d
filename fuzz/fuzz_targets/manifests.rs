//! Manifests from any bytes: yields problems or plans, and plans can be serialized.
#![no_main]

use daemonplan::manifest::Manifests;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let mut manifests = Manifests::default();
    manifests.read("input", text).unwrap();
    for problem in manifests.problems() {
        assert!(problem.problem.len() <= 400, "{problem}");
    }
    let manifests = manifests.complete();
    for snapshot in manifests.snapshots() {
        let plan = snapshot.plan();
        serde_json::to_string(&plan).unwrap();
        snapshot.placements().for_each(|placement| assert!(!placement.to_string().is_empty()));
    }
});

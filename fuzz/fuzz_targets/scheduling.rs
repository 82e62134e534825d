//! Pods, nodes and the objects around them from any bytes: the scheduler's verdict is one that it can give, and an
//! answer for one node is that of all nodes.
#![no_main]

use daemonplan::{manifest::Manifests, scheduling::SchedulingVerdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let mut manifests = Manifests::default();
    manifests.read("input", text).unwrap();
    let manifests = manifests.complete();
    let state = manifests.cluster_state();
    for pod in manifests.pods() {
        let feasibility = state.feasibility(pod);
        let fits = feasibility.verdict == SchedulingVerdict::Fits;
        assert!(!fits || feasibility.message.is_none(), "{feasibility:?}");
        for blocker in &feasibility.blockers {
            assert!(!blocker.reasons().is_empty() && !blocker.to_string().is_empty(), "{blocker:?}");
        }
        for remedy in state.remedies(pod) {
            assert!(!remedy.changes.is_empty() && !remedy.to_string().is_empty(), "{remedy:?}");
        }
        serde_json::to_string(&feasibility).unwrap();
    }
    for snapshot in manifests.snapshots() {
        serde_json::to_string(&snapshot.scheduling(&state).explain()).unwrap();
    }
});

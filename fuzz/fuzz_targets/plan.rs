//! Whole snapshots with numbers and times at their limits: the plan does not depend on the order of the input, and can
//! be displayed and serialized.
#![no_main]

use daemonplan::{OwnedSnapshot, backoff::BackoffEntry, model::Readiness};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

/// Sets numbers and times to their limits, one for each bit.
fn exaggerate(facts: &mut OwnedSnapshot, bits: u16) {
    let on = |bit: u32| bits & (1 << bit) != 0;
    let time = if on(0) { Timestamp::MAX } else { Timestamp::MIN };
    let number = if on(1) { i64::MAX } else { i64::MIN };
    if on(2) {
        facts.now = Some(time);
    }
    if on(3) {
        facts.pods.iter_mut().for_each(|pod| pod.ready = Readiness::Ready { since: Some(time) });
    }
    if on(4) {
        facts.revisions.iter_mut().flatten().for_each(|revision| revision.revision = number);
    }
    if on(5) {
        facts.daemonset.generation = number;
    }
    if on(6) {
        facts.daemonset.status.collision_count = Some(if on(1) { i32::MAX } else { i32::MIN });
    }
    if on(7) {
        facts.daemonset.status.observed_generation = number;
    }
    if on(8) {
        facts.daemonset.min_ready_seconds = u32::MAX;
    }
    if on(9) {
        let delay = std::time::Duration::from_secs(if on(1) { u64::MAX } else { 0 });
        let entry = |key: &daemonplan::backoff::BackoffKey| (key.clone(), BackoffEntry::new(delay, time));
        facts.backoff = facts.backoff.iter().map(|(key, _)| entry(key)).collect();
    }
}

fuzz_target!(|input: (u16, &[u8])| {
    let (bits, bytes) = input;
    let Some(mut facts) = daemonplan_fuzz::cluster(bytes) else { return };
    exaggerate(&mut facts, bits);
    let plan = facts.snapshot().plan();
    for action in &plan.actions {
        assert!(!action.to_string().is_empty() && !action.reason_code().is_empty());
    }
    let mut turned = facts.clone();
    turned.nodes.reverse();
    turned.pods.reverse();
    turned.revisions.iter_mut().for_each(|revisions| revisions.reverse());
    let other = turned.snapshot().plan();
    assert_eq!(serde_json::to_string(&plan).unwrap(), serde_json::to_string(&other).unwrap());
    assert_eq!(plan, other);
    assert!(facts.snapshot().placements().eq(turned.snapshot().placements()));
});

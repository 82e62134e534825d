//! Random roll-outs with policies on clusters whose nodes, templates and operators misbehave: the promises of the guide
//! `policies`, asserted from what happens and not from what plans say.
//!
//! Each seed is a cluster of a few nodes with a policy. Templates are good, or fail everywhere, on some nodes, or by cutting
//! their nodes off. Nodes break for every template, go away, come back and are cordoned. The operator edits the template
//! and the policy, undoes, approves and resumes. Then the events stop: the update ends, or waits for something that the
//! operator can do; the operator does it, and the update ends.
//!
//! `POLICY_SEEDS` is the number of seeds, `POLICY_SEED` the first one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking
#![allow(unreachable_pub, dead_code)] // tests have no public API, and share helpers

#[path = "../common/mod.rs"]
mod common;
mod kubelet;
mod operator;
mod promises;
mod world;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use world::{Facts, World};

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Plays one seed, and returns what has happened.
fn play(seed: u64) -> Facts {
    let mut world = World::new(seed);
    for _ in 0..240 {
        world.operate();
        world.tick(15);
    }
    world.calm_down();
    world.repair();
    world.facts
}

#[test]
fn policies_keep_their_promises() {
    let (first, count) = (number("POLICY_SEED", 0), number("POLICY_SEEDS", 200));
    let next = AtomicU64::new(first);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let all: Vec<_> = thread::scope(|scope| {
        let play_some = || {
            let mut sum = Facts::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return sum;
                }
                let played = catch_unwind(AssertUnwindSafe(|| play(seed)));
                sum +=
                    played.unwrap_or_else(|_| panic!("seed {seed}: POLICY_SEED={seed} POLICY_SEEDS=1 shows it alone"));
            }
        };
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(play_some)).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut sum = Facts::default();
    for facts in all {
        sum += facts;
    }
    println!("{count} seeds: {sum:?}");
    // The promises are worth nothing if nothing happens that could break them.
    if count >= 4000 {
        for (what, count) in sum.named() {
            assert!(count > 10, "{what} happened only {count} times");
        }
    }
}

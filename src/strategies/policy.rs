use std::time::Duration;

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::strategies::{ago, hash_labels, int_or_percents};
use crate::{
    model::{IntOrPercent, Text},
    policy::{
        Approval, Approved, BakedCanaries, Canary, CanaryNodes, ExcludedNodes, FailedTemplate, FailurePolicy,
        GroupPace, Groups, OnFailure, Order, ReplacedNodes, RolloutPolicy, RolloutRecord,
    },
    selector::SelectorExpression,
};

/// Generates rollout policies with at least one rule.
///
/// ```
/// use daemonplan::strategies::rollout_policies;
/// use daemonplan::RolloutPolicy;
/// use proptest::prelude::*;
/// proptest!(|(policy in rollout_policies())| {
///     prop_assert_eq!(RolloutPolicy::default().annotated(&policy.annotations()), Ok(policy));
/// });
/// ```
pub fn rollout_policies() -> impl Strategy<Value = RolloutPolicy> {
    let scope =
        (prop::bool::weighted(0.1), option::weighted(0.2, selectors()), option::weighted(0.3, int_or_percents()));
    let budget = (any::<bool>(), option::weighted(0.2, int_or_percents()), prop::bool::weighted(0.03));
    let pace = (orders(), option::weighted(0.4, groups()), budget, option::weighted(0.4, away_up_to()));
    let trust = (option::weighted(0.4, canaries()), option::weighted(0.4, failures()), any::<bool>());
    (scope.boxed(), pace.boxed(), trust.boxed()).prop_map(
        |((paused, update_nodes, partition), (order, groups, (strict_budget, slow_start, frozen), away), trust)| {
            let (canary, failure, backoff_by_reason): (Option<Canary>, _, _) = trust;
            let has_limit = Option::is_some(&failure);
            let canary = canary.map(|canary| Canary { timeout: canary.timeout.filter(|_| has_limit), ..canary });
            let plain = RolloutPolicy {
                paused,
                frozen,
                update_nodes,
                partition,
                order,
                groups,
                strict_budget,
                slow_start,
                away: away.map(|(away, _)| away).unwrap_or_default(),
                max_away: away.filter(|(away, _)| *away != ExcludedNodes::default()).and_then(|(_, most)| most),
                canary,
                failure,
                backoff_by_reason,
            };
            // Set at least one rule.
            RolloutPolicy { strict_budget: strict_budget || plain == RolloutPolicy::default(), ..plain }
        },
    )
}

fn selectors() -> impl Strategy<Value = SelectorExpression> {
    let texts = select(vec!["role=worker", "zone in (a,b)", "!example.com/gpu", "role", "zone!=a", "role=nobody"]);
    texts.prop_filter_map("the selector is valid", |text| text.parse().ok())
}

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![
        3 => Just(Order::Name),
        1 => Just(Order::OldestPod),
        1 => Just(Order::Priority { label: "speed".into() }),
        1 => (0..5_u64).prop_map(|seed| Order::Random { seed }),
    ]
}

fn groups() -> impl Strategy<Value = Groups> {
    let first = select(vec![vec![], vec!["b"], vec!["infra", "worker"]]);
    let pace = prop_oneof![Just(GroupPace::OneAtATime), Just(GroupPace::Spread)];
    (select(vec!["zone", "role"]), pace, first, option::of(int_or_percents())).prop_map(
        |(label, pace, first, max_unavailable)| Groups {
            label: label.into(),
            pace,
            first: first.into_iter().map(Into::into).collect(),
            max_unavailable,
        },
    )
}

fn minutes() -> impl Strategy<Value = Duration> {
    select(vec![0, 5, 10, 30]).prop_map(|minutes| Duration::from_secs(minutes * 60))
}

fn away_up_to() -> impl Strategy<Value = (ExcludedNodes, Option<IntOrPercent>)> {
    let after = || option::of(minutes());
    let states = (after(), after(), after(), after(), after());
    let away = states.prop_map(|(not_ready, unreachable, cordoned, deleted, unschedulable)| ExcludedNodes {
        not_ready,
        unreachable,
        cordoned,
        deleted,
        unschedulable,
    });
    (away, option::weighted(0.4, int_or_percents()))
}

fn canaries() -> impl Strategy<Value = Canary> {
    let steps = prop_oneof![
        int_or_percents().prop_map(|nodes| vec![nodes]),
        (0..4_u32).prop_map(|count| vec![IntOrPercent::Int(count)]),
        (0..3_u32, 1..40_u32, 1..40_u32).prop_map(|(count, first, more)| {
            vec![IntOrPercent::Int(count), IntOrPercent::Percent(first), IntOrPercent::Percent(first + more)]
        }),
    ];
    let nodes = prop_oneof![2 => steps.prop_map(CanaryNodes::Steps), 1 => selectors().prop_map(CanaryNodes::Matching)];
    let approval = select(vec![Approval::Automatic, Approval::Automatic, Approval::Manual]);
    let of_steps = (vec(minutes(), 0..3), vec(approval, 0..3));
    let steps = select(vec![None, None, Some(1), Some(2)]);
    let approved = option::of(steps.prop_map(|steps| Approved { hash: "approve-current".into(), steps }));
    let promoted = option::weighted(0.1, Just(Text::from("approve-current")));
    let timeout = option::weighted(0.2, select(vec![2400, 5400]).prop_map(Duration::from_secs));
    (nodes, of_steps, approved, promoted, timeout).prop_map(
        |(nodes, (mut bake, mut approval), approved, promoted, timeout)| {
            let canary = Canary::on(nodes);
            bake.truncate(canary.steps());
            approval.truncate(canary.steps());
            Canary { bake, approval, approved, promoted, timeout, ..canary }
        },
    )
}

fn failures() -> impl Strategy<Value = FailurePolicy> {
    let then = select(vec![OnFailure::Pause, OnFailure::RollBack]);
    let available_within = option::of(select(vec![1800, 3600, 5400, 10_800]).prop_map(Duration::from_secs));
    let restarts = (0..4_u32, 0..4_u32);
    (restarts, minutes(), available_within, int_or_percents(), then).prop_map(
        |((pause_restarts, max_restarts), start_grace, available_within, max_failures, then)| FailurePolicy {
            pause_restarts,
            max_restarts,
            start_grace,
            available_within,
            max_failures,
            then,
        },
    )
}

/// Generates what earlier updates have come to. The hash `current` stands for that of the template.
pub(super) fn rollout_records() -> impl Strategy<Value = RolloutRecord> {
    let hash = || select(hash_labels(["current".into(), "current".into()])).prop_map(Option::unwrap_or_default);
    let at = option::of((0..5_i64).prop_map(|hours| ago(3600 * hours)));
    let failed = (hash(), at, option::of(hash()), prop::bool::weighted(0.3));
    let failed = failed.prop_map(|(hash, at, restored, is_paused)| FailedTemplate {
        hash,
        at,
        restored,
        is_paused,
        ..FailedTemplate::default()
    });
    let replaced = (hash(), prop::collection::vec(0..8_u8, 1..3)).prop_map(|(hash, nodes)| {
        let nodes = nodes.into_iter().map(|node| format!("node-{node}").into()).collect();
        ReplacedNodes { hash, nodes }
    });
    let baked = (hash(), 1..3_usize).prop_map(|(hash, steps)| BakedCanaries { hash, steps });
    let rare = |hash| option::weighted(0.3, hash);
    let known = (option::weighted(0.3, replaced), option::weighted(0.3, baked));
    (prop::collection::vec(failed, 0..3), rare(hash()), rare(hash()), known).prop_map(
        |(mut failed, returns_to, done, (replaced, baked))| {
            failed.sort_by(|a, b| a.hash.cmp(&b.hash));
            failed.dedup_by(|a, b| a.hash == b.hash);
            RolloutRecord { failed, returns_to, done, replaced, baked }
        },
    )
}

use std::time::Duration;

use proptest::{option, prelude::*, sample::select};

use crate::strategies::{ago, hash_labels, int_or_percents};
use crate::{
    model::{IntOrPercent, Text},
    policy::{
        Approval, Canary, CanaryNodes, ExcludedNodes, FailedTemplate, FailurePolicy, GroupPace, Groups, OnFailure,
        Order, ReplacedNodes, RolloutPolicy, RolloutRecord,
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
            let (canary, failure, backoff_by_reason) = trust;
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
    let nodes = prop_oneof![
        int_or_percents().prop_map(CanaryNodes::Count),
        (0..4_u32).prop_map(|count| CanaryNodes::Count(IntOrPercent::Int(count))),
        selectors().prop_map(CanaryNodes::Matching),
    ];
    let approval = prop_oneof![
        4 => Just(Approval::NotNeeded),
        1 => Just(Approval::Needed { approved: None }),
        1 => Just(Approval::Needed { approved: Some("approve-current".into()) }),
    ];
    let promoted = option::weighted(0.1, Just(Text::from("approve-current")));
    (nodes, minutes(), approval, promoted).prop_map(|(nodes, bake, approval, promoted)| Canary {
        nodes,
        bake,
        approval,
        promoted,
    })
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
    let rare = |hash| option::weighted(0.3, hash);
    (prop::collection::vec(failed, 0..3), rare(hash()), rare(hash()), option::weighted(0.3, replaced)).prop_map(
        |(mut failed, returns_to, done, replaced)| {
            failed.sort_by(|a, b| a.hash.cmp(&b.hash));
            failed.dedup_by(|a, b| a.hash == b.hash);
            RolloutRecord { failed, returns_to, done, replaced }
        },
    )
}

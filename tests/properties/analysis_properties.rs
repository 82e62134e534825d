//! Properties of forecasts, diffs and findings.

use std::{collections::BTreeSet, time::Duration};

use crate::common::{Cluster, cluster, node, pod};
use daemonplan::{
    Snapshot,
    forecast::{Assumptions, Change, Delay, Outcome, StuckCause},
    lint::lint,
    model::{IntOrPercent, UpdateStrategy},
    strategies::{clusters, guided_clusters, rollout_policies},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

/// Returns a settled cluster whose template was just edited.
fn edited(nodes: usize, strategy: UpdateStrategy, min_ready_seconds: u32) -> Cluster {
    let names: Vec<_> = (0..nodes).map(|number| format!("n{number:02}")).collect();
    let pods = names.iter().map(|name| pod(&format!("old-{name}"), name));
    let cluster = cluster(names.iter().map(|name| node(name))).with_pods(pods).with_new_template();
    cluster.with(|daemonset| {
        daemonset.update_strategy = strategy;
        daemonset.min_ready_seconds = min_ready_seconds;
    })
}

fn bounds() -> impl Strategy<Value = IntOrPercent> {
    prop_oneof![(1..5_u32).prop_map(IntOrPercent::Int), (1..100_u32).prop_map(IntOrPercent::Percent)]
}

fn assumptions() -> impl Strategy<Value = Assumptions> {
    let delay = prop_oneof![
        (0..100_u64).prop_map(|seconds| Delay::Fixed(Duration::from_secs(seconds))),
        (1..50_u64, 1..10_u64).prop_map(|(median, more)| Delay::LogNormal {
            median: Duration::from_secs(median),
            p90: Duration::from_secs(median * more),
        }),
    ];
    (delay.clone(), delay, any::<u64>())
        .prop_map(|(startup, shutdown, seed)| Assumptions::default().startup(startup).shutdown(shutdown).seed(seed))
}

fn config() -> ProptestConfig {
    let persistence = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig { failure_persistence: Some(Box::new(persistence)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_forecast_is_consistent(
        facts in prop_oneof![clusters(0..=12).boxed(), guided_clusters(0..=12).boxed()],
        assumptions in assumptions(),
        failures in 0.0..1.0,
    ) {
        let assumptions = assumptions.failure_rate(failures).horizon(Duration::from_hours(100));
        let forecast = facts.snapshot().forecast(&assumptions);
        prop_assert_eq!(&forecast, &facts.snapshot().forecast(&assumptions), "the same seed");
        prop_assert!(forecast.timeline.is_sorted_by_key(|point| point.after));
        for point in &forecast.timeline {
            prop_assert_eq!(point.old + point.new + point.unavailable, forecast.desired);
        }
        let available = forecast.timeline.iter().map(daemonplan::forecast::TimelinePoint::available);
        prop_assert_eq!(forecast.lowest_available, available.min().unwrap());
        for wave in &forecast.waves {
            prop_assert!(!wave.nodes.is_empty() && wave.begins <= forecast.after);
            prop_assert!(wave.ends.is_none_or(|ends| wave.begins <= ends && ends <= forecast.after));
            prop_assert!(wave.lowest_available >= forecast.lowest_available);
        }
        if forecast.outcome == Outcome::Done {
            prop_assert!(forecast.stuck.is_empty() && forecast.waves.iter().all(|wave| wave.ends.is_some()));
        }
    }

    #[test]
    fn an_update_ends_and_keeps_to_max_unavailable(
        nodes in 1..30_usize,
        limit in bounds(),
        min_ready_seconds in 0..30_u32,
        assumptions in assumptions(),
    ) {
        let strategy = UpdateStrategy::RollingUpdate { max_unavailable: limit, max_surge: IntOrPercent::Int(0) };
        let forecast = edited(nodes, strategy, min_ready_seconds).snapshot().forecast(&assumptions);
        prop_assert_eq!(forecast.outcome, Outcome::Done);
        prop_assert!(forecast.lowest_available >= nodes.saturating_sub(limit.of(nodes)));
        let updated: BTreeSet<_> = forecast.waves.iter().flat_map(|wave| &wave.nodes).collect();
        prop_assert_eq!(updated.len(), nodes);
        prop_assert!(forecast.waves.iter().all(|wave| wave.nodes.len() <= limit.of(nodes)));
    }

    #[test]
    fn a_surging_update_keeps_every_node_available(nodes in 1..30_usize, surge in bounds(), min_ready_seconds in 0..30_u32, assumptions in assumptions()) {
        let strategy = UpdateStrategy::RollingUpdate { max_unavailable: IntOrPercent::Int(0), max_surge: surge };
        let forecast = edited(nodes, strategy, min_ready_seconds).snapshot().forecast(&assumptions);
        prop_assert_eq!((forecast.outcome, forecast.lowest_available), (Outcome::Done, nodes));
    }

    #[test]
    fn an_update_whose_pods_never_start_stops_within_its_bound(nodes in 1..30_usize, limit in bounds(), assumptions in assumptions()) {
        let strategy = UpdateStrategy::RollingUpdate { max_unavailable: limit, max_surge: IntOrPercent::Int(0) };
        let forecast = edited(nodes, strategy, 0).snapshot().forecast(&assumptions.failure_rate(1.0));
        prop_assert_eq!(forecast.outcome, Outcome::Stuck);
        let failed = forecast.stuck.iter().filter(|stuck| stuck.cause == StuckCause::PodNeverStarts).count();
        prop_assert_eq!((failed, forecast.lowest_available), (limit.of(nodes).min(nodes), nodes.saturating_sub(limit.of(nodes))));
        prop_assert_eq!(forecast.stuck.len(), nodes);
    }

    #[test]
    fn equal_clusters_have_no_diff(facts in clusters(0..=12)) {
        let snapshot = facts.snapshot();
        let diff = Snapshot::diff(Some(&snapshot), &snapshot);
        prop_assert_eq!((diff.nodes, diff.is_restless), (vec![], diff.is_restless));
    }

    #[test]
    fn pods_added_in_one_direction_are_removed_in_the_other(facts in clusters(1..=12), gone in any::<prop::sample::Index>()) {
        let mut without = facts.clone();
        let gone = without.nodes.remove(gone.index(facts.nodes.len())).name;
        let (with, without) = (facts.snapshot(), without.snapshot());
        let there = Snapshot::diff(Some(&without), &with);
        let back = Snapshot::diff(Some(&with), &without);
        let at = |diff: &daemonplan::Diff| diff.nodes.iter().find(|node| node.node == gone).map(|node| node.change.clone());
        match (at(&there), at(&back)) {
            (Some(Change::Gained(_)), lost) => prop_assert!(matches!(lost, Some(Change::Lost(_))), "{:?}", lost),
            // A pod of the missing node is kept once the node is there.
            (gained, Some(Change::Lost(_))) => {
                prop_assert!(matches!(gained, Some(Change::Gained(_) | Change::Spared)), "{:?}", gained);
            }
            _ => {}
        }
    }

    #[test]
    fn findings_are_sorted_and_each_has_a_fix(facts in clusters(0..=12)) {
        let snapshot = facts.snapshot();
        let findings = lint(&[snapshot, snapshot]);
        prop_assert!(findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)));
        for finding in &findings {
            prop_assert!(!finding.message.is_empty() && !finding.fix.is_empty() && !finding.field.is_empty());
            prop_assert_eq!(finding.severity, finding.lint.severity());
        }
    }

    #[test]
    fn an_update_with_a_policy_ends_within_its_budget(
        nodes in 1..30_usize,
        limit in bounds(),
        policy in rollout_policies(),
        assumptions in assumptions(),
        failures in prop_oneof![Just(0.0), Just(1.0), 0.0..1.0],
    ) {
        let strategy = UpdateStrategy::RollingUpdate { max_unavailable: limit, max_surge: IntOrPercent::Int(0) };
        let mut cluster = edited(nodes, strategy, 0).with(|daemonset| daemonset.annotations = policy.annotations());
        for (number, node) in cluster.nodes.iter_mut().enumerate() {
            let (zone, role) = (["a", "b", "c"][number % 3], ["worker", "infra"][number % 2]);
            node.labels = [("zone", zone), ("role", role)].into_iter().collect();
        }
        let forecast = cluster.snapshot().forecast(&assumptions.failure_rate(failures));
        prop_assert!(!matches!(forecast.outcome, Outcome::Restless | Outcome::Unfinished), "{}", forecast);
        prop_assert!(forecast.lowest_available + limit.of(nodes).max(1) >= nodes, "{}", forecast);
        if policy.paused {
            prop_assert_eq!((forecast.outcome, forecast.lowest_available), (Outcome::Held, nodes));
        }
    }
}

//! Properties of plans with rollout policies.

use daemonplan::{
    Action, DeleteReason, Plan, RolloutPolicy,
    model::UpdateStrategy,
    strategies::{guided_clusters, rollout_policies},
};
use proptest::prelude::*;

use super::plan_properties::{config, max_surge};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_update_keeps_to_a_strict_budget(mut facts in guided_clusters(0..=50)) {
        let UpdateStrategy::RollingUpdate { max_unavailable, .. } = facts.daemonset.update_strategy else { return Ok(()) };
        facts.daemonset.annotations = facts.daemonset.annotations.with("daemonplan/strict-budget", "true");
        let plan = facts.snapshot().plan();
        let is_turn = |action: &&Action| {
            matches!(action, Action::DeletePod { reason: DeleteReason::Outdated | DeleteReason::OutdatedUnavailable, .. })
        };
        let desired = facts.snapshot().placements().filter(|placement| placement.verdict.should_run()).count();
        let surges = max_surge(&facts.daemonset, desired) > 0;
        prop_assert!(surges || plan.actions.iter().filter(is_turn).count() <= max_unavailable.of(desired).max(1));
    }

    #[test]
    fn a_policy_round_trips_through_annotations(policy in rollout_policies()) {
        prop_assert_eq!(RolloutPolicy::default().annotated(&policy.annotations()), Ok(policy));
    }

    #[test]
    fn a_policy_in_the_settings_equals_one_in_annotations(facts in guided_clusters(0..=12)) {
        let policy = RolloutPolicy::default().annotated(&facts.daemonset.annotations).unwrap();
        let is_policy = |key: &str| key.starts_with(RolloutPolicy::PREFIX) && key != "daemonplan/rollout-record";
        let annotations = facts.daemonset.annotations.iter().filter(|(key, _)| !is_policy(key));
        let mut by_settings = facts.clone();
        by_settings.daemonset.annotations = annotations.map(|(key, value)| (key.clone(), value.clone())).collect();
        by_settings.settings.rollout_policy = policy;
        let (one, other) = (facts.snapshot().plan(), by_settings.snapshot().plan());
        let without_revisions = |plan: &Plan| {
            let keeps = |action: &&Action| !matches!(action, Action::CreateRevision { .. });
            plan.actions.iter().filter(keeps).cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(without_revisions(&one), without_revisions(&other));
        prop_assert_eq!(&one.rollout, &other.rollout);
        // With annotations ignored, the plan is as without a policy.
        let mut heedless = facts.clone();
        heedless.settings.ignore_policy_annotations = true;
        let mut without = by_settings.clone();
        without.settings.rollout_policy = RolloutPolicy::default();
        let (one, other) = (heedless.snapshot().plan(), without.snapshot().plan());
        prop_assert_eq!(without_revisions(&one), without_revisions(&other));
    }
}

use proptest::{option, prelude::*, sample::select};

use crate::model::{
    DaemonSet, DaemonSetStatus, IntOrPercent, LabelSelector, Labels, Operator, Requirement, UpdateStrategy,
};
use crate::strategies::{NAMESPACE, UID, ago, pod_templates};

/// Generates DaemonSets named `agent` in the namespace `prod`.
///
/// Most select their own pods. Some have an empty or no selector, or are being deleted.
///
/// ```
/// use daemonplan::strategies::daemon_sets;
/// use proptest::prelude::*;
/// proptest!(|(daemonset in daemon_sets())| {
///     prop_assert!(!daemonset.name.is_empty());
/// });
/// ```
pub fn daemon_sets() -> impl Strategy<Value = DaemonSet> {
    let spec = (
        selector(),
        // What makes up a strategy lies on the stack, unless it is boxed.
        pod_templates().boxed(),
        update_strategies().boxed(),
        prop_oneof![4 => Just(0), 3 => Just(60_u32), 1 => Just(u32::MAX)],
        0..4_u32,
    );
    let times = (option::of(select(vec![600, 3600]).prop_map(ago)), option::weighted(0.1, any::<bool>()));
    let metadata = (1..4_i64, option::weighted(0.2, select(vec!["3", "4", "none"])), times);
    (spec.boxed(), metadata, statuses().boxed()).prop_map(
        |(spec, (generation, template_generation, (created, deleted)), status)| {
            let mut daemonset = DaemonSet::unselective(NAMESPACE, "agent");
            let (selector, template, update_strategy, min_ready_seconds, revision_history_limit) = spec;
            daemonset.uid = UID.into();
            daemonset.generation = generation;
            let annotation = template_generation.map(|text| ("deprecated.daemonset.template.generation", text));
            daemonset.annotations = annotation.into_iter().collect();
            (daemonset.created, daemonset.deleted) = (created, deleted.map(|_| ago(1)));
            daemonset.finalizers = if deleted == Some(true) { vec!["orphan".into()] } else { Vec::new() };
            daemonset.selector = selector;
            daemonset.template = template;
            daemonset.update_strategy = update_strategy;
            daemonset.min_ready_seconds = min_ready_seconds;
            daemonset.revision_history_limit = revision_history_limit;
            daemonset.status = status;
            daemonset
        },
    )
}

/// Generates values of `maxUnavailable` and `maxSurge`: numbers and percentages.
///
/// ```
/// use daemonplan::strategies::int_or_percents;
/// use proptest::prelude::*;
/// proptest!(|(bound in int_or_percents())| {
///     prop_assert!(bound.of(10) <= bound.of(20));
/// });
/// ```
pub fn int_or_percents() -> impl Strategy<Value = IntOrPercent> {
    prop_oneof![
        (0..5_u32).prop_map(IntOrPercent::Int),
        (0..=100_u32).prop_map(IntOrPercent::Percent),
        select(vec![IntOrPercent::Int(i32::MAX.unsigned_abs()), IntOrPercent::Percent(i32::MAX.unsigned_abs())]),
    ]
}

fn update_strategies() -> impl Strategy<Value = UpdateStrategy> {
    let rolling = |(max_unavailable, max_surge)| UpdateStrategy::RollingUpdate { max_unavailable, max_surge };
    prop_oneof![
        1 => Just(UpdateStrategy::OnDelete),
        2 => (int_or_percents(), Just(IntOrPercent::Int(0))).prop_map(rolling),
        2 => (Just(IntOrPercent::Int(0)), int_or_percents()).prop_map(rolling),
        1 => (int_or_percents(), int_or_percents()).prop_map(rolling),
    ]
}

fn selector() -> impl Strategy<Value = Option<LabelSelector>> {
    let plain = LabelSelector::new(Labels::from_iter([("app", "agent")]), Vec::new());
    let exists = Requirement::new("app", Operator::Exists);
    let not_old = Requirement::new("tier", Operator::NotIn(vec!["old".into()]));
    let expressions: Result<Vec<_>, _> = [exists, not_old].into_iter().collect();
    let with_expressions = expressions.and_then(|expressions| LabelSelector::new(Labels::default(), expressions));
    prop_oneof![
        16 => Just(plain.ok()),
        4 => Just(with_expressions.ok()),
        1 => Just(Some(LabelSelector::default())),
        1 => Just(None),
    ]
}

fn statuses() -> impl Strategy<Value = DaemonSetStatus> {
    (0..3_i64, option::weighted(0.1, 0..3_i32), 0..3_i32).prop_map(|(observed_generation, collision_count, count)| {
        DaemonSetStatus {
            observed_generation,
            collision_count,
            desired_number_scheduled: count,
            number_unavailable: count,
            ..DaemonSetStatus::default()
        }
    })
}

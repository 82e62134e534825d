//! What a change makes of pods that come with it and without it.

use daemonplan::{Key, Snapshot, forecast::Diff, model::PriorityClass};
use serde_json::{Value, json};

use super::{
    super::common::{Cluster, PodExt, cluster, pod},
    Full, other, requesting, sized, spec_of, updating,
};

/// Compares two clusters. The class `high` has the priority 9.
fn diff(before: Full, after: Full) -> Diff {
    let [before, after] = [before, after].map(|mut full| {
        let class = json!({"metadata": {"name": "high"}, "value": 9});
        full.objects.add(serde_json::from_value::<PriorityClass>(class).unwrap());
        full
    });
    before.with(|before| after.with(|after| Snapshot::diff(Some(&before), &after)))
}

fn two(cpu: &str) -> Cluster {
    cluster([sized("a", "1"), sized("b", "300m")]).with_spec(requesting(cpu))
}

fn important() -> Cluster {
    let mut spec = requesting("900m");
    spec["priorityClassName"] = json!("high");
    cluster([sized("a", "1")]).with_spec(spec)
}

#[test]
fn a_pod_that_comes_anyway_is_stuck_because_of_a_change() {
    let stuck = |before: &str, after: &str| -> Vec<String> {
        let diff = diff(Full::of(two(before), []), Full::of(two(after), []));
        assert!(diff.nodes.is_empty() && diff.unknown.is_empty());
        diff.stuck.iter().map(|stuck| stuck.node.to_string()).collect()
    };
    assert_eq!(stuck("100m", "500m"), ["b"]);
    assert_eq!(stuck("400m", "500m"), [""; 0], "without the change, too");
    assert_eq!(stuck("400m", "2"), ["a"]);
    assert_eq!(stuck("500m", "100m"), [""; 0]);
}

#[test]
fn a_pod_that_comes_anyway_takes_the_place_of_others_because_of_a_change() {
    let others = || [other("web", "a", "500m")];
    let plain = cluster([sized("a", "1")]).with_spec(requesting("900m"));
    let found = diff(Full::of(plain, others()), Full::of(important(), others()));
    assert_eq!(found.preempted, [Key::new("shop", "web")]);
    let same = diff(Full::of(important(), others()), Full::of(important(), others()));
    assert_eq!((same.preempted, same.stuck), (vec![], vec![]));
}

#[test]
fn what_is_not_known_of_pods_that_come_anyway_shows_only_if_a_change_brings_it() {
    let with_scheduler = |name: &str| -> Value {
        let mut spec = requesting("100m");
        spec["schedulerName"] = json!(name);
        spec
    };
    let of = |name: &str| Full::of(two("100m").with_spec(with_scheduler(name)), []);
    let unknown = |before, after| diff(before, after).unknown.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(unknown(of("default-scheduler"), of("volcano")), ["whether the scheduler volcano binds its pods"]);
    assert_eq!(unknown(of("volcano"), of("volcano")), [""; 0]);
}

#[test]
fn of_replaced_pods_all_counts() {
    let mut after = updating("400m", &[("a", "1"), ("b", "1")]);
    let before = after.clone();
    after = after.with_spec(requesting("2"));
    let found = diff(Full::of(before, []), Full::of(after, []));
    assert_eq!(found.stuck.len(), 2);
}

#[test]
fn a_surge_of_higher_priority_replaces_pods_even_if_both_need_one_port() {
    let with_port = |spec: &mut Value| {
        spec["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
        spec.clone()
    };
    let cluster = |class: Option<&str>, revision: &str| {
        let mut spec = with_port(&mut requesting("300m"));
        spec["priorityClassName"] = json!(class);
        let mut cluster = updating("300m", &[("a", "1"), ("b", "1")]).with_spec(spec).rolling(json!(0), json!(1));
        for own in &mut cluster.pods {
            *own = pod(&own.name, own.node.name().unwrap()).of(revision);
            own.spec = Some(spec_of(&with_port(&mut requesting("300m"))));
        }
        Full::of(cluster, [])
    };
    let before = || cluster(None, "one");
    let found = diff(before(), cluster(Some("high"), "zero"));
    let replaced: Vec<_> = found.nodes.iter().map(ToString::to_string).collect();
    assert_eq!(replaced, ["a: pod replaced: outdated", "b: pod replaced: outdated"]);
    assert_eq!((found.stuck.len(), found.most_unavailable, found.deletions()), (0, 2, 2));
    let without = diff(before(), cluster(None, "zero"));
    assert_eq!(without.stuck.len(), 1, "the port is taken until the new pod is available");
}

//! Forecasts of rollouts.

use std::time::Duration;

use daemonplan::{
    Forecast,
    forecast::{Assumptions, Delay, Outcome, StuckCause, Wave, WaveKind},
    model::{Pod, PodNode, PodPhase, Readiness},
};
use jiff::Timestamp;
use serde_json::json;

use super::{
    common::{Cluster, PodExt, cluster, node, pod, selector, tainted},
    policies::{old, update, zoned},
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Assumes that pods start in 10 s and stop in 5 s.
fn steady() -> Assumptions {
    Assumptions::default().startup(Delay::Fixed(seconds(10))).shutdown(Delay::Fixed(seconds(5)))
}

/// Returns four nodes, each with an outdated pod.
fn outdated() -> Cluster {
    let nodes = ["n1", "n2", "n3", "n4"];
    cluster(nodes.map(node)).with_pods(nodes.map(|node| pod(&format!("old-{node}"), node))).with_new_template()
}

fn forecast(cluster: &Cluster) -> Forecast {
    cluster.snapshot().forecast(&steady())
}

/// Formats a wave as `n1,n2 0-15 lowest 2`.
fn line(wave: &Wave) -> String {
    let nodes: Vec<_> = wave.nodes.iter().map(daemonplan::model::Text::as_str).collect();
    let ends = wave.ends.map_or("never".to_owned(), |ends| ends.as_secs().to_string());
    format!("{:?} {} {}-{ends} lowest {}", wave.kind, nodes.join(","), wave.begins.as_secs(), wave.lowest_available)
}

fn waves(forecast: &Forecast) -> Vec<String> {
    forecast.waves.iter().map(line).collect()
}

fn stuck(forecast: &Forecast) -> Vec<String> {
    forecast.stuck.iter().map(|stuck| format!("{}: {}", stuck.node, stuck.cause)).collect()
}

#[test]
fn an_update_has_waves_of_max_unavailable_nodes() {
    let forecast = forecast(&outdated().rolling(json!(2), json!(0)));
    assert_eq!(waves(&forecast), ["Update n1,n2 0-15 lowest 2", "Update n3,n4 15-30 lowest 2"]);
    assert_eq!((forecast.outcome, forecast.after), (Outcome::Done, seconds(30)));
    assert_eq!(forecast.to_string(), "done after 30s; at least 2 of 4 nodes have an available pod at any time");
    let timeline: Vec<_> = forecast.timeline.iter().map(|p| (p.after.as_secs(), p.old, p.new, p.unavailable)).collect();
    assert_eq!(timeline, [(0, 4, 0, 0), (0, 2, 0, 2), (15, 2, 2, 0), (15, 0, 2, 2), (30, 0, 4, 0)]);
}

#[test]
fn a_surging_update_keeps_every_node_available() {
    let forecast = forecast(&outdated().rolling(json!(0), json!(2)));
    assert_eq!(waves(&forecast), ["Update n1,n2 0-15 lowest 4", "Update n3,n4 10-25 lowest 4"]);
    assert_eq!((forecast.outcome, forecast.after, forecast.lowest_available), (Outcome::Done, seconds(25), 4));
}

#[test]
fn a_first_rollout_has_waves_of_the_burst_limit() {
    let forecast = forecast(&cluster(["n1", "n2", "n3"].map(node)).with_settings(|settings| settings.burst = 2));
    assert_eq!(waves(&forecast), ["Repair n1,n2 0-10 lowest 0", "Repair n3 0-10 lowest 0"]);
    assert_eq!(forecast.outcome, Outcome::Done);
}

#[test]
fn min_ready_seconds_delay_each_wave() {
    let forecast = forecast(&outdated().with(|daemonset| daemonset.min_ready_seconds = 30));
    assert_eq!(waves(&forecast)[..2], ["Update n1 0-45 lowest 3", "Update n2 45-90 lowest 3"]);
    assert_eq!(forecast.after, seconds(4 * 45));
}

#[test]
fn pods_already_starting_or_stopping_follow_the_assumptions() {
    let pods = [pod("going", "n1").being_deleted(), pod("starting", "n2").of("two").phase(PodPhase::Pending)];
    let pods = pods.map(|pod| pod.but(|pod| pod.created = None));
    let cluster = cluster(["n1", "n2"].map(node)).with_new_template().with_pods(pods);
    let forecast = forecast(&cluster);
    assert_eq!(waves(&forecast), ["Repair n1 5-15 lowest 0"]);
    assert_eq!(forecast.timeline.iter().map(|point| point.new).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_node_that_is_not_ready_stays_so_and_blocks_the_update() {
    let mut cluster = outdated();
    cluster.nodes[1] = tainted("n2", &["node.kubernetes.io/unreachable:NoExecute"]);
    let forecast = forecast(&cluster);
    assert_eq!(forecast.outcome, Outcome::Stuck);
    let reason = "the node is not ready (node.kubernetes.io/unreachable:NoExecute): no pod starts or stops there";
    let waits = "an outdated pod that the update does not reach";
    assert_eq!(stuck(&forecast), [format!("n2: {reason}"), format!("n3: {waits}"), format!("n4: {waits}")]);
    assert_eq!(waves(&forecast), ["Update n1 0-15 lowest 3", "Update n2 15-never lowest 3"]);
    assert_eq!(
        forecast.to_string(),
        "stuck after 15s: 3 nodes not converged; at least 3 of 4 nodes have an available pod at any time"
    );
}

#[test]
fn an_update_does_not_wait_for_a_pod_that_leaves_a_lost_node_for_which_none_comes() {
    let lost = |max_unavailable: u32| {
        let mut cluster = outdated().rolling(json!(max_unavailable), json!(0));
        cluster.nodes[1] = tainted("n2", &["node.kubernetes.io/unreachable:NoSchedule"]);
        cluster.pods[1].ready = Readiness::default();
        forecast(&cluster)
    };
    let done = lost(2);
    assert_eq!((done.outcome, done.stuck.len(), done.desired), (Outcome::Done, 0, 3));
    // It takes the place of another one that could be replaced.
    let stuck = lost(1);
    let waits = "an outdated pod that the update does not reach";
    let lost = "n2: the node is not ready (node.kubernetes.io/unreachable:NoSchedule): no pod starts or stops there";
    let waiting = ["n1", "n3", "n4"].map(|node| format!("{node}: {waits}"));
    let [n1, n3, n4] = waiting;
    assert_eq!((stuck.outcome, self::stuck(&stuck)), (Outcome::Stuck, vec![n1, lost.to_owned(), n3, n4]));
}

#[test]
fn pods_that_never_start_block_the_update() {
    let forecast = outdated().snapshot().forecast(&steady().failure_rate(1.0));
    assert_eq!(forecast.outcome, Outcome::Stuck);
    assert_eq!(forecast.stuck[0].cause, StuckCause::PodNeverStarts);
    assert!(forecast.stuck[1..].iter().all(|stuck| stuck.cause == StuckCause::WaitsForOthers));
}

#[test]
fn pods_not_ready_for_long_stay_so() {
    let long_ago = Some("2025-12-31T00:00:00Z".parse().unwrap());
    let unready = pod("unready", "n1").of("two").phase(PodPhase::Pending).but(|pod| pod.created = long_ago);
    let going = pod("going", "n2").being_deleted().but(|pod| pod.deleted = long_ago);
    let cluster = cluster(["n1", "n2", "n3"].map(node)).with_new_template().with_pods([unready, going]);
    let forecast_ = forecast(&cluster);
    assert_eq!(
        stuck(&forecast_),
        ["n1: pod unready has been unavailable for too long", "n2: pod going has been terminating for too long"]
    );
    let patient = cluster.snapshot().forecast(&steady().patience(Duration::from_hours(1_000)));
    assert_eq!(patient.outcome, Outcome::Done);
}

#[test]
fn under_on_delete_outdated_pods_wait_for_an_operator_to_delete_them() {
    let waiting = forecast(&outdated().with_strategy(json!({"type": "OnDelete"})));
    assert_eq!((waiting.outcome, waves(&waiting)), (Outcome::OnDelete, vec![]));
    assert_eq!(
        waiting.to_string(),
        "nothing more happens by itself: 4 nodes keep an outdated pod; at least 4 of 4 nodes have an available pod at \
         any time"
    );
    assert!(stuck(&waiting).iter().all(|node| node.contains("kubectl delete pod")), "{:?}", stuck(&waiting));
    let current = cluster([node("n1")]).with_pod(pod("p", "n1")).with_strategy(json!({"type": "OnDelete"}));
    assert_eq!(forecast(&current).outcome, Outcome::Done);
}

/// Two outdated pods that have port 80 of their nodes, and an update that surges.
fn surging(old: &serde_json::Value, new: &serde_json::Value) -> crate::common::Cluster {
    let spec = |ports: &serde_json::Value| json!({"containers": [{"name": "a", "image": "a", "ports": ports}]});
    let mut cluster = cluster(["n1", "n2"].map(node)).with_spec(spec(old));
    cluster.revisions = vec![cluster.revision("one", 1)];
    cluster.daemonset.template = crate::common::template(spec(new));
    let revision = cluster.revision("two", 2);
    cluster.revisions.push(revision);
    cluster.rolling(json!(0), json!(1)).with_pods([pod("p1", "n1"), pod("p2", "n2")])
}

#[test]
fn a_surge_that_needs_the_port_of_the_old_pod_is_stuck_for_ever() {
    let port = |number: u64| json!([{"containerPort": 80, "hostPort": number}]);
    for (old, new, outcome) in [
        (port(80), json!([{"containerPort": 81, "hostPort": 80}]), Outcome::Stuck),
        (port(80), json!([{"containerPort": 80, "hostPort": 80, "protocol": "UDP"}]), Outcome::Done),
        (port(80), port(81), Outcome::Done),
        (json!([]), port(80), Outcome::Done),
        (
            json!([{"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1"}]),
            json!([{"containerPort": 81, "hostPort": 80, "hostIP": "10.0.0.2"}]),
            Outcome::Done,
        ),
    ] {
        let cluster = surging(&old, &new);
        let forecast = forecast(&cluster);
        assert_eq!(forecast.outcome, outcome, "{old} {new}");
        let mut before = cluster.clone();
        before.daemonset.template = before.revisions[0].template().unwrap();
        let diff = daemonplan::Snapshot::diff(Some(&before.snapshot()), &cluster.snapshot());
        assert_eq!(diff.stuck.is_empty(), outcome == Outcome::Done, "{old} {new}");
        if outcome == Outcome::Stuck {
            assert!(stuck(&forecast)[0].starts_with("n1: the new pod waits for port 80 of the node"), "{forecast:?}");
            assert_eq!(diff.deletions(), 0, "the old pods stay");
        }
    }
    let network = |network: bool| {
        let ports = json!([{"containerPort": 80}]);
        let mut cluster = surging(&ports, &json!([{"containerPort": 80, "name": "x"}]));
        let spec = json!({"hostNetwork": network, "containers": [{"name": "a", "image": "a", "ports": ports}]});
        cluster.daemonset.template = crate::common::template(spec);
        cluster.revisions.truncate(0);
        forecast(&cluster).outcome
    };
    assert_eq!(
        (network(true), network(false)),
        (Outcome::Stuck, Outcome::Done),
        "on the node's network each port counts"
    );
}

#[test]
fn a_new_pod_starts_once_the_port_is_free() {
    let port = json!([{"containerPort": 80, "hostPort": 80}]);
    let going = surging(&port, &json!([{"containerPort": 81, "hostPort": 80}]));
    let mut cluster = going.rolling(json!(0), json!(1));
    for pod in &mut cluster.pods {
        pod.deleted = Some(cluster.now);
    }
    assert_eq!(forecast(&cluster).outcome, Outcome::Done, "the old pods are being deleted already");
}

#[test]
fn pods_that_do_not_match_the_selector_are_created_forever() {
    let cluster = cluster([node("n1")]).with(|daemonset| daemonset.selector = Some(selector("app", "another")));
    let forecast = forecast(&cluster);
    assert_eq!(forecast.outcome, Outcome::Restless);
    assert!(forecast.to_string().starts_with("never settles: its steps repeat without end"));
}

#[test]
fn a_forecast_ends_at_its_horizon() {
    let forecast = outdated().snapshot().forecast(&steady().horizon(seconds(20)));
    assert_eq!((forecast.outcome, forecast.after), (Outcome::Unfinished, seconds(20)));
    assert_eq!(forecast.waves.len(), 2);
}

#[test]
fn failed_pods_are_replaced_and_missing_nodes_are_cleaned_up() {
    let pods = [pod("failed", "n1").phase(PodPhase::Failed), pod("lost", "gone"), pod("fine", "n2")];
    let forecast = forecast(&cluster(["n1", "n2"].map(node)).with_pods(pods));
    assert_eq!(waves(&forecast), ["Repair gone,n1 0-10 lowest 1"]);
    assert_eq!(forecast.outcome, Outcome::Done);
}

#[test]
fn the_same_seed_gives_the_same_forecast() {
    let cluster = outdated();
    let with_seed = |seed| cluster.snapshot().forecast(&Assumptions::default().seed(seed));
    assert_eq!(with_seed(1), with_seed(1));
    assert_ne!(with_seed(1).after, with_seed(2).after);
}

#[test]
fn startup_times_are_observed_from_existing_pods() {
    let cluster = outdated();
    let cluster_with = |pods| Cluster { pods, ..cluster.clone() };
    // The pods were created at 02:00:00 and ready at 03:00:00.
    assert_eq!(Delay::observed(&cluster.snapshot()), Some(Delay::Fixed(Duration::from_hours(1))));
    let faster = pod("faster", "n1").but(|pod| pod.created = Some("2026-01-02T02:59:50Z".parse().unwrap()));
    let few = cluster_with(vec![faster.clone(), pod("slow", "n2")]);
    assert_eq!(Delay::observed(&few.snapshot()), None, "two pods are too few");
    let some = cluster_with(vec![faster.clone(), faster, pod("slow", "n2")]);
    let expected = Delay::LogNormal { median: seconds(10), p90: Duration::from_hours(1) };
    assert_eq!(Delay::observed(&some.snapshot()), Some(expected));
}

#[test]
fn a_wave_has_one_kind_only() {
    let mut cluster = outdated();
    cluster.pods.remove(0);
    let forecast = forecast(&cluster);
    assert_eq!(forecast.waves.iter().map(|wave| wave.kind).filter(|kind| *kind == WaveKind::Repair).count(), 1);
    assert_eq!(waves(&forecast)[..2], ["Repair n1 0-10 lowest 3", "Update n2 10-25 lowest 3"]);
}

#[test]
fn without_desired_nodes_nothing_is_counted() {
    let forecast = forecast(&cluster([]));
    assert_eq!(forecast.to_string(), "done already; no node should run a pod");
}

#[test]
fn a_chart_shows_the_lowest_value_of_each_span() {
    let forecast = forecast(&outdated().rolling(json!(2), json!(0)));
    let columns = |count| {
        let columns = forecast.columns(count);
        columns.iter().map(|point| (point.old, point.new, point.unavailable)).collect::<Vec<_>>()
    };
    assert_eq!(columns(1), [(0, 2, 2)]);
    assert_eq!(columns(2), [(0, 2, 2), (0, 2, 2)]);
    assert_eq!(columns(4), [(2, 0, 2), (0, 2, 2), (0, 2, 2), (0, 2, 2)]);
    assert_eq!(columns(0), []);
}

#[test]
fn a_forecast_follows_the_policy() {
    let cluster = update(zoned(), &[("groups", "zone")]).with_pods([old("a"), old("b"), old("c"), old("d")]);
    let forecast = cluster.snapshot().forecast(&Assumptions::default());
    let waves: Vec<_> = forecast.waves.iter().map(|wave| (wave.group.as_deref(), wave.nodes.len())).collect();
    assert_eq!((forecast.outcome, waves), (Outcome::Done, vec![(Some("east"), 2), (Some("west"), 2)]));

    let held = update(zoned(), &[("partition", "3")]).with_pods([old("a"), old("b"), old("c"), old("d")]);
    let forecast = held.snapshot().forecast(&Assumptions::default());
    assert_eq!((forecast.outcome, forecast.stuck.len()), (Outcome::Held, 0));

    let baking =
        update(zoned(), &[("canary", "1"), ("canary-bake", "1h")]).with_pods([old("a"), old("b"), old("c"), old("d")]);
    let forecast = baking.snapshot().forecast(&Assumptions::default());
    assert_eq!((forecast.outcome, forecast.waves[0].group.as_deref()), (Outcome::Done, Some("canaries")));
    assert!(forecast.after.as_secs() > 3600);
    let short = baking.snapshot().forecast(&Assumptions::default().horizon(seconds(600))).to_string();
    assert!(short.starts_with("not done within the horizon: the last change comes after "), "{short}");
    assert!(short.contains("; the canaries must be available for "), "{short}");
}

#[test]
fn a_forecast_that_is_stuck_says_what_the_policy_waits_for() {
    let of = |annotations: &[(&str, &str)]| {
        let cluster = update(["a", "b"].map(node), annotations).with_pods([old("a"), old("b").unready()]);
        cluster.snapshot().forecast(&Assumptions::default().failure_rate(1.0)).to_string()
    };
    assert!(of(&[("paused", "true")]).starts_with("stuck after 0s: 1 node not converged; the update is paused"));
    assert!(of(&[("canary", "1")]).contains("2 nodes not converged; 0 of 1 canaries are available"));
    assert!(of(&[("order", "name")]).contains("2 nodes not converged; at least 0 of 2"));
}

#[test]
fn a_forecast_of_a_failing_template_shows_the_rollback() {
    let annotations = [("canary", "1"), ("on-failure", "roll-back")];
    let cluster = update(zoned(), &annotations).with_pods([old("a"), old("b"), old("c"), old("d")]);
    let forecast = cluster.snapshot().forecast(&Assumptions::default().failure_rate(1.0));
    assert_eq!((forecast.outcome, forecast.lowest_available), (Outcome::RolledBack, 3));
}

#[test]
fn the_deletion_of_a_daemonset_is_stuck_on_a_lost_node() {
    let mut cluster = outdated();
    cluster.nodes[1] = tainted("n2", &["node.kubernetes.io/unreachable:NoSchedule"]);
    cluster.daemonset.deleted = Some(cluster.now);
    cluster.daemonset.finalizers = vec!["foregroundDeletion".into()];
    for pod in &mut cluster.pods {
        pod.deleted = Some(cluster.now);
    }
    let found = forecast(&cluster);
    let lost = "n2: the node is not ready (node.kubernetes.io/unreachable:NoSchedule): no pod starts or stops there";
    assert_eq!((found.outcome, stuck(&found)), (Outcome::Stuck, vec![lost.to_owned()]));
    cluster.nodes[1] = node("n2");
    assert_eq!(forecast(&cluster).outcome, Outcome::Done);
}

#[test]
fn a_pod_that_stays_in_deletion_on_a_node_that_works_blocks() {
    let with_taints = |taints: &[&str]| {
        let mut cluster = outdated().rolling(json!(2), json!(0));
        cluster.nodes[1] = tainted("n2", taints);
        let long_ago = cluster.now - Duration::from_secs(3600);
        cluster.pods[1] = old_pod_deleted_at(long_ago);
        let found = forecast(&cluster);
        (found.outcome, stuck(&found))
    };
    let stays = (Outcome::Stuck, vec!["n2: pod old-n2 has been terminating for too long".to_owned()]);
    let lost = "node.kubernetes.io/unreachable:NoSchedule";
    for effect in ["NoSchedule", "NoExecute"] {
        let dedicated = format!("dedicated=db:{effect}");
        assert_eq!(with_taints(&[&dedicated]), stays, "{effect}");
        assert_eq!(with_taints(&[&dedicated, lost]), (Outcome::Done, vec![]), "{effect}");
    }
}

fn old_pod_deleted_at(time: Timestamp) -> Pod {
    let mut pod = pod("old-n2", "n2").unready();
    pod.deleted = Some(time);
    pod
}

#[test]
fn a_lost_node_whose_pod_stays_is_not_what_an_update_waits_for() {
    let mut cluster = outdated().rolling(json!(1), json!(0));
    cluster.nodes[1] = tainted("n2", &["node.kubernetes.io/unreachable:NoSchedule"]);
    cluster.pods[1] = pod("new-n2", "n2").of("two");
    cluster.pods[2] = pod("old-n3", "n3").unready().but(|pod| pod.created = None);
    cluster.pods[2].deleted = Some(cluster.now - Duration::from_secs(3600));
    let found = forecast(&cluster);
    assert_eq!(found.outcome, Outcome::Stuck);
    assert!(found.stuck.iter().all(|stuck| stuck.node != "n2"), "{:?}", found.stuck);
}

#[test]
fn a_deletion_that_takes_no_time_is_still_a_step() {
    let mut cluster = cluster([node("a")]).with_pods([pod("here", "a"), pod("lost", "gone").phase(PodPhase::Pending)]);
    cluster.pods[1].node = PodNode::Intended("gone".into());
    let forecast = cluster.snapshot().forecast(&Assumptions::default());
    assert!(forecast.to_string().starts_with("done after 0s; "), "{forecast}");
}

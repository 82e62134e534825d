//! Pods of higher priority, which take the place of others.

use std::slice;

use daemonplan::{
    Snapshot,
    forecast::{Assumptions, Forecast, Outcome, StuckCause, StuckNode},
    manifest::Manifests,
};
use serde_json::{Value, json};

use super::{
    affinity, at_best, daemonset, forecasts, going, named_node, node, none, on, only_on, pod, priority, read, sure,
    surge, surging, waits, waits_for, with, with_selector,
};

fn forecast_of(objects: &[Value], daemonset: &str) -> Forecast {
    let manifests = read(objects);
    let all: Vec<_> = manifests.snapshots().collect();
    let coming = all.iter().filter_map(|snapshot| snapshot.coming_pods(manifests.scheduling_objects()));
    let state = manifests.cluster_state().with_coming(coming);
    let own = all.iter().find(|snapshot| snapshot.daemonset().name == daemonset).unwrap();
    own.scheduling(&state).forecast(&Assumptions::default())
}

/// The forecast of a DaemonSet whose pods request 600m of a node's cpu, beside one of higher priority.
fn low_beside(high: Value, others: &[Value]) -> (Outcome, Vec<String>, usize) {
    // The old pod stays if it can.
    let mut low = daemonset("low", "600m", none());
    low["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let objects = [&[high, low, node("n", "1"), priority("high", 10)], others].concat();
    let forecast = forecast_of(&objects, "low");
    let why = |stuck: &StuckNode| match &stuck.cause {
        StuckCause::Unschedulable { explanation, .. } => Some(explanation.clone()),
        _ => None,
    };
    let facts = forecast.stuck.iter().filter_map(why).chain(forecast.unknown.iter().map(ToString::to_string)).collect();
    (forecast.outcome, facts, forecast.lowest_available)
}

fn high(cpu: &str) -> Value {
    daemonset("high", cpu, json!({"priorityClassName": "high"}))
}

#[test]
fn a_pod_whose_place_another_daemonset_takes_for_certain_does_not_come_back() {
    let old = pod("low-1", "600m", Some("low"), on("n"));
    let why = "once the pods of DaemonSet prod/high have come: \
               requests cpu 600m, but 300m of 1 are free: 300m more are needed";
    let lost = (Outcome::Stuck, vec![why.to_owned()], 0);
    assert_eq!(low_beside(high("700m"), slice::from_ref(&old)), lost);
    assert_eq!(low_beside(high("700m"), &[]), lost, "no matter which comes first");
    let waiting = pod("high-1", "700m", Some("high"), json!({"priority": 10}));
    assert_eq!(low_beside(high("700m"), &[old.clone(), waiting]), lost, "a pod that waits comes as a new one");
    assert_eq!(
        low_beside(high("400m"), slice::from_ref(&old)),
        (Outcome::OnDelete, Vec::new(), 1),
        "there is room for both"
    );
    assert_eq!(low_beside(high("2"), &[old]), (Outcome::OnDelete, Vec::new(), 1), "the other does not fit at all");
}

#[test]
fn it_is_certain_only_if_nothing_can_keep_the_other_from_coming() {
    let old = pod("low-1", "600m", Some("low"), on("n"));
    let depends = |high: Value, others: &[Value]| {
        let (outcome, facts, _) = low_beside(high, &[slice::from_ref(&old), others].concat());
        let doubt = "whether its pod keeps its place on node n, which depends on the pods of DaemonSet prod/high";
        assert_eq!((outcome, facts), (Outcome::OnDelete, vec![doubt.to_owned()]));
    };
    let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "many", "namespace": "prod"},
        "spec": {"hard": {"pods": "9"}}, "status": {"hard": {"pods": "9"}, "used": {"pods": "1"}}});
    depends(high("700m"), &[quota]);
    let update = pod("high-1", "300m", Some("high"), json!({"nodeName": "n", "priority": 10}));
    depends(high("700m"), &[update]);
    let mut held = high("700m");
    held["metadata"]["annotations"] = json!({"daemonplan/paused": "true"});
    depends(held, &[]);
    // Another one that waits may take its place first.
    let (outcome, facts, _) =
        low_beside(high("700m"), &[old.clone(), pod("web", "900m", None, json!({"priority": 99}))]);
    assert!(outcome == Outcome::OnDelete && facts.len() == 1, "{facts:?}");
}

#[test]
fn of_equal_priority_neither_takes_the_place_of_the_other() {
    let old = pod("low-1", "600m", Some("low"), on("n"));
    let equal = daemonset("high", "700m", none());
    assert_eq!(low_beside(equal.clone(), &[old]), (Outcome::OnDelete, Vec::new(), 1));
    assert_eq!(low_beside(equal, &[]).0, Outcome::Done, "who is first decides");
    let never = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "polite"},
        "value": 10, "preemptionPolicy": "Never"});
    let polite = daemonset("high", "700m", json!({"priorityClassName": "polite"}));
    assert_eq!(low_beside(polite, &[never, pod("low-1", "600m", Some("low"), on("n"))]).0, Outcome::OnDelete);
}

#[test]
fn a_change_whose_pods_take_the_place_of_others_shows_there_too() {
    let (low, nodes) = (daemonset("low", "600m", none()), [node("n", "1")]);
    let own = |cpu: &str| daemonset("high", cpu, json!({"priorityClassName": "high"}));
    let pods = [
        pod("low-n", "600m", Some("low"), on("n")),
        pod("high-n", "300m", Some("high"), json!({"nodeName": "n", "priority": 9})),
    ];
    let clusters = ["300m", "400m", "500m"].map(|cpu| {
        let objects = [&[own(cpu), low.clone(), priority("high", 9)][..], &nodes, &pods].concat();
        read(&objects)
    });
    let unknown = |before: &Manifests, after: &Manifests| {
        let with = |manifests: &Manifests, see: &mut dyn FnMut(Snapshot<'_>)| {
            let all: Vec<_> = manifests.snapshots().collect();
            let coming = all.iter().filter_map(|snapshot| snapshot.coming_pods(manifests.scheduling_objects()));
            let state = manifests.cluster_state().with_coming(coming);
            let low = all.iter().find(|snapshot| snapshot.daemonset().name == "low").unwrap();
            see(low.scheduling(&state));
        };
        let mut found = Vec::new();
        with(before, &mut |before| {
            with(after, &mut |after| {
                let diff = Snapshot::diff(Some(&before), &after);
                found = diff.unknown.iter().map(ToString::to_string).collect();
            });
        });
        found
    };
    let [small, medium, large] = &clusters;
    let lost = "whether its pod keeps its place on node n, which depends on the pods of DaemonSet prod/high";
    let late = "whether its pod finds room on node n, which depends on the pods of DaemonSet prod/high";
    assert_eq!(unknown(small, large), [late, lost]);
    assert_eq!(unknown(small, medium), [""; 0], "both fit");
    assert_eq!(unknown(large, large), [""; 0], "not because of a change");
}

#[test]
fn a_pod_that_surges_takes_the_place_of_others_before_the_old_one_leaves() {
    let low = [daemonset("low", "300m", none()), pod("low-n", "300m", Some("low"), on("n"))];
    let old = pod("high-n", "400m", Some("high"), json!({"nodeName": "n", "priority": 9}));
    let of = |high: Value| {
        let rest = [high, node("n", "1"), priority("high", 9), old.clone()];
        let objects = [&low[..], &rest].concat();
        forecasts(&objects)["low"].clone()
    };
    let high = |cpu: &str| daemonset("high", cpu, json!({"priorityClassName": "high"}));
    let surging = |cpu: &str| {
        let mut high = high(cpu);
        high["spec"]["updateStrategy"] = surging("high", none())["spec"]["updateStrategy"].clone();
        high
    };
    let by = "on node n, which depends on the pods of DaemonSet prod/high";
    // It fits again once the old pod of the other has left.
    let lost = ["when its pod fits", "whether its pod keeps its place"].map(|what| format!("{what} {by}")).to_vec();
    assert_eq!((of(surging("400m")), of(surging("300m"))), ((Outcome::Waiting, lost), sure(Outcome::Done)));
    assert_eq!(of(high("400m")), sure(Outcome::Done), "without a surge the old pod is gone before");
}

#[test]
fn a_daemonset_takes_no_place_on_nodes_to_which_it_does_not_come() {
    let low = [with_selector(daemonset("low", "700m", none()), "n"), pod("low-n", "700m", Some("low"), on("n"))];
    let of = |node: &str| {
        let high = with_selector(daemonset("high", "700m", json!({"priorityClassName": "high"})), node);
        let rest = [high, named_node("m", "1"), named_node("n", "1"), priority("high", 9)];
        forecasts(&[&low[..], &rest].concat())["low"].0
    };
    assert_eq!((of("n"), of("m")), (Outcome::Stuck, Outcome::Done));
}

#[test]
fn a_replaced_pod_leaves_before_the_new_one_takes_the_place_of_others() {
    let of = |cpu: &str, web: &str| {
        let high = daemonset("high", cpu, json!({"priorityClassName": "high"}));
        let old = pod("high-n", "400m", Some("high"), json!({"nodeName": "n", "priority": 9}));
        forecasts(&[high, old, node("n", "1"), priority("high", 9), pod("web", web, None, on("n"))])["high"].clone()
    };
    let victim = "when its pod starts on node n, as prod/web must leave before";
    assert_eq!(of("400m", "400m"), sure(Outcome::Done), "the old pod makes room enough");
    assert_eq!(of("700m", "400m"), (Outcome::Waiting, vec![victim.to_owned()]));
    assert_eq!(of("2", "400m").0, Outcome::Stuck);
}

#[test]
fn a_pod_that_waits_takes_places_on_one_node_and_only_if_it_fits_on_none() {
    let waiting = pod("web", "600m", None, json!({"priority": 9}));
    let own = |name: &str| pod(&format!("a-{name}"), "700m", Some("a"), on(name));
    let lost = |nodes: &[Value], pods: &[Value]| {
        let all = [&[daemonset("a", "700m", none()), waiting.clone()], nodes, pods].concat();
        forecasts(&all)["a"].1.iter().filter(|fact| fact.contains("keeps its place")).count()
    };
    let two = [named_node("m", "1"), named_node("n", "1")];
    assert_eq!(lost(&two, &[own("m"), own("n")]), 1);
    assert_eq!(lost(&two, &[own("m")]), 0, "it fits on the other node");
    // Nor does it come where an old pod leaves, if it is bound elsewhere before.
    let update = |others: &[Value]| {
        let all = [&[daemonset("a", "700m", only_on("m")), waiting.clone(), own("m")], others].concat();
        forecasts(&all)["a"].clone()
    };
    let low = json!({"nodeName": "n"});
    assert_eq!(update(&two), sure(Outcome::Done));
    let full = pod("full", "700m", None, low);
    assert_ne!(update(&[&two[..], &[full]].concat()), sure(Outcome::Done));
}

#[test]
fn the_nodes_where_others_take_the_place_do_not_count_as_available() {
    let mut low = daemonset("low", "600m", none());
    low["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let objects = [
        daemonset("high", "700m", json!({"priorityClassName": "high"})),
        low,
        node("m", "1"),
        node("n", "1"),
        priority("high", 9),
        pod("low-n", "600m", Some("low"), on("n")),
        pod("low-m", "100m", Some("low"), on("m")),
    ];
    let forecast = forecast_of(&objects, "low");
    assert_eq!((forecast.desired, forecast.lowest_available), (2, 1));
}
#[test]
fn of_two_new_daemonsets_the_one_of_higher_priority_is_done() {
    let high = daemonset("high", "600m", json!({"priorityClassName": "high"}));
    let mut objects = vec![high, daemonset("low", "600m", none()), node("n", "1"), priority("high", 10)];
    let by_priority = forecasts(&objects);
    assert_eq!((&by_priority["high"], &by_priority["low"]), (&sure(Outcome::Done), &sure(Outcome::Stuck)));
    // A pod that is never preempted for another keeps its place, whatever its priority.
    objects[3]["preemptionPolicy"] = json!("Never");
    let expected = at_best("whether its pod finds room on node n, which depends on the pods of DaemonSet prod/low");
    assert_eq!(forecasts(&objects)["high"], expected);
}

#[test]
fn one_pod_of_low_priority_gives_its_place_to_one_of_two_daemonsets() {
    let two = ["a", "b"].map(|name| daemonset(name, "600m", json!({"priorityClassName": "high"})));
    let low = pod("web", "800m", None, on("n"));
    let forecasts = forecasts(&[&two[..], &[node("n", "1"), priority("high", 10), low]].concat());
    let victim = "when its pod starts on node n, as prod/web must leave before";
    let rival = "whether its pod finds room on node n, which depends on the pods of DaemonSet prod/b";
    assert_eq!(forecasts["a"], (Outcome::Waiting, vec![victim.to_owned(), rival.to_owned()]));
}

#[test]
fn a_pod_whose_victims_are_leaving_does_not_take_the_place_from_itself() {
    let nominated = |cpu: &str, rules: Value| {
        let mut spec = with(json!({"priority": 9}), waits_for("n"));
        spec["affinity"] = with(spec["affinity"].clone(), rules);
        let mut waiting = pod("high-n", cpu, Some("high"), spec);
        waiting["status"] = json!({"phase": "Pending", "nominatedNodeName": "n"});
        waiting
    };
    let of = |mut high: Value, web: &str, waiting: Value| {
        high["spec"]["template"]["spec"]["priorityClassName"] = json!("high");
        let web = going(pod("web", web, None, on("n")));
        forecasts(&[high, named_node("n", "1"), priority("high", 9), waiting, web])["high"].clone()
    };
    let victim = waits("when its pod starts on node n, as prod/web must leave before");
    let own = |cpu: &str| daemonset("high", cpu, none());
    assert_eq!(of(own("600m"), "600m", nominated("600m", none())), victim);
    assert_eq!(of(own("600m"), "400m", nominated("600m", none())), sure(Outcome::Done), "there is room beside it");
    assert_eq!(of(own("1100m"), "400m", nominated("1100m", none())).0, Outcome::Stuck);
    // Nor does the next one, in whose place it waits, not even by a rule that excludes others of its kind, or in a surge.
    let apart = affinity("podAntiAffinity", "high", "host");
    let waiting = nominated("600m", apart["affinity"].clone());
    let (outcome, unknown) = of(daemonset("high", "600m", apart), "600m", waiting);
    assert!(outcome == Outcome::Waiting && unknown.contains(&victim.1[0]), "{unknown:?}");
    let mut surge = surging("high", none());
    surge["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("600m");
    assert_eq!(of(surge, "600m", nominated("600m", none())), victim);
}

#[test]
fn of_two_that_come_the_second_takes_the_place_of_a_third() {
    let class = |name: &str, value: i32, cpu: &str| {
        [daemonset(name, cpu, json!({"priorityClassName": name})), priority(name, value)]
    };
    let web = |cpu: &str| pod("web", cpu, None, on("n"));
    let of = |web: Value| {
        let new = [class("high", 9, "300m"), class("mid", 5, "300m")].concat();
        let objects = [&new[..], &[daemonset("low", "1m", none()), node("n", "1"), web]].concat();
        forecasts(&objects)
    };
    let later = "whether its pod takes the place of prod/web on node n, as others may come first";
    let both = of(web("450m"));
    assert_eq!([&both["high"], &both["mid"]], [&at_best(later); 2]);
    let alone = of(web("350m"));
    assert_eq!([&alone["high"], &alone["mid"]], [&sure(Outcome::Done); 2], "there is room for all");
    // The same if the third is of a DaemonSet.
    let new = [class("high", 9, "300m"), class("mid", 5, "300m")].concat();
    let mut low = daemonset("low", "450m", none());
    low["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let old = pod("low-n", "450m", Some("low"), on("n"));
    let all = forecasts(&[&new[..], &[low, node("n", "1"), old]].concat());
    let lost = "whether its pod keeps its place on node n, which depends on the pods of DaemonSet prod/high and the \
                pods of DaemonSet prod/mid";
    assert_eq!(all["low"], (Outcome::OnDelete, vec![lost.to_owned()]));
}

#[test]
fn a_pod_fits_once_another_has_taken_the_place_of_a_third() {
    let web = pod("web", "750m", None, on("n"));
    let of = |high: &str, low: &str| {
        let high = daemonset("high", high, json!({"priorityClassName": "high"}));
        let low = daemonset("low", low, none());
        forecasts(&[high, low, node("n", "1"), priority("high", 9), web.clone()])["low"].clone()
    };
    let later = waits("when its pod fits on node n, which depends on the pods of DaemonSet prod/high");
    assert_eq!(of("500m", "500m"), later);
    assert_eq!(of("600m", "500m").0, Outcome::Stuck, "the node is kept free for the other");
    assert_eq!(of("200m", "500m").0, Outcome::Stuck, "the other takes no place");
}

#[test]
fn a_pod_that_a_quota_refuses_takes_no_place() {
    let high = high("700m");
    let quota = |pods: &str| {
        json!({"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "prod"},
            "spec": {"hard": {"pods": pods}}, "status": {"hard": {"pods": pods}, "used": {"pods": "0"}}})
    };
    let web = |name: &str, node: &str| pod(name, "600m", None, on(node));
    let of = |pods: &str| {
        let two = [node("m", "1"), node("n", "1"), web("web-m", "m"), web("web-n", "n")];
        let forecast = forecast_of(&[&two[..], &[high.clone(), priority("high", 9), quota(pods)]].concat(), "high");
        (forecast.outcome, forecast.preempted.len())
    };
    assert_eq!([of("0"), of("1"), of("2")], [(Outcome::Stuck, 0), (Outcome::Stuck, 1), (Outcome::Waiting, 2)]);
}

#[test]
fn the_new_pod_of_an_update_does_not_start_beside_one_of_higher_priority() {
    let of = |low: Value, old: Value| {
        let forecast = forecast_of(&[high("500m"), low, node("n", "1"), priority("high", 9), old], "low");
        (forecast.outcome, forecast.unknown.len(), forecast.timeline.first().unwrap().available())
    };
    let old = |cpu: &str| pod("low-1", cpu, Some("low"), on("n"));
    let update = || daemonset("low", "600m", none());
    // The old pod has room beside the other, and is replaced.
    assert_eq!(of(update(), old("300m")), (Outcome::Stuck, 0, 1));
    assert_ne!(of(surge("low", "600m"), old("300m")).1, 0, "the old pod may stay");
    let mut ended = old("600m");
    ended["status"] = json!({"phase": "Failed"});
    assert_eq!(of(update(), ended).0, Outcome::Stuck, "it is gone, and another one comes");
}

#[test]
fn a_pod_that_goes_anyway_does_not_lose_its_place() {
    let old = going(pod("low-1", "600m", Some("low"), on("n")));
    let (outcome, facts, _) = low_beside(high("700m"), &[old]);
    assert_eq!((outcome, facts.iter().filter(|fact| fact.contains("keeps its place")).count()), (Outcome::Stuck, 0));
}

#[test]
fn a_surge_does_not_start_beside_the_old_pod_that_is_preempted() {
    let old = pod("low-1", "600m", Some("low"), on("n"));
    let forecast = forecast_of(&[high("700m"), surge("low", "600m"), node("n", "1"), priority("high", 9), old], "low");
    assert_eq!((forecast.outcome, forecast.stuck.len()), (Outcome::Stuck, 1));
}

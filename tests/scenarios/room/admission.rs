//! What admission makes of new pods: quotas, limits, classes and node selectors.

use daemonplan::{
    Snapshot,
    forecast::{Assumptions, Outcome},
    lint::{Lint, lint},
    model::{LimitRange, ResourceQuota, RuntimeClass, SchedulerConfig},
    overhead::DaemonSetFleet,
};
use serde_json::{Value, json};

use super::{
    super::common::{cluster, pod, template},
    Full, other, requesting, sized, spec, updating,
};

#[test]
fn a_quota_lets_as_many_pods_come_as_it_has_room_for() {
    let nodes = || cluster([sized("a", "1"), sized("b", "1"), sized("c", "1")]).with_spec(requesting("100m"));
    assert_eq!(Full::of(nodes(), []).quota(5, 2).forecast().0, Outcome::Done);
    let (outcome, stuck) = Full::of(nodes(), []).quota(4, 3).forecast();
    assert_eq!((outcome, stuck.len()), (Outcome::Stuck, 2));
    assert_eq!(
        stuck[0].to_string(),
        "admission refuses the new pod (ResourceQuota): exceeded quota: few, requested: pods=1, used: pods=4, limited: pods=4"
    );
    let replaced = Full::of(updating("300m", &[("a", "1"), ("b", "1")]), []).quota(2, 2);
    assert_eq!(replaced.forecast().0, Outcome::Done, "a pod that is gone gives its room to the next");
}

#[test]
fn what_admission_refuses_or_keeps_away_is_found() {
    let with_class = |class: Value, spec: Value| {
        let mut full = Full::of(cluster([sized("a", "1")]).with_spec(spec), []);
        full.objects.add(serde_json::from_value::<RuntimeClass>(class).unwrap());
        full
    };
    let class = json!({"metadata": {"name": "kata"}, "scheduling": {"nodeSelector": {"kata": "yes"}}});
    let mut spec = requesting("100m");
    spec["runtimeClassName"] = json!("kata");
    assert!(with_class(class.clone(), spec.clone()).has(Lint::AdmissionExcludesNodes));
    spec["runtimeClassName"] = json!("other");
    assert!(with_class(class.clone(), spec.clone()).has(Lint::AdmissionRefuses));
    let fix = |spec: &Value| {
        with_class(class.clone(), spec.clone()).with(|snapshot| {
            let findings = lint(&[snapshot]);
            findings.iter().find(|finding| finding.lint == Lint::AdmissionRefuses).unwrap().fix.clone()
        })
    };
    assert_eq!(fix(&spec), "create the RuntimeClass, or name one that exists in spec.template.spec.runtimeClassName");
    spec["runtimeClassName"] = json!("kata");
    spec["nodeSelector"] = json!({"kata": "no"});
    assert_eq!(fix(&spec), "make the node selectors of the template and of the RuntimeClass agree");
    spec["nodeSelector"] = json!({});
    spec["overhead"] = json!({"cpu": "1m"});
    assert_eq!(fix(&spec), "remove spec.template.spec.overhead: it comes from the RuntimeClass");
    let mut given = requesting("100m");
    (given["priorityClassName"], given["priority"]) = (json!("system-node-critical"), json!(7));
    assert_eq!(fix(&given), "remove priority and preemptionPolicy: they come from the class");
    assert!(!with_class(class, requesting("100m")).has(Lint::AdmissionRefuses));
}

#[test]
fn on_openshift_a_node_selector_of_the_namespace_that_cannot_be_read_refuses_all_pods() {
    let admission = |is_open_shift: bool| {
        let mut cluster = cluster([sized("a", "1")]).with_spec(requesting("100m"));
        cluster.namespace.annotations =
            [("scheduler.alpha.kubernetes.io/node-selector", "bad,,=")].into_iter().collect();
        let mut full = Full::of(cluster, []);
        if is_open_shift {
            let config = json!({"metadata": {"name": "cluster"}, "spec": {}});
            full.objects.add(serde_json::from_value::<SchedulerConfig>(config).unwrap());
        }
        full.with(|snapshot| snapshot.explain().admission.unwrap().refusal.map(|refusal| refusal.plugin))
    };
    assert_eq!([admission(false), admission(true)], [None, Some("PodNodeSelector")]);
}

#[test]
fn a_quota_counts_what_each_pod_requests() {
    let mut cluster = updating("700m", &[("a", "8"), ("b", "8")]);
    cluster.pods.iter_mut().for_each(|pod| pod.spec = Some(spec("500m")));
    let quota = |hard: &str| {
        let mut full = Full::of(cluster.clone(), []);
        let quota = json!({
            "metadata": {"name": "few", "namespace": "prod"},
            "spec": {"hard": {"requests.cpu": hard}}, "status": {"used": {"requests.cpu": "1"}},
        });
        full.objects.add(serde_json::from_value::<ResourceQuota>(quota).unwrap());
        full
    };
    let (outcome, stuck) = quota("1").forecast();
    assert_eq!((outcome, stuck.len()), (Outcome::Stuck, 2), "500m are given back, and 700m are needed");
    assert!(stuck.iter().any(|cause| cause.to_string().contains("requested: requests.cpu=700m")), "{stuck:?}");
    let (outcome, stuck) = quota("1300m").forecast();
    assert_eq!((outcome, stuck.len()), (Outcome::Stuck, 1), "there is room for one of the two");
    assert_eq!(quota("1400m").forecast().0, Outcome::Done);
    quota("1").with(|snapshot| {
        let diff = Snapshot::diff(None, &snapshot);
        assert!(!diff.stuck.is_empty(), "{diff:?}");
    });
}

#[test]
fn a_quota_that_is_exactly_used_is_no_finding() {
    let settled = || {
        let mut cluster = cluster([sized("a", "1"), sized("b", "1")]).with_spec(requesting("100m"));
        cluster.pods = vec![pod("one", "a"), pod("two", "b")];
        cluster
    };
    assert!(!Full::of(settled(), []).quota(2, 2).has(Lint::QuotaTooSmall));
    let mut lacking = settled();
    lacking.pods.pop();
    assert!(Full::of(lacking, []).quota(2, 2).has(Lint::QuotaTooSmall));
}

#[test]
fn a_limit_below_the_request_that_a_limit_range_sets_is_refused() {
    let cluster = cluster([sized("a", "4")]).with_spec(requesting("1"));
    let mut full = Full::of(cluster, []);
    let range = json!({
        "metadata": {"name": "defaults", "namespace": "prod"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "700m"}}]},
    });
    full.objects.add(serde_json::from_value::<daemonplan::model::LimitRange>(range).unwrap());
    full.with(|snapshot| {
        let refusal = snapshot.explain().admission.unwrap().refusal.unwrap();
        assert_eq!(
            refusal.to_string(),
            "spec.containers[0].resources.requests: Invalid value: \"1\": must be less than or equal to cpu limit of 700m"
        );
        assert_eq!(snapshot.forecast(&Assumptions::default()).outcome, Outcome::Stuck);
    });
}

#[test]
fn a_class_that_is_not_in_the_input_is_not_known_unless_all_is() {
    let mut spec = requesting("100m");
    spec["priorityClassName"] = json!("high");
    let full = || Full::of(cluster([sized("a", "1")]).with_spec(spec.clone()), []);
    full().with(|snapshot| {
        let admission = snapshot.explain().admission.unwrap();
        assert_eq!(admission.unknown.iter().map(ToString::to_string).collect::<Vec<_>>(), ["the PriorityClass high"]);
        assert!(admission.refusal.is_none());
        let forecast = snapshot.forecast(&Assumptions::default());
        assert_eq!(forecast.unknown, admission.unknown, "the pods fit, but admission may refuse them");
    });
    let mut complete = full();
    complete.objects.is_complete = true;
    complete.with(|snapshot| {
        let refusal = snapshot.explain().admission.unwrap().refusal.unwrap();
        assert_eq!(refusal.to_string(), "no PriorityClass with name high was found");
    });
}

#[test]
fn a_quota_without_a_status_refuses_nothing_for_long() {
    let mut full = Full::of(cluster([sized("a", "1")]).with_spec(requesting("100m")), []);
    let quota = json!({"metadata": {"name": "few", "namespace": "prod"}, "spec": {"hard": {"pods": 10}}});
    full.objects.add(serde_json::from_value::<ResourceQuota>(quota).unwrap());
    full.with(|snapshot| {
        let forecast = snapshot.forecast(&Assumptions::default());
        let unknown: Vec<_> = forecast.unknown.iter().map(ToString::to_string).collect();
        assert!(unknown[0].contains("status unknown for quota: few"), "{unknown:?}");
        assert_eq!(forecast.outcome, Outcome::Done);
        assert!(!lint(&[snapshot]).iter().any(|finding| finding.lint == Lint::AdmissionRefuses));
    });
}

#[test]
fn pods_that_are_never_created_take_no_place() {
    let mut spec = requesting("300m");
    spec["priorityClassName"] = json!("system-node-critical");
    let low = other("web", "a", "800m");
    let forecast = |namespace: &str| {
        let mut daemonset = cluster([sized("a", "1")]).with_spec(spec.clone());
        if namespace == "gone" {
            daemonset.namespace.deleted = Some("2026-01-02T03:04:05Z".parse().unwrap());
        }
        Full::of(daemonset, [low.clone()]).with(|snapshot| snapshot.forecast(&Assumptions::default()).preempted.len())
    };
    assert_eq!([forecast("prod"), forecast("gone")], [1, 0]);
}

#[test]
fn a_quota_that_is_too_small_is_told_with_what_is_enough() {
    let nodes = [sized("a", "1"), sized("b", "1")];
    let mut full = Full::of(cluster(nodes).with_spec(requesting("300m")), []);
    let quota = json!({"metadata": {"name": "few", "namespace": "prod"},
        "spec": {"hard": {"pods": 1, "requests.cpu": "400m", "limits.cpu": "1"}},
        "status": {"used": {"pods": 0, "requests.cpu": "100m", "limits.cpu": "0"}}});
    full.objects.add(serde_json::from_value::<ResourceQuota>(quota).unwrap());
    full.with(|snapshot| {
        let findings = lint(&[snapshot]);
        let finding = findings.iter().find(|finding| finding.lint == Lint::QuotaTooSmall).unwrap();
        let fix = "raise pods of ResourceQuota few to 2 and requests.cpu of ResourceQuota few to 700m";
        assert_eq!(finding.fix, fix, "{}", finding.message);
    });
}

#[test]
fn in_a_namespace_that_is_being_deleted_no_pod_is_created() {
    let mut going = cluster([sized("a", "1")]).with_spec(requesting("300m"));
    going.namespace.deleted = Some("2026-01-02T03:04:05Z".parse().unwrap());
    let node = going.nodes[0].clone();
    Full::of(going, []).with(|snapshot| {
        let refusal = "unable to create new content in namespace prod because it is being terminated";
        let explanation = snapshot.explain();
        assert_eq!(explanation.admission.unwrap().refusal.unwrap().to_string(), refusal);
        assert!(explanation.nodes[0].new_pod.is_none());
        let fleet = DaemonSetFleet::of([snapshot]);
        let overhead = fleet.overhead(&node);
        assert_eq!(overhead.running().count(), 0);
        let (_, refused) = overhead.refused().next().unwrap();
        assert_eq!(refused.to_string(), format!("NamespaceLifecycle refuses its pods: {refusal}"));
        assert!(!lint(&[snapshot]).iter().any(|finding| finding.lint == Lint::AdmissionRefuses));
    });
}

#[test]
fn pods_whose_deletion_has_begun_give_their_room_in_a_quota_back() {
    let small = |deleted: bool| {
        let mut own = cluster([sized("a", "1")]).with_spec(requesting("100m"));
        let mut web = pod("web", "a");
        (web.controller, web.deleted) = (None, deleted.then_some(own.now));
        web.labels = [("app", "web")].into_iter().collect();
        own.pods = vec![web];
        Full::of(own, []).quota(1, 1).with(|snapshot| {
            let admission = snapshot.explain().admission.unwrap();
            assert!(admission.refusal.is_some());
            let unknown = admission.unknown.iter().map(ToString::to_string).collect::<Vec<_>>();
            (lint(&[snapshot]).iter().any(|finding| finding.lint == Lint::QuotaTooSmall), unknown)
        })
    };
    let later = "when other pods of the namespace go, before which its quotas have no room";
    assert_eq!(small(false), (true, vec![]));
    assert_eq!(small(true), (false, vec![later.to_owned()]));
}

#[test]
fn a_quota_is_to_be_raised_by_what_the_pods_that_go_do_not_give_back() {
    let found = |deleted: bool| {
        let mut own = cluster([sized("a", "1"), sized("b", "1")]).with_spec(requesting("100m"));
        let mut web = pod("web", "a");
        (web.controller, web.deleted) = (None, deleted.then_some(own.now));
        web.labels = [("app", "web")].into_iter().collect();
        own.pods = vec![web];
        Full::of(own, []).quota(1, 1).with(|snapshot| {
            let findings = lint(&[snapshot]);
            let finding = findings.iter().find(|finding| finding.lint == Lint::QuotaTooSmall).unwrap();
            (finding.message.clone(), finding.fix.clone())
        })
    };
    let (message, fix) = found(false);
    assert_eq!(message, "ResourceQuota few has room for 0 pods more, and 2 nodes lack one (pods 1 of 1 used)");
    assert_eq!(fix, "raise pods of ResourceQuota few to 3");
    let (message, fix) = found(true);
    let later = "has room for 1 pod more once those are gone that are deleted, and 2 nodes lack one (pods 0 of 1 used)";
    assert_eq!(message, format!("ResourceQuota few {later}"));
    assert_eq!(fix, "raise pods of ResourceQuota few to 2");
}

#[test]
fn a_limit_range_that_fills_in_too_much_is_what_to_change() {
    let fix = |spec: Value, limits: Value, wanted: Lint| {
        let mut full = Full::of(cluster([sized("a", "1")]).with_spec(spec), []);
        let range = json!({"metadata": {"name": "a", "namespace": "prod"}, "spec": {"limits": [limits]}});
        full.objects.add(serde_json::from_value::<LimitRange>(range).unwrap());
        full.with(|snapshot| {
            let findings = lint(&[snapshot]);
            findings.into_iter().find(|finding| finding.lint == wanted).unwrap().fix
        })
    };
    let nothing = json!({"containers": [{"name": "agent", "image": "agent:1"}]});
    let large = json!({"type": "Container", "defaultRequest": {"cpu": "2"}});
    assert_eq!(
        fix(nothing, large, Lint::NeverFits),
        "request less in the template than the LimitRange fills in, or keep the pods off these nodes"
    );
    let small = json!({"type": "Container", "default": {"cpu": "1"}});
    assert_eq!(
        fix(requesting("2"), small, Lint::AdmissionRefuses),
        "set requests and limits in the template, as the LimitRange allows: it fills in the missing ones"
    );
}

#[test]
fn pods_that_admission_never_admits_take_no_room_in_a_quota() {
    let mut full = Full::of(cluster([sized("a", "1"), sized("b", "1")]).with_spec(requesting("100m")), []);
    let quota = json!({
        "metadata": {"name": "few", "namespace": "prod"}, "spec": {"hard": {"pods": "1", "limits.cpu": "9"}},
        "status": {"hard": {"pods": "1", "limits.cpu": "9"}, "used": {"pods": "0", "limits.cpu": "0"}},
    });
    full.objects.add(serde_json::from_value::<ResourceQuota>(quota).unwrap());
    let (outcome, stuck) = full.forecast();
    let cause = "admission refuses the new pod (ResourceQuota): failed quota: few: must specify limits.cpu for: agent";
    assert_eq!((outcome, stuck.len()), (Outcome::Stuck, 2));
    assert!(stuck.iter().all(|stuck| stuck.to_string() == cause), "{stuck:?}");
}

#[test]
fn pods_by_an_older_template_are_not_refused_for_what_the_new_one_lacks() {
    let of = |annotations: &[(&str, &str)]| {
        let mut limited = requesting("100m");
        limited["containers"][0]["resources"]["limits"] = json!({"cpu": "1"});
        let mut cluster = cluster([sized("a", "1"), sized("b", "1")]).with_spec(limited);
        cluster.daemonset.template = template(requesting("100m"));
        cluster.daemonset.generation += 1;
        cluster.revisions.push(cluster.revision("two", 2));
        let cluster = cluster.with_pod(pod("old-a", "a")).with(|daemonset| {
            daemonset.annotations = annotations.iter().copied().collect();
        });
        let mut full = Full::of(cluster, []);
        let quota = json!({
            "metadata": {"name": "few", "namespace": "prod"}, "spec": {"hard": {"limits.cpu": "9"}},
            "status": {"hard": {"limits.cpu": "9"}, "used": {"limits.cpu": "1"}},
        });
        full.objects.add(serde_json::from_value::<ResourceQuota>(quota).unwrap());
        full.forecast().0
    };
    assert_eq!(of(&[("daemonplan/paused", "true")]), Outcome::Held, "the pod on the other node is as the first");
    assert_eq!(of(&[]), Outcome::Stuck);
}

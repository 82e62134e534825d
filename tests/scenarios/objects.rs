//! How objects and settings are read, made and written.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use daemonplan::{
    Key, Kind, Object, ObjectRef, RolloutPolicy, Settings,
    backoff::{BackoffEntry, BackoffKey},
    model::{ControllerRevision, DaemonSet, LabelSelector, Labels, Namespace, Node, Pod, Quantity, Resource, Text},
};
use serde_json::json;

use crate::common;

#[test]
fn settings_policies_and_back_offs_survive_a_restart() {
    let mut settings = Settings::default();
    (settings.burst, settings.toleration_comparison) = (7, true);
    settings.project_node_selector = "role in (a,b),!gpu".parse().ok();
    settings.rollout_policy = RolloutPolicy::default()
        .with_flags([
            "canary=1, 10%",
            "canary-bake=90m, 1h",
            "canary-approval=manual",
            "canary-approved=6d5f/1",
            "canary-timeout=2h",
            "groups=zone",
            "group-order=a,b",
            "on-failure=roll-back",
            "available-within=5m",
            "away=not-ready=10m,deleted",
            "order=random=7",
            "update-nodes=role=a",
            "partition=2",
        ])
        .unwrap();
    let kept = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&kept).unwrap(), settings, "{kept}");
    let short = r#"{"rolloutPolicy": {"groups": {"label": "zone"}, "failure": {"then": "Pause"},
        "canary": {"nodes": {"Steps": ["10%"]}}}}"#;
    let expected = ["groups=zone", "on-failure=pause", "canary=10%"];
    let expected = RolloutPolicy::default().with_flags(expected).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(short).unwrap().rollout_policy, expected, "the rest is by default");
    let now = common::cluster([]).now;
    let entry = |seconds| {
        (BackoffKey::new("42", 1, "a").because("Evicted"), BackoffEntry::new(Duration::from_secs(seconds), now))
    };
    let backoff: daemonplan::Backoff = [entry(4)].into_iter().collect();
    let kept = serde_json::to_string(&backoff).unwrap();
    assert_eq!(serde_json::from_str::<daemonplan::Backoff>(&kept).unwrap(), backoff, "{kept}");
}

#[test]
fn objects_come_in_from_any_type_that_serialises_as_kubernetes_json() {
    #[derive(serde::Serialize)]
    struct MyPod {
        metadata: BTreeMap<&'static str, &'static str>,
    }
    let mine = MyPod { metadata: BTreeMap::from([("name", "agent-x2k"), ("namespace", "prod")]) };
    let pod = Pod::from_serializable(&mine).unwrap();
    assert_eq!(pod, Pod::new("prod", "agent-x2k"));
    assert_eq!((Pod::KIND, pod.key(), Pod::id_of(pod.key())), (Kind::Pod, pod.id(), pod.id()));
    let node = Node::new("node-7");
    assert_eq!((node.id(), Node::id_of(node.key())), (Text::from("node-7"), Text::from("node-7")));
    let error =
        ControllerRevision::from_serializable(&json!({"metadata": {"name": "r"}, "revision": "new"})).unwrap_err();
    assert!(error.to_string().starts_with("ControllerRevision: "), "{error}");
}

#[test]
fn texts_labels_keys_and_kinds_convert_as_strings_and_maps_do() {
    let text = Text::from("a");
    let (owned, shared) = (String::from("a"), Arc::<str>::from("a"));
    assert_eq!("a", text);
    assert_eq!(*"a", text);
    assert_eq!((&text, &owned), (&owned.clone().into(), &text.clone().into()));
    assert_eq!(text, owned);
    assert_eq!(owned, text);
    let all = [
        Text::from(&owned),
        shared.into(),
        Cow::Borrowed("a").into(),
        'a'.into(),
        "a".parse().unwrap(),
        (&text).into(),
    ];
    assert!(all.iter().all(|other| *other == text));
    assert_eq!((String::from(text.clone()), text.to_string()), (owned.clone(), owned));
    assert_eq!(Text::from('é'), "é");

    let map = BTreeMap::from([(String::from("a"), String::from("1"))]);
    let mut labels: Labels = map.iter().collect();
    assert_eq!((&labels, &Labels::from(map)), (&Labels::from([("a", "1")]), &[("a", "1")].into()));
    labels.extend([("b", "2"), ("a", "3")]);
    let pairs: Vec<(Text, Text)> = labels.clone().into_iter().collect();
    assert_eq!(pairs, [("a".into(), "3".into()), ("b".into(), "2".into())]);
    for (key, value) in &labels {
        assert_eq!(labels.get(key), Some(&**value));
    }
    assert!(labels.contains_key("b") && !labels.without("b").contains_key("b"));
    let selector = LabelSelector::try_from(labels.clone()).unwrap();
    assert!(selector.matches(&labels) && selector.match_labels() == &labels);
    let invalid = Labels::from([("a", "no spaces")]);
    assert!(LabelSelector::try_from(invalid).is_err() && DaemonSet::new("prod", "x", [("no spaces", "")]).is_err());

    let (pod, key) = (Pod::new("prod", "x"), Key::from(("prod", "x")));
    assert_eq!([pod.key(), (&ObjectRef::from(&pod)).into(), Object::from(&pod).key()], [key.clone(), key.clone(), key]);
    assert_eq!(
        (ObjectRef::from(&Node::new("n")).to_string(), format!("{:>8}", pod.key())),
        ("n".into(), "  prod/x".into())
    );
    let kinds = [Kind::DaemonSet, Kind::Node, Kind::Pod, Kind::Namespace, Kind::ControllerRevision];
    assert!(kinds.iter().all(|kind| kind.to_string().parse() == Ok(*kind)));
    assert!("pod".parse::<Kind>().is_err());
    let sum: Quantity = ["1", "500m"].iter().map(|text| text.parse::<Quantity>().unwrap()).sum();
    assert_eq!((sum - Quantity::from(1_u64)) * 2, Quantity::from(1_i64));
}

#[test]
fn an_owner_of_another_api_group_is_no_daemonset() {
    let owned = |api: &str| -> Pod {
        let owner =
            json!({"apiVersion": api, "kind": "DaemonSet", "name": "agent", "uid": "uid-agent", "controller": true});
        let metadata =
            json!({"name": "x", "namespace": "prod", "labels": {"app": "agent"}, "ownerReferences": [owner]});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    };
    let (ours, theirs) = (owned("apps/v1"), owned("apps.kruise.io/v1alpha1"));
    assert_eq!(theirs.controller.as_ref().unwrap().kind, "DaemonSet.apps.kruise.io");
    assert_eq!(daemonplan::gc::orphans([], [&ours, &theirs], []).pods, [&ours]);
    let written = serde_json::to_value(&theirs).unwrap();
    assert_eq!(written["metadata"]["ownerReferences"][0]["apiVersion"], "apps.kruise.io/v1");
    assert_eq!(serde_json::from_value::<Pod>(written).unwrap(), theirs);
}

#[test]
fn objects_of_the_wrong_kind_are_refused() {
    let namespace = json!({"kind": "Namespace", "metadata": {"name": "prod"}});
    let error = Node::from_serializable(&namespace).unwrap_err();
    assert_eq!(error.to_string(), "Node: expected kind Node, found Namespace");
    let read = serde_json::from_value::<Object>(namespace).unwrap();
    assert_eq!(read, Namespace::new("prod").into());
    assert_eq!(serde_json::from_value::<Object>(serde_json::to_value(&read).unwrap()).unwrap(), read);
    let foreign = json!({"apiVersion": "apps.kruise.io/v1alpha1", "kind": "DaemonSet", "metadata": {"name": "x"}});
    let found = "DaemonSet: expected a DaemonSet of apps/v1, found one of apps.kruise.io/v1alpha1";
    assert_eq!(DaemonSet::from_serializable(&foreign).unwrap_err().to_string(), found);
    assert_eq!(serde_json::from_value::<Object>(foreign).unwrap_err().to_string(), found);
    let pods = json!([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent-1"}}]);
    let error = serde_json::from_value::<Vec<Node>>(pods).unwrap_err();
    assert_eq!(error.to_string(), "expected kind Node, found Pod");
    let old = json!({"apiVersion": "apps/v1beta2", "kind": "DaemonSet", "metadata": {"name": "agent"}});
    assert_eq!(serde_json::from_value::<DaemonSet>(old).unwrap().name, "agent");
    let error = |object| serde_json::from_value::<Object>(object).unwrap_err().to_string();
    assert!(error(json!({"kind": "Service"})).starts_with("kind: expected DaemonSet, Node, Pod"));
    assert!(error(json!({"metadata": {"name": "x"}})).ends_with(r#"found """#));
    assert_eq!(error(json!({"kind": "Pod"})), "Pod: metadata.name: expected a name, found none");
}

#[test]
fn a_template_that_is_no_object_where_pods_are_placed_is_refused() {
    use daemonplan::model::PodTemplate;
    let error = |template| serde_json::from_value::<PodTemplate>(template).unwrap_err().to_string();
    assert!(error(json!({"spec": 5})).starts_with("spec.nodeName: invalid type: integer `5`, expected a map"));
    assert!(error(json!({"metadata": "x"})).starts_with("metadata.labels: invalid type: string"));
    for affinity in [json!("x"), json!({"nodeAffinity": 5}), json!({"nodeAffinity": []})] {
        assert!(error(json!({"spec": {"affinity": affinity}})).starts_with("spec.affinity.nodeAffinity.required"));
    }
    let empty = json!({"metadata": null, "spec": {"affinity": {"nodeAffinity": null}}});
    let template: PodTemplate = serde_json::from_value(empty).unwrap();
    let affinity = daemonplan::affinity::rewrite(&template, "n1");
    let required = &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    assert_eq!(required["nodeSelectorTerms"][0]["matchFields"][0]["values"], json!(["n1"]));
}

#[test]
fn a_label_selector_has_no_operators_of_nodes() {
    use daemonplan::model::{Operator, Requirement};
    let newer = Requirement::new("generation", Operator::Gt(3)).unwrap();
    let error = LabelSelector::new(Labels::default(), vec![newer]).unwrap_err();
    assert_eq!(error.to_string(), "\"Gt\" is not a valid operator, expected In, NotIn, Exists or DoesNotExist");
}

#[test]
fn a_node_is_written_as_it_was_read() {
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": "w1", "uid": "uid-w1", "labels": {"role": "worker"}, "deletionTimestamp": "2026-06-01T12:00:00Z"},
        "spec": {"unschedulable": true, "taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "4"}},
    }))
    .unwrap();
    assert!(node.deleted.is_some() && node.unschedulable && node.taints.len() == 1 && node.allocatable.is_some());
    let written = serde_json::to_value(&node).unwrap();
    assert_eq!(serde_json::from_value::<Node>(written).unwrap(), node);
}

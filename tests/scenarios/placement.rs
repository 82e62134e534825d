//! Placement: where a pod should run, and where it may keep running.

use daemonplan::{Settings, Verdict, model::Node};
use serde_json::{Value, json};

use crate::common::*;

/// Returns the decisions for `nodes` under this template spec, as sentences.
fn placed(spec: Value, nodes: impl IntoIterator<Item = Node>) -> Vec<String> {
    cluster(nodes).with_spec(spec).snapshot().placements().map(|placement| placement.to_string()).collect()
}

#[test]
fn a_template_that_names_a_node_runs_there_only() {
    assert_eq!(
        placed(json!({"nodeName": "b"}), [node("a"), node("b")]),
        ["a: not placed: the template names node b (spec.nodeName)", "b: placed"]
    );
}

#[test]
fn a_node_must_have_every_label_of_the_node_selector() {
    let nodes = [
        labelled("both", &[("role", "worker"), ("disk", "ssd")]),
        labelled("other", &[("role", "worker"), ("disk", "hdd")]),
        labelled("none", &[("role", "worker")]),
    ];
    assert_eq!(
        placed(json!({"nodeSelector": {"role": "worker", "disk": "ssd"}}), nodes),
        [
            "both: placed",
            "none: not placed: node selector disk=ssd is required, the node has no label disk",
            "other: not placed: node selector disk=ssd is required, the node has disk=hdd",
        ]
    );
}

#[test]
fn one_term_of_the_required_affinity_must_match_with_all_its_requirements() {
    let terms = json!([
        {"matchExpressions": [
            {"key": "zone", "operator": "In", "values": ["a", "b"]},
            {"key": "gpu", "operator": "DoesNotExist"}
        ]},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["special"]}]}
    ]);
    let nodes =
        [labelled("first", &[("zone", "a")]), labelled("gpu", &[("zone", "b"), ("gpu", "a100")]), node("special")];
    assert_eq!(
        placed(json!({"affinity": affinity(terms)}), nodes),
        [
            "first: placed",
            "gpu: not placed: no term of the node affinity matches: (1) !gpu is required, the node has gpu=a100; \
             (2) field metadata.name=special is required, the node has \"gpu\"",
            "special: placed",
        ]
    );
}

#[test]
fn an_affinity_without_terms_and_an_empty_term_match_nothing() {
    assert_eq!(
        placed(json!({"affinity": affinity(json!([]))}), [node("a")]),
        ["a: not placed: the required node affinity has no term and matches no node"]
    );
    assert_eq!(
        placed(json!({"affinity": affinity(json!([{}]))}), [node("a")]),
        ["a: not placed: node affinity: the term is empty and matches nothing"]
    );
}

#[test]
fn an_invalid_term_is_reported_matches_nothing_and_affects_no_other_term() {
    let terms = json!([
        {"matchExpressions": [{"key": "zone", "operator": "Near", "values": ["a"]}]},
        {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}
    ]);
    let cluster = cluster([labelled("a", &[("zone", "a")]), node("b")]).with_spec(json!({"affinity": affinity(terms)}));
    let plan = cluster.plan();
    assert_eq!(cluster.snapshot().placement("a").unwrap().verdict, Verdict::Run);
    assert_eq!(cluster.snapshot().placement("b").unwrap().verdict, Verdict::Refuse);
    assert_eq!(
        plan.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["term 1 of the required node affinity matches no node: \"Near\" is not a valid operator, \
          expected In, NotIn, Exists, DoesNotExist, Gt or Lt"]
    );
}

#[test]
fn fields_other_than_the_name_read_as_empty_text() {
    let field =
        |key, operator, value| json!([{"matchFields": [{"key": key, "operator": operator, "values": [value]}]}]);
    for (key, operator, value, expected) in [
        ("metadata.name", "In", "a", Verdict::Run),
        ("metadata.name", "NotIn", "a", Verdict::Refuse),
        ("metadata.uid", "In", "", Verdict::Run),
        ("metadata.uid", "NotIn", "x", Verdict::Run),
    ] {
        let cluster = cluster([node("a")]).with_spec(json!({"affinity": affinity(field(key, operator, value))}));
        assert_eq!(cluster.snapshot().placement("a").unwrap().verdict, expected, "{key} {operator} {value}");
    }
}

#[test]
fn a_no_schedule_taint_keeps_new_pods_away_but_not_running_ones() {
    let nodes = [tainted("a", &["dedicated=db:NoSchedule"]), tainted("b", &["dedicated=db:NoSchedule"])];
    let cluster = cluster(nodes).with_pod(pod("here", "b"));
    assert_eq!(
        cluster.snapshot().placement("a").unwrap().to_string(),
        "a: not placed, but an existing pod stays: taint dedicated=db:NoSchedule is not tolerated"
    );
    assert_eq!(cluster.actions(), [""; 0]);
}

#[test]
fn a_no_execute_taint_evicts_pods() {
    let nodes = [tainted("a", &["slow:NoSchedule", "broken:NoExecute"])];
    let cluster = cluster(nodes).with_pod(pod("here", "a"));
    assert_eq!(cluster.actions(), ["delete pod here on a: taint broken:NoExecute is not tolerated"]);
}

#[test]
fn prefer_no_schedule_never_counts_and_automatic_tolerations_do() {
    let nodes = [
        tainted("prefer", &["a=b:PreferNoSchedule"]),
        tainted("cordoned", &["node.kubernetes.io/unschedulable:NoSchedule"]),
        tainted("lost", &["node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/not-ready:NoExecute"]),
        tainted("pressed", &["node.kubernetes.io/disk-pressure:NoSchedule"]),
        tainted("offline", &["node.kubernetes.io/network-unavailable:NoSchedule"]),
    ];
    let runs = |spec| {
        let placements = cluster(nodes.clone()).with_spec(spec).snapshot().placements().collect::<Vec<_>>();
        let runs = placements.into_iter().filter(|placement| placement.verdict == Verdict::Run);
        runs.map(|placement| placement.node.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(runs(json!({})), ["cordoned", "lost", "prefer", "pressed"]);
    assert_eq!(runs(json!({"hostNetwork": true})), ["cordoned", "lost", "offline", "prefer", "pressed"]);
}

#[test]
fn comparison_tolerations_count_only_if_enabled() {
    let spec = json!({"tolerations": [{"key": "sla", "operator": "Gt", "value": "900"}]});
    let cluster = cluster([tainted("a", &["sla=950:NoSchedule"])]).with_spec(spec);
    assert_eq!(cluster.snapshot().placement("a").unwrap().verdict, Verdict::Keep);
    let cluster = cluster.with_settings(|settings| settings.toleration_comparison = true);
    assert_eq!(cluster.snapshot().placement("a").unwrap().verdict, Verdict::Run);
}

/// Returns which of four nodes are refused under these namespace annotations, with both cluster defaults set.
fn refused_by_namespace(annotations: &[(&str, &str)]) -> Vec<String> {
    let nodes = [
        labelled("a", &[("zone", "a")]),
        labelled("b", &[("zone", "b")]),
        labelled("pa", &[("zone", "a"), ("pool", "p")]),
        labelled("pb", &[("zone", "b"), ("pool", "p")]),
    ];
    let cluster = cluster(nodes).annotated(annotations).with_settings(|settings| {
        settings.project_node_selector = "pool=p".parse().ok();
        settings.default_node_selector = "zone=a".parse().ok();
    });
    let refused = cluster.snapshot().placements().filter(|placement| placement.verdict == Verdict::Refuse);
    refused.map(|placement| placement.node.to_string()).collect()
}

#[test]
fn without_annotations_both_cluster_defaults_must_match() {
    assert_eq!(refused_by_namespace(&[]), ["a", "b", "pb"]);
}

#[test]
fn an_empty_openshift_annotation_disables_only_the_project_default() {
    assert_eq!(refused_by_namespace(&[("openshift.io/node-selector", "")]), ["b", "pb"]);
    assert_eq!(refused_by_namespace(&[("openshift.io/node-selector", "zone=b")]), ["a", "b", "pa", "pb"]);
}

#[test]
fn the_kubernetes_annotation_overrides_everything_else() {
    let kubernetes = "scheduler.alpha.kubernetes.io/node-selector";
    assert_eq!(refused_by_namespace(&[(kubernetes, "zone=b")]), ["a", "pa"]);
    assert_eq!(refused_by_namespace(&[(kubernetes, "zone=b"), ("openshift.io/node-selector", "x=y")]), ["a", "pa"]);
}

#[test]
fn an_invalid_annotation_is_ignored_and_reported() {
    assert_eq!(refused_by_namespace(&[("scheduler.alpha.kubernetes.io/node-selector", "a b")]), [""; 0]);
    let cluster = cluster([node("a")]).annotated(&[("openshift.io/node-selector", "role in worker")]);
    assert_eq!(
        cluster.plan().warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "the controller ignores the namespace's annotation openshift.io/node-selector: \"role in worker\" does not parse: \
          expected '(', found \"worker\" at position 8"
        ]
    );
}

#[test]
fn the_namespace_decides_last() {
    let cluster =
        cluster([tainted("a", &["x:NoSchedule"])]).annotated(&[("openshift.io/node-selector", "role=worker")]);
    assert_eq!(cluster.snapshot().placement("a").unwrap().verdict, Verdict::Keep);
}

#[test]
fn an_invalid_setting_is_an_error() {
    for text in [
        r#"{"projectNodeSelector": "a b"}"#,
        r#"{"defaultNodeSelector": "a in b"}"#,
        r#"{"burst": -1}"#,
        r#"{"brust": 1}"#,
        r#"{"rolloutPolicy": {"partition": "many"}}"#,
    ] {
        assert!(serde_json::from_str::<Settings>(text).is_err(), "{text}");
    }
    assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
}

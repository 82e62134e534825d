use proptest::{option, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::model::PodTemplate;
use crate::strategies::taint_keys;

/// Generates pod templates with node names, node selectors, affinities, tolerations, host network and unknown fields.
///
/// ```
/// use daemonplan::{model::PodTemplate, strategies::pod_templates};
/// use proptest::prelude::*;
/// proptest!(|(template in pod_templates())| {
///     let again = PodTemplate::new(template.json().clone()).unwrap();
///     prop_assert_eq!(again, template);
/// });
/// ```
pub fn pod_templates() -> impl Strategy<Value = PodTemplate> {
    let fields = (
        option::weighted(0.05, select(vec!["node-0", "node-1", ""])),
        option::weighted(0.4, node_selector()),
        option::weighted(0.5, affinity().boxed()),
        option::weighted(0.5, prop::collection::vec(toleration().boxed(), 0..4)),
        option::weighted(0.3, any::<bool>()),
    );
    (fields, metadata(), select(vec!["agent:1", "agent:2"])).prop_filter_map(
        "the template is well-formed",
        |((node_name, node_selector, affinity, tolerations, host_network), metadata, image)| {
            let fields = [
                ("containers", Some(json!([{"name": "agent", "image": image, "futureField": {"b": 1, "a": [null]}}]))),
                ("nodeName", node_name.map(Value::from)),
                ("nodeSelector", node_selector),
                ("affinity", affinity),
                ("tolerations", tolerations.map(Value::from)),
                ("hostNetwork", host_network.map(Value::from)),
                ("anotherFutureField", Some(Value::Null)),
            ];
            let spec: Value = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
            serde_json::from_value(json!({"metadata": metadata, "spec": spec})).ok()
        },
    )
}

fn metadata() -> impl Strategy<Value = Value> {
    let annotations = option::weighted(0.2, Just(json!({"note": "x"})));
    let finalizers = option::weighted(0.1, Just(json!(["example.com/wait"])));
    (annotations, finalizers).prop_map(|(annotations, finalizers)| {
        let labels = json!({"app": "agent"});
        let fields = [("labels", Some(labels)), ("annotations", annotations), ("finalizers", finalizers)];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    })
}

fn node_selector() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"role": "worker"}),
        json!({"role": "worker", "zone": "a"}),
        json!({"zone": ""}),
        json!({"absent": "x"}),
    ])
}

fn affinity() -> impl Strategy<Value = Value> {
    let required = option::weighted(0.8, terms());
    let preferred = option::weighted(0.2, Just(json!([{"weight": 1, "preference": {"matchExpressions": []}}])));
    let others = option::weighted(0.2, Just(json!({"requiredDuringSchedulingIgnoredDuringExecution": []})));
    (required, preferred, others).prop_map(|(required, preferred, others)| {
        let node_affinity = [
            ("requiredDuringSchedulingIgnoredDuringExecution", required),
            ("preferredDuringSchedulingIgnoredDuringExecution", preferred),
        ];
        let node_affinity: Value =
            node_affinity.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        json!({"podAntiAffinity": others, "nodeAffinity": node_affinity})
    })
}

fn terms() -> impl Strategy<Value = Value> {
    let list = || prop::collection::vec(expression(), 0..3);
    let fields = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(field(), 1..3)];
    let term = (list(), fields)
        .prop_map(|(expressions, fields)| json!({"matchExpressions": expressions, "matchFields": fields}));
    prop::collection::vec(term, 0..3).prop_map(|terms| json!({"nodeSelectorTerms": terms}))
}

fn expression() -> impl Strategy<Value = Value> {
    let key = || select(vec!["role", "zone", "speed", "example.com/gpu"]);
    let values = || prop::collection::vec(select(vec!["worker", "infra", "a", "true"]), 1..3);
    let malformed = vec![
        json!({"key": "role", "operator": "In", "values": []}),
        json!({"key": "role", "operator": "Exists", "values": ["x"]}),
        json!({"key": "speed", "operator": "Gt", "values": ["fast"]}),
        json!({"key": "speed", "operator": "Lt", "values": ["1", "2"]}),
        json!({"key": "role", "operator": "Near", "values": ["x"]}),
        json!({"key": "not a key", "operator": "Exists"}),
        json!({"key": "role", "operator": "In", "values": ["not a value"]}),
    ];
    prop_oneof![
        6 => (key(), select(vec!["In", "In", "NotIn"]), values())
            .prop_map(|(key, operator, values)| json!({"key": key, "operator": operator, "values": values})),
        3 => (key(), select(vec!["Exists", "DoesNotExist"])).prop_map(|(key, operator)| json!({"key": key, "operator": operator})),
        2 => (select(vec!["Gt", "Lt"]), select(vec!["4", "5", "20"]))
            .prop_map(|(operator, value)| json!({"key": "speed", "operator": operator, "values": [value]})),
        1 => select(malformed),
    ]
}

fn field() -> impl Strategy<Value = Value> {
    let key = select(vec!["metadata.name", "metadata.name", "metadata.namespace"]);
    let values = select(vec![json!(["node-0"]), json!(["node-1"]), json!([""]), json!(["node-0", "node-1"])]);
    (key, select(vec!["In", "NotIn", "NotIn", "Exists"]), values)
        .prop_map(|(key, operator, values)| json!({"key": key, "operator": operator, "values": values}))
}

fn toleration() -> impl Strategy<Value = Value> {
    let effects = vec!["", "NoSchedule", "NoExecute", "PreferNoSchedule"];
    let operators = vec!["", "Equal", "Exists", "Exists", "Lt", "Gt", "Near"];
    let any =
        (prop_oneof![Just(""), taint_keys()], select(operators), select(vec!["", "db", "6", "8"]), select(effects));
    let automatic = json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"});
    prop_oneof![
        9 => any.prop_map(|(key, operator, value, effect)| {
            let fields = [("key", key), ("operator", operator), ("value", value), ("effect", effect)];
            fields.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name.to_owned(), Value::from(text))).collect()
        }),
        1 => Just(automatic),
    ]
}

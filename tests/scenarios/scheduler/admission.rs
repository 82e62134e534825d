//! What admission makes of pods.

use daemonplan::{
    model::{Namespace, PodSpec, Toleration},
    scheduling::{Admitted, PodAdmission, SchedulingObjects},
};
use serde_json::{Value, json};

use super::{objects, read};

fn spec(value: Value) -> PodSpec {
    let template = read(json!({"spec": value}));
    PodSpec::of(&template).unwrap()
}

fn admit(objects: &SchedulingObjects, spec: &PodSpec) -> Admitted {
    PodAdmission::new(&Namespace::new("shop"), objects).admit(spec)
}

/// A spec with these fields and a container that requests and limits this.
fn with_container(requests: Value, limits: Value, fields: Value) -> PodSpec {
    let mut own = json!({"containers": [{"name": "main", "resources": {"requests": requests, "limits": limits}}]});
    own.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
    spec(own)
}

fn named(name: &str) -> Value {
    json!({"name": name, "namespace": "shop"})
}

/// A quota that is used up, with these fields in its spec.
fn full_quota(name: &str, fields: Value) -> Value {
    let mut own = json!({"hard": {"pods": "0"}});
    own.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
    let status = json!({"hard": {"pods": "0"}, "used": {"pods": "0"}});
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": named(name), "spec": own, "status": status})
}

fn scoped(scope: &str, operator: &str, values: &[&str]) -> Value {
    json!({"scopeSelector": {"matchExpressions": [{"scopeName": scope, "operator": operator, "values": values}]}})
}

#[test]
fn only_a_quota_that_is_used_up_waits_for_room() {
    let quota = |hard: Value, used: Value| {
        let metadata = json!({"name": "few", "namespace": "shop"});
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
    };
    let refusal = |hard, used| {
        let (namespace, objects) = (Namespace::new("shop"), objects([quota(hard, used)]));
        let without_requests = spec(json!({"containers": [{"name": "main"}]}));
        PodAdmission::new(&namespace, &objects).admit(&without_requests).refusal.unwrap()
    };
    assert!(refusal(json!({"pods": "1"}), json!({"pods": "1"})).is_of_room());
    let unspecified = refusal(json!({"requests.cpu": "1"}), json!({"requests.cpu": "0"}));
    assert!(unspecified.to_string().contains("must specify requests.cpu"), "{unspecified}");
    assert!(!unspecified.is_of_room(), "no pod that goes helps");
}

#[test]
fn each_change_by_admission_is_named() {
    let named = |name: &str| json!({"name": name, "namespace": "shop"});
    let objects = objects([
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": named("sizes"), "spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": "50m"}}]}}),
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000}),
        json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"}, "handler": "kata", "overhead": {"podFixed": {"cpu": "20m"}},
            "scheduling": {"nodeSelector": {"kata": "yes"}, "tolerations": [{"key": "kata", "operator": "Exists"}]},
        }),
    ]);
    let given = spec(json!({
        "containers": [{"name": "main"}], "priorityClassName": "high", "runtimeClassName": "kata",
    }));
    let admitted = PodAdmission::new(&Namespace::new("shop"), &objects).admit(&given);
    let mut changes: Vec<_> = admitted.changes.iter().map(ToString::to_string).collect();
    changes.sort_unstable();
    assert_eq!(
        changes,
        [
            "LimitRanger sets cpu request for container main",
            "Priority sets the priority 1000",
            "RuntimeClass adds a toleration",
            "RuntimeClass adds the node selector kata=yes",
            "RuntimeClass adds the overhead cpu 20m",
        ]
    );
}

#[test]
fn limits_of_a_pod_can_fall_below_the_minimum_though_its_requests_do_not() {
    let sizes = |min: &str| {
        let limits = json!([{"type": "Pod", "min": {"cpu": min}}]);
        objects([
            json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": named("sizes"), "spec": {"limits": limits}}),
        ])
    };
    // Containers without a limit add nothing.
    let own = spec(json!({"containers": [
        {"name": "one", "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "100m"}}},
        {"name": "two", "resources": {"requests": {"cpu": "100m"}}},
    ]}));
    let reasons = |min: &str| admit(&sizes(min), &own).refusal.map(|refusal| refusal.reasons).unwrap_or_default();
    assert_eq!(reasons("100m"), [""; 0]);
    assert_eq!(reasons("150m"), ["minimum cpu usage per Pod is 150m, but limit is 100m"]);
    assert_eq!(reasons("250m"), ["minimum cpu usage per Pod is 250m, but request is 200m"]);
}

#[test]
fn a_priority_of_zero_is_no_change() {
    let class = |value: i32| json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "own"}, "value": value});
    let changes = |value: i32, fields: Value| {
        let own = with_container(json!({}), json!({}), fields);
        admit(&objects([class(value)]), &own).changes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(changes(0, json!({"priorityClassName": "own"})), [""; 0]);
    assert_eq!(changes(7, json!({"priorityClassName": "own", "priority": 7})), [""; 0], "it has it already");
    assert_eq!(changes(7, json!({"priorityClassName": "own"})), ["Priority sets the priority 7"]);
}

#[test]
fn quotas_count_the_pods_of_their_scopes() {
    let is_counted = |scope: Value, own: &PodSpec| {
        let objects = objects([full_quota("scoped", scope)]);
        admit(&objects, own).refusal.is_some_and(|refusal| refusal.is_of_room())
    };
    let of_class = |name: &str| {
        let mut own = with_container(json!({}), json!({}), json!({}));
        own.priority_class = name.into();
        own
    };
    let best_effort = with_container(json!({}), json!({}), json!({}));
    let requesting = with_container(json!({"cpu": "1m"}), json!({}), json!({}));
    let with_memory = with_container(json!({}), json!({"memory": "1Mi"}), json!({}));
    let with_disk = with_container(json!({"ephemeral-storage": "1Mi"}), json!({}), json!({}));
    for (own, is_best) in [(&best_effort, true), (&requesting, false), (&with_memory, false), (&with_disk, true)] {
        assert_eq!(is_counted(json!({"scopes": ["BestEffort"]}), own), is_best);
        assert_eq!(is_counted(json!({"scopes": ["NotBestEffort"]}), own), !is_best);
    }
    assert!(is_counted(json!({"scopes": ["NotTerminating"]}), &best_effort));
    assert!(!is_counted(json!({"scopes": ["Terminating"]}), &best_effort));
    // Classes that are built in need no object.
    let (node, cluster) = (of_class("system-node-critical"), of_class("system-cluster-critical"));
    let not_in = scoped("PriorityClass", "NotIn", &["system-node-critical"]);
    let of = |scope: &Value, own: &PodSpec| {
        let mut quota = full_quota("scoped", scope.clone());
        quota["metadata"]["namespace"] = json!("kube-system");
        let objects = objects([quota]);
        PodAdmission::new(&Namespace::new("kube-system"), &objects).admit(own).refusal.is_some()
    };
    assert_eq!([of(&not_in, &node), of(&not_in, &cluster), of(&not_in, &best_effort)], [false, true, true]);
    let is_in = scoped("PriorityClass", "In", &["system-node-critical"]);
    assert_eq!([of(&is_in, &node), of(&is_in, &cluster), of(&is_in, &best_effort)], [true, false, false]);
    let exists = scoped("PriorityClass", "Exists", &[]);
    assert_eq!([of(&exists, &node), of(&exists, &best_effort)], [true, false]);
    let without = scoped("PriorityClass", "DoesNotExist", &[]);
    assert_eq!([of(&without, &node), of(&without, &best_effort)], [false, true]);
}

#[test]
fn quotas_of_cross_namespace_affinity_count_terms_for_other_namespaces() {
    let quota = full_quota("crossing", json!({"scopes": ["CrossNamespacePodAffinity"]}));
    let objects = objects([quota]);
    let is_counted = |kind: &str, fields: Value| {
        let mut term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}});
        term.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
        let preferred =
            json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]});
        let [required, preferred] = [required, preferred].map(|terms| {
            let affinity = json!({"affinity": {kind: terms}});
            admit(&objects, &with_container(json!({}), json!({}), affinity)).refusal.is_some()
        });
        assert_eq!(required, preferred);
        required
    };
    for kind in ["podAffinity", "podAntiAffinity"] {
        assert!(!is_counted(kind, json!({})));
        assert!(!is_counted(kind, json!({"namespaces": ["shop"]})));
        assert!(is_counted(kind, json!({"namespaces": ["shop", "bank"]})));
        assert!(is_counted(kind, json!({"namespaceSelector": {}})));
    }
}

#[test]
fn quotas_of_other_objects_count_no_pods() {
    let quota = |hard: Value| json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": named("objects"), "spec": {"hard": hard}});
    let own = with_container(json!({}), json!({}), json!({}));
    let refused = |hard: Value| admit(&objects([quota(hard)]), &own).refusal.is_some();
    assert!(!refused(json!({"services": "0", "requests.storage": "1Gi", "limits.disks": "1", "count/jobs": "0"})));
    for counting in
        ["pods", "count/pods", "cpu", "requests.memory", "limits.ephemeral-storage", "requests.example.com/gpu"]
    {
        assert!(refused(json!({counting: "5"})), "{counting}: its use is not known");
    }
}

#[test]
fn each_quota_has_room_for_as_many_pods_as_its_scarcest_resource() {
    let quota = |name: &str, hard: Value, used: Value| {
        let status = json!({"hard": hard, "used": used});
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": named(name), "spec": {"hard": hard}, "status": status})
    };
    let (hard, used) = (json!({"pods": "10", "requests.cpu": "1"}), json!({"pods": "2", "requests.cpu": "400m"}));
    let objects = objects([quota("a", hard, used), quota("b", json!({"pods": "5"}), json!({"pods": "1"}))]);
    let own = with_container(json!({"cpu": "200m"}), json!({}), json!({}));
    let room = PodAdmission::new(&Namespace::new("shop"), &objects).quota_room(&own);
    let room: Vec<_> = room.iter().map(|room| (&*room.quota, room.pods, &*room.resource)).collect();
    assert_eq!(room, [("a", 3, "requests.cpu"), ("b", 4, "pods")]);
}

#[test]
fn tolerations_that_another_one_covers_are_left_out() {
    let class = |tolerations: Value| {
        objects([json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"},
            "handler": "kata", "scheduling": {"tolerations": tolerations}})])
    };
    let merged = |own: Value, more: Value| -> Vec<Toleration> {
        let own = with_container(json!({}), json!({}), json!({"runtimeClassName": "kata", "tolerations": own}));
        admit(&class(more), &own).spec.tolerations
    };
    let is = |own: Value, more: Value, expected: Value| {
        assert_eq!(merged(own.clone(), more.clone()), read::<Vec<Toleration>>(expected), "{own} and {more}");
    };
    let equal = |value: &str| json!([{"key": "k", "operator": "Equal", "value": value}]);
    let exists = json!([{"key": "k", "operator": "Exists"}]);
    is(equal("v"), equal("v"), equal("v"));
    is(equal("v"), equal("w"), json!([equal("v")[0], equal("w")[0]]));
    is(exists.clone(), equal("v"), exists.clone());
    is(equal("v"), exists.clone(), exists.clone());
    is(exists.clone(), equal(""), exists.clone());
    is(equal(""), exists.clone(), exists.clone());
    let all = json!([{"operator": "Exists"}]);
    is(exists.clone(), all.clone(), all.clone());
    let no_schedule = json!([{"key": "k", "operator": "Exists", "effect": "NoSchedule"}]);
    is(no_schedule.clone(), exists.clone(), exists.clone());
    let no_execute = json!([{"key": "k", "operator": "Exists", "effect": "NoExecute"}]);
    is(no_schedule.clone(), no_execute.clone(), json!([no_schedule[0], no_execute[0]]));
}

#[test]
fn a_runtime_class_for_some_nodes_adds_no_toleration() {
    let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"},
        "handler": "kata", "scheduling": {"nodeSelector": {"kata": "yes"}}});
    let own = with_container(json!({}), json!({}), json!({"runtimeClassName": "kata", "tolerations": [{"key": "k"}]}));
    let changes: Vec<_> = admit(&objects([class]), &own).changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["RuntimeClass adds the node selector kata=yes"]);
}

#[test]
fn an_overhead_needs_a_runtime_class_that_has_one() {
    let class = |overhead: Value| {
        objects([json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"},
            "handler": "kata", "overhead": {"podFixed": overhead}})])
    };
    let own = with_container(json!({}), json!({}), json!({"runtimeClassName": "kata", "overhead": {"cpu": "20m"}}));
    let refusal = |overhead: Value| admit(&class(overhead), &own).refusal.map(|refusal| refusal.reasons);
    assert_eq!(refusal(json!({"cpu": "20m"})), None);
    let different = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
    assert_eq!(refusal(json!({"cpu": "30m"})).unwrap(), [different]);
    let without = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
    assert_eq!(refusal(json!({})).unwrap(), [without]);
}

//! Applies a manifest to a live object.

use serde_json::{Value, json};

use crate::{
    api_server,
    model::{DaemonSet, Labels, Namespace, Node, PodTemplate, Quantity, well_known::LAST_APPLIED_ANNOTATION},
};

/// The annotation that `kubectl rollout restart` sets on the template.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// A DaemonSet after a manifest is applied to it.
pub(super) struct Application {
    pub(super) daemonset: DaemonSet,
    /// What the API server is asked to store.
    pub(super) merged: Value,
}

/// Applies a manifest as `kubectl apply` does; one with a uid, which the API server wrote, as `kubectl replace` does. If the
/// live object does not tell what was applied before, the manifest is the whole spec: what it lacks is removed, but for the
/// time of a restart.
///
/// The status is kept. A changed spec increments the generation. `live_manifest` and `manifest` are `live` and `new` as
/// they were given.
pub(super) fn daemonset(
    live: &DaemonSet,
    new: DaemonSet,
    live_manifest: Option<&Value>,
    manifest: Option<&Value>,
) -> Application {
    let as_given = |daemonset: &DaemonSet, manifest: Option<&Value>| match manifest {
        Some(manifest) => manifest.clone(),
        None => serde_json::to_value(daemonset).unwrap_or_default(),
    };
    let merged = merged(&as_given(live, live_manifest), &as_given(&new, manifest));
    let template = template(&live.template, merged.pointer("/spec/template").unwrap_or(&Value::Null));
    let stored: DaemonSet = serde_json::from_value(api_server::stored(&merged)).unwrap_or(new);
    let mut after = DaemonSet {
        namespace: live.namespace.clone(),
        uid: live.uid.clone(),
        generation: live.generation,
        created: live.created,
        deleted: live.deleted,
        template: template.unwrap_or_else(|| stored.template.clone()),
        status: live.status.clone(),
        ..stored
    };
    let [before, now] = [&live.template, &after.template].map(|template| Value::Object(template.json().clone()));
    let is_same = is_same_by_value(&before, &now, false);
    after.follow(live, !is_same);
    let spec = |daemonset: &DaemonSet| DaemonSet {
        labels: Labels::default(),
        annotations: Labels::default(),
        finalizers: Vec::new(),
        template: PodTemplate::default(),
        ..daemonset.clone()
    };
    if !is_same || spec(&after) != spec(live) {
        after.generation = after.generation.saturating_add(1);
    }
    Application { daemonset: after, merged }
}

/// Whether an API server wrote the manifest: then it is a whole object, and no change of one.
pub(super) fn has_uid(manifest: &Value) -> bool {
    manifest.pointer("/metadata/uid").and_then(Value::as_str).is_some_and(|uid| !uid.is_empty())
}

/// Returns the object that the API server is asked to store.
fn merged(live: &Value, given: &Value) -> Value {
    if has_uid(given) {
        return given.clone();
    }
    let applied = live.pointer("/metadata/annotations").and_then(|all| all.get(LAST_APPLIED_ANNOTATION)?.as_str());
    let applied = applied.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let of = |object: &Value, path: &str| object.pointer(path).cloned().unwrap_or_default();
    let mut metadata = of(given, "/metadata").as_object().cloned().unwrap_or_default();
    metadata.insert("uid".into(), of(live, "/metadata/uid"));
    for field in ["labels", "annotations", "finalizers"] {
        let path = format!("/metadata/{field}");
        let (live, given) = (of(live, &path), of(given, &path));
        let value = match (field, &applied) {
            ("finalizers", applied) => {
                let applied = applied.as_ref().map(|applied| of(applied, &path));
                finalizers(&live, &applied.unwrap_or_default(), &given)
            }
            // kubectl adds an annotation, so that there are always some.
            ("annotations", Some(applied)) if given.is_null() => part(&live, &of(applied, &path), &json!({})),
            (_, Some(applied)) => part(&live, &of(applied, &path), &given),
            (_, None) if given.is_null() => part(&live, &own(&live), &json!({})),
            (_, None) => part(&live, &own(&live), &given),
        };
        metadata.insert(field.into(), value);
    }
    let spec = match &applied {
        Some(applied) => part(&of(live, "/spec"), &of(applied, "/spec"), &of(given, "/spec")),
        None => with_restart(&of(live, "/spec"), of(given, "/spec")),
    };
    let mut merged = given.as_object().cloned().unwrap_or_default();
    merged.insert("metadata".into(), metadata.into());
    merged.insert("spec".into(), spec);
    merged.into()
}

/// Merges a part of the object that each side may lack.
fn part(live: &Value, applied: &Value, given: &Value) -> Value {
    match (live, given) {
        (_, Value::Null) if applied.is_null() => live.clone(),
        // What others added to it goes with it.
        (_, Value::Null) => Value::Null,
        (Value::Null, _) => api_server::apply("", &json!({}), applied, given),
        _ => api_server::apply("", live, applied, given),
    }
}

/// The labels or annotations that are this program's: without what was applied, only they are taken to be the manifest's.
fn own(live: &Value) -> Value {
    let own = live.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("daemonplan/"));
    Value::Object(own.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn finalizers(live: &Value, applied: &Value, given: &Value) -> Value {
    let [live, applied, given] =
        [live, applied, given].map(|list| list.as_array().map(Vec::as_slice).unwrap_or_default());
    let kept = live.iter().filter(|name| given.contains(name) || !applied.contains(name));
    let added = given.iter().filter(|name| !live.contains(name));
    kept.chain(added).cloned().collect()
}

/// Returns a whole spec with the time of the last restart, which no manifest has.
fn with_restart(live: &Value, mut given: Value) -> Value {
    let annotations = live.pointer("/template/metadata/annotations");
    if let Some(time) = annotations.and_then(|all| all.get(RESTARTED_AT)) {
        let mut place = given.get_mut("template");
        for (field, default) in [("metadata", json!({})), ("annotations", json!({})), (RESTARTED_AT, time.clone())] {
            let fields = place.and_then(Value::as_object_mut);
            place = fields.map(|fields| {
                let value = fields.entry(field).or_insert(Value::Null);
                if value.is_null() {
                    *value = default;
                }
                value
            });
        }
    }
    given
}

/// Returns the template that the API server stores, in the words of the live one: what both mean the same is written as in
/// the live one, and what the API server of this version does not know stays.
fn template(live: &PodTemplate, merged: &Value) -> Option<PodTemplate> {
    let live = Value::Object(live.json().clone());
    let aligned = align(&live, &stored_template(&live), &stored_template(merged));
    serde_json::from_value(aligned).ok()
}

/// Whether two templates are the same to the API server, which compares quantities by their value.
fn is_same_by_value(a: &Value, b: &Value, are_amounts: bool) -> bool {
    const AMOUNTS: [&str; 5] = ["limits", "requests", "overhead", "sizeLimit", "divisor"];
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let is_same = |(key, value): (&String, &Value)| {
                let are_amounts = are_amounts || AMOUNTS.contains(&key.as_str());
                b.get(key).is_some_and(|other| is_same_by_value(value, other, are_amounts))
            };
            a.len() == b.len() && a.iter().all(is_same)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same_by_value(a, b, are_amounts))
        }
        (Value::String(a), Value::String(b)) if are_amounts => match (a.parse::<Quantity>(), b.parse()) {
            (Ok(a), Ok(b)) => a == b,
            _ => a == b,
        },
        _ => a == b,
    }
}

/// Returns the template that the API server stores.
pub(super) fn stored_template(template: &Value) -> Value {
    let mut stored = api_server::stored(&json!({"spec": {"template": template}}));
    stored.pointer_mut("/spec/template").map(Value::take).unwrap_or_default()
}

/// Returns `new`, written as in `live` where both are stored as the same. `stored` is what is stored of `live`.
fn align(live: &Value, stored: &Value, new: &Value) -> Value {
    match (live, stored, new) {
        _ if stored == new => live.clone(),
        (Value::Object(live), Value::Object(stored), Value::Object(new)) => {
            let kept = live.iter().filter_map(|(key, value)| {
                let aligned = match (stored.get(key), new.get(key)) {
                    (Some(stored), Some(new)) => align(value, stored, new),
                    (Some(_), None) => return None,
                    // A field of a later version, or one that says nothing.
                    (None, None) => value.clone(),
                    (None, Some(new)) => new.clone(),
                };
                Some((key.clone(), aligned))
            });
            // A default that the live object lacks as well is no difference.
            let added = new.iter().filter(|(key, value)| !live.contains_key(*key) && stored.get(*key) != Some(*value));
            Value::Object(kept.chain(added.map(|(key, value)| (key.clone(), value.clone()))).collect())
        }
        (Value::Array(live), Value::Array(stored), Value::Array(new)) => {
            let same = |index: usize, item: &Value| match item.get("name") {
                Some(name) => stored.iter().position(|other| other.get("name") == Some(name)),
                None => Some(index),
            };
            let aligned = new.iter().enumerate().map(|(index, item)| {
                let same = same(index, item).and_then(|same| live.get(same).zip(stored.get(same)));
                same.map_or_else(|| item.clone(), |(live, stored)| align(live, stored, item))
            });
            Value::Array(aligned.collect())
        }
        _ => new.clone(),
    }
}

pub(super) fn node(live: &Node, new: Node) -> Node {
    if !new.uid.is_empty() {
        return new;
    }
    Node {
        name: new.name,
        uid: live.uid.clone(),
        labels: merge(&live.labels, &new.labels),
        taints: if new.taints.is_empty() { live.taints.clone() } else { new.taints },
        deleted: live.deleted,
        created: live.created,
        unschedulable: live.unschedulable || new.unschedulable,
        allocatable: new.allocatable.or_else(|| live.allocatable.clone()),
    }
}

pub(super) fn namespace(live: &Namespace, new: Namespace) -> Namespace {
    if !new.uid.is_empty() {
        return new;
    }
    let (labels, annotations) = (merge(&live.labels, &new.labels), merge(&live.annotations, &new.annotations));
    Namespace { labels, annotations, ..live.clone() }
}

fn merge(live: &Labels, new: &Labels) -> Labels {
    new.iter().fold(live.clone(), |all, (key, value)| all.with(key.clone(), value.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;
    use crate::model::Taint;

    /// A DaemonSet as `kubectl get` prints it: the manifest with the API server's defaults.
    fn live() -> DaemonSet {
        from_value(json!({
            "metadata": {
                "namespace": "prod", "name": "agent", "uid": "42", "generation": 3, "finalizers": ["keep"],
                "annotations": {"deprecated.daemonset.template.generation": "2", "kept": "no"}
            },
            "spec": {
                "selector": {"matchLabels": {"app": "agent"}},
                "template": {
                    "metadata": {"creationTimestamp": null, "labels": {"app": "agent"}},
                    "spec": {
                        "containers": [{
                            "name": "agent", "image": "registry:5000/agent:1", "imagePullPolicy": "IfNotPresent", "resources": {},
                            "ports": [{"containerPort": 80, "protocol": "TCP"}],
                            "livenessProbe": {
                                "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "failureThreshold": 3,
                                "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1
                            },
                            "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}],
                            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"
                        }],
                        "volumes": [
                            {"name": "log", "hostPath": {"path": "/var/log", "type": ""}},
                            {"name": "conf", "configMap": {"name": "conf", "defaultMode": 420}}
                        ],
                        "hostNetwork": true, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
                        "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler", "securityContext": {},
                        "serviceAccountName": "agent", "serviceAccount": "agent"
                    }
                }
            },
            "status": {"observedGeneration": 3}
        }))
        .unwrap()
    }

    /// The manifest of the live DaemonSet, with this image.
    fn manifest(image: &str) -> Value {
        json!({
            "metadata": {"namespace": "prod", "name": "agent"},
            "spec": {
                "selector": {"matchLabels": {"app": "agent"}},
                "template": {
                    "metadata": {"labels": {"app": "agent"}},
                    "spec": {
                        "containers": [{
                            "name": "agent", "image": image, "ports": [{"containerPort": 80}],
                            "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
                            "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
                        }],
                        "volumes": [
                            {"name": "conf", "configMap": {"name": "conf"}},
                            {"name": "log", "hostPath": {"path": "/var/log"}}
                        ],
                        "hostNetwork": true, "serviceAccountName": "agent"
                    }
                }
            }
        })
    }

    fn apply(live: &DaemonSet, manifest: &Value) -> DaemonSet {
        daemonset(live, from_value(manifest.clone()).unwrap(), None, Some(manifest)).daemonset
    }

    fn applied(manifest: &Value) -> DaemonSet {
        apply(&live(), manifest)
    }

    #[test]
    fn defaults_of_the_api_server_are_not_a_difference() {
        let mut manifest = manifest("registry:5000/agent:1");
        manifest["spec"]["template"]["spec"]["volumes"].as_array_mut().unwrap().reverse();
        let after = applied(&manifest);
        assert_eq!(after.template, live().template);
        assert_eq!((after.generation, after.template_generation()), (3, Some(2)));
        assert_eq!((&*after.uid, after.finalizers.len(), after.status.observed_generation), ("42", 1, 3));
        assert_eq!(after.annotations.get("kept"), Some("no"), "another client set it");
    }

    #[test]
    fn quantities_of_the_same_value_are_another_template_of_the_same_generation() {
        let with = |cpu: &str| {
            let mut manifest = manifest("registry:5000/agent:1");
            manifest["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
            manifest
        };
        let live = applied(&with("50m"));
        let other = apply(&live, &with("5e-2"));
        assert_ne!(other.template, live.template, "it is stored as 50e-3");
        assert_eq!((other.generation, other.template_generation()), (live.generation, live.template_generation()));
        let more = apply(&live, &with("60m"));
        assert_eq!(more.generation, live.generation + 1);
    }

    #[test]
    fn what_another_client_set_stays_if_the_last_applied_manifest_lacks_it() {
        let manifest = manifest("registry:5000/agent:1");
        let mut restarted = live();
        let mut template = Value::Object(restarted.template.json().clone());
        let template_annotations = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z"});
        template["metadata"]["annotations"] = template_annotations.clone();
        template["spec"]["containers"][0]["env"].as_array_mut().unwrap().push(json!({"name": "ADDED", "value": "1"}));
        template["spec"]["nodeSelector"] = json!({"pool": "x"});
        restarted.template = from_value(template).unwrap();
        // Without the annotation it is unknown: the manifest is all, but no manifest has the time of a restart.
        let all = apply(&restarted, &manifest);
        assert_eq!(all.template.json()["metadata"]["annotations"], template_annotations);
        assert_eq!(all.template.json()["spec"].get("nodeSelector"), None);
        let mut applied = manifest.clone();
        applied["spec"]["template"]["spec"]["nodeSelector"] = json!({"pool": "x"});
        applied["metadata"]["annotations"] = json!({"old": "1"});
        restarted.annotations =
            restarted.annotations.with(LAST_APPLIED_ANNOTATION, applied.to_string()).with("old", "1");
        let after = apply(&restarted, &manifest);
        let json = after.template.json();
        assert_eq!(json["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"], "2026-01-02T03:04:05Z");
        assert_eq!(json["spec"]["containers"][0]["env"][1]["name"], "ADDED");
        assert_eq!(json["spec"].get("nodeSelector"), None, "it was applied, and is no longer in the manifest");
        assert_eq!((after.annotations.get("old"), after.annotations.get("kept")), (None, Some("no")));
    }

    #[test]
    fn a_changed_template_increments_the_generation() {
        let after = applied(&manifest("registry:5000/agent"));
        let container = &after.template.json()["spec"]["containers"][0];
        assert_eq!((&container["imagePullPolicy"], &container["resources"]), (&json!("Always"), &json!({})));
        assert_eq!((after.generation, after.template_generation()), (4, Some(3)));
    }

    #[test]
    fn a_removed_field_takes_its_default_or_is_removed() {
        let mut changed = manifest("registry:5000/agent:1");
        let spec = changed["spec"]["template"]["spec"].as_object_mut().unwrap();
        spec.remove("hostNetwork");
        spec.insert("terminationGracePeriodSeconds".into(), json!(60));
        let after = applied(&changed);
        assert!(!after.template.host_network());
        let back = apply(&after, &manifest("registry:5000/agent:1"));
        assert_eq!(back.template.json()["spec"]["terminationGracePeriodSeconds"], 30);
        assert_eq!((after.generation, back.generation), (4, 5));
    }

    #[test]
    fn a_node_or_namespace_without_uid_is_a_patch() {
        let mut live = Node::new("n1");
        live.uid = "7".into();
        live.labels = [("a", "1"), ("b", "2")].into_iter().collect();
        live.taints = vec![from_value::<Taint>(json!({"key": "k", "effect": "NoExecute"})).unwrap()];
        let mut patch = Node::new("n1");
        patch.labels = [("b", "3")].into_iter().collect();
        let after = node(&live, patch.clone());
        assert_eq!((after.labels.get("a"), after.labels.get("b"), &after.taints), (Some("1"), Some("3"), &live.taints));
        patch.uid = "7".into();
        assert_eq!(node(&live, patch.clone()), patch);

        let mut live = Namespace::new("prod");
        live.annotations = [("a", "1")].into_iter().collect();
        let mut patch = Namespace::new("prod");
        patch.annotations = [("b", "2")].into_iter().collect();
        assert_eq!(namespace(&live, patch.clone()).annotations.iter().count(), 2);
        patch.uid = "8".into();
        assert_eq!(namespace(&live, patch.clone()), patch);
    }

    /// The template after a manifest with these fields of the pod is applied to a live DaemonSet with others.
    fn merged(live_spec: &Value, applied_spec: Option<&Value>, spec: &Value) -> Value {
        let of = |spec: &Value| {
            json!({
                "metadata": {"namespace": "prod", "name": "agent"},
                "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {"metadata": {"labels": {"app": "agent"}}, "spec": spec}}
            })
        };
        let mut live: DaemonSet = from_value(of(live_spec)).unwrap();
        live.uid = "42".into();
        if let Some(applied) = applied_spec {
            live.annotations = live.annotations.with(LAST_APPLIED_ANNOTATION, of(applied).to_string());
        }
        let manifest = of(spec);
        let after = apply(&live, &manifest);
        let mut spec = after.template.json()["spec"].clone();
        for default in
            ["restartPolicy", "terminationGracePeriodSeconds", "dnsPolicy", "securityContext", "schedulerName"]
        {
            spec.as_object_mut().unwrap().remove(default);
        }
        spec
    }

    #[test]
    fn an_empty_map_removes_only_what_was_applied() {
        let (none, empty, x) = (json!({}), json!({"nodeSelector": {}}), json!({"nodeSelector": {"x": "y"}}));
        assert_eq!(merged(&x, Some(&empty), &empty), x, "another client set it");
        assert_eq!(merged(&x, Some(&x), &empty), none);
        let two = json!({"nodeSelector": {"x": "y", "a": "b"}});
        assert_eq!(merged(&two, Some(&x), &empty), json!({"nodeSelector": {"a": "b"}}));
        assert_eq!(merged(&x, Some(&empty), &none), none, "the whole map was applied, and is gone");
        assert_eq!(merged(&x, None, &empty), none, "what was applied is unknown");
        assert_eq!(merged(&none, Some(&empty), &empty), none);
    }

    #[test]
    fn the_service_account_has_two_names() {
        let both = |name: &str| json!({"serviceAccountName": name, "serviceAccount": name});
        let name = |name: &str| json!({"serviceAccountName": name});
        let (live, none) = (both("sa"), json!({}));
        assert_eq!(merged(&live, Some(&name("sa")), &none), live, "the other name stays");
        assert_eq!(merged(&live, Some(&name("sa")), &name("new")), both("new"));
        assert_eq!(
            merged(&live, Some(&name("sa")), &json!({"serviceAccountName": "sa", "serviceAccount": "other"})),
            live
        );
        let old = |name: &str| json!({"serviceAccount": name});
        assert_eq!(merged(&live, Some(&old("sa")), &old("other")), live, "the live name counts");
        assert_eq!(merged(&live, Some(&live), &none), none);
        assert_eq!(merged(&live, Some(&live), &both("")), none);
        assert_eq!(merged(&live, None, &name("sa")), live);
        assert_eq!(merged(&live, None, &none), none, "what was applied is unknown");
    }
}

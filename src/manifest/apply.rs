//! Applies a manifest to a live object.

use serde_json::{Value, json};

use crate::{
    api_server::{self, SERVICE_ACCOUNT},
    model::{DaemonSet, Labels, Namespace, Node, PodTemplate, Quantity},
};

/// The annotation in which kubectl apply keeps the manifest that it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The annotation that `kubectl rollout restart` sets on the template.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Returns the template of a manifest in the words of the live one: what both mean the same after the API server's
/// defaults is written as in the live one. Of fields that the manifest lacks, those that `applied` has are removed, as
/// kubectl apply does; if what was applied is not known, all but the time of a restart.
fn template(live: &PodTemplate, new: PodTemplate, given: &Value, applied: Option<&Value>) -> PodTemplate {
    let live_json = Value::Object(live.json().clone());
    let mut given = given.clone();
    if let (None, Some(time)) =
        (applied, live_json.pointer("/metadata/annotations").and_then(|all| all.get(RESTARTED_AT)))
    {
        let annotations = [("metadata", json!({})), ("annotations", json!({})), (RESTARTED_AT, time.clone())];
        let mut place = Some(&mut given);
        for (field, default) in annotations {
            let fields = place.and_then(Value::as_object_mut);
            place = fields.map(|fields| fields.entry(field).or_insert(default));
        }
    }
    let [stored_live, mut stored_new] = [&live_json, &given].map(stored_template);
    keep_empty(&given, &stored_live, &mut stored_new);
    let applied = applied.map(|applied| applied.pointer("/spec/template").unwrap_or(&Value::Null));
    let mut aligned = align(&live_json, &stored_live, &stored_new, applied);
    service_account(&mut aligned, &live_json, &given, applied);
    // Parsing cannot fail: the values are those of templates.
    serde_json::from_value(aligned).unwrap_or(new)
}

/// Keeps the empty maps of the manifest, which the API server does not store, where the live object has entries: to merge
/// nothing removes nothing.
fn keep_empty(given: &Value, live: &Value, stored: &mut Value) {
    let (Value::Object(given), Value::Object(live), Value::Object(stored)) = (given, live, stored) else { return };
    for (key, value) in given {
        let Some(live) = live.get(key).filter(|live| live.is_object() && value.is_object()) else { continue };
        match stored.get_mut(key) {
            Some(stored) => keep_empty(value, live, stored),
            None if *value == json!({}) => drop(stored.insert(key.clone(), json!({}))),
            None => {}
        }
    }
}

/// Sets the service account. It has two names: a manifest that lacks the one it was applied with leaves the other, and what
/// the first one says counts.
fn service_account(template: &mut Value, live: &Value, given: &Value, applied: Option<&Value>) {
    fn name<'v>(template: &'v Value, field: &str) -> Option<&'v str> {
        template.get("spec")?.get(field)?.as_str().filter(|name| !name.is_empty())
    }
    let has = |template: &Value, field: &str| template.get("spec").is_some_and(|spec| spec.get(field).is_some());
    let merged = |field: &&str| match applied {
        _ if has(given, field) => name(given, field),
        Some(applied) if !has(applied, field) => name(live, field),
        _ => None,
    };
    let account = SERVICE_ACCOUNT.iter().find_map(merged);
    let is_same = account == SERVICE_ACCOUNT.iter().find_map(|field| name(live, field));
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for field in SERVICE_ACCOUNT {
        let value = if is_same { name(live, field) } else { account };
        match value {
            Some(value) => drop(spec.insert(field.into(), value.into())),
            None => drop(spec.remove(field)),
        }
    }
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
fn align(live: &Value, stored: &Value, new: &Value, applied: Option<&Value>) -> Value {
    match (live, stored, new) {
        _ if stored == new => live.clone(),
        (Value::Object(live), Value::Object(stored), Value::Object(new)) => {
            let was_applied = |key: &String| applied.is_none_or(|applied| applied.get(key).is_some());
            let kept = live.iter().filter_map(|(key, value)| match (stored.get(key), new.get(key)) {
                (Some(stored), Some(new)) => {
                    let applied = applied.map(|applied| applied.get(key).unwrap_or(&Value::Null));
                    let aligned = align(value, stored, new, applied);
                    let is_gone = *new == json!({}) && aligned == *new && *stored != *new;
                    (!is_gone).then(|| (key.clone(), aligned))
                }
                // Another client set it.
                (Some(_), None) if !was_applied(key) => Some((key.clone(), value.clone())),
                (Some(_), None) => None,
                // A field of a later version, or one that says nothing.
                (None, None) => Some((key.clone(), value.clone())),
                (None, Some(new)) => Some((key.clone(), new.clone())),
            });
            // A default that the live object lacks as well is no difference.
            let added = new.iter().filter(|(key, value)| !live.contains_key(*key) && stored.get(*key) != Some(*value));
            Value::Object(kept.chain(added.map(|(key, value)| (key.clone(), value.clone()))).collect())
        }
        (Value::Array(live), Value::Array(stored), Value::Array(new)) => {
            let named = |items: &[Value], item: &Value| {
                let name = item.get("name")?;
                items.iter().position(|other| other.get("name") == Some(name))
            };
            let applied_items = applied.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let mut aligned: Vec<_> = new
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    let same = named(stored, item).unwrap_or(index);
                    let of_item = named(applied_items, item).and_then(|place| applied_items.get(place));
                    let of_item = applied.map(|_| of_item.unwrap_or(&Value::Null));
                    match (live.get(same), stored.get(same)) {
                        (Some(live), Some(stored)) => align(live, stored, item, of_item),
                        _ => item.clone(),
                    }
                })
                .collect();
            // Named items that another client added.
            let is_foreign = |item: &&Value| {
                item.get("name").is_some() && named(new, item).is_none() && named(applied_items, item).is_none()
            };
            aligned.extend(live.iter().filter(|item| applied.is_some() && is_foreign(item)).cloned());
            Value::Array(aligned)
        }
        _ => new.clone(),
    }
}

/// Returns the labels or annotations after a manifest is applied: of those that it lacks, the ones that were applied
/// before are removed; if that is not known, those of this program.
fn metadata(field: &str, live: &Labels, new: &Labels, applied: Option<&Value>) -> Labels {
    let was_applied = |key: &str| match applied {
        Some(applied) => applied.pointer(&format!("/metadata/{field}")).is_some_and(|all| all.get(key).is_some()),
        None => key.starts_with("daemonplan/"),
    };
    let kept = live.iter().filter(|(key, _)| new.get(key).is_some() || !was_applied(key));
    merge(&kept.map(|(key, value)| (key.clone(), value.clone())).collect(), new)
}

/// Applies the spec, further labels and the annotations of `new`; all else is kept. A changed spec increments the generation.
/// `manifest` is `new` as it was given.
pub(super) fn daemonset(live: &DaemonSet, new: DaemonSet, manifest: Option<&Value>) -> DaemonSet {
    let given = manifest.and_then(|manifest| manifest.pointer("/spec/template")).cloned();
    let given = given.unwrap_or_else(|| Value::Object(new.template.json().clone()));
    let applied = live.annotations.get(LAST_APPLIED).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let mut after = DaemonSet {
        uid: live.uid.clone(),
        generation: live.generation,
        deleted: live.deleted,
        finalizers: live.finalizers.clone(),
        template: template(&live.template, new.template, &given, applied.as_ref()),
        status: live.status.clone(),
        ..new
    };
    after.labels = metadata("labels", &live.labels, &after.labels, applied.as_ref());
    after.annotations = metadata("annotations", &live.annotations, &after.annotations, applied.as_ref());
    let [before, now] = [&live.template, &after.template].map(|template| Value::Object(template.json().clone()));
    let is_same = is_same_by_value(&before, &now, false);
    after.follow(live, !is_same);
    let spec = |daemonset: &DaemonSet| DaemonSet {
        labels: Labels::default(),
        annotations: Labels::default(),
        template: PodTemplate::default(),
        ..daemonset.clone()
    };
    if !is_same || spec(&after) != spec(live) {
        after.generation = after.generation.saturating_add(1);
    }
    after
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
    }
}

pub(super) fn namespace(live: &Namespace, new: Namespace) -> Namespace {
    if !new.uid.is_empty() {
        return new;
    }
    Namespace { name: new.name, uid: live.uid.clone(), annotations: merge(&live.annotations, &new.annotations) }
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

    fn applied(manifest: &Value) -> DaemonSet {
        daemonset(&live(), from_value(manifest.clone()).unwrap(), Some(manifest))
    }

    #[test]
    fn defaults_of_the_api_server_are_not_a_difference() {
        let mut manifest = manifest("registry:5000/agent:1");
        manifest["spec"]["template"]["spec"]["volumes"].as_array_mut().unwrap().reverse();
        let after = applied(&manifest);
        assert_eq!(after.template, live().template);
        assert_eq!((after.generation, after.template_generation()), (3, Some(2)));
        assert_eq!((&*after.uid, after.finalizers.len(), after.status.observed_generation), ("42", 1, 3));
        assert_eq!(after.annotations.get("kept"), Some("no"), "somebody else set it");
    }

    #[test]
    fn quantities_of_the_same_value_are_another_template_of_the_same_generation() {
        let with = |cpu: &str| {
            let mut manifest = manifest("registry:5000/agent:1");
            manifest["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
            manifest
        };
        let live = applied(&with("50m"));
        let other = daemonset(&live, from_value(with("5e-2")).unwrap(), None);
        assert_ne!(other.template, live.template, "it is stored as 50e-3");
        assert_eq!((other.generation, other.template_generation()), (live.generation, live.template_generation()));
        let more = daemonset(&live, from_value(with("60m")).unwrap(), None);
        assert_eq!(more.generation, live.generation + 1);
    }

    #[test]
    fn what_somebody_else_set_stays_if_the_last_applied_manifest_lacks_it() {
        let manifest = manifest("registry:5000/agent:1");
        let mut restarted = live();
        let mut template = Value::Object(restarted.template.json().clone());
        let template_annotations = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z"});
        template["metadata"]["annotations"] = template_annotations.clone();
        template["spec"]["containers"][0]["env"].as_array_mut().unwrap().push(json!({"name": "ADDED", "value": "1"}));
        template["spec"]["nodeSelector"] = json!({"pool": "x"});
        restarted.template = from_value(template).unwrap();
        // Without the annotation it is unknown: the manifest is all, but no manifest has the time of a restart.
        let all = daemonset(&restarted, from_value(manifest.clone()).unwrap(), None);
        assert_eq!(all.template.json()["metadata"]["annotations"], template_annotations);
        assert_eq!(all.template.json()["spec"].get("nodeSelector"), None);
        let mut applied = manifest.clone();
        applied["spec"]["template"]["spec"]["nodeSelector"] = json!({"pool": "x"});
        applied["metadata"]["annotations"] = json!({"old": "1"});
        restarted.annotations = restarted.annotations.with(LAST_APPLIED, applied.to_string()).with("old", "1");
        let after = daemonset(&restarted, from_value(manifest).unwrap(), None);
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
        let back = daemonset(&after, from_value(manifest("registry:5000/agent:1")).unwrap(), None);
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
            live.annotations = live.annotations.with(LAST_APPLIED, of(applied).to_string());
        }
        let manifest = of(spec);
        let after = daemonset(&live, from_value(manifest.clone()).unwrap(), Some(&manifest));
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
        assert_eq!(merged(&x, Some(&empty), &empty), x, "somebody else set it");
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

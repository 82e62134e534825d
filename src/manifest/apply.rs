//! Applies a manifest to a live object.

use serde_json::{Value, json};

use crate::{
    api_server,
    model::{DaemonSet, Labels, Namespace, Node, PodTemplate},
};

/// Returns the template of a manifest in the words of the live one: what both mean the same after the API server's
/// defaults is written as in the live one.
fn template(live: &PodTemplate, new: PodTemplate) -> PodTemplate {
    let live_json = Value::Object(live.json().clone());
    let [stored_live, stored_new] = [stored_template(&live_json), stored_template(&Value::Object(new.json().clone()))];
    let aligned = serde_json::from_value(align(&live_json, &stored_live, &stored_new));
    // Parsing cannot fail: the values are those of templates.
    aligned.unwrap_or(new)
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
            let kept = live.iter().filter_map(|(key, value)| match (stored.get(key), new.get(key)) {
                (Some(stored), Some(new)) => Some((key.clone(), align(value, stored, new))),
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
            let aligned = new.iter().enumerate().map(|(index, item)| {
                let has_same_name =
                    |other: &Value| item.get("name").is_some_and(|name| other.get("name") == Some(name));
                let same = stored.iter().position(has_same_name).unwrap_or(index);
                match (live.get(same), stored.get(same)) {
                    (Some(live), Some(stored)) => align(live, stored, item),
                    _ => item.clone(),
                }
            });
            Value::Array(aligned.collect())
        }
        _ => new.clone(),
    }
}

/// Applies the spec, the annotations and further labels of `new`; all else is kept. A changed spec increments the generation.
pub(super) fn daemonset(live: &DaemonSet, new: DaemonSet) -> DaemonSet {
    let mut after = DaemonSet {
        uid: live.uid.clone(),
        generation: live.generation,
        deleted: live.deleted,
        finalizers: live.finalizers.clone(),
        template: template(&live.template, new.template),
        status: live.status.clone(),
        ..new
    };
    after.labels = merge(&live.labels, &after.labels);
    after.follow(live);
    let spec = |daemonset: &DaemonSet| DaemonSet {
        labels: Labels::default(),
        annotations: Labels::default(),
        ..daemonset.clone()
    };
    if spec(&after) != spec(live) {
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

    fn applied(manifest: Value) -> DaemonSet {
        daemonset(&live(), from_value(manifest).unwrap())
    }

    #[test]
    fn defaults_of_the_api_server_are_not_a_difference() {
        let mut manifest = manifest("registry:5000/agent:1");
        manifest["spec"]["template"]["spec"]["volumes"].as_array_mut().unwrap().reverse();
        let after = applied(manifest);
        assert_eq!(after.template, live().template);
        assert_eq!((after.generation, after.template_generation()), (3, Some(2)));
        assert_eq!((&*after.uid, after.finalizers.len(), after.status.observed_generation), ("42", 1, 3));
        assert_eq!(after.annotations.get("kept"), None, "annotations are those of the manifest");
    }

    #[test]
    fn a_changed_template_increments_the_generation() {
        let after = applied(manifest("registry:5000/agent"));
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
        let after = applied(changed.clone());
        assert!(!after.template.host_network());
        let back = daemonset(&after, from_value(manifest("registry:5000/agent:1")).unwrap());
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
}

//! Applies a manifest to a live object.

use serde_json::{Map, Value, json};

use crate::model::{DaemonSet, Labels, Namespace, Node, PodTemplate};

/// Returns the API server's default for a field of a pod template, by the name of the field.
/// <https://kubernetes.io/docs/reference/kubernetes-api/>
///
/// The defaults of some fields, such as `imagePullPolicy`, depend on other fields of `object`.
fn default_of(field: &str, object: &Map<String, Value>) -> Option<Value> {
    const FILE_MODE: u32 = 0o644;
    Some(match field {
        "terminationMessagePath" => json!("/dev/termination-log"),
        "terminationMessagePolicy" => json!("File"),
        "resources" | "securityContext" | "emptyDir" => json!({}),
        "protocol" => json!("TCP"),
        "timeoutSeconds" | "successThreshold" => json!(1),
        "periodSeconds" => json!(10),
        "failureThreshold" => json!(3),
        "scheme" => json!("HTTP"),
        "apiVersion" => json!("v1"),
        "restartPolicy" => json!("Always"),
        "dnsPolicy" => json!("ClusterFirst"),
        "terminationGracePeriodSeconds" => json!(30),
        "schedulerName" => json!("default-scheduler"),
        "serviceAccount" => object.get("serviceAccountName")?.clone(),
        "defaultMode" => json!(FILE_MODE),
        "expirationSeconds" => json!(3607),
        "hostPort" => object.get("containerPort")?.clone(),
        "creationTimestamp" => Value::Null,
        "type" if object.contains_key("path") => json!(""),
        "imagePullPolicy" => {
            let image = object.get("image")?.as_str()?;
            let (_, name) = image.rsplit_once('/').unwrap_or_default();
            let name = if name.is_empty() { image } else { name };
            let is_fixed = image.contains('@') || name.split_once(':').is_some_and(|(_, tag)| tag != "latest");
            json!(if is_fixed { "IfNotPresent" } else { "Always" })
        }
        _ => return None,
    })
}

/// Adds defaults to the fields that are missing in `new` and exist in `live`.
fn add_defaults(new: &mut Value, live: &Value) {
    match (new, live) {
        (Value::Object(new), Value::Object(live)) => {
            for (field, value) in live {
                match new.get_mut(field) {
                    Some(new) => add_defaults(new, value),
                    None => {
                        if let Some(default) = default_of(field, new) {
                            new.insert(field.clone(), default);
                        }
                    }
                }
            }
        }
        (Value::Array(new), Value::Array(live)) => {
            for (index, item) in new.iter_mut().enumerate() {
                let has_same_name =
                    |other: &&Value| item.get("name").is_some_and(|name| other.get("name") == Some(name));
                if let Some(same) = live.iter().find(has_same_name).or_else(|| live.get(index)) {
                    add_defaults(item, same);
                }
            }
        }
        _ => {}
    }
}

fn template(live: &PodTemplate, new: PodTemplate) -> PodTemplate {
    let mut defaulted = Value::Object(new.json().clone());
    add_defaults(&mut defaulted, &Value::Object(live.json().clone()));
    let defaulted = serde_json::from_value(defaulted);
    // Parsing cannot fail: the defaults are in fields that `PodTemplate` does not read.
    defaulted.unwrap_or(new)
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
                            "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
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
    fn the_pull_policy_depends_on_the_image() {
        let policy = |image: &str| default_of("imagePullPolicy", json!({"image": image}).as_object().unwrap()).unwrap();
        for fixed in ["a:1", "r:5000/a:1", "a@sha256:0", "r/b/a:1"] {
            assert_eq!(policy(fixed), "IfNotPresent", "{fixed}");
        }
        for latest in ["a", "a:latest", "r:5000/a", "r/b/a:latest"] {
            assert_eq!(policy(latest), "Always", "{latest}");
        }
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

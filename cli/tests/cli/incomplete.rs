//! What the input does not hold is not known: no answer rests on it, and no gate passes.

use serde_json::{Value, json};

use super::{QUIET, daemonplan, example, file, run};

const NOW: &[&str] = &["--now", "2026-11-23T23:08:30Z"];

/// The bundled cluster without the objects of a kind.
fn without(kind: &str) -> (tempfile::TempDir, String) {
    let mut cluster: Value = serde_json::from_slice(&std::fs::read(example("quiet.json")).unwrap()).unwrap();
    cluster["items"].as_array_mut().unwrap().retain(|item| item["kind"] != kind);
    file(&cluster.to_string())
}

/// Standard output, standard error and exit code of a command on a file.
fn on(file: &str, args: &[&str]) -> (String, String, i32) {
    run(daemonplan(args).args(["-f", file]).args(NOW))
}

fn plan(file: &str, args: &[&str]) -> (Value, i32) {
    let (out, errors, code) = on(file, &[&["plan", "-o", "json"], args].concat());
    (serde_json::from_str(&out).unwrap_or_else(|_| panic!("{errors}")), code)
}

/// The types of the actions of all plans, of those that are sure or of the others.
fn actions(report: &Value, field: &str) -> Vec<String> {
    let plans = report["plans"].as_array().unwrap();
    let all = plans.iter().flat_map(|plan| plan[field].as_array().into_iter().flatten());
    all.map(|action| action["type"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_nodes_no_pod_is_said_to_be_on_a_missing_one() {
    let (_folder, cluster) = without("Node");
    for command in ["plan", "explain", "forecast"] {
        let (out, errors, code) = on(&cluster, &[command]);
        assert_eq!((out.as_str(), code), ("", 1), "{command}");
        assert!(errors.contains("the input has no nodes") && errors.contains("--complete"), "{errors}");
    }
    let (report, code) = plan(&cluster, &["--complete"]);
    assert_eq!((actions(&report, "actions").iter().filter(|action| *action == "DeletePod").count(), code), (30, 0));
}

#[test]
fn without_pods_nothing_is_created_and_no_gate_passes() {
    let (_folder, cluster) = without("Pod");
    let (report, code) = plan(&cluster, &[]);
    assert_eq!((actions(&report, "actions"), code), (vec![], 1));
    let unsupported = actions(&report, "unsupported");
    assert!(unsupported.iter().filter(|action| *action == "CreatePod").count() > 20, "{unsupported:?}");
    assert_eq!(report["plans"][0]["unsupported"][0]["restsOn"], json!(["Pods"]));
    assert_eq!(
        (&report["plans"][0]["status"], &report["plans"][0]["warnings"][0]["code"]),
        (&Value::Null, &"PodsNotGiven".into())
    );
    assert_eq!(on(&cluster, &["plan", "--exit-code"]).2, 1);
    assert_eq!(on(&cluster, &["diff", "--cordon", "worker-1", "--max-deletes", "99"]).2, 1);
    let (out, _, _) = on(&cluster, &["explain", "node-exporter"]);
    assert!(out.contains("update: not known, because the input has no pods"), "{out}");
    assert!(out.contains("a pod should run here; whether one does is not known"), "{out}");
    assert!(!out.contains("is created next"), "{out}");
}

#[test]
fn without_the_namespace_its_node_selector_is_not_taken_to_be_absent() {
    let (_folder, cluster) = without("Namespace");
    let (report, code) = plan(&cluster, &["-n", "trap"]);
    assert_eq!((actions(&report, "actions"), code), (vec![], 1), "the selector of trap leaves no node");
    assert!(actions(&report, "unsupported").contains(&"CreatePod".to_owned()));
    let (_, errors, code) = on(&cluster, &["diff", "--cordon", "worker-1", "--max-unavailable", "50%"]);
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("the input has no namespace"), "{errors}");
}

#[test]
fn without_revisions_no_pod_is_deleted_as_outdated() {
    let (_folder, cluster) = without("ControllerRevision");
    let (report, _) = plan(&cluster, &[]);
    assert_eq!(actions(&report, "actions"), [""; 0], "the new pods of mesh-proxy, which surges, are available");
    let (out, _, code) = on(&cluster, &["plan", "--exit-code"]);
    assert_eq!(code, 1, "{out}");
}

#[test]
fn a_manifest_alone_gets_a_helpful_answer() {
    let manifest = example("changes/new-image.yaml");
    let (out, errors, code) = on(manifest.to_str().unwrap(), &["plan"]);
    assert_eq!((out.as_str(), code), ("", 1));
    for help in ["daemonplan diff --with", "daemonplan lint -f", "kubectl get"] {
        assert!(errors.contains(help), "{errors}");
    }
    assert_eq!(on(manifest.to_str().unwrap(), &["lint"]).2, 0);
}

#[test]
fn a_manifest_from_git_beside_the_cluster_is_a_change_of_the_same_daemonset() {
    let manifest = example("changes/new-image.yaml");
    let manifest = manifest.to_str().unwrap();
    let what_if = run(daemonplan(&["plan", "-o", "json", "--with", manifest]).args(QUIET)).0;
    let pairs = [[QUIET, &["-f", manifest]].concat(), [&["-f", manifest], QUIET].concat()];
    for args in pairs {
        let (out, errors, code) = run(daemonplan(&["plan", "-o", "json"]).args(args));
        assert_eq!(code, 0, "{errors}");
        assert!(errors.contains("taken as a change of"), "{errors}");
        assert_eq!(out, what_if);
    }
    let report: Value = serde_json::from_str(&what_if).unwrap();
    assert!(!actions(&report, "actions").contains(&"CreatePod".to_owned()), "no second pod on any node");

    // The pods tell which DaemonSet it is, even without the live object.
    let (_folder, cluster) = without("DaemonSet");
    let (out, errors, _) = run(daemonplan(&["plan", "-o", "json", "-f", &cluster, "-f", manifest]).args(NOW));
    assert!(errors.contains("has no uid: taken for the one of its name that controls pods here"), "{errors}");
    assert!(!actions(&serde_json::from_str(&out).unwrap(), "actions").contains(&"CreatePod".to_owned()), "{out}");
}

#[test]
fn every_command_about_the_future_takes_the_same_changes() {
    let changes = [
        "--cordon",
        "worker-1",
        "--taint",
        "worker-2=a=b:NoExecute",
        "--set-label",
        "worker-3=role=other",
        "--remove-node",
        "worker-4",
    ];
    for command in
        [&["plan"][..], &["explain"], &["forecast"], &["lint"], &["overhead", "--node", "examples/quiet.json"]]
    {
        let (plain, errors, code) = run(daemonplan(command).args(QUIET));
        assert_eq!(code, 0, "{errors}");
        let (altered, errors, code) = run(daemonplan(command).args(QUIET).args(changes));
        assert_eq!(code, 0, "{command:?}: {errors}");
        assert!(command[0] == "overhead" || command[0] == "lint" || altered != plain, "{command:?}");
        let (_, errors, code) = run(daemonplan(command).args(QUIET).args(["--cordon", "wroker-1"]));
        assert_eq!(code, 1);
        assert!(errors.contains("node wroker-1 not found") && errors.contains("did you mean worker-1?"), "{errors}");
    }
}

#[test]
fn a_manifest_that_is_not_compared_is_an_error() {
    let manifest = example("changes/new-image.yaml");
    for args in [&["-n", "mesh"][..], &["mesh-proxy"]] {
        let (out, errors, code) =
            run(daemonplan(&["diff", "--with", manifest.to_str().unwrap()]).args(QUIET).args(args));
        assert_eq!((out.as_str(), code), ("", 1), "{errors}");
        assert!(errors.contains("--with has monitoring/node-exporter"), "{errors}");
    }
    let (_folder, other) = file("kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\n");
    let (_, errors, code) = run(daemonplan(&["diff", "--with", &other]).args(QUIET));
    assert!(code == 1 && errors.contains("--with: no object that plans or the scheduler depend on"), "{errors}");
}

#[test]
fn the_namespace_flag_is_that_of_manifests_without_one() {
    let text = std::fs::read_to_string(example("changes/new-image.yaml")).unwrap();
    let (_folder, manifest) = file(&text.replace("  namespace: monitoring\n", ""));
    let diff = |args: &[&str]| run(daemonplan(&["diff", "--with", &manifest]).args(QUIET).args(args));
    let (out, ..) = diff(&["-n", "monitoring"]);
    assert!(out.ends_with("1 of 1 DaemonSet: 5 replaced\n"), "{out}");
    let (out, errors, _) = diff(&[]);
    assert!(out.contains("the DaemonSet is new"), "{out}");
    assert!(errors.contains("default/node-exporter is new, while node-exporter exists in monitoring"), "{errors}");
}

#[test]
fn pods_of_other_namespaces_do_not_tell_that_a_daemonset_has_none() {
    let mut cluster: Value = serde_json::from_slice(&std::fs::read(example("quiet.json")).unwrap()).unwrap();
    let is_kept = |item: &Value| item["kind"] != "Pod" || item["metadata"]["namespace"] != "monitoring";
    cluster["items"].as_array_mut().unwrap().retain(is_kept);
    let (_folder, cluster) = file(&cluster.to_string());
    let (report, code) = plan(&cluster, &["node-exporter"]);
    assert_eq!((actions(&report, "actions"), code), (vec![], 1), "its status says that it has nine");
    let manifest = example("changes/new-image.yaml");
    let gate = ["diff", "--with", manifest.to_str().unwrap(), "--max-deletes", "3"];
    assert_eq!(on(&cluster, &gate).2, 1);
    assert_eq!(plan(&cluster, &["logging/log-agent"]).1, 0, "the pods of other namespaces are known");
}

#[test]
fn every_command_says_what_it_rests_on() {
    let (_folder, no_namespace) = without("Namespace");
    let (out, errors, _) = on(&no_namespace, &["forecast", "node-exporter"]);
    assert!(
        out.contains("! the input does not have its namespace: the node selector of that is taken to be absent"),
        "{out}{errors}"
    );
    let (_, errors, _) = on(&no_namespace, &["overhead", "--node", "examples/node.yaml"]);
    assert!(
        errors.contains("the input has no namespace monitoring: its node selector is taken to be absent"),
        "{errors}"
    );
    let (_other, no_revision) = without("ControllerRevision");
    let (out, _, code) = on(&no_revision, &["history", "node-exporter"]);
    assert_eq!(code, 1);
    assert!(out.contains("not known: the input has no ControllerRevisions"), "{out}");
    let manifest = example("changes/new-image.yaml");
    let deny = |code: &str| on(manifest.to_str().unwrap(), &["lint", "--deny", code]).2;
    assert_eq!(
        (deny("host-port-conflict"), deny("no-history"), deny("error")),
        (1, 0, 0),
        "a rule that was not checked"
    );
}

#[test]
fn what_could_not_be_read_is_not_called_the_same() {
    let (_folder, broken) = file("kind: DaemonSet\nmetadata: [\n");
    let (out, _, code) = run(daemonplan(&["diff", "--with", &broken]).args(QUIET));
    assert_eq!(code, 1);
    assert!(!out.contains("no difference: "), "{out}");
}

#[test]
fn a_daemonset_whose_pods_are_here_is_not_new() {
    let (_folder, cluster) = without("DaemonSet");
    for command in ["diff", "plan", "explain", "forecast", "lint"] {
        let (out, errors, code) = on(&cluster, &[command, "--with", "examples/changes/new-image.yaml"]);
        assert_eq!((out.as_str(), code), ("", 1), "{command}");
        assert!(errors.contains("pods or ControllerRevisions of monitoring/node-exporter, but not the"), "{errors}");
    }
}

#[test]
fn the_pods_of_a_revision_are_not_known_without_pods() {
    let (_folder, cluster) = without("Pod");
    let (out, _, code) = on(&cluster, &["history", "node-exporter"]);
    assert_eq!(code, 0);
    assert!(out.contains("the input has no pods") && out.contains(" ?          ?  (current)"), "{out}");
    let (out, ..) = on(&cluster, &["history", "node-exporter", "-o", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["histories"][0]["revisions"][0]["pods"], Value::Null);
}

#[test]
fn a_new_daemonset_has_no_revisions_that_could_be_missing() {
    let text = std::fs::read_to_string(example("changes/new-image.yaml")).unwrap();
    let (_folder, file) =
        file(&text.replace("  name: node-exporter\n  namespace: monitoring", "  name: fresh\n  namespace: default"));
    let namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n";
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + namespace).unwrap();
    let (out, errors, code) = on("examples/quiet.json", &["diff", "--with", &file, "--max-deletes", "0"]);
    assert_eq!(code, 0, "{errors}{out}");
    assert!(out.contains("the DaemonSet is new"), "{out}");
}

#[test]
fn without_its_namespace_an_overhead_says_what_it_rests_on() {
    let (_folder, cluster) = without("Namespace");
    let args = ["overhead", "--node", "examples/node.yaml", "-o", "json"];
    let (out, errors, code) = on(&cluster, &args);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["overheads"][0]["restsOn"], code), (&json!(["Namespace"]), 1));
    let notes: std::collections::BTreeSet<_> = errors.lines().collect();
    assert_eq!(notes.len(), errors.lines().count(), "each namespace is named once: {errors}");
    let (out, ..) = on("examples/quiet.json", &args);
    assert!(!out.contains("restsOn"), "{out}");
}

#[test]
fn a_forecast_without_revisions_says_how_it_judges() {
    let (_folder, cluster) = without("ControllerRevision");
    let (out, ..) = on(&cluster, &["forecast", "mesh-proxy"]);
    assert!(out.contains("! the input has no ControllerRevisions: which pods are up to date is judged by"), "{out}");
}

#[test]
fn every_command_tells_that_a_pod_with_the_current_label_runs_another_image() {
    let mut cluster: Value = serde_json::from_slice(&std::fs::read(example("quiet.json")).unwrap()).unwrap();
    let edited = |item: &&mut Value| {
        item["kind"] == "Pod" && item["metadata"]["name"].as_str().unwrap().starts_with("log-agent-")
    };
    let pod = cluster["items"].as_array_mut().unwrap().iter_mut().find(edited).unwrap();
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    pod["spec"]["containers"][0]["image"] = "edited:2".into();
    let (_folder, cluster) = file(&cluster.to_string());
    for command in ["plan", "explain", "forecast", "lint"] {
        let (out, _, _) = on(&cluster, &[command, "log-agent"]);
        let told = format!("1 pod ({name}) with the label of the current template runs edited:2");
        assert!(out.contains(&told), "{command}: {out}");
    }
}

#[test]
fn a_node_that_the_api_server_refuses_is_an_error() {
    let (_folder, node) = file(
        "apiVersion: v1\nkind: Node\nmetadata: {name: New, labels: {pool: so blue}}\nspec:\n  taints: [{key: a, effect: NoRun}]\n",
    );
    let cluster = example("quiet.json");
    for args in [["plan", "--with", &node], ["overhead", "--node", &node]] {
        let (out, errors, code) = on(cluster.to_str().unwrap(), &args);
        assert_eq!((out.as_str(), code), ("", 1));
        assert!(errors.contains("node New: metadata.name: Invalid value: \"New\": a lowercase RFC 1123"), "{errors}");
        assert!(errors.contains("node New: metadata.labels: Invalid value: \"so blue\": a valid label"), "{errors}");
        assert!(errors.contains("node New: spec.taints[0].effect: Unsupported value"), "{errors}");
        assert!(errors.contains("the API server refuses 1 node, so it has no effect"), "{errors}");
    }
}

#[test]
fn a_part_of_a_list_is_not_taken_for_all_of_it() {
    for metadata in [r#""metadata": {"continue": "abc", "remainingItemCount": 2}, "#, ""] {
        let (_folder, cluster) = file(&format!(
            r#"{{"kind": "NodeList", "apiVersion": "v1", {metadata}"items": [{{"metadata": {{"name": "w1"}}}}]}}"#
        ));
        let (_, errors, code) = run(daemonplan(&["plan", "-f", &cluster]).args(QUIET));
        assert_eq!(code, i32::from(!metadata.is_empty()), "{errors}");
        assert_eq!(errors.contains("a part of a list, as its field continue says"), code == 1, "{errors}");
    }
}

#[test]
fn a_manifest_of_a_pod_does_not_tell_which_pods_there_are() {
    let (_folder, cluster) = without("Pod");
    let (_other, pod) =
        file("apiVersion: v1\nkind: Pod\nmetadata: {name: test, namespace: monitoring}\nspec: {containers: []}\n");
    let (report, code) = plan(&cluster, &["-f", &pod]);
    assert_eq!((actions(&report, "actions"), code), (vec![], 1));
}

#[test]
fn nothing_is_created_in_a_namespace_that_is_missing_or_being_deleted() {
    let manifest = std::fs::read_to_string(example("changes/new-image.yaml")).unwrap().replace("monitoring", "other");
    let (_folder, with) = file(&manifest);
    let cluster = example("quiet.json");
    let diff = |more: &[&str]| on(cluster.to_str().unwrap(), &[&["diff", "--with", &with], more].concat());
    let (out, _, code) = diff(&["--complete"]);
    assert!(out.contains("namespaces \"other\" not found") && code == 1, "{out}");
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: other, uid: '7'DELETED}\n";
    let (_live, live) = file(&namespace.replace("DELETED", ""));
    assert_eq!(diff(&["-f", &live]).2, 0);
    let (_going, going) = file(&namespace.replace("DELETED", ", deletionTimestamp: '2026-11-23T23:00:00Z'"));
    let (out, _, code) = diff(&["-f", &going]);
    assert!(out.contains("unable to create new content in namespace other because it is being terminated"), "{out}");
    assert_eq!(code, 1);
    let (_own, own) = file(
        &namespace.replace("other", "monitoring").replace("DELETED", ", deletionTimestamp: '2026-11-23T23:00:00Z'"),
    );
    let change = example("changes/new-image.yaml");
    let args = ["diff", "--with", change.to_str().unwrap(), "-f", cluster.to_str().unwrap()];
    let (out, errors, code) = on(&own, &[&args, &["--max-deletes", "99"][..]].concat());
    assert!(out.contains("! its namespace is being deleted: no pod is created in it again"), "{out}");
    assert_eq!(code, 3, "{errors}");
}

#[test]
fn pods_of_one_namespace_do_not_contradict_what_the_scheduler_said() {
    let pods = |pods: Value| {
        let mut items = vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod"}}),
            json!({"apiVersion": "apps/v1", "kind": "ControllerRevisionList", "items": []}),
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
                "status": {"allocatable": {"cpu": "1", "memory": "4Gi", "pods": "10"}}}),
            json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "prod", "uid": "7"},
                "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {"metadata": {"labels": {"app": "agent"}},
                    "spec": {"containers": [{"name": "main", "image": "a", "resources": {"requests": {"cpu": "500m"}}}]}}}}),
        ];
        items.extend(pods.as_array().unwrap().iter().cloned());
        file(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
    };
    let field = json!({"key": "metadata.name", "operator": "In", "values": ["n1"]});
    let terms = json!([{"matchFields": [field]}]);
    let waiting = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "agent-1", "namespace": "prod", "uid": "8", "labels": {"app": "agent"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "7", "controller": true}]},
        "spec": {"containers": [{"name": "main", "image": "a", "resources": {"requests": {"cpu": "500m"}}}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}},
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient cpu."}]}});
    let other = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"nodeName": "n1", "containers": [{"name": "main", "resources": {"requests": {"cpu": "100m"}}}]}});
    let (_folder, alone) = pods(json!([waiting]));
    let (_other, with_others) = pods(json!([waiting, other]));
    let unknown = "not known: what pods of other namespaces than prod take from nodes";
    assert!(on(&alone, &["forecast", "agent"]).0.contains(unknown), "{:?}", on(&alone, &["forecast", "agent"]));
    assert!(!on(&with_others, &["forecast", "agent"]).0.contains(unknown));
    assert!(
        on(&alone, &["forecast", "agent"]).0.contains(" at best, as not everything is known; at least 0 of 1 nodes")
    );
    let (page, ..) = on(&alone, &["forecast", "agent", "-o", "html"]);
    let said = "<b>Not known</b>: what pods of other namespaces than prod take from nodes.";
    assert!(page.contains("Done at best") && page.contains(said), "{page}");
    let hint = "the pods of the input are all of namespace prod";
    let (out, _, code) = on(&alone, &["explain", "pod/prod/agent-1"]);
    assert!(out.contains("by the facts given it would fit now") && out.contains(hint) && code == 0, "{out}");
    let (out, ..) = on(&with_others, &["explain", "pod/prod/agent-1"]);
    assert!(out.contains("by the facts given it would fit now") && !out.contains(hint), "{out}");
    let (out, _, code) = on(&alone, &["explain", "pod/prod/agent-1", "--complete"]);
    assert!(!out.contains(hint) && code == 0, "{out}");
}

/// A node with 1 cpu, a DaemonSet and its pod that waits, and a pod of another namespace.
fn waiting(other: &Value) -> Value {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w1"},
        "status": {"allocatable": {"cpu": "1", "pods": "9"}}});
    let spec =
        json!({"containers": [{"name": "agent", "image": "agent:1", "resources": {"requests": {"cpu": "500m"}}}]});
    let labels = json!({"app": "agent"});
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    let daemonset = json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "mon", "uid": "uid-agent"},
        "spec": {"selector": {"matchLabels": labels}, "template": template, "updateStrategy": {"type": "OnDelete"}}});
    let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["w1"]}]});
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}});
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "uid-agent", "controller": true});
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec, "status": {"phase": "Pending"},
        "metadata": {"name": "agent-1", "namespace": "mon", "uid": "uid-1", "labels": labels, "ownerReferences": [owner]}});
    pod["spec"]["affinity"] = json!({"nodeAffinity": required});
    json!({"apiVersion": "v1", "kind": "List", "items": [node, daemonset, pod, other]})
}

#[test]
fn what_could_not_be_read_is_not_known() {
    let of = |kind: &str, spec: Value| {
        let metadata =
            json!({"name": "other", "namespace": if kind == "Pod" { "shop" } else { "mon" }, "uid": "uid-2"});
        let other = json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec});
        let (_folder, cluster) = file(&waiting(&other).to_string());
        let pod = on(&cluster, &["explain", "pod/mon/agent-1", "--complete"]);
        (pod, on(&cluster, &["explain", "agent", "--complete"]).0)
    };
    let requesting = |cpu: &str| json!({"nodeName": "w1", "containers": [{"name": "shop", "resources": {"requests": {"cpu": cpu}}}]});
    let unread = "not known: what 1 Pod holds that could not be read";
    let ((out, errors, code), daemonset) = of("Pod", requesting("900mm"));
    assert!(out.contains(unread) && daemonset.contains(unread), "{out}{daemonset}");
    assert!(errors.ends_with("the answer is not sure\n") && code == 1, "{errors}");
    let ((out, _, code), _) = of("Pod", requesting("100m"));
    assert!(!out.contains("not known") && code == 0, "{out}");
    let (_, daemonset) = of("LimitRange", json!({"limits": [{"type": "Container", "default": {"cpu": "two"}}]}));
    assert!(daemonset.contains("not known: what 1 LimitRange holds that could not be read"), "{daemonset}");
}

#[test]
fn a_refusal_is_sure_whatever_else_could_refuse() {
    let other = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other", "namespace": "shop", "uid": "uid-2"},
        "spec": {"nodeName": "w1"}, "status": {"phase": "Running"}});
    let of = |pods: &str, cpu: &str| {
        let mut cluster = waiting(&other);
        cluster["items"][0]["status"]["allocatable"] = json!({"cpu": cpu, "pods": pods});
        let (_folder, cluster) = file(&cluster.to_string());
        on(&cluster, &["explain", "pod/mon/agent-1", "--complete"]).2
    };
    assert_eq!((of("1", "1"), of("9", "400m"), of("9", "1")), (0, 0, 1), "what the other pod requests is not known");
}

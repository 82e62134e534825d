//! `daemonplan diff`.

use assert_cmd::Command;
use serde_json::{Value, json};

use super::{QUIET, daemonplan, example, file, run};

fn diff(args: &[&str]) -> Command {
    super::daemonplan(&[&["diff"], QUIET, args].concat())
}

/// Returns the manifest of the DaemonSet `monitoring/node-exporter` from the dump, after `change`.
fn changed(change: impl FnOnce(&mut Value)) -> (tempfile::TempDir, String) {
    let dump: Value = serde_json::from_slice(&std::fs::read(example("quiet.json")).unwrap()).unwrap();
    let is_meant = |object: &&Value| object["kind"] == "DaemonSet" && object["metadata"]["name"] == "node-exporter";
    let mut daemonset = dump["items"].as_array().unwrap().iter().find(is_meant).unwrap().clone();
    change(&mut daemonset);
    file(&daemonset.to_string())
}

#[test]
fn nodes_are_changed_by_flags() {
    let flags = ["--set-label", "worker-1=role=infra", "--remove-node", "worker-4", "--cordon", "worker-3"];
    let (out, errors, code) = run(&mut diff(&flags));
    assert_eq!((errors.as_str(), code), ("", 0));
    for line in [
        "  - 1 node: pod removed: its node does not exist",
        "      worker-4  log-agent-9ww4q",
        "  - 1 node: pod removed: node selector role=worker is required, the node has role=infra",
        "  + 1 node: pod added; before: annotation openshift.io/node-selector: role=infra is required, the node has role=worker",
        "4 of 4 DaemonSets: 4 removed, 1 added",
    ] {
        assert!(out.lines().any(|shown| shown == line), "{line}\n{out}");
    }
    let (out, _, _) = run(&mut diff(&["--cordon", "worker-3"]));
    assert_eq!(out, "no difference: 4 DaemonSets\n", "DaemonSet pods tolerate that taint");
    let (out, _, _) = run(&mut diff(&["node-exporter", "--taint", "gpu-1=nvidia.com/gpu:NoSchedule-"]));
    assert_eq!(out, "no difference: 1 DaemonSet\n", "the affinity still keeps them away");
    let (out, _, _) =
        run(&mut diff(&["mesh-proxy", "--taint", "worker-1=a=b:NoExecute", "--set-label", "worker-2=role-"]));
    assert!(out.contains("pod removed: taint a=b:NoExecute is not tolerated\n      worker-1"), "{out}");
    assert!(out.contains("the node has no label role\n      worker-2"), "{out}");
}

#[test]
fn a_manifest_is_applied_and_its_fields_are_shown() {
    let (_folder, file) = changed(|daemonset| {
        daemonset["spec"]["template"]["spec"]["containers"][0]["image"] = "new:2".into();
        daemonset.as_object_mut().unwrap().remove("status");
    });
    let (out, errors, code) = run(&mut diff(&["--with", &file, "--exit-code"]));
    assert_eq!((errors.as_str(), code), ("", 2));
    assert!(
        out.starts_with(
            "monitoring/node-exporter\n  \
         ~ spec.template.spec.containers[0].image: \"registry.example/node-exporter:1.9.0\" → \"new:2\"\n  \
         ~ 5 nodes: pod replaced: outdated\n"
        ),
        "{out}"
    );
    assert!(out.ends_with("  takes down at most 2 of 9 nodes at a time\n\n1 of 4 DaemonSets: 5 replaced\n"), "{out}");
}

#[test]
fn an_unchanged_manifest_has_no_diff() {
    let (_folder, file) = changed(|daemonset| {
        let object = daemonset.as_object_mut().unwrap();
        object.remove("status");
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.retain(|field, _| field == "name" || field == "namespace");
        let spec = object["spec"]["template"]["spec"].as_object_mut().unwrap();
        for field in ["dnsPolicy", "restartPolicy", "schedulerName", "securityContext", "terminationGracePeriodSeconds"]
        {
            assert!(spec.remove(field).is_some(), "{field}");
        }
    });
    let (out, errors, code) = run(&mut diff(&["--with", &file, "--exit-code"]));
    assert_eq!((out.as_str(), errors.as_str(), code), ("no difference: 4 DaemonSets\n", "", 0));
}

#[test]
fn spellings_that_the_api_server_stores_alike_are_no_difference() {
    let text = std::fs::read_to_string(super::example("changes/new-image.yaml")).unwrap().replace("1.10.0", "1.9.0");
    let with_volume = |volume: &str| format!("{}        - {volume}\n", text.trim_end().to_owned() + "\n");
    let configured = with_volume("{name: cfg, configMap: {name: cfg}}");
    for (before, after) in [
        (text.clone(), text.clone()),
        (text.clone(), text.replace("cpu: 50m, memory: 64Mi", "cpu: 0.05, memory: 65536Ki")),
        (text.clone(), text.replace("hostNetwork: true", "hostNetwork: yes")),
        (
            text.clone(),
            text.replace("hostNetwork: true", "hostNetwork: on\n      hostPID: false\n      nodeName: \"\""),
        ),
        (configured.clone(), with_volume("{name: cfg, configMap: {name: cfg, defaultMode: 0644}}")),
        (configured.clone(), with_volume("{name: cfg, configMap: {name: cfg, defaultMode: 0o644, items: []}}")),
        (with_volume("{name: tmp, emptyDir: {}}"), with_volume("{name: tmp}")),
    ] {
        let ((_one, before), (_other, after)) = (super::file(&before), super::file(&after));
        let cluster = [QUIET, &["-f", &before]].concat();
        let (out, _, code) = run(super::daemonplan(&["diff", "--with", &after, "--exit-code"]).args(cluster));
        assert_eq!((out.as_str(), code), ("no difference: 4 DaemonSets\n", 0), "{after}");
    }
    let (_folder, other) = super::file(&with_volume("{name: cfg, configMap: {name: cfg, defaultMode: 0600}}"));
    let (out, ..) = run(&mut diff(&["--with", &other]));
    assert!(out.contains("5 replaced"), "{out}");
}

#[test]
fn a_gate_fails_before_the_cluster_does() {
    let (_folder, file) = changed(|daemonset| {
        daemonset["spec"]["template"]["spec"]["containers"][0]["image"] = "new:2".into();
    });
    let allowed = |flags: &[&str]| run(diff(&["--with", &file]).args(flags));
    assert_eq!(allowed(&["--max-deletes", "5", "--max-unavailable", "25%"]).2, 0);
    let (_, errors, code) = allowed(&["--max-deletes", "4", "--exit-code"]);
    assert_eq!((errors.as_str(), code), ("error: 5 pods deleted, more than --max-deletes 4 allows\n", 3));
    let (_, errors, code) = allowed(&["--max-unavailable", "10%"]);
    let expected = "takes down 2 nodes at a time, more than --max-unavailable 10% allows";
    assert_eq!((errors, code), (format!("error: monitoring/node-exporter: {expected}\n"), 3));
}

#[test]
fn a_project_selector_and_a_new_daemonset_are_changes() {
    let (_folder, file) = file(
        "kind: Namespace\nmetadata: {name: logging, annotations: {openshift.io/node-selector: role=infra}}\n---\n\
         apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: new, namespace: logging}\n\
         spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {tolerations: [{operator: Exists}],
         containers: [{name: new, image: new:1}]}}}\n",
    );
    let (out, errors, _) = run(&mut diff(&["--with", &file, "-n", "logging"]));
    assert_eq!(errors, "");
    assert!(out.contains("pod removed: annotation openshift.io/node-selector: role=infra is required"), "{out}");
    assert!(
        out.contains(
            "logging/new\n  + the DaemonSet is new\n  + 2 nodes: pod added: the DaemonSet is new\n      infra-1, infra-2\n"
        ),
        "{out}"
    );
}

#[test]
fn json_output_has_the_same_data() {
    let args = [&["diff"], QUIET, &["--remove-node", "worker-4", "-n", "logging"]].concat();
    let report = super::json(&args);
    let diff = &report["diffs"][0];
    assert_eq!(diff["daemonSet"]["name"], "log-agent");
    assert_eq!((&diff["nodes"][0]["change"], &diff["nodes"][0]["reason"]), (&"Lost".into(), &"NodeGone".into()));
    assert_eq!((&diff["deletions"], &diff["desired"]), (&1.into(), &11.into()));
    let (yaml, _, _) = run(super::daemonplan(&args).args(["-o", "yaml"]));
    assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), report);
}

#[test]
fn an_impossible_change_is_an_error() {
    for (flags, expected) in [
        (&[][..], "no change given: expected --with"),
        (&["--set-label", "worker-1"], "expected NODE=KEY=VALUE or NODE=KEY-"),
        (&["--set-label", "worker-1=role"], "expected NODE=KEY=VALUE or NODE=KEY-"),
        (&["--set-label", "nowhere=a=b"], "node nowhere not found in the input"),
        (&["--remove-node", "nowhere"], "node nowhere not found in the input"),
        (&["--taint", "worker-1=a=b"], "expected NODE=KEY:EFFECT"),
        (&["--taint", "worker-1=a=b:Never"], "expected the effect NoSchedule, PreferNoSchedule or NoExecute"),
        (&["--max-unavailable", "many", "--cordon", "worker-1"], "expected a non-negative integer or a percentage"),
        (&["--with", "no-such-file"], "no-such-file: "),
    ] {
        let (out, errors, code) = run(&mut diff(flags));
        assert_eq!((out.as_str(), code), ("", 1), "{flags:?}");
        assert!(errors.contains(expected), "{errors}");
    }
    let (_folder, file) = file("kind: Node\nmetadata: {labels: 7}\n");
    let (_, errors, code) = run(&mut diff(&["--with", &file]));
    assert_eq!((code, errors.contains("input.yaml: document 1: Node without a name: ")), (1, true), "{errors}");
}

#[test]
fn a_manifest_of_an_older_state_is_compared_with_a_note() {
    let text = std::fs::read_to_string(super::example("changes/new-image.yaml")).unwrap();
    for (version, is_old) in [("\"1\"", true), ("\"99999999\"", false)] {
        let (_folder, file) =
            file(&text.replacen("metadata:\n", &format!("metadata:\n  resourceVersion: {version}\n"), 1));
        let (out, errors, code) = run(&mut diff(&["--with", &file]));
        assert_eq!((errors.contains("kubectl apply fails with a conflict"), code), (is_old, 0), "{errors}");
        assert!(out.contains("replaced"), "{out}");
    }
}

#[test]
fn a_change_that_the_api_server_refuses_is_no_difference_of_pods() {
    let text = std::fs::read_to_string(super::example("changes/new-image.yaml")).unwrap();
    for (from, to, refusal) in [
        (
            "app.kubernetes.io/name: node-exporter",
            "app: node-exporter",
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"node-exporter\"}}: field is immutable",
        ),
        (
            "maxUnavailable: 2",
            "maxSurge: 2",
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 2: may not be set",
        ),
        (
            "  name: node-exporter\n",
            "  name: node-exporter\n  uid: another\n",
            "metadata.uid: Invalid value: \"another\": field is",
        ),
        ("hostNetwork: true", "hostnetwork: true", "unknown field \"spec.template.spec.hostnetwork\""),
    ] {
        let (_folder, file) = file(&text.replace(from, to));
        let (out, errors, code) = run(&mut diff(&["--with", &file]));
        assert_eq!(
            (errors.as_str(), code),
            ("error: monitoring/node-exporter: the API server refuses the change\n", 1)
        );
        assert!(out.contains(refusal), "{out}");
        assert!(out.ends_with("1 of 4 DaemonSets: 1 refused\n"), "{out}");
        let (out, ..) = run(diff(&["--with", &file]).args(["-o", "json"]));
        let report: Value = serde_json::from_str(&out).unwrap();
        let diffs = report["diffs"].as_array().unwrap();
        assert_eq!(diffs.iter().filter(|diff| diff["refusals"][0].is_object()).count(), 1);
    }
}

#[test]
fn a_typo_is_refused_even_if_nothing_else_differs() {
    let text = std::fs::read_to_string(super::example("changes/new-image.yaml")).unwrap().replace("1.10.0", "1.9.0");
    for (from, to) in [
        ("      hostNetwork: true", "      hostNetwork: true\n      hostNetwrk: true"),
        ("  name: node-exporter\n", "  name: node-exporter\n  lables: {}\n"),
    ] {
        assert!(text.contains(from));
        let (_folder, typo) = file(&text.replacen(from, to, 1));
        let (out, errors, code) = run(&mut diff(&["--with", &typo]));
        assert_eq!(code, 1, "{out}{errors}");
        assert!(out.contains("unknown field"), "{out}");
    }
}

#[test]
fn two_spellings_of_one_manifest_need_no_cluster_to_be_the_same() {
    let manifest = |mode: &str, image: &str| {
        file(&format!(
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: agent, namespace: mon}}\nspec:\n  \
             selector: {{matchLabels: {{app: agent}}}}\n  template:\n    metadata: {{labels: {{app: agent}}}}\n    spec:\n      \
             containers: [{{name: agent, image: '{image}'}}]\n      volumes: [{{name: cfg, configMap: {{name: cfg, defaultMode: {mode}}}}}]\n"
        ))
    };
    let compare = |one: &str, other: &str| {
        let args = ["diff", "--with", other, "-f", one, "--max-deletes", "0", "--exit-code"];
        run(&mut super::daemonplan(&args))
    };
    let ((_a, one), (_b, other), (_c, newer)) =
        (manifest("420", "agent:1"), manifest("0o644", "agent:1"), manifest("420", "agent:2"));
    assert_eq!(compare(&one, &other), ("no difference: 1 DaemonSet\n".into(), String::new(), 0));
    let (out, errors, code) = compare(&one, &newer);
    assert!(out.contains(r#"containers[0].image: "agent:1" → "agent:2""#), "the fields are known: {out}");
    assert!(out.contains("the effect on pods is not known, because the input has no nodes"), "{out}");
    assert!(errors.contains("the effect is not sure"), "{errors}");
    assert_eq!(code, 1);
}

#[test]
fn a_node_affinity_that_no_longer_holds_is_explained() {
    let (out, _, _) = run(&mut diff(&["node-exporter", "--set-label", "worker-3=kubernetes.io/os=plan9"]));
    assert!(out.contains("pod removed: node affinity: kubernetes.io/os=linux is required"), "{out}");
    assert!(out.contains("the required node affinity is checked for running pods as well"), "{out}");
    let (out, _, _) = run(&mut diff(&["mesh-proxy", "--set-label", "worker-2=role-"]));
    assert!(!out.contains("IgnoredDuringExecution"), "a node selector says nothing of the kind: {out}");
}

#[test]
fn no_command_predicts_what_the_api_server_refuses() {
    let immutable =
        "node-exporter: spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"x\"}}: field is immutable";
    let text = std::fs::read_to_string(example("changes/new-image.yaml")).unwrap();
    let (_folder, file) = file(&text.replace("app.kubernetes.io/name: node-exporter", "app: x"));
    for command in ["plan", "explain", "forecast", "overhead"] {
        let node: &[&str] = if command == "overhead" { &["--node", "examples/node.yaml"] } else { &[] };
        let (out, errors, code) = run(daemonplan(&[command, "-f", "examples/quiet.json", "--with", &file]).args(node));
        assert_eq!((out.as_str(), code), ("", 1), "{command}");
        assert!(errors.contains(immutable) && errors.contains("the API server refuses 1 change"), "{errors}");
    }
    let mut lint =
        daemonplan(&["lint", "-f", "examples/quiet.json", "--with", &file, "--deny", "refused-by-api-server"]);
    let (out, _, code) = run(&mut lint);
    assert!(out.contains("spec.selector") && out.contains("field is immutable"), "{out}");
    assert_eq!(code, 3);
}

#[test]
fn directories_in_a_directory_of_changes_are_read_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::copy(super::example("changes/new-image.yaml"), inner.join("a.yaml")).unwrap();
    let folder = folder.path().to_str().unwrap();
    let (_, errors, code) = run(&mut diff(&["--with", folder]));
    assert!(code == 1 && errors.contains("-R also looks into the directories in it"), "{errors}");
    let (out, ..) = run(&mut diff(&["--with", folder, "-R"]));
    assert!(out.ends_with("1 of 4 DaemonSets: 5 replaced\n"), "{out}");
}

#[test]
fn labels_and_taints_that_cannot_exist_are_refused() {
    for (flag, text) in [
        ("--set-label", "worker-1=a b=c"),
        ("--set-label", "worker-1=a=b c"),
        ("--set-label", "worker-1=a/b/c=x"),
        ("--set-label", "worker-1==x"),
        ("--taint", "worker-1=a b:NoSchedule"),
        ("--taint", "worker-1=-a=b:NoSchedule"),
    ] {
        let (out, errors, code) = run(&mut diff(&[flag, text]));
        assert_eq!((out.as_str(), code), ("", 1), "{text}");
        assert!(errors.contains("must"), "{errors}");
    }
}

#[test]
fn a_cluster_of_which_all_nodes_are_removed_has_none() {
    let cluster: Value = serde_json::from_slice(&std::fs::read(super::example("quiet.json")).unwrap()).unwrap();
    let nodes = cluster["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "Node");
    let removed: Vec<_> =
        nodes.flat_map(|node| ["--remove-node", node["metadata"]["name"].as_str().unwrap()]).collect();
    let (out, errors, code) = run(diff(&["node-exporter"]).args(&removed));
    assert_eq!((errors.as_str(), code), ("", 0));
    assert!(out.contains("pod removed: its node does not exist"), "{out}");
}

#[test]
fn labels_that_were_applied_before_and_are_gone_are_removed() {
    let applied = json!({"metadata": {"labels": {"gone": "x"}}}).to_string();
    let mut cluster: Value = serde_json::from_slice(&std::fs::read(super::example("quiet.json")).unwrap()).unwrap();
    for item in cluster["items"].as_array_mut().unwrap().iter_mut().filter(|item| item["kind"] == "DaemonSet") {
        item["metadata"]["labels"]["gone"] = "x".into();
        item["metadata"]["labels"]["others"] = "x".into();
        item["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = applied.as_str().into();
    }
    let (_folder, cluster) = file(&cluster.to_string());
    let (out, ..) = run(&mut daemonplan(&["diff", "-f", &cluster, "--with", "examples/changes/new-image.yaml"]));
    assert!(
        out.contains("- metadata.labels: {") && out.contains("\"others\":\"x\""),
        "all labels go with the field: {out}"
    );
    let text = std::fs::read_to_string(super::example("changes/new-image.yaml")).unwrap();
    let (_folder, with) = file(&text.replacen("metadata:\n", "metadata:\n  labels: {}\n", 1));
    let (out, ..) = run(&mut daemonplan(&["diff", "-f", &cluster, "--with", &with]));
    assert!(out.contains("- metadata.labels.gone: \"x\"") && !out.contains("others"), "{out}");
}

#[test]
fn a_restart_by_kubectl_stays() {
    let mut cluster: Value = serde_json::from_slice(&std::fs::read(super::example("quiet.json")).unwrap()).unwrap();
    for item in cluster["items"].as_array_mut().unwrap().iter_mut().filter(|item| item["kind"] == "DaemonSet") {
        let annotations = json!({"kubectl.kubernetes.io/restartedAt": "2026-11-01T00:00:00Z", "other": "x"});
        item["spec"]["template"]["metadata"]["annotations"] = annotations;
    }
    let (_folder, cluster) = file(&cluster.to_string());
    let (out, errors, _) = run(&mut daemonplan(&["diff", "-f", &cluster, "--with", "examples/changes/new-image.yaml"]));
    assert!(out.contains("- spec.template.metadata.annotations.other") && !out.contains("restartedAt"), "{out}");
    let note = "monitoring/node-exporter: what was applied before is unknown";
    assert!(errors.contains(note), "{errors}");
    let forecast = ["forecast", "-f", &cluster, "--with", "examples/changes/new-image.yaml", "node-exporter"];
    let (_, errors, _) = run(&mut daemonplan(&forecast));
    assert_eq!(errors.matches(note).count(), 1, "{errors}");
}

#[test]
fn ports_that_kubectl_merges_are_noted() {
    let with = |ports: Value| {
        changed(|daemonset| {
            daemonset["metadata"].as_object_mut().unwrap().remove("uid");
            daemonset["spec"]["template"]["spec"]["containers"][0]["ports"] = ports;
        })
    };
    let (udp, tcp) =
        (json!({"containerPort": 9100, "protocol": "UDP"}), json!({"containerPort": 9100, "protocol": "TCP"}));
    let mut dump: Value = serde_json::from_slice(&std::fs::read(example("quiet.json")).unwrap()).unwrap();
    for item in
        dump["items"].as_array_mut().unwrap().iter_mut().filter(|item| item["metadata"]["name"] == "node-exporter")
    {
        item["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([tcp]);
    }
    let (_folder, dump) = file(&dump.to_string());
    for (ports, is_noted) in [(json!([tcp, udp]), true), (json!([tcp]), false), (json!([udp]), false)] {
        let (_folder, manifest) = with(ports);
        let (_, errors, code) = run(&mut daemonplan(&["diff", "-f", &dump, "--with", &manifest]));
        assert_eq!((errors.contains("port 9100 is given for several protocols"), code), (is_noted, 0), "{errors}");
    }
}

#[test]
fn an_update_that_a_change_begins_and_that_is_blocked_is_told() {
    let mut cluster: Value = serde_json::from_slice(&std::fs::read(example("quiet.json")).unwrap()).unwrap();
    for item in cluster["items"].as_array_mut().unwrap() {
        if item["kind"] == "Node" && item["metadata"]["name"] == "worker-1" {
            item["spec"]["taints"] = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]);
        }
        if item["kind"] == "Pod" && item["spec"]["nodeName"] == "worker-1" {
            item["status"]["conditions"] = json!([]);
        }
    }
    let (_folder, cluster) = file(&cluster.to_string());
    let (_other, with) =
        changed(|daemonset| daemonset["spec"]["template"]["spec"]["containers"][0]["image"] = "new:1".into());
    let args =
        ["diff", "-f", &cluster, "--with", &with, "-n", "monitoring", "node-exporter", "--now", "2026-11-23T23:08:30Z"];
    let (out, ..) = run(&mut daemonplan(&args));
    assert!(out.contains("! the update gets stuck: "), "{out}");
    let report = super::json(&args);
    assert_eq!(report["diffs"][0]["rollout"]["after"], "Stuck", "{report}");
    assert_eq!(report["diffs"][0]["rollout"]["before"], "Stuck", "it is so without the change, too");
    let (_, errors, code) = run(&mut daemonplan(&[&args[..], &["--complete", "--max-deletes", "99"]].concat()));
    assert_eq!((errors.as_str(), code), ("", 0));
}

#[test]
fn an_update_that_a_lost_node_blocks_gets_stuck_on_the_others_because_of_the_change() {
    let daemonset = |image: &str| {
        format!(
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: agent, namespace: prod}}\nspec:\n  selector: {{matchLabels: \
             {{app: agent}}}}\n  template:\n    metadata: {{labels: {{app: agent}}}}\n    spec:\n      containers: [{{name: a, image: '{image}'}}]\n"
        )
    };
    let live = daemonset("a:1").replace(
        "namespace: prod}",
        "namespace: prod, uid: '7', generation: 1, annotations: {deprecated.daemonset.template.generation: '1'}}",
    );
    let lost = "{taints: [{key: node.kubernetes.io/unreachable, effect: NoExecute}]}";
    let nodes = [("a", lost, "False"), ("b", "{}", "True")].map(|(node, spec, ready)| {
        format!(
            "---\nkind: Node\nmetadata: {{name: {node}}}\nspec: {spec}\n---\nkind: Pod\nmetadata: {{name: agent-{node}, \
             namespace: prod, labels: {{app: agent, pod-template-generation: '1'}}, creationTimestamp: 2026-01-01T00:00:00Z, \
             ownerReferences: [{{kind: DaemonSet, name: agent, uid: '7', controller: true}}]}}\nspec: {{nodeName: {node}}}\n\
             status: {{phase: Running, conditions: [{{type: Ready, status: '{ready}', lastTransitionTime: 2026-01-01T00:01:00Z}}]}}\n"
        )
    });
    let (_folder, cluster) = file(&[live].into_iter().chain(nodes).collect::<String>());
    let (_other, with) = file(&daemonset("a:2"));
    let flags = ["--complete", "--now", "2026-01-02T00:00:00Z", "--max-unavailable", "1"];
    let (_, errors, code) = run(&mut daemonplan(&[&["diff", "-f", &cluster, "--with", &with], &flags[..]].concat()));
    assert_eq!((errors.as_str(), code), ("error: prod/agent: the update gets stuck: 2 nodes not converged\n", 3));
}

#[test]
fn a_pod_whose_place_two_daemonsets_take_is_deleted_once() {
    let container = |cpu: &str| json!([{"name": "main", "image": "main:1", "resources": {"requests": {"cpu": cpu}}}]);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w1"},
        "status": {"allocatable": {"cpu": "1", "pods": "9"}}});
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 9});
    let cluster = |is_going: bool| {
        let mut web = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop", "uid": "uid-web"},
            "spec": {"nodeName": "w1", "containers": container("900m")}, "status": {"phase": "Running"}});
        if is_going {
            web["metadata"]["deletionTimestamp"] = json!("2026-06-01T11:59:50Z");
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mon"}});
        file(&json!({"apiVersion": "v1", "kind": "List", "items": [namespace, node, class, web]}).to_string())
    };
    let daemonset = |name: &str| {
        let template = json!({"metadata": {"labels": {"app": name}},
            "spec": {"priorityClassName": "high", "containers": container("300m")}});
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "namespace": "mon"},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": template}})
    };
    let new = json!({"apiVersion": "v1", "kind": "List", "items": [daemonset("a"), daemonset("b")]});
    let (_folder, new) = file(&new.to_string());
    let denied = |is_going: bool| {
        let (_folder, cluster) = cluster(is_going);
        let args = ["diff", "-f", &cluster, "--with", &new, "--complete", "--now", "2026-06-01T12:00:00Z"];
        run(daemonplan(&args).args(["--max-deletes", "0"])).1
    };
    assert!(denied(false).starts_with("error: 1 pod deleted, more than --max-deletes 0 allows"), "{}", denied(false));
    assert!(!denied(true).contains("deleted, more than"), "it goes without the change: {}", denied(true));
}

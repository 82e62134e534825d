//! Without `-f`, the CLI reads the cluster with kubectl.

#![cfg(unix)]

use std::{fs, os::unix::fs::PermissionsExt};

use super::{daemonplan, example, run};

/// Creates a directory with a fake `kubectl`, first in the path, that records its arguments and runs `script`.
fn kubectl(script: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubectl");
    let log = folder.path().join("log");
    fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> {}\n{script}\n", log.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    (folder, path)
}

#[test]
fn the_cluster_is_read_and_the_command_is_shown() {
    let (folder, path) = kubectl(&format!("cat {}", example("quiet.json").display()));
    let now = ["plan", "--now", "2026-11-23T23:08:30Z"];
    let (out, errors, code) = run(daemonplan(&now).args(["--context", "prod"]).env("PATH", &path));
    let errors = errors.replace("note: standard input is not read; -f - reads it\n", "");
    assert_eq!(code, 0, "{errors}");
    let command =
        "get --context prod daemonsets,nodes,pods,namespaces,controllerrevisions --all-namespaces --output json";
    assert_eq!(errors, format!("note: running kubectl {command}\n"));
    assert_eq!(fs::read_to_string(folder.path().join("log")).unwrap(), format!("{command}\n"));
    assert_eq!(out, run(daemonplan(&now).args(["-f", "examples/quiet.json"])).0);
}

#[test]
fn only_the_selected_namespace_is_read() {
    let (folder, path) = kubectl(
        r#"case "$*" in
        *nodes*) echo '{"kind": "List", "items": [{"kind": "Node", "metadata": {"name": "n1"}}]}';;
        *namespace*prod*daemonsets*|*daemonsets*namespace*prod*)
            echo '{"kind": "List", "items": [{"kind": "DaemonSet", "metadata": {"name": "a", "namespace": "prod"},
                  "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}}}]}';;
        *) echo '{"kind": "Namespace", "metadata": {"name": "prod"}}';;
    esac"#,
    );
    let (out, _, code) = run(daemonplan(&["plan", "-n", "prod", "a"]).env("PATH", &path));
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("  + create  n1  no pod on this node\n"), "{out}");
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(
        log.lines().collect::<Vec<_>>(),
        [
            "get nodes --output json",
            "get namespace prod --output json",
            "get daemonsets,pods,controllerrevisions --namespace prod --output json",
        ]
    );
}

/// A cluster with a full node; who may not list pods everywhere sees only those of `prod`.
const SHARED_NODE: &str = r#"case "$*" in
    *daemonsets*) echo '{"kind": "DaemonSet", "metadata": {"name": "a", "namespace": "prod"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "500m"}}}]}}}}';;
    *persistentvolumes*) echo '{"kind": "List", "items": []}';;
    *schedulers*) echo "error: the server doesn't have a resource type \"schedulers\"" >&2; exit 1;;
    *nodes*) echo '{"kind": "List", "items": [
        {"kind": "Node", "metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "1", "pods": "10"}}},
        {"kind": "Namespace", "metadata": {"name": "prod"}}OTHERS]}'; FORBIDDEN;;
    *) echo '{"kind": "List", "items": []}';;
esac"#;

#[test]
fn pods_of_all_namespaces_share_the_nodes() {
    let other = r#", {"kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"nodeName": "n1",
        "containers": [{"name": "web", "resources": {"requests": {"cpu": "800m"}}}]}}"#;
    let (folder, path) = kubectl(&SHARED_NODE.replace("OTHERS", other).replace("FORBIDDEN", "true"));
    let (out, errors, code) = run(daemonplan(&["explain", "-n", "prod", "a"]).env("PATH", &path));
    assert_eq!(code, 0, "{errors}");
    assert!(out.contains("fits if shop/web leaves (cpu 800m)"), "{out}{errors}");
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<_> = log.lines().map(|line| line.trim_end_matches(" --output json")).collect();
    assert_eq!(
        lines[..2],
        ["get daemonsets,controllerrevisions --namespace prod", "get nodes,pods,namespaces --all-namespaces",]
    );
    assert!(
        lines[2].starts_with("get persistentvolumes,")
            && lines[3] == "get events --field-selector involvedObject.kind=DaemonSet --namespace prod"
            && lines[4] == "get schedulers.config.openshift.io",
        "{log}"
    );
    let (_, errors, _) = run(daemonplan(&["explain", "pod/prod/a-1"]).env("PATH", &path));
    assert!(errors.contains("running kubectl get daemonsets,controllerrevisions --namespace prod"), "{errors}");
}

#[test]
fn without_the_pods_of_other_namespaces_what_fits_is_not_known() {
    let forbidden = r#"echo 'Error from server (Forbidden): pods is forbidden: User "jane" cannot list resource "pods" in API group "" at the cluster scope' >&2; exit 1"#;
    let (_folder, path) = kubectl(&SHARED_NODE.replace("OTHERS", "").replace("FORBIDDEN", forbidden));
    let (out, errors, code) = run(daemonplan(&["forecast", "-n", "prod", "a"]).env("PATH", &path));
    assert_eq!(code, 0, "{errors}");
    assert!(out.contains("not known: what pods of other namespaces than prod take from nodes"), "{out}{errors}");
}

#[test]
fn an_unreachable_cluster_is_an_error() {
    let (_folder, path) = kubectl("echo 'no cluster' >&2; exit 7");
    let (out, errors, code) = run(daemonplan(&["plan"]).env("PATH", &path));
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(errors.contains("no cluster: exit status: 7; use -f to read files"), "{errors}");
    let (_, errors, code) = run(daemonplan(&["plan"]).env("PATH", "/nowhere"));
    assert_eq!(code, 1);
    assert!(errors.contains("kubectl not found: install it to read a cluster, or use -f"), "{errors}");
}

#[test]
fn kinds_that_may_not_be_read_are_not_known() {
    let cluster = example("quiet.json");
    let (_folder, path) = kubectl(&format!(
        r#"case "$*" in *nodes*) ;; *) exec cat {0};; esac
python3 - {0} <<'END'
import json, sys
cluster = json.load(open(sys.argv[1]))
cluster["items"] = [item for item in cluster["items"] if item["kind"] != "Node"]
print(json.dumps(cluster))
END
echo 'Error from server (Forbidden): nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope' >&2
exit 1"#,
        cluster.display()
    ));
    let (out, errors, code) = run(daemonplan(&["plan"]).env("PATH", &path));
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(errors.contains("kubectl may not list nodes, so it is unknown where pods should run"), "{errors}");
    assert!(errors.contains(r#"{apiGroups: [""], resources: [nodes], verbs: [get, list]}"#), "{errors}");
    assert!(errors.contains("the input has no nodes"), "{errors}");
    let (out, _, code) = run(daemonplan(&["history", "monitoring/node-exporter"]).env("PATH", &path));
    assert_eq!(code, 0, "a history needs no nodes: {out}");
}

#[test]
fn only_the_kinds_that_a_command_needs_are_read() {
    let (folder, path) = kubectl(&format!("cat {}", example("quiet.json").display()));
    for args in
        [&["undo", "-n", "monitoring", "node-exporter"][..], &["overhead", "--node", "examples/hello/nodes.yaml"]]
    {
        let (_, errors, code) = run(daemonplan(args).args(["--kubeconfig", "other"]).env("PATH", &path));
        assert_eq!(code, 0, "{errors}");
    }
    assert_eq!(
        fs::read_to_string(folder.path().join("log")).unwrap().lines().collect::<Vec<_>>(),
        [
            "get --kubeconfig other daemonsets,controllerrevisions --namespace monitoring --output json",
            "get --kubeconfig other daemonsets,namespaces --all-namespaces --output json",
        ]
    );
}

#[test]
fn the_attempts_that_kubectl_logs_are_left_out() {
    let attempt = r#"E1128 14:00:00.000000   77 memcache.go:265] "Unhandled Error" err="couldn't get current server API group list""#;
    let (_folder, path) = kubectl(&format!(
        "for i in 1 2 3; do echo '{}' >&2; done; echo 'The connection to the server localhost:8080 was refused' >&2; exit 1",
        attempt.replace('\'', "'\\''")
    ));
    let (_, errors, code) = run(daemonplan(&["plan"]).env("PATH", &path));
    assert_eq!(code, 1);
    assert!(errors.contains("The connection to the server localhost:8080 was refused"), "{errors}");
    assert!(!errors.contains("memcache.go"), "{errors}");
}

#[test]
fn manifests_without_a_namespace_are_of_that_of_the_context() {
    let cluster = example("quiet.json");
    let (_folder, path) =
        kubectl(&format!("case \"$1\" in config) printf monitoring;; *) cat {};; esac", cluster.display()));
    let manifest =
        fs::read_to_string(example("changes/new-image.yaml")).unwrap().replace("  namespace: monitoring\n", "");
    let (_other, with) = super::file(&manifest);
    let (out, errors, code) =
        run(daemonplan(&["diff", "--with", &with, "--now", "2026-11-23T23:08:30Z"]).env("PATH", &path));
    assert!(out.starts_with("monitoring/node-exporter\n  ~ spec.template"), "{out}{errors}");
    assert_eq!(code, 0);
}

#[test]
fn an_answer_without_content_is_no_empty_cluster() {
    let (_folder, path) = kubectl("exit 0");
    let (out, errors, code) = run(daemonplan(&["plan", "--exit-code"]).env("PATH", &path));
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(errors.contains("--output json: it printed nothing"), "{errors}");
}

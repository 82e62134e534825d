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
    let (out, _, code) = run(daemonplan(&["explain", "-n", "prod", "a"]).env("PATH", &path));
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("1 node: a pod is created next: no pod on this node\n    n1\n"), "{out}");
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

#[test]
fn an_unreachable_cluster_is_an_error() {
    let (_folder, path) = kubectl("echo 'no cluster' >&2; exit 7");
    let (out, errors, code) = run(daemonplan(&["plan"]).env("PATH", &path));
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(errors.contains("no cluster\n") && errors.contains("exit status: 7; use -f to read files"), "{errors}");
    let (_, errors, code) = run(daemonplan(&["plan"]).env("PATH", "/nowhere"));
    assert_eq!(code, 1);
    assert!(errors.contains("use -f to read files"), "{errors}");
}

//! Without `-f` the cluster is asked with kubectl.

#![cfg(unix)]

use std::{fs, os::unix::fs::PermissionsExt};

use super::{daemonplan, example, run};

/// A folder with a `kubectl` that notes how it was called, says what a script says, and is found first.
fn kubectl(script: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubectl");
    let said = folder.path().join("said");
    fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> {}\n{script}\n", said.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    (folder, path)
}

#[test]
fn the_cluster_is_asked_and_the_command_is_shown() {
    let (folder, path) = kubectl(&format!("cat {}", example("quiet.json").display()));
    let now = ["plan", "--now", "2026-11-23T23:08:30Z"];
    let (out, errors, code) = run(daemonplan(&now).args(["--context", "prod"]).env("PATH", &path));
    assert_eq!(code, 0, "{errors}");
    let asked =
        "get --context prod daemonsets,nodes,pods,namespaces,controllerrevisions --all-namespaces --output json";
    assert_eq!(errors, format!("note: running kubectl {asked}\n"));
    assert_eq!(fs::read_to_string(folder.path().join("said")).unwrap(), format!("{asked}\n"));
    assert_eq!(out, run(daemonplan(&now).args(["-f", "examples/quiet.json"])).0);
}

#[test]
fn one_namespace_is_asked_for_if_one_is_meant() {
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
    assert!(out.contains("1 node: a pod is created next: no pod is there\n    n1\n"), "{out}");
    let said = fs::read_to_string(folder.path().join("said")).unwrap();
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "get nodes --output json",
            "get namespace prod --output json",
            "get daemonsets,pods,controllerrevisions --namespace prod --output json",
        ]
    );
}

#[test]
fn a_cluster_that_does_not_answer_is_an_error() {
    let (_folder, path) = kubectl("echo 'no cluster' >&2; exit 7");
    let (out, errors, code) = run(daemonplan(&["plan"]).env("PATH", &path));
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(errors.contains("no cluster\n") && errors.contains("exit status: 7; -f reads files instead"), "{errors}");
    let (_, errors, code) = run(daemonplan(&["plan"]).env("PATH", "/nowhere"));
    assert_eq!(code, 1);
    assert!(errors.contains("-f reads files instead"), "{errors}");
}

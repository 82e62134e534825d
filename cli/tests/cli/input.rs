//! Files, directories and names as people give them.

use std::{fs, io::Write};

use super::{QUIET, daemonplan, example, file, run};

const DAEMONSET: &str = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent, namespace: prod}\n\
    spec:\n  selector: {matchLabels: {app: agent}}\n  revisionHistoryLimit: 0\n  template:\n    \
    metadata: {labels: {app: agent}}\n    spec: {containers: [{name: agent, image: agent:1}]}\n";

fn lint(args: &[&str]) -> (String, String, i32) {
    run(daemonplan(&["lint"]).args(args))
}

#[test]
fn names_are_those_that_people_paste() {
    let all = run(daemonplan(&["history", "-n", "monitoring", "node-exporter"]).args(QUIET)).0;
    for names in [
        &["node-exporter"][..],
        &["ds/node-exporter"],
        &["daemonset.apps/node-exporter"],
        &["monitoring/node-exporter"],
        &["ds", "node-exporter", "-n", "monitoring"],
        &["-A", "node-exporter"],
    ] {
        let (out, errors, code) = run(daemonplan(&["history"]).args(names).args(QUIET));
        assert_eq!((out.as_str(), errors.as_str(), code), (all.as_str(), "", 0), "{names:?}");
    }
    let (out, ..) = run(daemonplan(&["plan", "mesh-proxy", "trap/trapped"]).args(QUIET));
    assert!(out.ends_with("\n2 plans: 3 × delete\n"), "{out}");
    let (out, ..) = run(daemonplan(&["plan", "-l", "app.kubernetes.io/name=node-exporter"]).args(QUIET));
    assert!(out.contains("monitoring/node-exporter") && out.ends_with("\n1 plan: nothing to do\n"), "{out}");
    for (args, expected) in [
        (&["plan", "-n", "montoring"][..], "no DaemonSet in namespace montoring found; did you mean monitoring?"),
        (&["explain", "node-exportr"], "no DaemonSet node-exportr found; did you mean node-exporter?"),
        (&["lint", "-l", "app=none"], "no DaemonSet with labels app=none found"),
        (&["plan", "pod/x"], "expected a DaemonSet, found the kind pod"),
        (&["plan", "Cargo.toml"], "Cargo.toml is a file: -f Cargo.toml reads it"),
        (
            &["explain", "--node", "worker-11"],
            "node worker-11 not found: the input has neither the node nor a pod on it; did you mean worker-1?",
        ),
    ] {
        let (out, errors, code) = run(daemonplan(args).args(QUIET));
        assert_eq!((out.as_str(), code), ("", 1), "{args:?}: {errors}");
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn a_directory_is_read_without_what_is_no_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("ds.yaml", DAEMONSET);
    write("values.yaml", "image: agent\nreplicas: 2\n");
    write("README.md", "# kind: DaemonSet\n");
    write("templates/ds.yaml", "{{ if .Values.x }}\nkind: DaemonSet\n{{ end }}\n");
    write("kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n");
    let path = folder.path().to_str().unwrap();
    let (out, errors, code) = lint(&["-f", path]);
    assert_eq!((errors.as_str(), code), ("", 0));
    assert!(out.starts_with("prod/agent\n") && out.contains("no-history"), "{out}");
    let (_, errors, code) = lint(&["-f", path, "--show-skipped"]);
    assert_eq!(code, 0);
    assert!(errors.contains("values.yaml: document 1: skipped: it has neither kind nor apiVersion"), "{errors}");
    assert!(errors.contains("Kustomization.kustomize.config.k8s.io without a name: skipped"), "{errors}");
    let (out, errors, code) = lint(&["-R", "-f", path]);
    assert_eq!(code, 1, "a file could not be read");
    assert!(errors.contains("templates/ds.yaml: document 1") && errors.contains("render templates first"), "{errors}");
    assert!(out.contains("no-history"), "one bad file does not silence the others: {out}");
}

#[test]
fn compressed_files_marks_and_line_ends_make_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("ds.yaml");
    fs::write(&plain, DAEMONSET).unwrap();
    let expected = lint(&["-f", plain.to_str().unwrap()]);
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    compressed.write_all(DAEMONSET.as_bytes()).unwrap();
    let windows = format!("\u{feff}{}", DAEMONSET.replace('\n', "\r\n"));
    for (name, bytes) in [("a/ds.yaml.gz", compressed.finish().unwrap()), ("b/ds.yaml", windows.into_bytes())] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        assert_eq!(lint(&["-f", path.to_str().unwrap()]), expected);
        assert_eq!(lint(&["-f", path.parent().unwrap().to_str().unwrap()]), expected);
    }
}

#[test]
fn what_is_no_manifest_is_named() {
    for (text, expected) in [
        ("NAME    DESIRED   CURRENT\nagent   1         1\n", "add -o json or -o yaml to that command"),
        ("NAMESPACE   NAME    DESIRED\nprod        agent   1\n", "add -o json or -o yaml to that command"),
        ("{{ if .Values.x }}\nkind: DaemonSet\n{{ end }}\n", "render templates first, for example with helm template"),
        ("Error from server (Forbidden): pods is forbidden\n", "found an error of kubectl"),
        (
            "[{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": []}]",
            "kubectl prints several objects as one of kind List",
        ),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", "the input has no DaemonSet; it has ConfigMap"),
        ("apiVersion: v1\nmetadata: {name: x}\n", "expected the kind of an object, found none"),
        ("# nothing\n---\n---\n", "the input is empty"),
    ] {
        let (_folder, file) = file(text);
        let (out, errors, code) = run(&mut daemonplan(&["plan", "-f", &file]));
        assert_eq!((out.as_str(), code), ("", 1), "{text}");
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn daemonsets_of_other_groups_are_named_with_the_reason() {
    let kruise = DAEMONSET.replace("apps/v1", "apps.kruise.io/v1alpha1");
    let old = DAEMONSET.replace("apps/v1", "extensions/v1beta1").replace("agent, ", "old, ");
    let beta = DAEMONSET.replace("apps/v1", "apps/v1beta2").replace("agent, ", "beta, ");
    let (_folder, file) = file(&format!("{kruise}---\n{old}---\n{beta}---\n{DAEMONSET}"));
    let (out, errors, code) = lint(&["-f", &file]);
    assert_eq!(code, 1, "kubectl refuses what no API server has");
    assert!(
        errors.contains("DaemonSet.apps.kruise.io prod/agent: skipped: ") && errors.contains("another controller"),
        "{errors}"
    );
    for (object, kind, version) in
        [("extensions prod/old", "DaemonSet", "extensions/v1beta1"), ("apps prod/beta", "DaemonSet", "apps/v1beta2")]
    {
        let problem = format!("no matches for kind {kind:?} in version {version:?}: it is DaemonSet of apps/v1");
        assert!(errors.contains(&format!("DaemonSet.{object}: {problem}")), "{errors}");
    }
    assert!(out.contains("1 DaemonSet: "), "{out}");
}

#[test]
fn misspelled_kinds_and_groups_fail_beside_good_ones() {
    for (from, to) in [
        ("kind: DaemonSet", "kind: daemonset"),
        ("kind: DaemonSet", "kind: DeamonSet"),
        ("apps/v1", "app/v1"),
        ("apps/v1", "v1"),
    ] {
        let (_folder, file) =
            file(&format!("{DAEMONSET}---\n{}", DAEMONSET.replace(from, to).replace("agent, ", "b, ")));
        for args in [["lint", "-f", &file], ["diff", "--with", &file]] {
            let input: &[&str] = if args[0] == "diff" { &["-f", "examples/quiet.json"] } else { &[] };
            let (_, errors, code) = run(daemonplan(&args).args(input));
            assert_eq!((code, errors.contains("no matches for kind")), (1, true), "{to}: {errors}");
        }
    }
}

#[test]
fn piped_input_is_asked_about() {
    let text = fs::read(example("quiet.json")).unwrap();
    let (_, errors, code) = run(daemonplan(&["plan"]).env("PATH", "/nowhere").write_stdin(text));
    assert_eq!(code, 1);
    assert!(errors.contains("standard input is not read; -f - reads it"), "{errors}");
}

#[test]
fn files_of_windows_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.yaml");
    let findings = |bytes: Vec<u8>| {
        fs::write(&path, bytes).unwrap();
        lint(&["-f", path.to_str().unwrap(), "-o", "json"])
    };
    let text = DAEMONSET.replace('\n', "\r\n");
    let (expected, _, code) = findings(text.clone().into_bytes());
    assert_eq!(code, 0);
    for mark in ["\u{feff}", "\u{feff}\r\n"] {
        let units = || format!("{mark}{text}").encode_utf16().collect::<Vec<_>>();
        assert_eq!(findings(units().iter().flat_map(|unit| unit.to_le_bytes()).collect()).0, expected);
        assert_eq!(findings(units().iter().flat_map(|unit| unit.to_be_bytes()).collect()).0, expected);
    }
    let (_, errors, code) = findings(b"\xff\xfea\x00b".to_vec());
    assert!(errors.contains("invalid UTF-16") && code == 1, "{errors}");
}

#[test]
fn a_change_that_changes_nothing_or_cannot_be_meant_is_said() {
    let diff = |args: &[&str]| run(&mut daemonplan(&[&["diff"], QUIET, args].concat()));
    for (args, expected) in [
        (&["--taint", "worker-1=absent-"][..], "note: --taint: node worker-1 has no such taint"),
        (&["--taint", "worker-1=absent:NoExecute-"], "note: --taint: node worker-1 has no such taint"),
        (&["--uncordon", "worker-1"], "note: --uncordon: node worker-1 is not cordoned"),
        (&["--taint", "worker-1=absent"], "expected NODE=KEY:EFFECT"),
        (&["--cordon", "worker-1", "--max-unavailable", "150%"], "expected at most 100%"),
    ] {
        assert!(diff(args).1.contains(expected), "{args:?}: {}", diff(args).1);
    }
    let (out, errors, _) = diff(&["--taint", "gpu-1=nvidia.com/gpu-", "--set-label", "gpu-1=nvidia.com/gpu.present-"]);
    assert_eq!(errors, "");
    assert!(out.contains("+ 1 node: pod added"), "all effects of the key are removed: {out}");
    let (_, errors, _) = run(&mut daemonplan(&[&["forecast"], QUIET, &["--startup", "30s/10s"]].concat()));
    assert!(errors.contains("expected p50/p90, the shorter time first"), "{errors}");
    let (_, errors, _) = run(&mut daemonplan(&[&["overhead"], QUIET, &["--node", "worker-1"]].concat()));
    assert!(errors.contains("kubectl get node worker-1 -o yaml > node.yaml"), "{errors}");
}

#[test]
fn a_synthetic_cluster_beyond_all_memory_is_refused() {
    let (out, errors, code) = run(&mut daemonplan(&["synth", "--nodes", "99999999999999"]));
    assert!(errors.starts_with("error: up to ") && errors.contains("expected at most 10000000"), "{errors}");
    assert_eq!((out.as_str(), code), ("", 1));
}

#[test]
fn a_pod_without_a_name_is_not_looked_for() {
    let (_, errors, code) = run(&mut daemonplan(&[&["explain", "pod"], QUIET].concat()));
    assert_eq!((errors.as_str(), code), ("error: \"\": expected pod/NAME or pod/NAMESPACE/NAME\n", 1));
}

//! `daemonplan overhead`.

use super::{QUIET, daemonplan, file, json, run};

const NODE: &[&str] = &["--node", "examples/node.yaml"];

#[test]
fn it_lists_which_daemonsets_would_run_on_a_new_node_and_why() {
    let (out, errors, code) = run(&mut daemonplan(&[&["overhead"], QUIET, NODE].concat()));
    assert_eq!((errors.as_str(), code), ("", 0));
    assert_eq!(
        out,
        "new-worker: 3 of 4 DaemonSets would run: cpu 150m, memory 192Mi, pods 3
  logging/log-agent         cpu 50m, memory 64Mi
  mesh/mesh-proxy           cpu 50m, memory 64Mi
  monitoring/node-exporter  cpu 50m, memory 64Mi
  not trap/trapped: annotation openshift.io/node-selector: role=infra is required, the node has role=worker
"
    );
    let report = json(&[&["overhead"], QUIET, NODE].concat());
    let overhead = &report["overheads"][0];
    assert_eq!((&overhead["node"], &overhead["requests"]["memory"]), (&"new-worker".into(), &"192Mi".into()));
    assert_eq!(overhead["refused"][0]["refusal"], "NotPlaced");
}

#[test]
fn it_accepts_many_nodes_and_requires_at_least_one() {
    let (out, ..) = run(&mut daemonplan(&[&["overhead"], QUIET, &["--node", "examples/quiet.json"]].concat()));
    assert_eq!(out.lines().filter(|line| line.contains(" would run: ")).count(), 12, "{out}");
    let (_folder, nothing) = file("kind: Namespace\nmetadata: {name: ns}\n");
    let (_, errors, code) = run(&mut daemonplan(&[&["overhead"], QUIET, &["--node", &nothing]].concat()));
    assert_eq!((errors.as_str(), code), ("error: --node: expected a Node, found none\n", 1));
    let (_, errors, code) = run(&mut daemonplan(&[&["overhead"], QUIET].concat()));
    assert!(errors.contains("--node <FILE>") && code == 1, "{errors}");
}

#[test]
fn invalid_quantities_are_named() {
    let (_folder, wrong) = file(
        "kind: DaemonSet\nmetadata: {name: agent, namespace: prod}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    \
         metadata: {labels: {a: b}}\n    spec: {containers: [{resources: {requests: {memory: 64MB}}}]}\n",
    );
    let (_, errors, code) = run(&mut daemonplan(&[&["overhead", "--complete", "-f", &wrong], NODE].concat()));
    let expected = "error: DaemonSet prod/agent: spec.template.spec: expected a quantity such as 250m, 2 or 64Mi, found \"64MB\"\n";
    assert_eq!((errors.as_str(), code), (expected, 1));
}

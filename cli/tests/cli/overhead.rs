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
  left: cpu 3770m, memory 15168Mi, pods 107
  not trap/trapped: annotation openshift.io/node-selector: role=infra is required, the node has role=worker
"
    );
    let report = json(&[&["overhead"], QUIET, NODE].concat());
    let overhead = &report["overheads"][0];
    assert_eq!((&overhead["node"], &overhead["requests"]["memory"]), (&"new-worker".into(), &"192Mi".into()));
    assert_eq!(overhead["refused"][0]["refusal"], "NotPlaced");
}

/// DaemonSets with their requests of cpu and their host ports, in a namespace with a LimitRange.
fn fleet(daemonsets: &[(&str, &str, u32)]) -> String {
    let head = String::from(
        "kind: Namespace\nmetadata: {name: mon}\n---\nkind: LimitRange\nmetadata: {name: a, namespace: mon}\n\
         spec: {limits: [{type: Container, defaultRequest: {memory: 1Gi}}]}\n",
    );
    let daemonsets = daemonsets.iter().map(|(name, cpu, port)| {
        format!(
            "---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: {name}, namespace: mon}}\nspec:\n  \
             selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
             spec: {{containers: [{{name: main, image: a, resources: {{requests: {{cpu: {cpu}}}}}, \
             ports: [{{containerPort: 80, hostPort: {port}}}]}}]}}\n"
        )
    });
    [head].into_iter().chain(daemonsets).collect()
}

#[test]
fn it_says_what_does_not_fit_and_what_is_left() {
    let (_folder, input) = file(&fleet(&[("a", "1500m", 9100), ("b", "1", 9200), ("c", "100m", 9100)]));
    let node = "kind: Node\nmetadata: {name: small}\nspec: {taints: [{key: starting, effect: NoExecute}]}\n\
                status: {allocatable: {cpu: 2, memory: 8Gi, pods: 110}}";
    let (_other_folder, node) = file(node);
    let args = ["overhead", "-f", &input, "--node", &node, "--startup-taint", "starting:NoExecute"];
    let (out, errors, code) = run(&mut daemonplan(&args));
    assert_eq!((errors.as_str(), code), ("", 0));
    assert_eq!(
        out,
        "small: 3 of 3 DaemonSets would run: cpu 2600m, memory 3Gi, pods 3
  mon/a  cpu 1500m, memory 1Gi  (LimitRanger sets memory request for container main)
  mon/b  cpu 1, memory 1Gi  (LimitRanger sets memory request for container main)
  mon/c  cpu 100m, memory 1Gi  (LimitRanger sets memory request for container main)
  ! mon/a and mon/c both need port 9100: one of their pods never starts
  ! do not fit: cpu 2600m of 2
  ! not bound, if the scheduler takes them by priority and name: mon/b: Insufficient cpu
  ! not bound, if the scheduler takes them by priority and name: mon/c: node(s) didn't have free ports for the requested pod ports
  left: cpu -600m, memory 5Gi, pods 107
"
    );
    let report = &json(&args)["overheads"][0];
    assert_eq!((&report["fits"], &report["lacking"][0]["requested"]), (&false.into(), &"2600m".into()));
    assert_eq!(report["left"]["memory"], "5Gi");
    assert_eq!(report["running"][0]["added"][0], "LimitRanger sets memory request for container main");
    let (out, ..) = run(&mut daemonplan(&args[..5]));
    assert!(out.contains("taint starting:NoExecute is not tolerated"), "{out}");
    let (_, errors, _) = run(&mut daemonplan(&[&args[..5], &["--startup-taint", "starting:NoSchedule"]].concat()));
    assert!(errors.contains("--startup-taint starting:NoSchedule: no node has this taint"), "{errors}");
}

#[test]
fn it_proposes_to_leave_startup_taints_out() {
    let (_folder, input) = file(&fleet(&[("a", "500m", 9100)]));
    let proposes = |key: &str| {
        let (_folder, node) = file(&format!(
            "kind: Node\nmetadata: {{name: new}}\nspec: {{taints: [{{key: {key}, effect: NoSchedule}}]}}\n\
             status: {{allocatable: {{cpu: 2, memory: 8Gi, pods: 110}}}}"
        ));
        run(&mut daemonplan(&["overhead", "-f", &input, "--node", &node])).1.contains("--startup-taint")
    };
    assert!(proposes("node.cilium.io/agent-not-ready"));
    assert!(!proposes("dedicated"));
    assert!(!proposes("node.kubernetes.io/unschedulable"), "daemon pods tolerate it");
}

#[test]
fn a_daemonset_whose_pods_admission_refuses_does_not_count() {
    let fleet =
        fleet(&[("a", "500m", 9100), ("b", "100m", 9200)]).replace("memory: 1Gi}", "memory: 1Gi}, max: {cpu: 300m}");
    let (_folder, input) = file(&fleet);
    let (_other_folder, node) =
        file("kind: Node\nmetadata: {name: large}\nstatus: {allocatable: {cpu: 2, memory: 8Gi, pods: 110}}");
    let args = ["overhead", "-f", &input, "--node", &node];
    let (out, errors, code) = run(&mut daemonplan(&args));
    assert_eq!((errors.as_str(), code), ("", 0));
    assert_eq!(
        out,
        "large: 1 of 2 DaemonSets would run: cpu 100m, memory 1Gi, pods 1
  mon/b  cpu 100m, memory 1Gi  (LimitRanger sets memory request for container main; cpu limit for container main)
  left: cpu 1900m, memory 7Gi, pods 109
  not mon/a: validation refuses its pods: spec.containers[0].resources.requests: Invalid value: \"500m\": must be less \
         than or equal to cpu limit of 300m
"
    );
    let refused = &json(&args)["overheads"][0]["refused"][0];
    assert_eq!((&refused["refusal"], &refused["reason"]["plugin"]), (&"NotAdmitted".into(), &"validation".into()));
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

#[test]
fn pods_that_another_one_excludes_are_found_whatever_their_order() {
    let apart = "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: \
                 kubernetes.io/hostname, labelSelector: {matchLabels: {app: OTHER}}}]}}, containers";
    let node = "kind: Node\nmetadata: {name: large, labels: {kubernetes.io/hostname: large}}\n\
                status: {allocatable: {cpu: 2, memory: 8Gi, pods: 110}}";
    let (_other_folder, node) = file(node);
    for (owner, other) in [("a", "b"), ("b", "a")] {
        let fleet = fleet(&[("a", "100m", 9100), ("b", "100m", 9200)]);
        let (head, tail) = fleet.split_at(fleet.find(&format!("metadata: {{name: {owner},")).unwrap());
        let fleet = format!("{head}{}", tail.replacen("containers", &apart.replace("OTHER", other), 1));
        let (_folder, input) = file(&fleet);
        let report = &json(&["overhead", "-f", &input, "--node", &node])["overheads"][0];
        assert_eq!(report["pending"][0]["daemonSet"]["name"], "b", "{report}");
    }
}

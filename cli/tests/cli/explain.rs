//! `daemonplan explain`.

use assert_cmd::Command;
use serde_json::Value;

use super::{PENDING, run};

fn explain(args: &[&str]) -> Command {
    super::daemonplan(&[&["explain"], args].concat())
}

#[test]
fn explanations_can_be_limited_to_a_daemonset_and_a_node() {
    let (out, errors, code) = run(explain(PENDING).args(["-n", "hello", "hello-daemonset", "--node", "worker-3"]));
    assert_eq!((errors.as_str(), code), ("", 0));
    assert!(out.starts_with("hello/hello-daemonset\n  ! "), "{out}");
    for line in [
        "\n  worker-3: ",
        "✗ node selector role=worker",
        "✓ all taints tolerated",
        "pod hello-daemonset-99495  available",
    ] {
        assert!(out.contains(line), "{out}");
    }
    let (out, _, _) = run(explain(PENDING).args(["--node", "worker-3"]));
    assert_eq!(out.matches("  worker-3: ").count(), 5, "every DaemonSet: {out}");
}

#[test]
fn json_output_has_the_same_data() {
    let (out, errors, code) = run(explain(PENDING).args(["-o", "json", "log-agent"]));
    assert_eq!((errors.as_str(), code), ("", 0));
    let report: Value = serde_json::from_str(&out).unwrap();
    let explanations = report["explanations"].as_array().unwrap();
    assert_eq!(explanations.len(), 1);
    assert_eq!(explanations[0]["daemonSet"]["namespace"], "logging");
    let nodes = explanations[0]["nodes"].as_array().unwrap();
    let node = |name: &str| nodes.iter().find(|node| node["node"] == name).unwrap();
    assert_eq!(node("worker-3")["pods"][0]["revision"]["number"], 3);
    assert_eq!(node("worker-3")["pods"][0]["state"]["state"], "Available");
    assert_eq!(
        (&node("worker-2")["exists"], &node("worker-9")["creation"]),
        (&false.into(), &"no pod on this node".into())
    );
    let (yaml, _, _) = run(explain(PENDING).args(["-o", "yaml", "log-agent"]));
    assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), report);
}

#[test]
fn an_unknown_object_is_an_error() {
    for (args, expected) in [
        (&["nobody"][..], "no DaemonSet nobody found"),
        (&["-n", "hello", "log-agent"], "in namespace hello"),
        (&["--node", "nowhere"], "node nowhere not found"),
    ] {
        let (out, errors, code) = run(explain(PENDING).args(args));
        assert_eq!((out.as_str(), code), ("", 1));
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn events_tell_what_was_said_and_whether_it_still_holds() {
    let input = "cli/tests/golden/quota-used-up.yaml";
    let (out, errors, code) = run(&mut explain(&["pod/prod/agent-one", "-f", input, "--complete"]));
    assert_eq!((errors.as_str(), code), ("", 0));
    assert!(
        out.contains("  the scheduler said at 2026-01-02T03:00:00Z: 0/2 nodes are available: 1 Too many pods"),
        "{out}"
    );
    assert!(
        out.contains("  by the facts given it would say now: 0/2 nodes are available: 1 Insufficient cpu"),
        "{out}"
    );
    assert!(out.contains("  event FailedScheduling (3 times, last at 2026-01-02T03:00:00Z): 0/2"), "{out}");
    let (out, ..) = run(&mut explain(&["pod/prod/agent-one", "-f", input, "--complete", "-o", "json"]));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["scheduling"]["agreement"], "differs");
    assert_eq!(report["scheduling"]["events"][0]["count"], 3);
}

#[test]
fn a_waiting_pod_is_told_which_plugins_refuse_it_and_why() {
    let report = |pod: &str| -> Value {
        let name = format!("pod/prod/{pod}");
        let (out, errors, code) =
            run(&mut explain(&[&name, "-f", "examples/waiting.yaml", "--complete", "-o", "json"]));
        assert_eq!((errors.as_str(), code), ("", 0), "{pod}");
        serde_json::from_str(&out).unwrap()
    };
    for (pod, verdict, plugins, causes) in [
        ("cpu", "unschedulable", "NodeResourcesFit", "insufficient"),
        ("pods", "unschedulable", "NodeResourcesFit", "tooManyPods"),
        ("port", "unschedulable", "NodePorts", "hostPort"),
        ("taint", "unschedulable", "TaintToleration", "taint"),
        ("selector", "unschedulable", "NodeAffinity", "nodeSelector"),
        ("noisy", "unschedulable", "InterPodAffinity", "existingAntiAffinity"),
        ("gated", "gated", "SchedulingGates", "gated"),
    ] {
        let report = report(pod);
        let blockers = report["scheduling"]["blockers"].as_array().unwrap();
        assert_eq!(report["scheduling"]["verdict"], verdict, "{pod}");
        assert_eq!(blockers.len(), 1, "{report:#}");
        assert_eq!(blockers[0]["plugin"], plugins, "{pod}");
        assert_eq!(blockers[0]["causes"][0]["cause"], causes, "{pod}");
    }
    let preemption = &report("important")["scheduling"]["preemption"];
    assert_eq!(preemption["victims"], serde_json::json!(["prod/app-7"]));
    let (_, errors, code) = run(&mut explain(&["pod/prod/gone", "-f", "examples/waiting.yaml"]));
    assert_eq!((errors.as_str(), code), ("error: no pod gone in namespace prod found\n", 1));
}

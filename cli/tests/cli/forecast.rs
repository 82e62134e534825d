//! `daemonplan forecast`.

use assert_cmd::Command;
use serde_json::Value;

use super::{QUIET, run};

fn forecast(args: &[&str]) -> Command {
    super::daemonplan(&[&["forecast"], QUIET, args].concat())
}

#[test]
fn a_forecast_shows_outcome_chart_and_waves() {
    let flags = ["mesh-proxy", "--startup", "10s", "--shutdown", "5s"];
    let (out, errors, code) = run(&mut forecast(&flags));
    assert_eq!((errors.as_str(), code), ("", 0));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "mesh/mesh-proxy",
            "  done after 1m 25s; at least 8 of 8 nodes have an available pod at any time",
            "  assuming pods start within 10s and stop within 5s; not Ready after 10m counts as failed; seed 10",
        ]
    );
    assert!(lines[3].starts_with("  outdated     ▅▅▅") && lines[4].starts_with("  up to date   ▃▃▃"), "{out}");
    assert_eq!(lines.last().unwrap(), &"     3  update         40s     1m 25s        8/8  worker-7, worker-8");
}

#[test]
fn a_forecast_is_the_same_for_the_same_seed() {
    let shown = |seed: &str| run(&mut forecast(&["--startup", "10s/1m", "--runs", "5", "--seed", seed])).0;
    assert_eq!(shown("1"), shown("1"));
    assert_ne!(shown("1"), shown("2"));
    assert!(shown("1").contains("(p90 of 5 runs: "), "{}", shown("1"));
}

#[test]
fn stuck_nodes_are_listed() {
    let flags = ["node-exporter", "--failure-rate", "1", "--runs", "3"];
    let (out, _, code) = run(&mut forecast(&flags));
    assert_eq!(code, 0);
    assert!(out.contains("(0 of 3 runs converge)"), "{out}");
    assert!(out.contains("2 nodes: the new pod is assumed never to start"), "{out}");
    let (out, _, _) = run(&mut forecast(&["node-exporter", "--horizon", "1s"]));
    assert!(out.contains("not done within the horizon"), "{out}");
}

#[test]
fn nodes_whose_pods_stay_unready_are_one_group() {
    let of = |nodes: &[&str]| {
        let nodes = nodes.iter().map(|node| {
            format!(
                "---\nkind: Node\nmetadata: {{name: {node}}}\n---\nkind: Pod\nmetadata: {{name: agent-{node}, namespace: prod, \
                 labels: {{app: agent, pod-template-generation: '1'}}, creationTimestamp: 2026-01-01T00:00:00Z, \
                 ownerReferences: [{{kind: DaemonSet, name: agent, uid: '7', controller: true}}]}}\n\
                 spec: {{nodeName: {node}}}\nstatus: {{phase: Running}}\n"
            )
        });
        let daemonset = "kind: DaemonSet\nmetadata: {name: agent, namespace: prod, uid: '7', generation: 1, annotations: \
                         {deprecated.daemonset.template.generation: '1'}}\n\
                         spec: {selector: {matchLabels: {app: agent}}, template: {metadata: {labels: {app: agent}}}}\n";
        let (_directory, path) = super::file(&[daemonset.to_owned()].into_iter().chain(nodes).collect::<String>());
        let flags = ["--now", "2026-01-02T00:00:00Z", "--complete"];
        run(&mut super::daemonplan(&[&["forecast", "-f", &path], &flags[..]].concat())).0
    };
    let (one, two) = (of(&["a"]), of(&["a", "b"]));
    assert!(one.contains("1 node: pod agent-a has been unavailable for too long\n    a"), "{one}");
    assert!(two.contains("2 nodes: pods have been unavailable for too long\n    a, b"), "{two}");
}

#[test]
fn json_output_is_complete() {
    let report = super::json(&[&["forecast"], QUIET, &["mesh-proxy", "--startup", "10s", "--runs", "2"]].concat());
    let forecast = &report["forecasts"][0];
    assert_eq!(forecast["daemonSet"]["name"], "mesh-proxy");
    assert_eq!((&forecast["outcome"], &forecast["afterSeconds"]), (&"Done".into(), &85.into()));
    assert_eq!(forecast["runs"].as_array().unwrap().len(), 2);
    assert_eq!(forecast["assumptions"]["startup"]["medianSeconds"], 10.0);
    assert_eq!(forecast["waves"][0]["kind"], "Update");
    assert_eq!(forecast["timeline"][0]["old"], 5);
    let args = ["mesh-proxy", "--startup", "10s", "--runs", "2", "-o", "yaml"];
    let yaml: Value = serde_yaml::from_str(&run(&mut super::forecast::forecast(&args)).0).unwrap();
    assert_eq!(yaml, report);
}

#[test]
fn an_html_page_is_self_contained_and_matches_the_text() {
    let (page, errors, code) = run(&mut forecast(&["--failure-rate", "0.5", "-o", "html"]));
    assert_eq!((errors.as_str(), code), ("", 0));
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{page}");
    for part in
        ["mesh/mesh-proxy", "<svg", "prefers-color-scheme: dark", "assumed never to start", "width=device-width"]
    {
        assert!(page.contains(part), "{part}");
    }
    for outside in ["http:", "https:", "<script", "<link", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn wrong_assumptions_are_errors() {
    for (flags, expected) in [
        (["--startup", "soon"], "expected a duration such as 30s or 1m30s"),
        (["--startup", "-5s"], "expected a duration such as 30s or 1m30s"),
        (["--failure-rate", "2"], "expected a number from 0 to 1"),
        (["--failure-rate", "NaN"], "expected a number from 0 to 1"),
        (["--runs", "0"], "1..=10000"),
    ] {
        let (out, errors, code) = run(&mut super::daemonplan(&[&["forecast"], QUIET, &[&flags.join("=")]].concat()));
        assert_eq!((out.as_str(), code), ("", 1));
        assert!(errors.contains(expected), "{errors}");
    }
}

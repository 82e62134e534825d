//! `daemonplan forecast`.

use assert_cmd::Command;
use serde_json::Value;

use super::{QUIET, run};

fn forecast(args: &[&str]) -> Command {
    super::daemonplan(&[&["forecast"], QUIET, args].concat())
}

#[test]
fn a_forecast_says_how_it_ends_and_shows_chart_and_waves() {
    let flags = ["mesh-proxy", "--startup", "10s", "--shutdown", "5s"];
    let (out, errors, code) = run(&mut forecast(&flags));
    assert_eq!((errors.as_str(), code), ("", 0));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "mesh/mesh-proxy",
            "  done after 1m 25s; never fewer than 8 of 8 nodes have an available pod",
            "  if pods start within 10s and stop within 5s; what is not ready for 10m stays so; seed 10",
        ]
    );
    assert!(lines[3].starts_with("  older        ▅▅▅") && lines[4].starts_with("  up to date   ▃▃▃"), "{out}");
    assert_eq!(lines.last().unwrap(), &"     3  update         40s     1m 25s        8/8  worker-7, worker-8");
}

#[test]
fn a_forecast_is_the_same_for_the_same_seed() {
    let shown = |seed: &str| run(&mut forecast(&["--startup", "10s/1m", "--runs", "5", "--seed", seed])).0;
    assert_eq!(shown("1"), shown("1"));
    assert_ne!(shown("1"), shown("2"));
    assert!(shown("1").contains("(of 5 runs nine in ten take at most "), "{}", shown("1"));
}

#[test]
fn what_gets_stuck_is_named() {
    let flags = ["node-exporter", "--failure-rate", "1", "--runs", "3"];
    let (out, _, code) = run(&mut forecast(&flags));
    assert_eq!(code, 0);
    assert!(out.contains("(none of 3 runs ends well)"), "{out}");
    assert!(out.contains("2 nodes: the new pod is one of those that are assumed never to start"), "{out}");
    let (out, _, _) = run(&mut forecast(&["node-exporter", "--horizon", "1s"]));
    assert!(out.contains("not done after "), "{out}");
}

#[test]
fn programs_get_all_of_it() {
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
fn a_page_stands_on_its_own_and_shows_what_the_text_says() {
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
    for (flags, told) in [
        (["--startup", "soon"], "expected a duration such as 30s or 1m30s"),
        (["--startup", "-5s"], "expected a duration such as 30s or 1m30s"),
        (["--failure-rate", "2"], "expected a number from 0 to 1"),
        (["--failure-rate", "NaN"], "expected a number from 0 to 1"),
        (["--runs", "0"], "1..=10000"),
    ] {
        let (out, errors, code) = run(&mut super::daemonplan(&[&["forecast"], QUIET, &[&flags.join("=")]].concat()));
        assert_eq!((out.as_str(), code), ("", 1));
        assert!(errors.contains(told), "{errors}");
    }
}

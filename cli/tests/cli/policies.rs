//! Output for updates with a rollout policy.

use super::{QUIET, daemonplan, file, json, run};

/// Returns the bundled cluster with an annotation on a DaemonSet whose update is half done.
fn annotated(annotation: &str) -> (tempfile::TempDir, String) {
    let text = std::fs::read_to_string(super::example("quiet.json")).unwrap();
    let before = r#""deprecated.daemonset.template.generation": "2""#;
    assert!(text.contains(before));
    file(&text.replace(before, &format!("{before}, {annotation}")))
}

#[test]
fn a_plan_shows_what_the_policy_blocks() {
    let (_folder, paused) = annotated(r#""daemonplan/paused": "true""#);
    let args = |command| [command, "-f", &paused, "--now", "2026-11-23T23:08:30Z", "-n", "mesh"];
    let (out, ..) = run(&mut daemonplan(&args("plan")));
    assert!(out.contains("  policy: the update is paused, as the policy paused says\n"), "{out}");
    assert!(out.ends_with("1 plan: 3 × delete, 1 × update status\n"), "started updates are finished: {out}");
    let report = json(&args("plan"));
    assert_eq!(report["plans"][0]["rollout"]["phase"], "Paused");
    assert!(json(&[&["plan"], QUIET, &["-n", "mesh"]].concat())["plans"][0]["rollout"].is_null(), "no policy");
    let (out, ..) = run(&mut daemonplan(&args("explain")));
    assert!(
        out.contains("  update: 8 nodes with an outdated pod: the update is paused, as the policy paused says\n"),
        "{out}"
    );
    let (out, ..) = run(&mut daemonplan(&args("forecast")));
    assert!(out.contains("  held after "), "{out}");
    let (out, ..) = run(&mut daemonplan(&[&["diff"], QUIET, &["--with", &paused]].concat()));
    assert!(out.contains("  policy: the update is paused, as the policy paused says\n"), "{out}");
    assert!(!out.contains("goes on"), "{out}");
    let ignored = run(&mut daemonplan(&[&args("explain")[..], &["--ignore-policies"]].concat())).0;
    assert!(!ignored.contains("paused"), "{ignored}");
}

#[test]
fn an_invalid_annotation_is_a_warning_and_a_finding() {
    let (_folder, wrong) = annotated(r#""daemonplan/partition": "lots""#);
    let args = |command| [command, "-f", &wrong, "--now", "2026-11-23T23:08:30Z", "-n", "mesh"];
    let (out, ..) = run(&mut daemonplan(&args("plan")));
    assert!(out.contains("updates are paused: annotation daemonplan/partition: expected a number of nodes"), "{out}");
    let (out, _, code) = run(&mut daemonplan(&[&args("lint")[..], &["--deny", "invalid-policy"]].concat()));
    assert_eq!(
        (code, out.contains("error invalid-policy  DaemonSet: metadata.annotations[daemonplan/partition]")),
        (3, true),
        "{out}"
    );
}

#[test]
fn explain_names_the_step_of_the_canaries() {
    let (_folder, canaries) = annotated(r#""daemonplan/canary": "1, 50%""#);
    let args = ["explain", "-f", &canaries, "--now", "2026-11-23T23:08:30Z", "-n", "mesh"];
    let (out, ..) = run(&mut daemonplan(&args));
    assert!(out.contains("\n  step 2 of 2: 3 of 4 canaries are available\n"), "{out}");
}

//! The whole text output for the bundled dumps and for telling scenarios. Each scenario is a file in `golden/`, with what it
//! tells and its flags in comments; what is shown stands beside it. `UPDATE_EXPECT=1` writes it anew, to be read as a diff.

#![allow(clippy::unwrap_used)] // a test says what is wrong by failing

use std::{fs, path::Path, process::Command};

use expect_test::expect_file;

/// Standard error, standard output, and the exit code.
fn shown(input: &Path, flags: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_daemonplan"));
    let command = command.current_dir(root).args(["plan", "-f"]).arg(input.strip_prefix(root).unwrap()).args(flags);
    let output = command.env_remove("CLICOLOR_FORCE").output().unwrap();
    let text = [output.stderr, output.stdout].map(|text| String::from_utf8(text).unwrap()).concat();
    format!("{text}exit code {}\n", output.status.code().unwrap())
}

#[test]
fn scenarios_are_shown_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut scenarios: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")).collect();
    scenarios.sort();
    assert!(scenarios.len() >= 20, "{scenarios:?}");
    for scenario in scenarios {
        let text = fs::read_to_string(&scenario).unwrap();
        let flags = text.lines().find_map(|line| line.strip_prefix("# flags: ")).unwrap_or_default();
        let fixed = ["--now", "2026-01-02T03:04:05Z", "--exit-code"].into_iter();
        let flags: Vec<_> = fixed.chain(flags.split_whitespace()).collect();
        expect_file![scenario.with_extension("txt")].assert_eq(&shown(&scenario, &flags));
    }
}

#[test]
fn the_bundled_dumps_are_shown_as_they_were() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (dump, now) in [("quiet", "2026-11-23T23:08:30Z"), ("pending", "2026-11-23T23:08:27Z")] {
        let output = shown(&root.join("examples").join(dump).with_extension("json"), &["--now", now, "--all"]);
        expect_file![root.join("tests/golden").join(dump).with_extension("txt")].assert_eq(&output);
    }
}

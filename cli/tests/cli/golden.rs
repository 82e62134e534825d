//! The complete text output, plans and explanations, for the bundled dumps and selected scenarios.
//!
//! Each scenario is a file in `golden/`, with its description and flags in comments. Its plan is in the same directory,
//! its explanation in `golden/explain/`. `UPDATE_EXPECT=1` rewrites them, to be reviewed as a diff.

use std::{fs, path::Path, process::Command};

use expect_test::expect_file;

use crate::root;

/// Returns standard error, standard output and the exit code.
fn shown(command: &str, input: &Path, flags: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_daemonplan"));
    let input = input.strip_prefix(root()).unwrap();
    let program = program.current_dir(root()).args([command, "-f"]).arg(input).args(flags);
    let output = program.env_remove("CLICOLOR_FORCE").env_remove("COLUMNS").output().unwrap();
    let text = [output.stderr, output.stdout].map(|text| String::from_utf8(text).unwrap()).concat();
    format!("{text}exit code {}\n", output.status.code().unwrap())
}

#[test]
fn output_for_scenarios_is_unchanged() {
    let folder = root().join("cli/tests/golden");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut scenarios: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")).collect();
    scenarios.sort();
    assert!(scenarios.len() >= 20, "{scenarios:?}");
    for scenario in scenarios {
        let text = fs::read_to_string(&scenario).unwrap();
        let flags = text.lines().find_map(|line| line.strip_prefix("# flags: ")).unwrap_or_default();
        let fixed = ["--complete", "--now", "2026-01-02T03:04:05Z"].into_iter();
        let mut flags: Vec<_> = fixed.chain(flags.split_whitespace()).collect();
        let name = scenario.file_stem().unwrap();
        let explained = folder.join("explain").join(name).with_extension("txt");
        expect_file![explained].assert_eq(&shown("explain", &scenario, &flags));
        flags.push("--exit-code");
        expect_file![scenario.with_extension("txt")].assert_eq(&shown("plan", &scenario, &flags));
    }
}

#[test]
fn output_for_the_bundled_dumps_is_unchanged() {
    for (dump, now) in [("quiet", "2026-11-23T23:08:30Z"), ("pending", "2026-11-23T23:08:27Z")] {
        let (input, flags) = (root().join("examples").join(dump).with_extension("json"), ["--now", now, "--all"]);
        let golden = root().join("cli/tests/golden");
        expect_file![golden.join(dump).with_extension("txt")].assert_eq(&shown("plan", &input, &flags));
        expect_file![golden.join("explain").join(dump).with_extension("txt")]
            .assert_eq(&shown("explain", &input, &flags));
    }
}

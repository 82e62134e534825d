//! The command line on real files.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

mod completions;
mod diff;
mod docs;
mod explain;
mod forecast;
mod golden;
mod history;
mod incomplete;
mod input;
mod lint;
mod live;
mod overhead;
mod plan;
mod policies;
mod schema;

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

/// Returns the root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Returns the command `daemonplan`, run in the root of the repository.
fn daemonplan(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("daemonplan").unwrap();
    command.args(args).current_dir(root()).env_remove("COLUMNS");
    command
}

/// Returns standard output, standard error and the exit code.
fn run(command: &mut Command) -> (String, String, i32) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

/// Returns a command's JSON output.
fn json(args: &[&str]) -> Value {
    let (out, errors, code) = run(daemonplan(args).args(["-o", "json"]));
    assert_eq!((errors.as_str(), code), ("", 0));
    serde_json::from_str(&out).unwrap()
}

/// Creates a file in a temporary directory, which is deleted with it.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.yaml");
    std::fs::write(&path, text).unwrap();
    let name = path.to_str().unwrap().to_owned();
    (folder, name)
}

fn example(name: &str) -> std::path::PathBuf {
    root().join("examples").join(name)
}

const QUIET: &[&str] = &["-f", "examples/quiet.json", "--now", "2026-11-23T23:08:30Z"];
const PENDING: &[&str] = &["-f", "examples/pending.json", "--now", "2026-11-23T23:08:27Z"];

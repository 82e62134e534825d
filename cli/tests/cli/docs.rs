//! The documentation shows real output, and every public item has an example.
//!
//! A block of commands (`sh`) followed by a text block is run, and its output must equal the text; a line `…` matches
//! any lines. `UPDATE_EXPECT=1` rewrites the text blocks, except those with a `…`.

use std::{env, fs, path::Path, process::Command};

use anstyle::RgbColor;
use anstyle_lossy::palette::WIN10_CONSOLE;
use anstyle_svg::Term;
use expect_test::expect_file;

use crate::root;

/// Returns the output of commands, including errors, run in the project's directory.
fn output_of(commands: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_daemonplan"));
    let path = format!("{}:{}", program.parent().unwrap().display(), env::var("PATH").unwrap());
    let commands = commands.replace("cargo run --", "daemonplan");
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", &format!("exec 2>&1\n{commands}")]).current_dir(root()).env("PATH", path);
    let output = shell.env_remove("CLICOLOR_FORCE").env_remove("COLUMNS").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Returns whether `shown` matches the output.
fn is_shown(shown: &str, output: &str) -> bool {
    let mut rest = output;
    for (number, part) in shown.split("…\n").enumerate() {
        let part = part.strip_suffix("  ").unwrap_or(part); // indentation of the dots
        match (number, rest.find(part)) {
            (0, Some(0)) => rest = &rest[part.len()..],
            (1.., Some(at)) => rest = &rest[at + part.len()..],
            _ => return false,
        }
    }
    shown.ends_with("…\n") || rest.is_empty()
}

/// Checks each text block of a page and returns their number.
fn check(page: &str) -> usize {
    const SHELL: &str = "```sh\n";
    const TEXT: &str = "\n```\n\n```text\n";
    let path = root().join(page);
    let mut old = fs::read_to_string(&path).unwrap();
    let (mut new, mut count, mut wrong) = (String::new(), 0, Vec::new());
    while let Some(at) = old.find(SHELL) {
        let rest = old.split_off(at + SHELL.len());
        new += &old;
        old = rest;
        let end = old.find("\n```\n").unwrap();
        if !old[end..].starts_with(TEXT) {
            continue;
        }
        let (commands, rest) = old.split_at(end);
        let (shown, rest) = rest[TEXT.len()..].split_once("```\n").unwrap();
        let output = output_of(commands);
        count += 1;
        if !is_shown(shown, &output) {
            wrong.push(format!("{page}:\n{commands}\nexpected:\n{shown}\nfound:\n{output}"));
        }
        let written = if shown.contains("…\n") { shown } else { &output };
        new.extend([commands, TEXT, written, "```\n"]);
        old = rest.to_owned();
    }
    new += &old;
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(path, new).unwrap();
    } else {
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }
    count
}

#[test]
fn the_cookbook_shows_real_output() {
    assert!(check("src/guide/cookbook.md") >= 22);
}

#[test]
fn the_readme_shows_real_output() {
    assert!(check("README.md") >= 2 && check("docs/usage.md") >= 6);
}

#[test]
fn dots_match_any_lines() {
    assert!(is_shown("a\n…\nd\n", "a\nb\nc\nd\n") && is_shown("a\n…\n", "a\nb\n") && is_shown("…\nb\n", "a\nb\n"));
    assert!(is_shown("a\n  …\nc\n", "a\n  b\nc\n"));
    assert!(!is_shown("a\n", "a\nb\n") && !is_shown("b\n…\n", "a\nb\n") && !is_shown("a\n…\nx\n", "a\nb\n"));
}

#[test]
fn the_picture_shows_real_output() {
    let command = "daemonplan explain node-exporter -f examples/quiet.json --now 2026-11-23T23:08:30Z";
    let shown = output_of(&format!("CLICOLOR_FORCE=1 COLUMNS=100 {command}"));
    let (ink, paper) = (RgbColor(0xe6, 0xe9, 0xec), RgbColor(0x14, 0x17, 0x1a));
    let term = Term::new().palette(WIN10_CONSOLE).fg_color(ink.into()).bg_color(paper.into());
    let picture = term.render_svg(&format!("$ daemonplan explain node-exporter\n{shown}"));
    let picture = picture.replace("opacity: 0.4", "opacity: 0.65");
    expect_file![root().join("examples/explain.svg")].assert_eq(&picture);
}

//! Completions know the names of what is there, and manual pages are complete.

use assert_cmd::Command;

use super::{daemonplan, root, run};

/// Completes the words of `kubectl daemonplan`. Returns the completions, and the directive for the shell.
fn complete(words: &[&str]) -> (Vec<String>, String) {
    let mut command = Command::cargo_bin("kubectl_complete-daemonplan").unwrap();
    let (out, errors, code) = run(command.args(words).current_dir(root()).env("PATH", "/nowhere"));
    assert_eq!((errors.as_str(), code), ("", 0));
    let mut lines: Vec<_> = out.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect();
    let directive = lines.pop().unwrap();
    (lines, directive)
}

#[test]
fn names_come_from_the_files_that_are_named() {
    let file = ["-f", "examples/quiet.json"];
    let explain = |words: &[&str]| complete(&[&["explain"], &file[..], words].concat()).0;
    assert_eq!(explain(&["mo"]), ["monitoring/node-exporter"]);
    assert_eq!(explain(&["-n", "monitoring", "no"]), ["node-exporter"]);
    assert_eq!(explain(&["-n", "tr"]), ["trap"]);
    assert_eq!(explain(&["--node", "gp"]), ["gpu-1"]);
    assert_eq!(complete(&[&["diff"][..], &file, &["--taint", "gpu"]].concat()), (vec!["gpu-1=".into()], ":6".into()));
    assert_eq!(complete(&["explain", "mo"]).0, [""; 0], "no file, and no kubectl");
    assert_eq!(complete(&["overhead", "--node", "exam"]), (vec!["examples/".into()], ":6".into()), "a file");
}

#[test]
fn codes_and_policies_are_known() {
    assert_eq!(complete(&["lint", "--deny", "no-h"]), (vec!["no-history".into()], ":4".into()));
    assert_eq!(complete(&["plan", "--policy", "str"]), (vec!["strict-budget=".into()], ":6".into()));
    assert_eq!(complete(&["fore"]).0, ["forecast"]);
    assert_eq!(complete(&["plan", "--output", "y"]).0, ["yaml"]);
}

#[cfg(unix)]
#[test]
fn names_come_from_the_cluster_without_a_file() {
    use std::{fs, os::unix::fs::PermissionsExt};
    let folder = tempfile::tempdir().unwrap();
    let kubectl = folder.path().join("kubectl");
    fs::write(&kubectl, "#!/bin/sh\ncase \"$*\" in *daemonsets*) echo 'prod   agent'; echo 'dev    other';; esac\n")
        .unwrap();
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let mut command = Command::cargo_bin("kubectl_complete-daemonplan").unwrap();
    let (out, ..) = run(command.args(["plan", "-n", "prod", ""]).env("PATH", path));
    assert!(out.starts_with("agent\t\n--"), "{out}");
}

#[test]
fn every_shell_has_a_script_that_asks_the_program() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (out, errors, code) = run(&mut daemonplan(&["completions", shell]));
        assert_eq!((errors.as_str(), code), ("", 0));
        assert!(out.contains("DAEMONPLAN_COMPLETE"), "{shell}: {out}");
    }
    let mut asked = daemonplan(&["--", "daemonplan", "explain", "-f", "examples/quiet.json", "tr"]);
    let asked = asked.envs([("DAEMONPLAN_COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", "4"), ("_CLAP_IFS", "\n")]);
    assert_eq!(run(asked).0, "trap/trapped\ntrapped");
    for (begun, expected) in [("nod", "node-exporter"), ("ds/nod", "ds/node-exporter")] {
        let mut asked = daemonplan(&["--", "daemonplan", "explain", "-f", "examples/quiet.json", begun]);
        let asked = asked.envs([("DAEMONPLAN_COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", "4"), ("_CLAP_IFS", "\n")]);
        assert_eq!(run(asked).0, expected, "names without a namespace, as the documents write them");
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let (_, errors, code) = run(&mut daemonplan(&["man", folder.path().to_str().unwrap()]));
    assert_eq!((errors.as_str(), code), ("", 0));
    let (help, ..) = run(&mut daemonplan(&["--help"]));
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<_> =
        commands.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 8, "{help}");
    for command in commands.iter().filter(|command| **command != "help") {
        let page = std::fs::read_to_string(folder.path().join(format!("daemonplan-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH OPTIONS"), "{command}");
    }
}

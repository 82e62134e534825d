//! `daemonplan completions` and `daemonplan man`: the completion scripts and the manual pages. The scripts ask the program
//! itself, which knows the names in the files given so far, or else in the cluster.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::PathBuf,
    process::{Command as Process, ExitCode, Stdio},
};

use clap::{Arg, Args, Command};
use clap_complete::{
    CompletionCandidate, Shell,
    engine::{self, ArgValueCompleter},
    env::{CompleteEnv, Shells},
};
use daemonplan::{RolloutPolicy, manifest::Manifests};

use super::{
    Failure, input,
    output::{self, write_error},
    selection::is_daemonset_kind,
};

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "For bash, in ~/.bashrc:\n  \
    source <(daemonplan completions bash)\n\n\
    The script asks the program for names: those in the files of -f, or else in the cluster. For kubectl daemonplan, the \
    program kubectl_complete-daemonplan must be in the PATH, as kubectl itself asks for it.")]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the manual pages.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The directory for daemonplan.1 and a page for each command, such as ~/.local/share/man/man1
    directory: PathBuf,
}

/// The variable by which the scripts ask the program for completions.
const VARIABLE: &str = "DAEMONPLAN_COMPLETE";

pub(super) fn completions(args: &CompletionArgs) -> Result<ExitCode, Failure> {
    let shell = args.shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell).ok_or_else(|| Failure(format!("{shell} is not supported")))?;
    let (name, mut script) = ("daemonplan", Vec::new());
    completer.write_registration(VARIABLE, name, name, name, &mut script).map_err(write_error)?;
    output::stdout().write_all(&script).map_err(write_error)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man(command: Command, args: &ManArgs) -> Result<ExitCode, Failure> {
    let failure = |error: io::Error| Failure(format!("{}: {error}", args.directory.display()));
    std::fs::create_dir_all(&args.directory).map_err(failure)?;
    clap_mangen::generate_to(command, &args.directory).map_err(failure)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the completions that a script asks for, and ends the program then.
pub(super) fn answer(command: &Command) {
    CompleteEnv::with_factory(|| with_completers(command.clone())).var(VARIABLE).complete();
}

/// Prints the completions of `kubectl daemonplan`, for the words after it, as kubectl expects them of its plugins: one on a
/// line, with its description behind a tabulator, and then the number of a directive.
pub(super) fn answer_kubectl(command: Command, words: Vec<OsString>) -> io::Result<()> {
    /// The shell adds no file names, since they are among the completions.
    const NO_FILES: u8 = 4;
    /// The shell adds no space, since the value goes on.
    const NO_SPACE: u8 = 2;
    let last = words.len();
    let words: Vec<_> = [OsString::from("daemonplan")].into_iter().chain(words).collect();
    let candidates =
        engine::complete(&mut with_completers(command), words, last, std::env::current_dir().ok().as_deref())?;
    let goes_on = |candidate: &CompletionCandidate| candidate.get_value().to_string_lossy().ends_with(['/', '=']);
    let directive = NO_FILES | if candidates.iter().any(goes_on) { NO_SPACE } else { 0 };
    let mut out = output::stdout();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_hide_set()) {
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.lines().next().unwrap_or_default();
        writeln!(out, "{}\t{help}", candidate.get_value().to_string_lossy())?;
    }
    writeln!(out, ":{directive}")?;
    out.flush()
}

/// Adds what the arguments of all commands may be.
fn with_completers(command: Command) -> Command {
    command.mut_subcommands(|subcommand| subcommand.mut_args(with_completer))
}

fn with_completer(arg: Arg) -> Arg {
    // A manifest of a new node, not the name of one.
    let is_file = arg.get_long() == Some("node")
        && arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "FILE"));
    let completer = match arg.get_id().as_str() {
        "daemonsets" => ArgValueCompleter::new(|current: &OsStr| candidates(current, daemonsets(current))),
        "namespace" => ArgValueCompleter::new(|current: &OsStr| candidates(current, names("namespaces"))),
        "node" if !is_file => ArgValueCompleter::new(|current: &OsStr| candidates(current, names("nodes"))),
        "cordon" | "uncordon" | "remove_node" => {
            ArgValueCompleter::new(|current: &OsStr| candidates(current, names("nodes")))
        }
        "set_label" | "taint" => ArgValueCompleter::new(|current: &OsStr| {
            candidates(current, names("nodes").into_iter().map(|node| format!("{node}=")))
        }),
        "policy" => ArgValueCompleter::new(|current: &OsStr| {
            candidates(current, RolloutPolicy::NAMES.iter().map(|name| format!("{name}=")))
        }),
        _ => return arg,
    };
    arg.add(completer)
}

fn candidates(current: &OsStr, all: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    all.into_iter().filter(|value| value.starts_with(&*current)).map(CompletionCandidate::new).collect()
}

/// The values of a flag in the words of the command line so far.
fn values_of(short: &str, long: &str) -> Vec<String> {
    let words: Vec<_> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let next = |index: usize| words.get(index + 1).cloned();
    let values = words.iter().enumerate().filter_map(|(index, word)| {
        if word == short || word == long {
            return next(index);
        }
        word.strip_prefix(long).and_then(|rest| rest.strip_prefix('=')).map(ToOwned::to_owned)
    });
    values.filter(|value| !value.is_empty()).collect()
}

/// The manifests in the files that the command line names; `None` if it names none.
fn given() -> Option<Manifests> {
    let files: Vec<_> = values_of("-f", "--filename").into_iter().map(PathBuf::from).collect();
    if files.is_empty() || files.iter().any(|file| file.as_os_str() == "-") {
        return None;
    }
    let mut manifests = Manifests::default();
    input::read(&mut manifests, &files, false).ok()?;
    Some(manifests)
}

/// The names of nodes or namespaces.
fn names(resource: &str) -> Vec<String> {
    match (given(), resource) {
        (Some(manifests), "nodes") => manifests.nodes().iter().map(|node| node.name.to_string()).collect(),
        (Some(manifests), _) => {
            let mut names: Vec<_> = manifests.daemonsets().map(|daemonset| daemonset.namespace.to_string()).collect();
            names.dedup();
            names
        }
        (None, _) => kubectl(&[resource]).into_iter().map(|(_, name)| name).collect(),
    }
}

/// The DaemonSets: by their names if the namespace is given, or else with it. A name or a kind that was begun goes on.
fn daemonsets(current: &OsStr) -> Vec<String> {
    let current = current.to_string_lossy();
    let kind = current.split_once('/').filter(|(kind, _)| is_daemonset_kind(kind)).map(|(kind, _)| kind);
    let namespace = values_of("-n", "--namespace").pop();
    let all = match given() {
        Some(manifests) => manifests
            .daemonsets()
            .map(|daemonset| (daemonset.namespace.to_string(), daemonset.name.to_string()))
            .collect(),
        None => kubectl(&["daemonsets", "--all-namespaces"]),
    };
    let named = all.into_iter().filter(|(own, _)| namespace.as_ref().is_none_or(|namespace| namespace == own));
    named
        .flat_map(|(own, name)| match kind {
            Some(kind) => vec![format!("{kind}/{name}")],
            None if namespace.is_some() => vec![name],
            None if current.is_empty() => vec![format!("{own}/{name}")],
            None => vec![format!("{own}/{name}"), name],
        })
        .collect()
}

/// Asks the cluster for the namespaces and names of objects. A cluster that does not answer at once has none.
fn kubectl(resource: &[&str]) -> Vec<(String, String)> {
    let columns = "custom-columns=NAMESPACE:.metadata.namespace,NAME:.metadata.name";
    let flags: Vec<_> = ["--kubeconfig", "--context"]
        .into_iter()
        .flat_map(|flag| values_of(flag, flag).pop().map(|value| [flag.to_owned(), value]).into_iter().flatten())
        .collect();
    let mut command = Process::new("kubectl");
    let command = command.arg("get").args(resource).args(flags);
    let command = command.args(["--no-headers", "--request-timeout=2s", "--output", columns]);
    let Ok(answer) = command.stdin(Stdio::null()).stderr(Stdio::null()).output() else { return Vec::new() };
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    let columns = |line: &str| {
        let mut columns = line.split_whitespace().map(ToOwned::to_owned);
        columns.next().zip(columns.next())
    };
    answer.lines().filter_map(columns).collect()
}

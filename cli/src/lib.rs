//! The command line: arguments, input and output.

mod application;
mod change;
mod completions;
mod diff;
mod explain;
mod facts;
mod fields;
mod forecast;
mod history;
mod input;
mod kubectl;
mod lint;
mod output;
mod overhead;
mod plan;
mod pod;
mod report;
mod sarif;
mod schema;
mod selection;
mod style;
mod synth;
mod table;

use std::{fmt, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use output::print_error;

/// Plan Kubernetes DaemonSets: which pods are created, deleted and updated, and why, before anything happens.
#[derive(Debug, Parser)]
#[command(name = "daemonplan", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// When to write colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: ColorWhen,
}

/// When to write colours.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum ColorWhen {
    /// If standard output is a terminal
    #[default]
    Auto,
    /// Always, also into a pipe
    Always,
    /// Never
    Never,
}

impl From<ColorWhen> for anstream::ColorChoice {
    fn from(when: ColorWhen) -> Self {
        match when {
            ColorWhen::Auto => Self::Auto,
            ColorWhen::Always => Self::Always,
            ColorWhen::Never => Self::Never,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plan every DaemonSet of a cluster: which pods would be created, deleted and adopted, and why
    Plan(plan::PlanArgs),
    /// Explain where pods run and where not: every rule for a node, possible fixes, and what blocks an update
    Explain(explain::ExplainArgs),
    /// Compare the pods with and without a change: added, removed and replaced pods, by node and reason
    Diff(diff::DiffArgs),
    /// Simulate rollouts: how long they take, in which waves, and where they get stuck
    Forecast(forecast::ForecastArgs),
    /// Find dangerous configurations: selectors that conflict or overlap, updates that cannot proceed, and more
    Lint(lint::LintArgs),
    /// List the DaemonSets that a new node would run, and what they would request there, for autoscalers
    Overhead(overhead::OverheadArgs),
    /// List a DaemonSet's revisions and the number of pods of each, or show the template of one
    History(history::HistoryArgs),
    /// Print the DaemonSet's manifest with the template of an older revision, for kubectl replace
    Undo(history::UndoArgs),
    /// Print a synthetic cluster as JSON, as kubectl does: of any size, seeded, and similar to real clusters
    Synth(synth::SynthArgs),
    /// Print the JSON Schema of a command's JSON output
    Schema(schema::SchemaArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionArgs),
    /// Write the manual pages
    Man(completions::ManArgs),
}

/// The error of a command, in one line.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Prints the completions of `kubectl daemonplan` for the arguments.
pub fn complete_for_kubectl() -> ExitCode {
    let command = Cli::command().bin_name("kubectl daemonplan");
    match completions::answer_kubectl(command, std::env::args_os().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Runs the command that the arguments name; `name` is the name of the program in help texts.
pub fn main(name: &'static str) -> ExitCode {
    // Otherwise the width of the flags decides it for each section.
    let cli = Cli::command().bin_name(name).mut_subcommands(|command| command.next_line_help(true));
    completions::answer(&cli);
    let parsed = cli.clone().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let command = match parsed {
        Ok(cli) => {
            anstream::ColorChoice::from(cli.color).write_global();
            cli.command
        }
        Err(error) => {
            // A closed stream is ignored.
            let _ = error.print();
            // Not clap's own exit code 2, which reports actions here.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let result = match command {
        Command::Plan(args) => plan::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Forecast(args) => forecast::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Overhead(args) => overhead::run(&args),
        Command::History(args) => history::history(&args),
        Command::Undo(args) => history::undo(&args),
        Command::Synth(args) => synth::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(cli, &args),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            print_error(&failure);
            ExitCode::FAILURE
        }
    }
}

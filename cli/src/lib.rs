//! The command line: arguments, input, and what is shown.

mod completions;
mod diff;
mod explain;
mod facts;
mod forecast;
mod history;
mod input;
mod lint;
mod output;
mod overhead;
mod plan;
mod report;
mod style;
mod synth;

use std::{fmt, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use output::print_error;

/// Tells what Kubernetes DaemonSets need, and why, before anything happens.
#[derive(Debug, Parser)]
#[command(name = "daemonplan", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plan every DaemonSet of a cluster: which pods would be created, deleted, adopted, and why
    Plan(plan::PlanArgs),
    /// Why? Explain where pods are, and where not: what each rule asks of a node, what would help, what an update waits for
    Explain(explain::ExplainArgs),
    /// What if? Compare what becomes of the pods with and without a change: pods gained, lost, replaced, by node and reason
    Diff(diff::DiffArgs),
    /// What next? Play roll-outs forward: how long they take, in which waves, and where they get stuck
    Forecast(forecast::ForecastArgs),
    /// What is dangerous? Find traps: selectors that conflict or overlap, updates that cannot move, pods that land everywhere
    Lint(lint::LintArgs),
    /// Would it run here? Tell which DaemonSets a new node would run, and what they would take of it, for autoscalers
    Overhead(overhead::OverheadArgs),
    /// Which revisions are there? List a DaemonSet's templates, how many pods have each, and show one
    History(history::HistoryArgs),
    /// Go back? Write the DaemonSet's manifest with the template of an older revision, for kubectl replace
    Undo(history::UndoArgs),
    /// Write a synthetic cluster as JSON, as kubectl prints one: large, seeded, shaped like real ones
    Synth(synth::SynthArgs),
    /// Write a completion script for a shell
    Completions(completions::CompletionArgs),
    /// Write manual pages
    Man(completions::ManArgs),
}

/// Why the command fails, in one line.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Does what the arguments say; `name` is what people call it by.
pub fn main(name: &'static str) -> ExitCode {
    let cli = Cli::command().bin_name(name);
    let read = cli.clone().try_get_matches().and_then(|read| Cli::from_arg_matches(&read));
    let command = match read {
        Ok(cli) => cli.command,
        Err(error) => {
            // Where nobody listens, there is nobody to tell.
            let _ = error.print();
            // Not clap's own 2, which says here that there are actions.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let done = match command {
        Command::Plan(args) => plan::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Forecast(args) => forecast::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Overhead(args) => overhead::run(&args),
        Command::History(args) => history::history(&args),
        Command::Undo(args) => history::undo(&args),
        Command::Synth(args) => synth::run(&args),
        Command::Completions(args) => completions::completions(cli, &args),
        Command::Man(args) => completions::man(cli, &args),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            print_error(&failure);
            ExitCode::FAILURE
        }
    }
}

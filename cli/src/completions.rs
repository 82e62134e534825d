//! `daemonplan completions` and `daemonplan man`: the completion scripts and the manual pages.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, Command};
use clap_complete::Shell;

use super::{
    Failure,
    output::{self, write_error},
};

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "For bash:\n  daemonplan completions bash > ~/.local/share/bash-completion/completions/daemonplan"
)]
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

pub(super) fn completions(mut command: Command, args: &CompletionArgs) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "daemonplan", &mut script);
    io::Write::write_all(&mut output::stdout(), &script).map_err(write_error)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man(command: Command, args: &ManArgs) -> Result<ExitCode, Failure> {
    let failure = |error: io::Error| Failure(format!("{}: {error}", args.directory.display()));
    std::fs::create_dir_all(&args.directory).map_err(failure)?;
    clap_mangen::generate_to(command, &args.directory).map_err(failure)?;
    Ok(ExitCode::SUCCESS)
}

//! The command line as a plugin: `kubectl daemonplan`.

#[path = "../cli/mod.rs"]
mod cli;

fn main() -> std::process::ExitCode {
    cli::main("kubectl daemonplan")
}

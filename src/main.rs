//! The command line `daemonplan`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main("daemonplan")
}

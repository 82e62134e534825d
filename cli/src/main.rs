//! The command line `daemonplan`.

fn main() -> std::process::ExitCode {
    daemonplan_cli::main("daemonplan")
}

//! The program `daemonplan`.

fn main() -> std::process::ExitCode {
    daemonplan_cli::main("daemonplan")
}

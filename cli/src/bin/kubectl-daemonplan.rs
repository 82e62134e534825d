//! The same program as a kubectl plugin: `kubectl daemonplan`.

fn main() -> std::process::ExitCode {
    daemonplan_cli::main("kubectl daemonplan")
}

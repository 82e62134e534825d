//! Completes the words of `kubectl daemonplan`. kubectl runs it, by its name.

fn main() -> std::process::ExitCode {
    daemonplan_cli::complete_for_kubectl()
}

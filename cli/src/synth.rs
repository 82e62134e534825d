//! `daemonplan synth`: prints a synthetic cluster.

use std::{io, process::ExitCode};

use clap::Args;
use daemonplan::synthetic::Synthetic;

use super::{Failure, output::write_error};

/// Print a synthetic cluster.
#[derive(Debug, Args)]
#[command(after_help = "The cluster's time is 2026-09-21T14:13:20Z:\n  \
    daemonplan synth --nodes 1000 | daemonplan plan -f - --now 2026-09-21T14:13:20Z")]
pub(super) struct SynthArgs {
    /// The number of nodes
    #[arg(long, value_name = "N", default_value_t = 100)]
    nodes: usize,

    /// The number of DaemonSets. They cycle through eight states, and have a pod on most nodes
    #[arg(long, value_name = "N", default_value_t = 8)]
    daemonsets: usize,

    /// The number of pods of other controllers
    #[arg(long, value_name = "N", default_value_t = 0)]
    other_pods: usize,

    /// The seed; equal seeds produce equal clusters
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(args: &SynthArgs) -> Result<ExitCode, Failure> {
    const MOST: usize = 10_000_000;
    let pods = args.nodes.saturating_mul(args.daemonsets.max(1)).saturating_add(args.other_pods);
    if pods > MOST {
        return Err(Failure(format!(
            "up to {pods} pods: expected at most {MOST}, which is {MOST} nodes with one DaemonSet"
        )));
    }
    let synthetic = Synthetic::new(args.nodes).daemonsets(args.daemonsets).other_pods(args.other_pods);
    let cluster = synthetic.seed(args.seed).build();
    match cluster.write_json(io::BufWriter::new(io::stdout().lock())) {
        // A closed pipe is not an error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(write_error(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

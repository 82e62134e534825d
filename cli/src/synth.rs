use std::{io, process::ExitCode};

use clap::Args;
use daemonplan::synthetic::Synthetic;

use super::{Failure, output::not_written};

/// Write a synthetic cluster.
#[derive(Debug, Args)]
#[command(after_help = "It is as it is at 2026-09-21T14:13:20Z:\n  \
    daemonplan synth --nodes 1000 | daemonplan plan -f - --now 2026-09-21T14:13:20Z")]
pub(super) struct SynthArgs {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 100)]
    nodes: usize,

    /// How many DaemonSets, each with a pod on most of the nodes, one after the other in each of eight conditions
    #[arg(long, value_name = "N", default_value_t = 8)]
    daemonsets: usize,

    /// How many pods of other controllers
    #[arg(long, value_name = "N", default_value_t = 0)]
    other_pods: usize,

    /// The same seed gives the same cluster
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(args: &SynthArgs) -> Result<ExitCode, Failure> {
    let synthetic = Synthetic::new(args.nodes).daemonsets(args.daemonsets).other_pods(args.other_pods);
    let cluster = synthetic.seed(args.seed).build();
    match cluster.write_json(io::BufWriter::new(io::stdout().lock())) {
        // Where nobody reads any more there is nothing left to do.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(not_written(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

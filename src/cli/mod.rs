//! The command line: arguments, input, and what is shown.

mod explained;
mod input;
mod json;
mod output;
mod text;

use std::{fmt, io, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use daemonplan::{Explanation, Plan, Settings, Snapshot, manifest::Manifests, synthetic::Synthetic};
use jiff::Timestamp;
use output::{complain, note};

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
    Plan(PlanArgs),
    /// Explain where a DaemonSet's pods are, and where not: what each rule asks of a node, what would help, what an update waits for
    Explain(ExplainArgs),
    /// Write a synthetic cluster as JSON, as kubectl prints one: large, seeded, shaped like real ones
    Synth(SynthArgs),
}

/// Write a synthetic cluster.
#[derive(Debug, Args)]
#[command(after_help = "It is as it is at 2026-09-21T14:13:20Z:\n  \
    daemonplan synth --nodes 1000 | daemonplan plan -f - --now 2026-09-21T14:13:20Z")]
struct SynthArgs {
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

/// Plan every DaemonSet of a cluster.
#[derive(Debug, Args)]
#[command(after_help = "Input is what this prints:\n  \
    kubectl get daemonsets,nodes,pods,namespaces,controllerrevisions -A -o json | daemonplan plan -f -\n\n\
    Exit code: 0 done, 1 an error, 2 there are actions (with --exit-code).")]
struct PlanArgs {
    #[command(flatten)]
    facts: FactArgs,

    /// How to show the plans
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    /// Exit with 2 if there are actions
    #[arg(long)]
    exit_code: bool,

    /// Show every action on a line of its own, however many there are
    #[arg(long)]
    all: bool,
}

/// Explain where a DaemonSet's pods are, and where not, and why.
#[derive(Debug, Args)]
#[command(after_help = "Why does node-7 have no pod of monitoring/agent?\n  \
    kubectl get daemonsets,nodes,pods,namespaces,controllerrevisions -A -o json > cluster.json\n  \
    daemonplan explain -f cluster.json -n monitoring agent --node node-7")]
struct ExplainArgs {
    /// The DaemonSet's name; without one every DaemonSet is explained
    daemonset: Option<String>,

    /// The DaemonSet's namespace
    #[arg(short, long)]
    namespace: Option<String>,

    /// Only this node, with every rule about it
    #[arg(long)]
    node: Option<String>,

    #[command(flatten)]
    facts: FactArgs,

    /// How to show the explanations
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    /// Name every node, however many there are
    #[arg(long)]
    all: bool,
}

/// What plans are made from.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // they are flags
struct FactArgs {
    /// A file, a folder (its .yaml, .yml and .json files), or - for standard input; may be given more than once
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", required = true)]
    filename: Vec<PathBuf>,

    /// The time to plan for, such as 2026-01-02T03:04:05Z [default: now]
    #[arg(long, value_name = "RFC3339")]
    now: Option<Timestamp>,

    /// How many pods one plan creates at most, and how many it deletes at most
    #[arg(long, value_name = "N", default_value_t = 250)]
    burst: usize,

    /// The cluster's default project node selector (OpenShift), such as role=worker
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    project_node_selector: String,

    /// The Kubernetes default node selector, such as role=worker
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    default_node_selector: String,

    /// Heed the toleration operators Lt and Gt (the feature gate TaintTolerationComparisonOperators)
    #[arg(long)]
    toleration_comparison: bool,

    /// The effects of the last plan do not show in the input yet: create and delete nothing
    #[arg(long)]
    effects_unobserved: bool,

    /// Leave pods on missing nodes to the cluster's own garbage collector
    #[arg(long)]
    keep_pods_on_missing_nodes: bool,

    /// What is not in the input does not exist: no ControllerRevisions means that there are none
    #[arg(long)]
    complete: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// For programs: the documented contract
    Json,
    /// The same as YAML
    Yaml,
}

/// Why the command fails, in one line.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            // Where nobody listens, there is nobody to tell.
            let _ = error.print();
            // Not clap's own 2, which says here that there are actions.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let done = match command {
        Command::Plan(args) => plan(&args),
        Command::Explain(args) => explain(&args),
        Command::Synth(args) => synth(&args),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure);
            ExitCode::FAILURE
        }
    }
}

fn synth(args: &SynthArgs) -> Result<ExitCode, Failure> {
    let synthetic = Synthetic::new(args.nodes).daemonsets(args.daemonsets).other_pods(args.other_pods);
    let cluster = synthetic.seed(args.seed).build();
    match cluster.write_json(io::BufWriter::new(io::stdout().lock())) {
        // Where nobody reads any more there is nothing left to do.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure(format!("standard output: {error}"))),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn plan(args: &PlanArgs) -> Result<ExitCode, Failure> {
    let facts = args.facts.read()?;
    let mut any_actions = false;
    let plans = facts.snapshots().map(|snapshot| (snapshot, snapshot.plan()));
    let plans = plans.inspect(|(_, plan)| any_actions |= !plan.actions.is_empty());
    let mut out = output::stdout();
    match args.output {
        Output::Text => text::write(&mut out, &facts.manifests, plans, args.all),
        Output::Json => json::write(&mut out, plans),
        Output::Yaml => json::write_yaml(&mut out, plans),
    }
    .map_err(not_written)?;
    Ok(if facts.exit_code() == ExitCode::SUCCESS && args.exit_code && any_actions {
        ExitCode::from(2)
    } else {
        facts.exit_code()
    })
}

fn explain(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let facts = args.facts.read()?;
    let is_meant = |snapshot: &Snapshot<'_>| {
        let daemonset = snapshot.daemonset();
        args.daemonset.as_ref().is_none_or(|name| *daemonset.name == **name)
            && args.namespace.as_ref().is_none_or(|namespace| *daemonset.namespace == **namespace)
    };
    let meant: Vec<_> = facts.snapshots().filter(is_meant).collect();
    if meant.is_empty() {
        return Err(Failure(facts.none_is_meant(args)));
    }
    let mut explanations: Vec<_> = meant.into_iter().map(|snapshot| (snapshot, snapshot.explain())).collect();
    if let Some(node) = &args.node {
        for (_, explanation) in &mut explanations {
            explanation.nodes.retain(|explained| *explained.node == **node);
        }
        if explanations.iter().all(|(_, explanation)| explanation.nodes.is_empty()) {
            return Err(Failure(format!("there is no node {node} in the input, and no pod that is on one")));
        }
    }
    let mut out = output::stdout();
    match args.output {
        Output::Text => explained::write(&mut out, &explanations, args.node.is_some(), args.all),
        Output::Json => json::write_explanations(&mut out, &explanations),
        Output::Yaml => json::write_explanations_as_yaml(&mut out, &explanations),
    }
    .map_err(not_written)?;
    Ok(facts.exit_code())
}

#[allow(clippy::needless_pass_by_value)] // as map_err gives it
fn not_written(error: io::Error) -> Failure {
    Failure(format!("standard output: {error}"))
}

/// What plans are made from, read.
struct Facts {
    manifests: Manifests,
    settings: Settings,
    now: Timestamp,
    effects_unobserved: bool,
}

impl Facts {
    fn snapshots(&self) -> impl Iterator<Item = Snapshot<'_>> {
        self.manifests.snapshots().map(|snapshot| {
            let snapshot = snapshot.now(self.now).settings(&self.settings);
            if self.effects_unobserved { snapshot.effects_unobserved() } else { snapshot }
        })
    }

    /// What it is if nothing else is to be told: 1 if something could not be read.
    fn exit_code(&self) -> ExitCode {
        if self.manifests.problems().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn none_is_meant(&self, args: &ExplainArgs) -> String {
        let name = args.daemonset.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        let namespace = args.namespace.as_deref().map(|name| format!(" in the namespace {name}")).unwrap_or_default();
        let all = self.manifests.daemonsets().map(|daemonset| format!("{}/{}", daemonset.namespace, daemonset.name));
        let all: Vec<_> = all.collect();
        let known = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
        format!("there is no DaemonSet{name}{namespace} that could be read; the input has: {known}")
    }
}

impl FactArgs {
    fn read(&self) -> Result<Facts, Failure> {
        let settings = self.settings()?;
        let now = self.now.unwrap_or_else(Timestamp::now);
        let mut manifests = input::read(&self.filename)?;
        if self.complete {
            manifests = manifests.complete();
        }
        for problem in manifests.problems() {
            complain(problem);
        }
        if manifests.replaced() > 0 {
            note(format_args!("{} objects were given more than once; the last one counts", manifests.replaced()));
        }
        Ok(Facts { manifests, settings, now, effects_unobserved: self.effects_unobserved })
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let fail = |flag: &str, error| Failure(format!("{flag}: {error}"));
        let settings = Settings::default()
            .burst(self.burst)
            .project_node_selector(&self.project_node_selector)
            .map_err(|error| fail("--project-node-selector", error))?
            .default_node_selector(&self.default_node_selector)
            .map_err(|error| fail("--default-node-selector", error))?;
        let settings = if self.keep_pods_on_missing_nodes { settings.keep_pods_on_missing_nodes() } else { settings };
        Ok(if self.toleration_comparison { settings.toleration_comparison() } else { settings })
    }
}

/// A DaemonSet's snapshot with its explanation.
type Explained<'a> = (Snapshot<'a>, Explanation);

/// A DaemonSet's snapshot with its plan.
type Planned<'a> = (Snapshot<'a>, Plan<'a>);

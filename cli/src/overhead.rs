//! `daemonplan overhead`: which DaemonSets would run on a node that does not exist yet, and what they would request.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use daemonplan::{
    Kind, MissingFact,
    manifest::Manifests,
    overhead::{DaemonSetFleet, Overhead},
};
use indexmap::IndexMap;
use serde::Serialize;

use super::{
    Failure,
    change::check_nodes,
    facts::FactArgs,
    input,
    output::{self, Format, escape_control, note, print_error, write_error},
    selection::Selection,
    style::{BOLD, DIM, WARN, names},
};

/// List the DaemonSets that would run on a new node, and what they would request there.
#[derive(Debug, Args)]
#[command(after_help = "How much of a node of a new pool do DaemonSets take?\n  \
    kubectl get node worker-1 -o yaml > node.yaml    # and edit its name, labels and taints\n  \
    daemonplan overhead --node node.yaml")]
pub(super) struct OverheadArgs {
    #[command(flatten)]
    selection: Selection,

    /// A manifest with one or more nodes, as they will be in use; repeatable
    #[arg(long, value_name = "FILE", required = true)]
    node: Vec<PathBuf>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// List all DaemonSets, without abbreviation
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    facts: FactArgs,
}

pub(super) fn run(args: &OverheadArgs) -> Result<ExitCode, Failure> {
    let facts = args.facts.read(&[Kind::DaemonSet, Kind::Namespace], &args.selection)?;
    let mut new_nodes = Manifests::default();
    if let Some(missing) = args.node.iter().find(|path| !path.exists()) {
        let name = missing.display();
        return Err(Failure(format!(
            "--node {name}: no such file; expected a manifest, such as that of kubectl get node {name} -o yaml > node.yaml"
        )));
    }
    let mut is_complete = input::read(&mut new_nodes, &args.node, false)?;
    input::print_problems(&new_nodes);
    check_nodes(new_nodes.nodes())?;
    if new_nodes.nodes().is_empty() {
        return Err(Failure("--node: expected a Node, found none".into()));
    }
    let selected = facts.selected(&args.selection, &[])?;
    let lacking = selected.iter().filter(|snapshot| snapshot.missing().any(|fact| fact == MissingFact::Namespace));
    let lacking: BTreeSet<_> = lacking.map(|snapshot| &snapshot.daemonset().namespace).collect();
    let rests_on: Vec<_> = lacking.first().map(|_| MissingFact::Namespace).into_iter().collect();
    for namespace in lacking {
        note(format_args!("the input has no namespace {namespace}: its node selector is taken to be absent"));
    }
    let fleet = DaemonSetFleet::of(selected);
    for problem in fleet.problems() {
        print_error(problem);
    }
    let overheads: Vec<_> = new_nodes.nodes().iter().map(|node| (&node.name, fleet.overhead(node))).collect();
    let reported = overheads.iter().map(|(_, overhead)| Reported { overhead, rests_on: &rests_on });
    let report = || IndexMap::from([("overheads", reported.clone().collect::<Vec<_>>())]);
    let mut out = output::stdout();
    match args.output {
        Format::Text => write(&mut output::text(), &facts.manifests, &overheads, args.all),
        Format::Json => output::write_json(&mut out, &report()),
        Format::Yaml => output::write_yaml(&mut out, &report()),
    }
    .map_err(write_error)?;
    is_complete &= new_nodes.problems().is_empty() && fleet.problems().is_empty();
    Ok(if is_complete && rests_on.is_empty() { facts.exit_code() } else { ExitCode::FAILURE })
}

/// An overhead, and what the input lacks and is taken to be absent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reported<'o> {
    #[serde(flatten)]
    overhead: &'o Overhead<'o>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rests_on: &'o [MissingFact],
}

/// The pairs of DaemonSets that need the same port of the node.
fn conflicts(manifests: &Manifests, overhead: &Overhead<'_>) -> Vec<String> {
    let running: Vec<_> = overhead
        .running()
        .filter_map(|key| {
            manifests
                .daemonsets()
                .find(|daemonset| (&daemonset.namespace, &daemonset.name) == (&key.namespace, &key.name))
        })
        .map(|daemonset| (format!("{}/{}", daemonset.namespace, daemonset.name), daemonset.template.host_ports()))
        .collect();
    let mut found = Vec::new();
    for (index, (one, ports)) in running.iter().enumerate() {
        for (other, taken) in running.iter().skip(index + 1) {
            let shared = ports.iter().find(|(_, port)| taken.iter().any(|(_, taken)| port.conflicts_with(taken)));
            if let Some((_, port)) = shared {
                found.push(format!("{one} and {other} both need port {}: one of their pods never starts", port.number));
            }
        }
    }
    found
}

fn write(
    out: &mut impl Write,
    manifests: &Manifests,
    overheads: &[(&daemonplan::model::Text, Overhead<'_>)],
    all: bool,
) -> io::Result<()> {
    for (number, (node, overhead)) in overheads.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{BOLD}{}{BOLD:#}: {}", escape_control(node), escape_control(overhead))?;
        let running: Vec<_> = overhead.running().map(|key| (key, escape_control(key))).collect();
        let width = running.iter().map(|(_, name)| name.chars().count()).max().unwrap_or(0);
        for (key, name) in running {
            let requests =
                overhead.requests_of(key).map(|(resource, amount)| format!("{} {amount}", escape_control(resource)));
            let requests: Vec<_> = requests.collect();
            let line = format!("  {name:width$}  {}", requests.join(", "));
            writeln!(out, "{}", line.trim_end())?;
        }
        for conflict in conflicts(manifests, overhead) {
            writeln!(out, "  {WARN}! {}{WARN:#}", escape_control(conflict))?;
        }
        let mut refused = IndexMap::<_, Vec<_>>::new();
        for (key, refusal) in overhead.refused() {
            let name = escape_control(key);
            refused.entry(escape_control(refusal)).or_default().push(name);
        }
        for (refusal, daemonsets) in refused {
            writeln!(out, "  {DIM}not {}: {refusal}{DIM:#}", names(&daemonsets, all))?;
        }
    }
    out.flush()
}

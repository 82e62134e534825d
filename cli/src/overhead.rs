//! `daemonplan overhead`: which DaemonSets would run on a node that does not exist yet, and what they would request.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use daemonplan::{
    Kind, MissingFact,
    manifest::Manifests,
    model::{Taint, Text},
    overhead::{DaemonSetFleet, Overhead, PendingDaemonSet, Refusal},
    placement::PlacementReason,
};
use indexmap::IndexMap;
use serde::Serialize;

use super::{
    Failure,
    change::check_nodes,
    facts::FactArgs,
    input,
    output::{self, Format, amounts, escape_control, note, print_error, write_error},
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

    /// A taint that the nodes lose once they have started, such as node.cilium.io/agent-not-ready; repeatable
    #[arg(long, value_name = "KEY[=VALUE][:EFFECT]")]
    startup_taint: Vec<StartupTaint>,

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
    if let Some(missing) = args.node.iter().find(|path| path.as_os_str() != "-" && !path.exists()) {
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
    let mut nodes = new_nodes.nodes().to_vec();
    for startup in &args.startup_taint {
        if !nodes.iter().flat_map(|node| &node.taints).any(|taint| startup.is(taint)) {
            note(format_args!("--startup-taint {}: no node has this taint", escape_control(startup)));
        }
    }
    for node in &mut nodes {
        node.taints.retain(|taint| !args.startup_taint.iter().any(|startup| startup.is(taint)));
    }
    let state = facts.cluster_state();
    let selected = facts.selected(&args.selection, &[])?;
    let selected: Vec<_> = selected.into_iter().map(|snapshot| snapshot.scheduling(&state)).collect();
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
    let overheads: Vec<_> = nodes.iter().map(|node| (&node.name, fleet.overhead(node))).collect();
    propose_startup_taints(&overheads);
    let reported = overheads.iter().map(|(_, overhead)| Reported { overhead, rests_on: &rests_on });
    let report = || IndexMap::from([("overheads", reported.clone().collect::<Vec<_>>())]);
    let mut out = output::stdout();
    match args.output {
        Format::Text => write(&mut output::text(), &overheads, args.all),
        Format::Json => output::write_json(&mut out, &report()),
        Format::Yaml => output::write_yaml(&mut out, &report()),
    }
    .map_err(write_error)?;
    is_complete &= new_nodes.problems().is_empty() && fleet.problems().is_empty();
    Ok(if is_complete && rests_on.is_empty() { facts.exit_code() } else { ExitCode::FAILURE })
}

/// Proposes to leave taints out that keep DaemonSets off new nodes, probably only at first.
fn propose_startup_taints(overheads: &[(&Text, Overhead<'_>)]) {
    let refused = overheads.iter().flat_map(|(_, overhead)| overhead.refused());
    let taints = refused.filter_map(|(_, refusal)| match refusal {
        Refusal::NotPlaced(PlacementReason::Taint { taint, .. }) if taint.is_of_startup() => Some(taint),
        _ => None,
    });
    for taint in taints.collect::<BTreeSet<_>>() {
        let taint = escape_control(taint);
        note(format_args!(
            "{taint} keeps DaemonSets off: if nodes lose it once they have started, --startup-taint {taint}"
        ));
    }
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

fn write(out: &mut impl Write, overheads: &[(&Text, Overhead<'_>)], all: bool) -> io::Result<()> {
    for (number, (node, overhead)) in overheads.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{BOLD}{}{BOLD:#}: {}", escape_control(node), escape_control(overhead))?;
        let running: Vec<_> = overhead.running().map(|key| (key, escape_control(key))).collect();
        let width = running.iter().map(|(_, name)| name.chars().count()).max().unwrap_or(0);
        for (key, name) in running {
            let line = format!("  {name:width$}  {}", amounts(overhead.requests_of(key)));
            let added: Vec<_> = overhead.added_to(key).iter().map(escape_control).collect();
            let added = if added.is_empty() { String::new() } else { format!("  {DIM}({}){DIM:#}", added.join("; ")) };
            writeln!(out, "{}{added}", line.trim_end())?;
        }
        room(out, overhead, all)?;
        let mut refused = IndexMap::<_, Vec<_>>::new();
        for (key, refusal) in overhead.refused() {
            let name = escape_control(key);
            let mut reasons = overhead.reasons_against(key);
            if reasons.is_empty() {
                reasons.push(refusal.to_string());
            }
            refused.entry(escape_control(reasons.join("; "))).or_default().push(name);
        }
        for (refusal, daemonsets) in refused {
            writeln!(out, "  {DIM}not {}: {refusal}{DIM:#}", names(&daemonsets, all))?;
        }
    }
    out.flush()
}

/// Says whether all fit, or what is lacking.
fn room(out: &mut impl Write, overhead: &Overhead<'_>, all: bool) -> io::Result<()> {
    for (one, other, port) in overhead.port_conflicts() {
        let number = port.number;
        let text = format!("{one} and {other} both need port {number}: one of their pods never starts");
        writeln!(out, "  {WARN}! {}{WARN:#}", escape_control(text))?;
    }
    let Some(lacking) = overhead.lacking() else {
        return writeln!(out, "  {DIM}the node has no status.allocatable: whether they fit is not known{DIM:#}");
    };
    if !lacking.is_empty() {
        let lacking: Vec<_> = lacking.iter().map(ToString::to_string).collect();
        writeln!(out, "  {WARN}! do not fit: {}{WARN:#}", escape_control(lacking.join(", ")))?;
    }
    let mut pending = IndexMap::<_, Vec<_>>::new();
    for PendingDaemonSet { daemon_set, reasons, .. } in overhead.pending() {
        pending.entry(escape_control(reasons.join(", "))).or_default().push(escape_control(daemon_set));
    }
    let order = if overhead.running().count() > 1 { ", if the scheduler takes them by priority and name" } else { "" };
    for (reasons, daemonsets) in pending {
        writeln!(out, "  {WARN}! not bound{order}: {}: {reasons}{WARN:#}", names(&daemonsets, all))?;
    }
    let mut unknown = IndexMap::<_, Vec<_>>::new();
    for (key, fact) in overhead.unknown_facts() {
        unknown.entry(escape_control(fact)).or_default().push(escape_control(key));
    }
    for (fact, daemonsets) in unknown {
        writeln!(out, "  {WARN}not known of {}: {fact}{WARN:#}", names(&daemonsets, all))?;
    }
    let left = overhead.left().unwrap_or_default();
    writeln!(out, "  {DIM}left: {}{DIM:#}", amounts(left.iter()))
}

/// A taint that a node has only while it starts.
#[derive(Clone, Debug)]
struct StartupTaint {
    key: String,
    value: Option<String>,
    effect: Option<String>,
}

impl std::str::FromStr for StartupTaint {
    type Err = String;

    /// Reads the notation of `kubectl taint`, of which value and effect may be left out: `key=value:Effect`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (start, effect) = text.split_once(':').map_or((text, None), |(start, effect)| (start, Some(effect)));
        let (key, value) = start.split_once('=').map_or((start, None), |(key, value)| (key, Some(value)));
        let is_effect = |effect: &str| ["NoSchedule", "NoExecute", "PreferNoSchedule"].contains(&effect);
        if key.is_empty() || !effect.is_none_or(is_effect) {
            return Err("expected KEY, KEY=VALUE or KEY=VALUE:EFFECT, such as node.cilium.io/agent-not-ready".into());
        }
        Ok(Self { key: key.into(), value: value.map(Into::into), effect: effect.map(Into::into) })
    }
}

impl fmt::Display for StartupTaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, effect } = self;
        let part = |sign, part: &Option<String>| part.as_ref().map(|part| format!("{sign}{part}")).unwrap_or_default();
        write!(f, "{key}{}{}", part('=', value), part(':', effect))
    }
}

impl StartupTaint {
    fn is(&self, taint: &Taint) -> bool {
        taint.key == *self.key
            && self.value.as_ref().is_none_or(|value| taint.value == **value)
            && self.effect.as_ref().is_none_or(|effect| taint.effect.to_string() == *effect)
    }
}

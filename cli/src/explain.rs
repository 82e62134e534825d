//! `daemonplan explain`: the state of the update, and the nodes grouped by their explanation.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use daemonplan::{
    Explanation, MissingFact, Resource as _, Snapshot,
    explain::{AdmissionExplanation, NodeExplanation, SchedulingExplanation, UpdateState},
    lint::{Finding, Lint, lint_selected},
    model::Text,
    policy::{RolloutPhase, RolloutStatus},
    scheduling::{AdmissionChange, AdmissionRefusal, QuotaRoom},
};
use indexmap::IndexMap;
use serde::Serialize;

use super::{
    Failure,
    change::node_name,
    facts::FactArgs,
    output::{self, Format, daemonset_name, escape_control, write_error},
    pod, report,
    selection::Selection,
    style::{BAD, BOLD, DIM, GOOD, SHOWN, WARN, did_you_mean, names, plural},
};

/// Explain where a DaemonSet's pods run, where they do not, and why; or why a pod is Pending: pod/NAMESPACE/NAME.
#[derive(Debug, Args)]
#[command(after_help = "Why does node-7 have no pod of monitoring/agent?\n  \
    daemonplan explain -n monitoring agent --node node-7\n\n\
    The same from a file:\n  \
    kubectl get daemonsets,nodes,pods,namespaces,controllerrevisions,resourcequotas,limitranges,priorityclasses,\
        runtimeclasses,events -A -o json > cluster.json\n  \
    daemonplan explain -f cluster.json -n monitoring agent --node node-7\n\n\
    Why is a pod Pending, and what would help?\n  \
    daemonplan explain pod/monitoring/agent-x2k")]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    selection: Selection,

    /// Explain only this node, with every placement rule
    #[arg(long)]
    node: Option<String>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// List all nodes, without abbreviation
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    facts: FactArgs,
}

/// The lints about what keeps pods from running or an update from ending.
const HOLD_UP: [Lint; 14] = [
    Lint::AdmissionRefuses,
    Lint::ProjectSelectorConflict,
    Lint::HostPortConflict,
    Lint::SurgeNeedsPort,
    Lint::UpdateWaits,
    Lint::KubeletRejects,
    Lint::VirtualNodes,
    Lint::SeveralOperatingSystems,
    Lint::OtherOperatingSystem,
    Lint::NeverFits,
    Lint::DoNotFitTogether,
    Lint::SurgeNeverFits,
    Lint::AdmissionExcludesNodes,
    Lint::QuotaTooSmall,
];

/// An explanation, and the findings about what keeps pods from running or an update from ending.
#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    explanation: Explanation,
    findings: Vec<Finding>,
}

pub(super) fn run(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    if let Some(name) = args.selection.pod()? {
        if args.node.is_some() {
            return Err(Failure("--node is for DaemonSets: a pod is explained for its own node".into()));
        }
        return pod::run(&name, &args.facts.read_for_pod(&args.selection)?, args.output);
    }
    let facts = args.facts.read_for_scheduling(&args.selection)?;
    let selected = facts.selected(&args.selection, &[MissingFact::Nodes])?;
    let state = facts.state_with_coming();
    let keys: BTreeSet<_> = selected.iter().map(|snapshot| snapshot.daemonset().key()).collect();
    let all: Vec<_> = facts.snapshots().map(|snapshot| snapshot.scheduling(&state)).collect();
    let mut findings = lint_selected(&all, |snapshot| keys.contains(&snapshot.daemonset().key()));
    findings.retain(|finding| HOLD_UP.contains(&finding.lint));
    let selected = selected.into_iter().map(|snapshot| snapshot.scheduling(&state));
    let mut explanations: Vec<_> = selected
        .map(|snapshot| {
            let key = snapshot.daemonset().key();
            let findings = findings.iter().filter(|finding| finding.daemon_set == key).cloned().collect();
            (snapshot, Explained { explanation: snapshot.explain(), findings })
        })
        .collect();
    if let Some(node) = args.node.as_deref().map(node_name) {
        for (_, Explained { explanation, .. }) in &mut explanations {
            explanation.nodes.retain(|explained| *explained.node == *node);
        }
        if explanations.iter().all(|(_, explained)| explained.explanation.nodes.is_empty()) {
            let hint = did_you_mean(node, facts.manifests.nodes().iter().map(|node| node.name.as_str()));
            return Err(Failure(format!(
                "node {node} not found: the input has neither the node nor a pod on it{hint}"
            )));
        }
    }
    let mut out = output::stdout();
    match args.output {
        Format::Text => write(&mut output::text(), &explanations, args.node.is_some(), args.all),
        Format::Json => output::write_json(&mut out, &report::named("explanations", &explanations)),
        Format::Yaml => output::write_yaml(&mut out, &report::named("explanations", &explanations)),
    }
    .map_err(write_error)?;
    let needed = explanations.iter().filter_map(|(_, explained)| match explained.explanation.update {
        UpdateState::Unknown { missing } => Some(missing),
        _ => None,
    });
    Ok(facts.exit_code_of(explanations.iter().map(|(snapshot, _)| snapshot), needed))
}

fn write(
    out: &mut impl Write,
    explanations: &[(Snapshot<'_>, Explained)],
    is_one_node: bool,
    all: bool,
) -> io::Result<()> {
    for (number, (snapshot, Explained { explanation, findings })) in explanations.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        let daemonset = snapshot.daemonset();
        let name = daemonset_name(daemonset);
        writeln!(out, "{BOLD}{name}{BOLD:#}")?;
        for warning in &explanation.warnings {
            writeln!(out, "  {WARN}! {}{WARN:#}", escape_control(warning))?;
        }
        admission(out, explanation)?;
        if is_one_node {
            explanation.nodes.iter().try_for_each(|node| one_node(out, node))?;
        } else {
            update(out, &explanation.update, all)?;
            // What the policy says of an update that is in progress, or not yet done.
            let phase = explanation.rollout.iter().map(|rollout| &rollout.phase);
            let phase = phase.filter(|phase| match (&explanation.update, phase) {
                (UpdateState::Moving { .. }, RolloutPhase::Rolling { group: None }) => false,
                (UpdateState::Moving { .. }, _) | (UpdateState::Done, RolloutPhase::Verifying { .. }) => true,
                _ => false,
            });
            let notes = explanation.rollout.iter().flat_map(RolloutStatus::notes);
            for note in phase.map(ToString::to_string).chain(notes) {
                writeln!(out, "  {}", escape_control(note))?;
            }
            nodes(out, explanation, all)?;
            claims(out, explanation, all)?;
        }
        for Finding { lint, message, fix, .. } in findings {
            writeln!(out, "  {WARN}{lint}: {}{WARN:#}", escape_control(message))?;
            writeln!(out, "    → {}", escape_control(fix))?;
        }
    }
    out.flush()
}

fn update(out: &mut impl Write, update: &UpdateState, all: bool) -> io::Result<()> {
    writeln!(out, "  update: {}", escape_control(update))?;
    if let UpdateState::Waiting { blocked_by, .. } | UpdateState::Deleting { blocked_by } = update {
        let shown = if all { blocked_by.len() } else { SHOWN };
        let width = blocked_by.iter().take(shown).map(|blocker| blocker.node.len()).max().unwrap_or(0);
        for blocker in blocked_by.iter().take(shown) {
            writeln!(out, "    {WARN}{:width$}{WARN:#}  {}", escape_control(&blocker.node), escape_control(blocker))?;
        }
        more(out, blocked_by.len().saturating_sub(shown))?;
    }
    Ok(())
}

fn more(out: &mut impl Write, count: usize) -> io::Result<()> {
    if count > 0 {
        writeln!(out, "    … and {count} more {DIM}(--all){DIM:#}")?;
    }
    Ok(())
}

fn nodes(out: &mut impl Write, explanation: &Explanation, all: bool) -> io::Result<()> {
    for (sentence, nodes) in explanation.groups() {
        writeln!(out, "  {}: {}", plural(nodes.len(), "node"), escape_control(sentence))?;
        let all_names: Vec<_> = nodes.iter().map(|node| escape_control(&node.node)).collect();
        writeln!(out, "    {DIM}{}{DIM:#}", names(&all_names, all))?;
        // The numbers may differ from node to node.
        let mut by_details = IndexMap::<Vec<u8>, Vec<_>>::new();
        for node in &nodes {
            let mut details = Vec::new();
            for scheduling in scheduled(node) {
                pod::scheduling_details(&mut details, scheduling)?;
            }
            by_details.entry(details).or_default().push(escape_control(&node.node));
        }
        let shown = if all { by_details.len() } else { SHOWN };
        let is_one = by_details.len() == 1;
        for (details, of_nodes) in by_details.iter().filter(|(details, _)| !details.is_empty()).take(shown) {
            if !is_one {
                writeln!(out, "    {}:", names(of_nodes, all))?;
            }
            out.write_all(details)?;
        }
        more(out, by_details.keys().filter(|details| !details.is_empty()).count().saturating_sub(shown))?;
    }
    Ok(())
}

fn claims(out: &mut impl Write, explanation: &Explanation, all: bool) -> io::Result<()> {
    let claims = &explanation.claims;
    if claims.is_empty() {
        return Ok(());
    }
    let disagree = if claims.len() == 1 {
        "whose labels and controller disagree"
    } else {
        "with labels and controllers that disagree"
    };
    writeln!(out, "  {} {disagree}:", plural(claims.len(), "pod"))?;
    let shown = if all { claims.len() } else { SHOWN };
    let width = claims.iter().take(shown).map(|claim| claim.pod.len()).max().unwrap_or(0);
    for claim in claims.iter().take(shown) {
        writeln!(out, "    {:width$}  {}", escape_control(&claim.pod), escape_control(&claim.reason))?;
    }
    more(out, claims.len().saturating_sub(shown))
}

/// Says what admission makes of the pods that are created, where the DaemonSet controller would not expect it.
fn admission(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    let Some(general) = &explanation.admission else { return Ok(()) };
    let special = general.on_nodes.iter().map(|special| (Some(&special.nodes), &special.admission));
    let is_general = explanation.nodes.is_empty() || explanation.nodes.iter().any(|node| node.resources.is_none());
    let all = || [(None, general)].into_iter().filter(|_| is_general).chain(special.clone());
    let nodes_with = |nodes: Option<&Text>| {
        let nodes = nodes.cloned();
        move |node: &&NodeExplanation| node.resources.as_ref().map(|own| own.nodes.to_string().into()) == nodes
    };
    let wanted = |nodes| {
        let wanted = explanation.nodes.iter().filter(nodes_with(nodes));
        wanted.filter(|node| node.creation.is_some()).count()
    };
    for (nodes, admission) in all() {
        // Where nothing is created now, an old pod gives back its room before the new one comes.
        let is_shown = |refusal: &&AdmissionRefusal| wanted(nodes) > 0 || !refusal.is_of_room();
        if let Some(refusal) = admission.refusal.as_ref().filter(is_shown) {
            let (plugin, on) = (refusal.plugin, on_nodes(nodes));
            writeln!(out, "  {WARN}! admission refuses new pods{on} ({plugin}): {}{WARN:#}", escape_control(refusal))?;
        }
    }
    let of_pods = explanation.nodes.iter().flat_map(scheduled).flat_map(|scheduling| &scheduling.feasibility.unknown);
    let of_admission = all().flat_map(|(_, admission)| &admission.unknown);
    pod::unknown(out, of_admission.chain(of_pods))?;
    pod::events(out, &explanation.events)?;
    for (nodes, admission) in all() {
        admission_changes(out, nodes, admission, wanted(nodes))?;
    }
    Ok(())
}

/// The nodes on which pods request something else, after a preposition; nothing for all others.
fn on_nodes(nodes: Option<&Text>) -> String {
    match nodes {
        Some(nodes) if nodes.is_empty() => " on all nodes".to_owned(),
        Some(nodes) => format!(" on nodes with {}", escape_control(nodes)),
        None => String::new(),
    }
}

fn admission_changes(
    out: &mut impl Write,
    nodes: Option<&Text>,
    admission: &AdmissionExplanation,
    wanted: usize,
) -> io::Result<()> {
    let AdmissionExplanation { changes, refusal, quotas, .. } = admission;
    let on = on_nodes(nodes);
    for change in changes.iter().filter(|change| !matches!(change, AdmissionChange::Priority { .. })) {
        writeln!(out, "  {DIM}admission{on}: {}{DIM:#}", escape_control(change))?;
    }
    let is_short = |room: &&QuotaRoom| usize::try_from(room.pods).is_ok_and(|pods| pods < wanted);
    for room in quotas.iter().filter(|_| refusal.is_none()).filter(is_short) {
        let QuotaRoom { quota, pods, resource, used, hard, .. } = room;
        writeln!(
            out,
            "  {WARN}! ResourceQuota {} has room for {pods} of the {} that are created next{on} ({} {used} of {hard} used){WARN:#}",
            escape_control(quota),
            plural(wanted, "pod"),
            escape_control(resource)
        )?;
    }
    Ok(())
}

/// The pods of a node that the scheduler has yet to bind.
fn scheduled(node: &NodeExplanation) -> impl Iterator<Item = &SchedulingExplanation> {
    let waiting = node.pods.iter().filter(|pod| pod.deletion.is_none()).filter_map(|pod| pod.scheduling.as_ref());
    waiting.chain(node.new_pod.as_ref())
}

/// Writes everything about one node.
fn one_node(out: &mut impl Write, node: &NodeExplanation) -> io::Result<()> {
    writeln!(out, "  {BOLD}{}{BOLD:#}: {}", escape_control(&node.node), escape_control(node))?;
    if !node.exists {
        writeln!(out, "    {BAD}✗{BAD:#} the node does not exist")?;
    }
    for taint in &node.tolerated_automatically {
        writeln!(
            out,
            "    {DIM}·{DIM:#} {taint} is tolerated automatically: only another taint, a node selector or an affinity \
             keeps daemon pods away",
            taint = escape_control(taint)
        )?;
    }
    let width = node.checks.iter().map(|check| check.rule.to_string().chars().count()).max().unwrap_or(0);
    for check in &node.checks {
        let rule = escape_control(&check.rule);
        match &check.failure {
            None => writeln!(out, "    {GOOD}✓{GOOD:#} {rule}")?,
            Some(failure) => writeln!(out, "    {BAD}✗{BAD:#} {rule:width$}  {DIM}{}{DIM:#}", escape_control(failure))?,
        }
    }
    for pod in &node.pods {
        let revision = match (&pod.revision.number, &pod.revision.hash) {
            (Some(number), Some(hash)) => format!("revision {number} ({})", escape_control(hash)),
            (None, Some(hash)) => format!("revision {}", escape_control(hash)),
            (_, None) => "no revision label".to_owned(),
        };
        let age = match pod.revision.is_current {
            Some(true) => "up to date",
            Some(false) => "outdated",
            None => "its template is not known",
        };
        let deletion = pod
            .deletion
            .as_ref()
            .map(|reason| format!("; deleted next: {}", escape_control(reason)))
            .unwrap_or_default();
        let problem = pod.problem.as_ref().map(|problem| format!(" ({})", escape_control(problem))).unwrap_or_default();
        writeln!(
            out,
            "    pod {}  {}{problem}, {age}, {revision}{deletion}",
            escape_control(&pod.pod),
            escape_control(pod.state)
        )?;
    }
    for scheduling in scheduled(node) {
        pod::scheduling_details(out, scheduling)?;
    }
    Ok(())
}

//! `daemonplan explain pod/NAME`: what the default scheduler makes of a pod, and what the pod's status says.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    process::ExitCode,
};

use daemonplan::{
    Key, Resource, Snapshot,
    explain::SchedulingExplanation,
    model::{ControllerRef, Node, Pod, PodNode, PodPhase, ReportedEvent, ResourceList, Text},
    scheduling::{Agreement, ClusterState, SchedulingVerdict, UnknownFact},
};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Failure,
    facts::Facts,
    output::{self, Format, amounts, escape_control, print_error, write_error},
    selection::PodName,
    style::{BAD, BOLD, DIM, WARN, did_you_mean, names, plural},
};

/// What the command says about a pod.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PodReport<'p> {
    pod: Key,
    #[serde(skip_serializing_if = "Option::is_none")]
    controller: Option<Controller<'p>>,
    node: Option<&'p Text>,
    is_bound: bool,
    phase: PodPhase,
    /// What the spec requests.
    requests: ResourceList,
    /// What the pod takes from its node, if that differs: during a resize.
    #[serde(skip_serializing_if = "Option::is_none")]
    assigned: Option<ResourceList>,
    scheduling: &'p SchedulingExplanation,
    /// The condition `PodScheduled`, if it is `False`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported: Option<ReportedCondition<'p>>,
    problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nominated_node: Option<&'p Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion: Option<&'p str>,
}

/// A pod, and what is known of it.
struct ExplainedPod<'p> {
    pod: &'p Pod,
    state: &'p ClusterState<'p>,
    scheduling: &'p SchedulingExplanation,
    /// Why its DaemonSet deletes it next.
    deletion: Option<String>,
    /// Whether it is a daemon pod on a virtual node.
    is_on_virtual_node: bool,
    /// The namespace of all pods of the input, where that may be why the scheduler knew more.
    only_namespace: Option<&'p Text>,
}

/// How many Events the text form shows.
const EVENTS: usize = 3;

#[derive(Serialize)]
struct Controller<'p> {
    kind: &'p Text,
    name: &'p Text,
}

#[derive(Serialize)]
struct ReportedCondition<'p> {
    reason: &'p Text,
    message: &'p Text,
    since: Option<Timestamp>,
}

pub(super) fn run(name: &PodName, facts: &Facts, format: Format) -> Result<ExitCode, Failure> {
    let pod = find(name, facts)?;
    let state = facts.state_with_coming();
    let owner = facts.snapshots().find(|snapshot| {
        let daemonset = snapshot.daemonset();
        let is_controller = pod.controller.as_ref().is_some_and(|owner| owner.uid == daemonset.uid);
        is_controller && daemonset.namespace == pod.namespace
    });
    let scheduling = match owner {
        Some(snapshot) => snapshot.explain_pod(&state, pod),
        None => SchedulingExplanation::new(&state, pod),
    };
    let deletion = owner.and_then(|snapshot| deletion_of(pod, &snapshot));
    let only_namespace = facts.only_namespace_of_pods().filter(|_| scheduling.agreement == Some(Agreement::FitsNow));
    let is_own = |node: &&Node| pod.node.name() == Some(&node.name);
    let is_of_daemonset = pod.controller.as_ref().is_some_and(|owner| owner.kind == "DaemonSet");
    let is_on_virtual_node = (is_of_daemonset || matches!(pod.node, PodNode::Intended(_)))
        && !pod.is_ready()
        && facts.manifests.nodes().iter().find(is_own).is_some_and(Node::is_virtual);
    let is_settled = pod.node.is_bound() || deletion.is_some();
    let explained =
        ExplainedPod { pod, state: &state, scheduling: &scheduling, deletion, is_on_virtual_node, only_namespace };
    match format {
        Format::Text => write(&mut output::text(), &explained),
        Format::Json => output::write_json(&mut output::stdout(), &report(&explained)),
        Format::Yaml => output::write_yaml(&mut output::stdout(), &report(&explained)),
    }
    .map_err(write_error)?;
    let unknown = &scheduling.feasibility.unknown;
    if is_settled || scheduling.feasibility.is_sure() {
        return Ok(facts.exit_code());
    }
    let unknown: Vec<_> = unknown.iter().map(ToString::to_string).collect();
    print_error(&format_args!("the input does not say {}: the answer is not sure", unknown.join(" and ")));
    Ok(ExitCode::FAILURE)
}

/// Returns why the pod is deleted next.
fn deletion_of(pod: &Pod, owner: &Snapshot<'_>) -> Option<String> {
    let nodes = owner.explain().nodes;
    let node = nodes.iter().find(|node| Some(&node.node) == pod.node.name())?;
    let known = node.pods.iter().find(|known| known.pod == pod.name)?;
    known.deletion.as_ref().map(ToString::to_string)
}

fn find<'f>(name: &PodName, facts: &'f Facts) -> Result<&'f Pod, Failure> {
    let is_named = |pod: &&Pod| {
        *pod.name == *name.name && name.namespace.as_ref().is_none_or(|namespace| *pod.namespace == **namespace)
    };
    let mut found = facts.manifests.pods().filter(is_named);
    match (found.next(), found.next()) {
        (Some(pod), None) => Ok(pod),
        (Some(one), Some(other)) => {
            let (one, other) = (&one.namespace, &other.namespace);
            Err(Failure(format!("pod {}: there is one in {one} and one in {other}; -n says which", name.name)))
        }
        (None, _) => {
            let mut elsewhere = facts.manifests.pods().filter(|pod| *pod.name == *name.name);
            if let (Some(namespace), Some(other)) = (&name.namespace, elsewhere.next()) {
                let other = &other.namespace;
                return Err(Failure(format!("no pod {} in namespace {namespace}: there is one in {other}", name.name)));
            }
            let hint = did_you_mean(&name.name, facts.manifests.pods().map(|pod| pod.name.as_str()));
            let namespace = name.namespace.as_ref().map(|name| format!(" in namespace {name}")).unwrap_or_default();
            Err(Failure(format!("no pod {}{namespace} found{hint}", name.name)))
        }
    }
}

fn report<'p>(explained: &'p ExplainedPod<'p>) -> PodReport<'p> {
    let ExplainedPod { pod, scheduling, deletion, .. } = explained;
    let requests = pod.spec.as_ref().map(|spec| spec.requests()).unwrap_or_default();
    let reported = pod.problem.as_deref().filter(|problem| !problem.unschedulable_reason.is_empty());
    PodReport {
        pod: pod.key(),
        controller: pod.controller.as_deref().map(|ControllerRef { kind, name, .. }| Controller { kind, name }),
        node: pod.node.name(),
        is_bound: pod.node.is_bound(),
        phase: pod.phase,
        assigned: pod.assigned_requests().filter(|assigned| *assigned != requests),
        requests,
        scheduling,
        reported: reported.map(|problem| ReportedCondition {
            reason: &problem.unschedulable_reason,
            message: &problem.unschedulable,
            since: problem.unschedulable_since,
        }),
        problem: pod.describe_problem(),
        deletion: deletion.as_deref(),
        nominated_node: pod.scheduling.as_ref().map(|own| &own.nominated_node).filter(|node| !node.is_empty()),
    }
}

fn write(out: &mut impl Write, explained: &ExplainedPod<'_>) -> io::Result<()> {
    let ExplainedPod { pod, state, scheduling, deletion, is_on_virtual_node, only_namespace } = explained;
    let feasibility = &scheduling.feasibility;
    let key = pod.key();
    let place = match pod.node.name() {
        Some(node) if pod.node.is_bound() => format!(" on {node}"),
        Some(node) => format!(" for {node}"),
        None => String::new(),
    };
    let controller =
        pod.controller.as_ref().map(|owner| format!(" of {} {}", owner.kind, owner.name)).unwrap_or_default();
    let head = escape_control(format_args!("pod {key}{controller}{place}"));
    writeln!(out, "{BOLD}{head}{BOLD:#}: {:?}", pod.phase)?;
    if let Some((said, at)) = scheduling.said(pod) {
        let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
        writeln!(out, "  the scheduler said{at}: {}", escape_control(said.trim()))?;
        match feasibility.agreement(said) {
            Agreement::Same => writeln!(out, "  by the facts given it says the same now")?,
            Agreement::NotKnown if !state.knows_nodes() => {
                writeln!(out, "  whether it would say the same now is not known: the input has no nodes")?;
            }
            Agreement::NotKnown if !feasibility.would_fit => {
                writeln!(
                    out,
                    "  whether it would say the same now is not known: the input does not hold the pod's spec"
                )?;
            }
            Agreement::NotKnown => {
                writeln!(out, "  by the facts given nothing refuses it now, but not everything is known")?;
            }
            Agreement::FitsNow => writeln!(out, "  {WARN}by the facts given it would fit now{WARN:#}")?,
            Agreement::Differs => {
                writeln!(out, "  {WARN}by the facts given it would say now{WARN:#}: {}", escape_control(feasibility))?;
            }
        }
    } else if pod.node.is_bound() && pod.phase == PodPhase::Pending {
        writeln!(out, "  bound: it waits for the kubelet, not for the scheduler")?;
    } else if pod.node.is_bound() {
        let is_possible = if feasibility.would_fit { "would" } else { "would not" };
        writeln!(out, "  bound; the scheduler {is_possible} bind a pod like it there again")?;
    } else if !state.knows_nodes() {
        writeln!(out, "  whether it would be bound is not known: the input has no nodes")?;
    } else {
        writeln!(out, "  by the facts given: {}", escape_control(feasibility))?;
    }
    if let Some(namespace) = only_namespace {
        let whose = format!("the pods of the input are all of namespace {}", escape_control(namespace));
        writeln!(out, "  {DIM}{whose}: others on the node, if there are any, do not count{DIM:#}")?;
    }
    if pod.is_being_deleted() || pod.is_terminal() {
        let state = if pod.is_terminal() { "has ended" } else { "is being deleted" };
        writeln!(out, "  {WARN}! it {state}: the scheduler passes it over{WARN:#}")?;
    }
    if feasibility.verdict == SchedulingVerdict::OtherScheduler {
        let name = pod.spec.as_ref().map(|spec| spec.scheduler.as_str()).unwrap_or_default();
        let fits = if feasibility.would_fit { "would" } else { "would not" };
        writeln!(out, "  the scheduler {} decides; the default one {fits} bind it", escape_control(name))?;
    }
    if let Some(status) = pod.scheduling.as_deref().filter(|status| !status.nominated_node.is_empty()) {
        writeln!(out, "  the scheduler keeps {} free for it", escape_control(&status.nominated_node))?;
    }
    if let Some(node) = pod.node.name().filter(|node| state.knows_nodes() && !state.has_node(node)) {
        writeln!(out, "  {WARN}! node {} does not exist{WARN:#}", escape_control(node))?;
    }
    if *is_on_virtual_node {
        writeln!(out, "  {WARN}! the node is virtual: as a rule daemon pods do not run there{WARN:#}")?;
    }
    if let Some(reason) = deletion {
        writeln!(out, "  deleted next: {}", escape_control(reason))?;
    }
    scheduling_details(out, scheduling)?;
    unknown(out, &scheduling.feasibility.unknown)?;
    // What the scheduler said is told above.
    let mut other = Pod::clone(pod);
    if let Some(problem) = &mut other.problem {
        problem.unschedulable = Text::default();
    }
    if let Some(problem) = other.describe_problem() {
        writeln!(out, "  {WARN}! {}{WARN:#}", escape_control(problem))?;
    }
    events(out, &scheduling.events)?;
    if let Some(requests) = pod.spec.as_ref().map(|spec| spec.requests()) {
        let requests = if requests.is_empty() { "nothing".into() } else { amounts(requests.iter()) };
        writeln!(out, "  {DIM}requests {requests}{DIM:#}")?;
    }
    if let Some(left) = pod.node.name().and_then(|node| state.left_on(node)) {
        writeln!(out, "  {DIM}left on the node: {}{DIM:#}", amounts(left.iter()))?;
    }
    out.flush()
}

/// Lists the latest Events.
pub(super) fn events(out: &mut impl Write, events: &[ReportedEvent]) -> io::Result<()> {
    for event in events.iter().take(EVENTS) {
        writeln!(out, "  {DIM}event {}{DIM:#}", escape_control(event))?;
    }
    let more = events.len().saturating_sub(EVENTS);
    if more > 0 {
        writeln!(out, "  {DIM}and {} (-o json shows all){DIM:#}", plural(more, "earlier event"))?;
    }
    Ok(())
}

/// Lists what is not known, once for many nodes.
pub(super) fn unknown<'u>(out: &mut impl Write, facts: impl IntoIterator<Item = &'u UnknownFact>) -> io::Result<()> {
    for fact in unknown_facts(facts) {
        writeln!(out, "  {WARN}not known: {fact}{WARN:#}")?;
    }
    Ok(())
}

/// Describes what is not known, once for many nodes.
pub(super) fn unknown_facts<'u>(facts: impl IntoIterator<Item = &'u UnknownFact>) -> BTreeSet<String> {
    let facts: BTreeSet<_> = facts.into_iter().collect();
    let (mut specs, mut kubelets, mut victims, mut pods_in_all) = (Vec::new(), Vec::new(), Vec::new(), 0);
    // The same of several nodes, by the words before and after the node.
    let mut of_nodes = BTreeMap::<(String, String), Vec<String>>::new();
    let mut said = BTreeSet::new();
    for fact in facts {
        match fact {
            UnknownFact::PodSpecs { node, pods } => {
                specs.push((escape_control(node), fact));
                pods_in_all += pods;
            }
            UnknownFact::Kubelet { node, .. } => kubelets.push((escape_control(node), fact)),
            UnknownFact::Victims { node, .. } => victims.push((escape_control(node), fact)),
            UnknownFact::Allocatable { node }
            | UnknownFact::CompetingPods { node, .. }
            | UnknownFact::NeededPods { node, .. }
            | UnknownFact::Preemption { node, .. }
            | UnknownFact::LaterVictims { node, .. }
            | UnknownFact::Pressure { node, .. }
            | UnknownFact::VirtualNode { node }
            | UnknownFact::OperatingSystem { node, .. } => {
                let (text, node) = (escape_control(fact), escape_control(node));
                let (before, after) = text.split_once(&format!("node {node}")).unwrap_or((&text, ""));
                of_nodes.entry((before.to_owned(), after.to_owned())).or_default().push(node);
            }
            other => drop(said.insert(escape_control(other))),
        }
    }
    let many = |nodes: &[String]| format!("{} ({})", plural(nodes.len(), "node"), names(nodes, false));
    said.extend(of_nodes.into_iter().map(|((before, after), nodes)| match nodes.as_slice() {
        [node] => format!("{before}node {node}{after}"),
        nodes => format!("{before}{}{after}", many(nodes)),
    }));
    said.extend(once(&specs, |nodes| format!("what {} on {} request", plural(pods_in_all, "pod"), many(nodes))));
    said.extend(once(&kubelets, |nodes| {
        format!("whether the kubelets of {}, which rejected pods, let new ones start", many(nodes))
    }));
    said.extend(once(&victims, |nodes| {
        format!("when its pods start on {}, as those must leave before whose place they take", many(nodes))
    }));
    said
}

/// Describes a fact of one node, or the same of many.
fn once(facts: &[(String, &UnknownFact)], of_many: impl FnOnce(&[String]) -> String) -> Option<String> {
    match facts {
        [] => None,
        [(_, fact)] => Some(escape_control(fact)),
        facts => Some(of_many(&facts.iter().map(|(node, _)| node.clone()).collect::<Vec<_>>())),
    }
}

/// Says by names and numbers why a pod is not bound, and what would help.
pub(super) fn scheduling_details(out: &mut impl Write, scheduling: &SchedulingExplanation) -> io::Result<()> {
    for cause in scheduling.causes() {
        writeln!(out, "    {BAD}✗{BAD:#} {}", escape_control(cause))?;
    }
    if let Some(preemption) = &scheduling.feasibility.preemption {
        writeln!(out, "    {}", escape_control(preemption))?;
    }
    for help in scheduling.help() {
        writeln!(out, "    → {}", escape_control(help))?;
    }
    Ok(())
}

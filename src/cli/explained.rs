//! Explanations for people: how far the update is, and the nodes by what is to be said of them.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use daemonplan::{Explanation, NodeExplanation, UpdateState};

use super::{
    Explained,
    output::tame,
    text::{BOLD, DIM, SHOWN, WARN, names, plural},
};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

pub(super) fn write(
    out: &mut impl Write,
    explanations: &[Explained<'_>],
    is_one_node: bool,
    all: bool,
) -> io::Result<()> {
    for (number, (snapshot, explanation)) in explanations.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        let daemonset = snapshot.daemonset();
        let name = tame(format_args!("{}/{}", daemonset.namespace, daemonset.name));
        writeln!(out, "{BOLD}{name}{BOLD:#}")?;
        for warning in &explanation.warnings {
            writeln!(out, "  {WARN}! {}{WARN:#}", tame(warning))?;
        }
        if is_one_node {
            explanation.nodes.iter().try_for_each(|node| one_node(out, node))?;
        } else {
            update(out, &explanation.update, all)?;
            nodes(out, explanation, all)?;
            claims(out, explanation, all)?;
        }
    }
    out.flush()
}

fn update(out: &mut impl Write, update: &UpdateState, all: bool) -> io::Result<()> {
    writeln!(out, "  update: {}", tame(update))?;
    if let UpdateState::Waiting { held_by, .. } = update {
        let shown = if all { held_by.len() } else { SHOWN };
        let width = held_by.iter().take(shown).map(|holdup| holdup.node.len()).max().unwrap_or(0);
        for holdup in held_by.iter().take(shown) {
            writeln!(out, "    {WARN}{:width$}{WARN:#}  {}", tame(&holdup.node), tame(holdup))?;
        }
        more(out, held_by.len().saturating_sub(shown))?;
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
        writeln!(out, "  {}: {}", plural(nodes.len(), "node"), tame(sentence))?;
        let all_names: Vec<_> = nodes.iter().map(|node| tame(&node.node)).collect();
        writeln!(out, "    {DIM}{}{DIM:#}", names(&all_names, all))?;
    }
    Ok(())
}

fn claims(out: &mut impl Write, explanation: &Explanation, all: bool) -> io::Result<()> {
    let claims = &explanation.claims;
    if claims.is_empty() {
        return Ok(());
    }
    let what = if claims.len() == 1 { "whose labels and controller" } else { "of which labels and controller" };
    writeln!(out, "  {} {what} do not say the same:", plural(claims.len(), "pod"))?;
    let shown = if all { claims.len() } else { SHOWN };
    let width = claims.iter().take(shown).map(|claim| claim.pod.len()).max().unwrap_or(0);
    for claim in claims.iter().take(shown) {
        writeln!(out, "    {:width$}  {}", tame(&claim.pod), tame(&claim.reason))?;
    }
    more(out, claims.len().saturating_sub(shown))
}

/// Everything about one node.
fn one_node(out: &mut impl Write, node: &NodeExplanation) -> io::Result<()> {
    writeln!(out, "  {BOLD}{}{BOLD:#}: {}", tame(&node.node), tame(node))?;
    if !node.exists {
        writeln!(out, "    {BAD}✗{BAD:#} the node does not exist")?;
    }
    let width = node.checks.iter().map(|check| check.rule.to_string().chars().count()).max().unwrap_or(0);
    for check in &node.checks {
        let rule = tame(&check.rule);
        match &check.failure {
            None => writeln!(out, "    {GOOD}✓{GOOD:#} {rule}")?,
            Some(failure) => writeln!(out, "    {BAD}✗{BAD:#} {rule:width$}  {DIM}{}{DIM:#}", tame(failure))?,
        }
    }
    for pod in &node.pods {
        let revision = match (&pod.revision.number, &pod.revision.hash) {
            (Some(number), Some(hash)) => format!("revision {number} ({})", tame(hash)),
            (None, Some(hash)) => format!("revision {}", tame(hash)),
            (_, None) => "no revision label".to_owned(),
        };
        let age = if pod.revision.is_current { "up to date" } else { "older" };
        let deletion =
            pod.deletion.as_ref().map(|reason| format!("; deleted next: {}", tame(reason))).unwrap_or_default();
        writeln!(out, "    pod {}  {}, {age}, {revision}{deletion}", tame(&pod.pod), tame(pod.state))?;
    }
    Ok(())
}

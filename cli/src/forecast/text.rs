//! Forecasts as text, with a small chart.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use daemonplan::{
    Forecast, MissingFact, Snapshot, Warning,
    forecast::{StuckCause, StuckNode, TimelinePoint, Wave, WaveKind},
};
use indexmap::IndexMap;

use super::Runs;
use crate::{
    output::{daemonset_name, escape_control, width},
    pod::unknown as write_unknown,
    style::{BOLD, DIM, WARN, first_names, names, plural, shown_of, span},
};

const NEW: Style = AnsiColor::Green.on_default();
const OLD: Style = Style::new().dimmed();
const UNAVAILABLE: Style = AnsiColor::Red.on_default();

pub(super) fn write(out: &mut impl Write, forecasts: &[(Snapshot<'_>, Runs)], all: bool) -> io::Result<()> {
    for (number, (snapshot, runs)) in forecasts.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        let daemonset = snapshot.daemonset();
        writeln!(out, "{BOLD}{}{BOLD:#}", daemonset_name(daemonset))?;
        if runs.without.contains(&MissingFact::Namespace) {
            writeln!(
                out,
                "  {WARN}! the input does not have its namespace: the node selector of that is taken to be absent{WARN:#}"
            )?;
        }
        if runs.without.contains(&MissingFact::Revisions) {
            let judged = "which pods are up to date is judged by their labels alone";
            writeln!(out, "  {WARN}! the input has no ControllerRevisions: {judged}{WARN:#}")?;
        }
        for warning in runs.warnings.iter().filter(|warning| !is_of_missing(warning)) {
            writeln!(out, "  {WARN}! {}{WARN:#}", escape_control(warning))?;
        }
        let spread = runs.spread().map(|spread| format!(" ({spread})")).unwrap_or_default();
        writeln!(out, "  {}{spread}", runs.forecast)?;
        if !runs.is_idle() {
            writeln!(out, "  {DIM}assuming {}{DIM:#}", runs.assumptions)?;
            chart(out, &runs.forecast)?;
            waves(out, &runs.forecast, all)?;
        }
        stuck(out, &runs.forecast.stuck, all)?;
        let Forecast { preempted, unknown, .. } = &runs.forecast;
        if !preempted.is_empty() {
            let pods: Vec<_> = preempted.iter().map(escape_control).collect();
            writeln!(out, "  {WARN}! preempts {}{WARN:#}", names(&pods, all))?;
        }
        write_unknown(out, unknown)?;
    }
    out.flush()
}

/// Whether a warning says what the input lacks: what that means for the forecast is said instead.
fn is_of_missing(warning: &Warning) -> bool {
    matches!(
        warning,
        Warning::HistoryNotGiven
            | Warning::NodesNotGiven
            | Warning::PodsNotGiven
            | Warning::NamespaceNotGiven { .. }
            | Warning::ClockNotGiven
    )
}

/// Returns the width of the chart in columns, as the line width allows.
fn chart_width() -> u32 {
    const LABEL: usize = 16;
    let room = width().map_or(50, |width| width.saturating_sub(LABEL).clamp(10, 100));
    u32::try_from(room).unwrap_or(u32::MAX)
}

fn chart(out: &mut impl Write, forecast: &Forecast) -> io::Result<()> {
    if forecast.after.is_zero() || forecast.desired == 0 {
        return Ok(());
    }
    let columns = forecast.columns(chart_width());
    let mut line = |label: &str, style: Style, count: fn(&TimelinePoint) -> usize| {
        let bar: String = columns.iter().map(|point| block(count(point), forecast.desired)).collect();
        writeln!(out, "  {label:11}  {style}{}{style:#}", bar.trim_end())
    };
    line("outdated", OLD, |point| point.old)?;
    line("up to date", NEW, |point| point.new)?;
    line("unavailable", UNAVAILABLE, |point| point.unavailable)?;
    let (end, width) = (span(forecast.after), columns.len().saturating_sub(2));
    writeln!(out, "  {:11}  {DIM}0s{end:>width$}{DIM:#}", "")
}

/// Returns a block whose height is the share of `count` in `all`; only a `count` of 0 is blank.
fn block(count: usize, all: usize) -> char {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    *BLOCKS.get((count * 8).div_ceil(all.max(1))).unwrap_or(&'█')
}

/// The number of nodes to list for each wave.
pub(super) const NAMED: usize = 3;

fn waves(out: &mut impl Write, forecast: &Forecast, all: bool) -> io::Result<()> {
    let shown = shown_of(forecast.waves.len(), all);
    let waves = &forecast.waves;
    if waves.is_empty() {
        return Ok(());
    }
    let width = waves.iter().map(|wave| what(wave).chars().count()).max().unwrap_or(0).max(7);
    writeln!(
        out,
        "  {DIM}{:>4}  {:<width$}  {:>9}  {:>9}  {:>9}  nodes{DIM:#}",
        "wave", "what", "start", "end", "available"
    )?;
    for (number, wave) in waves.iter().enumerate().take(shown) {
        line(out, number, wave, width, forecast.desired, all)?;
    }
    if let (Some(last), 1..) = (waves.last(), waves.len() - shown) {
        if waves.len() - shown > 1 {
            writeln!(out, "     … {} more {DIM}(--all){DIM:#}", plural(waves.len() - shown - 1, "wave"))?;
        }
        line(out, waves.len() - 1, last, width, forecast.desired, all)?;
    }
    Ok(())
}

/// The kind of a wave, and its group of nodes.
fn what(wave: &Wave) -> String {
    match (wave.kind, &wave.group) {
        (WaveKind::Update, Some(group)) => format!("update {}", escape_control(group)),
        (WaveKind::Update, None) => "update".to_owned(),
        _ => "repair".to_owned(),
    }
}

fn line(out: &mut impl Write, number: usize, wave: &Wave, width: usize, desired: usize, all: bool) -> io::Result<()> {
    let ends = wave.ends.map_or("never".to_owned(), span);
    let nodes: Vec<_> = wave.nodes.iter().map(escape_control).collect();
    writeln!(
        out,
        "  {:>4}  {:<width$}  {:>9}  {ends:>9}  {:>9}  {DIM}{}{DIM:#}",
        number + 1,
        what(wave),
        span(wave.begins),
        format!("{}/{desired}", wave.lowest_available),
        if all { names(&nodes, all) } else { first_names(&nodes, NAMED) },
    )
}

fn stuck(out: &mut impl Write, stuck: &[StuckNode], all: bool) -> io::Result<()> {
    for (cause, nodes) in by_cause(stuck) {
        writeln!(out, "  {WARN}{}{WARN:#}: {cause}", plural(nodes.len(), "node"))?;
        writeln!(out, "    {DIM}{}{DIM:#}", names(&nodes, all))?;
    }
    Ok(())
}

/// Groups the names of stuck nodes by cause.
pub(crate) fn by_cause(stuck: &[StuckNode]) -> IndexMap<String, Vec<String>> {
    // Pods and numbers differ from node to node.
    let mut causes = IndexMap::<_, Vec<_>>::new();
    for node in stuck {
        let kind = match &node.cause {
            StuckCause::PodStaysUnready { .. } => "pods have been unavailable for too long".to_owned(),
            StuckCause::PodStaysInDeletion { .. } => "pods have been terminating for too long".to_owned(),
            other => escape_control(other),
        };
        causes.entry(kind).or_default().push(node);
    }
    let causes = causes.into_iter().map(|(kind, nodes)| {
        let cause = match nodes.as_slice() {
            [StuckNode { cause: StuckCause::Unschedulable { explanation, .. }, .. }] => {
                format!("{kind} ({})", escape_control(explanation))
            }
            [only] => escape_control(&only.cause),
            _ => kind,
        };
        (cause, nodes.iter().map(|node| escape_control(&node.node)).collect())
    });
    causes.collect()
}

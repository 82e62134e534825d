//! Forecasts as a self-contained HTML page, without scripts.

use std::io::{self, Write};

use daemonplan::{
    Forecast, Snapshot,
    forecast::{Outcome, TimelinePoint, WaveKind},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    Runs,
    text::{NAMED, by_cause},
};
use crate::{
    pod::unknown_facts,
    style::{first_names, names, plural, span},
};

const STYLE: &str = include_str!("page.css");

/// The maximum number of waves to list.
const MOST_WAVES: usize = 200;

pub(super) fn write(out: &mut impl Write, forecasts: &[(Snapshot<'_>, Runs)]) -> io::Result<()> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "DaemonSet forecast" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "DaemonSet forecast" }
                @for (snapshot, runs) in forecasts { (section(snapshot, runs)) }
                footer { "daemonplan " (env!("CARGO_PKG_VERSION")) }
            }
        }
    };
    out.write_all(page.into_string().as_bytes())?;
    out.flush()
}

fn section(snapshot: &Snapshot<'_>, runs: &Runs) -> Markup {
    let (daemonset, forecast) = (snapshot.daemonset(), &runs.forecast);
    let badge = match forecast.outcome {
        Outcome::Done if !forecast.unknown.is_empty() => ("warn", "Done at best"),
        Outcome::Done => ("done", "Done"),
        Outcome::Waiting => ("warn", "Waits for others"),
        Outcome::Held => ("done", "Held by its policy"),
        Outcome::RolledBack => ("bad", "Rolled back"),
        Outcome::Stuck => ("bad", "Stuck"),
        Outcome::Restless => ("bad", "Never settles"),
        _ => ("warn", "Not done in time"),
    };
    html! {
        section {
            h2 { (daemonset.namespace) "/" (daemonset.name) " " span class={ "badge " (badge.0) } { (badge.1) } }
            p { (capital(&forecast.to_string())) "." }
            @for fact in unknown_facts(&forecast.unknown) { p { b { "Not known" } ": " (fact) "." } }
            @if !forecast.preempted.is_empty() {
                p { b { "Preempts" } " " (forecast.preempted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")) "." }
            }
            @if let Some(spread) = runs.spread() { p { (capital(&spread)) "." } }
            @if !runs.is_idle() { p class="quiet" { "Assuming " (runs.assumptions.to_string()) "." } }
            @if !forecast.after.is_zero() && forecast.desired > 0 { (chart(forecast)) }
            @if !forecast.stuck.is_empty() { (stuck(forecast)) }
            @if !forecast.waves.is_empty() { (waves(forecast)) }
        }
    }
}

fn stuck(forecast: &Forecast) -> Markup {
    html! {
        h3 { "Stuck" }
        ul {
            @for (cause, nodes) in by_cause(&forecast.stuck) {
                li { b { (plural(nodes.len(), "node")) } ": " (cause) br; span class="quiet" { (names(&nodes, false)) } }
            }
        }
    }
}

fn waves(forecast: &Forecast) -> Markup {
    let hidden = forecast.waves.len().saturating_sub(MOST_WAVES);
    html! {
        h3 { "Waves" }
        div class="wide" { table {
            thead { tr { th { "Wave" } th { "What" } th { "Start" } th { "End" } th { "Available" } th class="names" { "Nodes" } } }
            tbody {
                @for (number, wave) in forecast.waves.iter().enumerate().take(MOST_WAVES) {
                    tr {
                        td { (number + 1) }
                        td { @if wave.kind == WaveKind::Update { "update" } @else { "repair" } @if let Some(group) = &wave.group { " " (group) } }
                        td { (span(wave.begins)) }
                        td { @match wave.ends { Some(ends) => (span(ends)), None => b { "never" } } }
                        td { (wave.lowest_available) " of " (forecast.desired) }
                        td class="names" { (first_names(&wave.nodes.iter().map(ToString::to_string).collect::<Vec<_>>(), NAMED)) }
                    }
                }
            }
        } }
        @if hidden > 0 { p class="quiet" { "… and " (plural(hidden, "more wave")) "." } }
    }
}

/// The dimensions of the chart, in SVG units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 14.0;

/// Draws the nodes by the state of their pods over time, as stacked areas.
fn chart(forecast: &Forecast) -> Markup {
    const COLUMNS: u32 = 240;
    let columns = forecast.columns(COLUMNS);
    let desired = to_f64(forecast.desired);
    let y = |nodes: usize| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - to_f64(nodes) / desired);
    let x = |column: usize| LEFT + (WIDTH - LEFT) * to_f64(column) / to_f64(columns.len());
    let area = |from: fn(&TimelinePoint) -> usize, to: fn(&TimelinePoint) -> usize| {
        let steps = |edge: fn(&TimelinePoint) -> usize| {
            columns.iter().enumerate().flat_map(move |(column, point)| {
                let y = y(edge(point));
                [(x(column), y), (x(column + 1), y)]
            })
        };
        let outline = steps(to).chain(steps(from).collect::<Vec<_>>().into_iter().rev());
        let points: Vec<_> = outline.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        points.join(" ")
    };
    let areas: [(&str, &str, String); 3] = [
        ("new", "Up to date", area(|_| 0, |point| point.new)),
        ("old", "Outdated", area(|point| point.new, |point| point.new + point.old)),
        ("unavailable", "Unavailable", area(TimelinePoint::available, |point| point.available() + point.unavailable)),
    ];
    let title = format!("Nodes by the pod that they have, over {}", span(forecast.after));
    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) {
                title { (title) }
                @for (class, label, points) in &areas {
                    polygon class=(class) points=(points) { title { (label) } }
                }
                @for nodes in [0, forecast.desired / 2, forecast.desired] {
                    line class="grid" x1=(LEFT) x2=(WIDTH) y1=(y(nodes)) y2=(y(nodes)) {}
                    text x=(LEFT - 6.0) y=(y(nodes) + 4.0) text-anchor="end" { (nodes) }
                }
                @for (part, anchor) in [(0, "start"), (2, "middle"), (4, "end")] {
                    text x=(x(columns.len() * part / 4)) y=(HEIGHT - 6.0) text-anchor=(anchor) {
                        (span(forecast.after * u32::try_from(part).unwrap_or_default() / 4))
                    }
                }
            }
            figcaption { @for (class, label, _) in &areas { span class={ "key " (class) } { (label) } } }
        }
    }
}

#[allow(clippy::cast_precision_loss)] // the drawing is coarser
fn to_f64(count: usize) -> f64 {
    count as f64
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

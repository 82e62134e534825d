//! Forecasts as a self-contained HTML page, without scripts.

use std::io::{self, Write};

use daemonplan::{
    Forecast, Snapshot,
    forecast::{Chart, Outcome, WaveKind},
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
                style { (PreEscaped(STYLE)) (PreEscaped(Chart::STYLE)) }
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
            (PreEscaped(forecast.chart().to_string()))
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

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

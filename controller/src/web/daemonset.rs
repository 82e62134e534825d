//! The page of a DaemonSet: its update, its nodes by what becomes of them, and a forecast.

use daemonplan::{
    Explanation, Forecast,
    explain::UpdateState,
    forecast::{Assumptions, WaveKind},
    model::DaemonSet,
    policy::RolloutStatus,
};
use maud::{Markup, PreEscaped, html};

use super::{
    live::Page,
    node::waiting,
    parts::{SHOWN, badge, count, more, node_link, path, sentence, span, state_of},
};

pub(super) fn one_daemonset(
    daemonset: &DaemonSet,
    explanation: &Explanation,
    forecast: Option<&(Forecast, Assumptions, bool)>,
    moves: bool,
) -> Page {
    let path = path(&daemonset.namespace, &daemonset.name);
    let live = html! {
        h1 { (daemonset.namespace) "/" wbr; (daemonset.name) " " (badge(state_of(daemonset))) }
        @for warning in &explanation.warnings { p class="warn" { (sentence(warning)) } }
        section {
            h2 { "Update" }
            p { (sentence(&explanation.update)) }
            @for note in explanation.rollout.iter().flat_map(RolloutStatus::notes) { p { (sentence(&note)) } }
            @if let UpdateState::Waiting { blocked_by, .. } = &explanation.update {
                ul { @for blocker in blocked_by.iter().take(SHOWN) { li { (node_link(&path, &blocker.node)) ": " (blocker) } } }
                (more(blocked_by.len()))
            }
            @if let Some((forecast, assumptions, schedules)) = forecast { (forecast_of(forecast, assumptions, *schedules)) } @else if moves {
                p { a href={ (path) "?forecast=true" } { "Show the forecast" } }
            }
        }
        section {
            h2 { "Nodes" }
            @for (text, nodes) in explanation.groups() {
                h3 { (count(nodes.len(), "node")) ": " (text) }
                p class="quiet" {
                    @for (number, node) in nodes.iter().take(SHOWN).enumerate() {
                        @if number > 0 { ", " } (node_link(&path, &node.node))
                    }
                    @if nodes.len() > SHOWN { " and " (nodes.len() - SHOWN) " more" }
                }
                @if let [node] = nodes.as_slice() { (waiting(node)) }
            }
        }
        @if !explanation.claims.is_empty() { section {
            h2 { "Pods whose labels and controller disagree" }
            ul { @for claim in explanation.claims.iter().take(SHOWN) { li { (claim.pod) ": " (claim.reason) } } }
            (more(explanation.claims.len()))
        } }
        p class="quiet" { "Also available as " a href={ "/explain/" (daemonset.namespace) "/" (daemonset.name) } { "JSON" } }
    };
    let title = format!("{}/{}", daemonset.namespace, daemonset.name);
    Page { title, top: html! { nav { a href="/" { "DaemonSets" } } }, live }
}

/// Tells a forecast, and what it does not know. Without `schedules`, nothing is known of what the scheduler looks at.
fn forecast_of(forecast: &Forecast, assumptions: &Assumptions, schedules: bool) -> Markup {
    html! {
        h3 { "Forecast" }
        p { (sentence(forecast)) }
        @for fact in &forecast.unknown { p class="warn" { "Not known: " (fact) "." } }
        @if !schedules {
            p class="warn" { "Not known: whether new pods fit on their nodes, which the controller knows with --explain-pending." }
        }
        p class="quiet" { "Assumptions: " (assumptions) "." }
        @if !forecast.stuck.is_empty() {
            ul { @for stuck in forecast.stuck.iter().take(SHOWN) { li { (stuck.node) ": " (stuck.cause) } } }
            (more(forecast.stuck.len()))
        }
        (PreEscaped(forecast.chart().to_string()))
        @if !forecast.waves.is_empty() {
            div class="wide" { table {
                thead { tr {
                    th class="number" { "Start" } th class="number" { "End" } th { "Wave" }
                    th class="number" { "Available" } th { "Nodes" }
                } }
                tbody { @for wave in forecast.waves.iter().take(SHOWN) { tr {
                    td class="number" { (span(wave.begins)) }
                    td class="number" { @match wave.ends { Some(ends) => (span(ends)), None => "never" } }
                    td { @if wave.kind == WaveKind::Update { "update" } @else { "repair" } @if let Some(group) = &wave.group { " " (group) } }
                    td class="number" { (wave.lowest_available) " of " (forecast.desired) }
                    td class="names" {
                        (wave.nodes.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", "))
                        @if wave.nodes.len() > SHOWN { " and " (wave.nodes.len() - SHOWN) " more" }
                    }
                } } }
            } }
            (more(forecast.waves.len()))
        }
    }
}

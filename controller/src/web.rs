//! Web pages, explanations as JSON, health checks and metrics; all read-only.

use std::{fmt::Display, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderName, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use daemonplan::{
    Explanation, Forecast, Key, OwnedSnapshot,
    explain::{NodeExplanation, UpdateState},
    forecast::{Assumptions, Delay, WaveKind},
    model::DaemonSet,
    policy::RolloutStatus,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;

use crate::{
    metrics::Metrics,
    shared::Shared,
    state::{KINDS, Moment},
};

const STYLE: &str = include_str!("page.css");

/// How long the dispatcher may be silent before it counts as stuck.
const SILENCE: Duration = Duration::from_mins(1);

/// The largest number of nodes for which a page includes the forecast.
const MOST_NODES_UNASKED: usize = 1000;

/// Maximum number of names and waves shown.
const SHOWN: usize = 12;

/// Returns the router of all pages and endpoints.
pub fn site(shared: Arc<Shared>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/", get(list))
        .route("/daemonsets/{namespace}/{name}", get(page))
        .route("/explain/{namespace}/{name}", get(explain))
        .route("/metrics", get(move |State(shared): State<Arc<Shared>>| async move { numbers(&shared, &metrics) }))
        .route("/readyz", get(ready))
        .route("/healthz", get(health))
        .with_state(shared)
}

type Answer = Result<Response, (StatusCode, String)>;

async fn health(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    let silence = shared.silence();
    if silence < SILENCE {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("dispatcher silent for {} s\n", silence.as_secs()))
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    let state = shared.state();
    let missing: Vec<_> =
        KINDS.iter().filter(|kind| !state.is_listed(**kind)).map(|kind| format!("{kind:?}")).collect();
    if missing.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not listed yet: {}\n", missing.join(", ")))
    }
}

fn numbers(shared: &Shared, metrics: &Metrics) -> Answer {
    let text = metrics.text(&shared.state(), Moment::now());
    let text = text.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}

#[derive(Debug, Deserialize)]
struct Question {
    /// Show only this node, with every rule.
    node: Option<String>,
    /// Include the forecast, however large the cluster is.
    #[serde(default)]
    forecast: bool,
}

async fn explain(
    State(shared): State<Arc<Shared>>,
    Path((namespace, name)): Path<(String, String)>,
    Query(question): Query<Question>,
) -> Answer {
    let facts = known(&shared, &namespace, &name)?;
    let mut explanation = run_blocking(move || explained(&shared, &facts)).await?;
    if let Some(node) = question.node {
        explanation.nodes.retain(|explained| explained.node == *node);
        if explanation.nodes.is_empty() {
            return Err((StatusCode::NOT_FOUND, format!("node {node} not found\n")));
        }
    }
    Ok(Json(explanation).into_response())
}

fn known(shared: &Shared, namespace: &str, name: &str) -> Result<OwnedSnapshot, (StatusCode, String)> {
    let facts = shared.state().facts(&Key::new(namespace, name), Moment::now());
    facts.ok_or_else(|| (StatusCode::NOT_FOUND, format!("DaemonSet {namespace}/{name} not found\n")))
}

/// Explains a DaemonSet. Only the questions to the scheduler need the state.
fn explained(shared: &Shared, facts: &OwnedSnapshot) -> Explanation {
    let mut explanation = facts.snapshot().explain();
    shared.state().explain_scheduling(facts, &mut explanation);
    explanation
}

/// Runs slow work on the blocking thread pool, so that other requests need not wait.
async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, (StatusCode, String)> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let (mut daemonsets, complete, scope) = {
        let state = shared.state();
        let rows = state.daemonsets().map(|daemonset| {
            let key = Key::new(daemonset.namespace.clone(), daemonset.name.clone());
            (key, daemonset.status.clone(), state_of(daemonset))
        });
        (rows.collect::<Vec<_>>(), state.is_complete(), state.scope().to_string())
    };
    daemonsets.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    document(
        "DaemonSets",
        true,
        &html! {
            h1 { "DaemonSets" }
            @if !scope.is_empty() { p class="quiet" { "Only " (scope) "." } }
            @if !complete { p class="warn" { "Not all objects are listed yet." } }
            @if daemonsets.is_empty() { p class="quiet" { "No DaemonSets." } } @else {
                div class="wide" { table {
                    thead { tr {
                        th { "DaemonSet" } th { "State" }
                        th class="number" { "Desired" } th class="number" { "Ready" } th class="number" { "Available" }
                        th class="number" { "Updated" } th class="number" { "Misscheduled" }
                    } }
                    tbody { @for (key, status, state) in &daemonsets { tr {
                        td { a href=(path(&key.namespace, &key.name)) { (key.namespace) "/" wbr; (key.name) } }
                        td { (badge(*state)) }
                        td class="number" { (status.desired_number_scheduled) } td class="number" { (status.number_ready) }
                        td class="number" { (status.number_available) } td class="number" { (status.updated_number_scheduled) }
                        td class="number" { (status.number_misscheduled) }
                    } } }
                } }
            }
        },
    )
}

/// A state: its class in the style sheet, and its name.
type Badge = (&'static str, &'static str);

fn state_of(daemonset: &DaemonSet) -> Badge {
    let status = &daemonset.status;
    if daemonset.is_being_deleted() {
        ("warn", "being deleted")
    } else if status.observed_generation < daemonset.generation {
        ("warn", "not observed yet")
    } else if status.updated_number_scheduled < status.desired_number_scheduled {
        ("warn", "rolling out")
    } else if status.number_available < status.desired_number_scheduled {
        ("bad", "unavailable")
    } else {
        ("done", "up to date")
    }
}

async fn page(
    State(shared): State<Arc<Shared>>,
    Path((namespace, name)): Path<(String, String)>,
    Query(question): Query<Question>,
) -> Answer {
    let facts = known(&shared, &namespace, &name)?;
    let is_small = facts.nodes.len() <= MOST_NODES_UNASKED;
    let Question { node, forecast: requested } = question;
    let content = run_blocking(move || {
        let snapshot = facts.snapshot();
        let explanation = explained(&shared, &facts);
        if let Some(node) = node {
            let found = explanation.nodes.iter().find(|explained| explained.node == *node);
            return found.map(|found| one_node(&facts.daemonset, found));
        }
        let moves = !matches!(explanation.update, UpdateState::None | UpdateState::Done | UpdateState::OnDelete { .. });
        let forecast = ((moves && is_small) || requested).then(|| {
            let startup = Delay::observed(&snapshot);
            let assumptions = startup.into_iter().fold(Assumptions::default(), Assumptions::startup);
            (snapshot.forecast(&assumptions), assumptions)
        });
        Some(one_daemonset(&facts.daemonset, &explanation, forecast.as_ref(), moves))
    });
    let content = content.await?.ok_or_else(|| (StatusCode::NOT_FOUND, "node not found\n".to_owned()))?;
    Ok(document(&format!("{namespace}/{name}"), !requested, &content))
}

fn one_daemonset(
    daemonset: &DaemonSet,
    explanation: &Explanation,
    forecast: Option<&(Forecast, Assumptions)>,
    moves: bool,
) -> Markup {
    let path = path(&daemonset.namespace, &daemonset.name);
    html! {
        nav { a href="/" { "DaemonSets" } }
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
            @if let Some((forecast, assumptions)) = forecast { (forecast_of(forecast, assumptions)) } @else if moves {
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
    }
}

fn forecast_of(forecast: &Forecast, assumptions: &Assumptions) -> Markup {
    html! {
        h3 { "Forecast" }
        p { (sentence(forecast)) }
        p class="quiet" { "Assumptions: " (assumptions) "." }
        @if !forecast.stuck.is_empty() {
            ul { @for stuck in forecast.stuck.iter().take(SHOWN) { li { (stuck.node) ": " (stuck.cause) } } }
            (more(forecast.stuck.len()))
        }
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

/// Renders one node with its rules and pods.
fn one_node(daemonset: &DaemonSet, node: &NodeExplanation) -> Markup {
    let path = path(&daemonset.namespace, &daemonset.name);
    html! {
        nav { a href="/" { "DaemonSets" } " › " a href=(path) { (daemonset.namespace) "/" wbr; (daemonset.name) } }
        h1 { (node.node) }
        p { (sentence(node)) }
        section {
            h2 { "Rules" }
            table class="rules" { tbody { @for check in &node.checks { tr {
                td { @if check.failure.is_some() { span class="bad" { "✗" } } @else { span class="done" { "✓" } } }
                td { (check.rule) }
                td class="names" { @if let Some(failure) = &check.failure { (failure) } }
            } } } }
            @if !node.remedies.is_empty() {
                h3 { "Changes that would allow a pod here" }
                ul { @for remedy in &node.remedies { li { (remedy) } } }
            }
        }
        @let waiting = waiting(node);
        @if !waiting.0.is_empty() { section { h2 { "Scheduling" } (waiting) } }
        @if !node.pods.is_empty() { section {
            h2 { "Pods" }
            ul { @for pod in &node.pods { li {
                (pod.pod) ": " (pod.state)
                @if let Some(number) = pod.revision.number { ", revision " (number) }
                @if pod.revision.is_current == Some(false) { ", outdated" }
                @if let Some(deletion) = &pod.deletion { ", to be deleted: " (deletion) }
            } } }
        } }
    }
}

/// Says why pods of a node are Pending, and what would help.
fn waiting(node: &NodeExplanation) -> Markup {
    let pods = node.pods.iter().filter(|pod| pod.deletion.is_none()).filter_map(|pod| pod.scheduling.as_ref());
    html! {
        @for scheduling in pods.chain(node.new_pod.as_ref()) {
            @let feasibility = &scheduling.feasibility;
            @let causes = scheduling.causes();
            @if !causes.is_empty() || !feasibility.unknown.is_empty() { ul class="waiting" {
                @for cause in causes { li { span class="bad" { "✗ " } (cause) } }
                @if let Some(preemption) = &feasibility.preemption { li { (preemption) } }
                @for help in scheduling.help() { li { "→ " (help) } }
                @for unknown in &feasibility.unknown { li class="warn" { "Not known: " (unknown) } }
            } }
        }
    }
}

fn document(title: &str, refreshes: bool, content: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if refreshes { meta http-equiv="refresh" content="10"; }
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (content) }
        }
    };
    // Names in the cluster are untrusted: allow no scripts and no loading.
    let policy = (HeaderName::from_static("content-security-policy"), "default-src 'none'; style-src 'unsafe-inline'");
    ([policy], Html(page.into_string())).into_response()
}

fn badge((class, text): Badge) -> Markup {
    html! { span class={ "badge " (class) } { (text) } }
}

fn node_link(path: &str, node: &str) -> Markup {
    html! { a href={ (path) "?node=" (node) } { (node) } }
}

fn path(namespace: &str, name: &str) -> String {
    format!("/daemonsets/{namespace}/{name}")
}

fn more(all: usize) -> Markup {
    html! { @if all > SHOWN { p class="quiet" { "… and " (all - SHOWN) " more" } } }
}

fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Formats `text` with a capital letter and a full stop.
fn sentence(text: &impl Display) -> String {
    let text = text.to_string();
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

/// Formats a duration in whole seconds, rounded up.
fn span(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    format!("{:#}", jiff::SignedDuration::from_secs(seconds.try_into().unwrap_or(i64::MAX)))
}

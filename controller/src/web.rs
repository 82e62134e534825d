//! The page, and what programs ask for: why, whether all is well, and the metrics. Nothing here changes anything.

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
    controller::Shared,
    metrics::Metrics,
    state::{KINDS, Moment},
};

const STYLE: &str = include_str!("page.css");

/// Without a sign of life for so long, the dispatcher is taken as stuck.
const SILENCE: Duration = Duration::from_mins(1);

/// The largest cluster whose roll-outs are played forward whenever somebody looks.
const MOST_NODES_UNASKED: usize = 1000;

/// So many names and waves are shown.
const SHOWN: usize = 12;

/// What is served.
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
        (StatusCode::SERVICE_UNAVAILABLE, format!("the dispatcher has not been seen for {} s\n", silence.as_secs()))
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
    let load = shared.state().load(Moment::now());
    let text = metrics.text(load).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}

#[derive(Debug, Deserialize)]
struct Question {
    /// Only this node, with every rule about it.
    node: Option<String>,
    /// Play the roll-out forward, however large the cluster is.
    #[serde(default)]
    forecast: bool,
}

async fn explain(
    State(shared): State<Arc<Shared>>,
    Path((namespace, name)): Path<(String, String)>,
    Query(question): Query<Question>,
) -> Answer {
    let facts = known(&shared, &namespace, &name)?;
    let mut explanation = elsewhere(move || facts.snapshot().explain()).await?;
    if let Some(node) = question.node {
        explanation.nodes.retain(|explained| explained.node == *node);
        if explanation.nodes.is_empty() {
            return Err((StatusCode::NOT_FOUND, format!("there is no node {node}\n")));
        }
    }
    Ok(Json(explanation).into_response())
}

fn known(shared: &Shared, namespace: &str, name: &str) -> Result<OwnedSnapshot, (StatusCode, String)> {
    let facts = shared.state().facts(&Key::new(namespace, name), Moment::now());
    facts.ok_or_else(|| (StatusCode::NOT_FOUND, format!("there is no DaemonSet {namespace}/{name}\n")))
}

/// Work that takes longer than others should wait.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, (StatusCode, String)> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let (mut daemonsets, complete) = {
        let state = shared.state();
        let rows = state.daemonsets().map(|daemonset| {
            let key = Key::new(daemonset.namespace.clone(), daemonset.name.clone());
            (key, daemonset.status.clone(), state_of(daemonset))
        });
        (rows.collect::<Vec<_>>(), state.is_complete())
    };
    daemonsets.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    document(
        "DaemonSets",
        true,
        &html! {
            h1 { "DaemonSets" }
            @if !complete { p class="warn" { "Not all objects have been listed yet." } }
            @if daemonsets.is_empty() { p class="quiet" { "There is none." } } @else {
                div class="wide" { table {
                    thead { tr {
                        th { "DaemonSet" } th { "State" }
                        th class="number" { "Desired" } th class="number" { "Ready" } th class="number" { "Available" }
                        th class="number" { "Up to date" } th class="number" { "Misplaced" }
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

/// A state at a glance: its class in the style sheet, and its name.
type Badge = (&'static str, &'static str);

fn state_of(daemonset: &DaemonSet) -> Badge {
    let status = &daemonset.status;
    if daemonset.is_being_deleted() {
        ("warn", "being deleted")
    } else if status.observed_generation < daemonset.generation {
        ("warn", "not seen yet")
    } else if status.updated_number_scheduled < status.desired_number_scheduled {
        ("warn", "rolling out")
    } else if status.number_available < status.desired_number_scheduled {
        ("bad", "not available")
    } else {
        ("done", "well")
    }
}

async fn page(
    State(shared): State<Arc<Shared>>,
    Path((namespace, name)): Path<(String, String)>,
    Query(question): Query<Question>,
) -> Answer {
    let facts = known(&shared, &namespace, &name)?;
    let unasked = facts.nodes.len() <= MOST_NODES_UNASKED;
    let Question { node, forecast: asked } = question;
    let content = elsewhere(move || {
        let snapshot = facts.snapshot();
        let explanation = snapshot.explain();
        if let Some(node) = node {
            let found = explanation.nodes.iter().find(|explained| explained.node == *node);
            return found.map(|found| one_node(&facts.daemonset, found));
        }
        let moves = !matches!(explanation.update, UpdateState::None | UpdateState::Done | UpdateState::OnDelete { .. });
        let forecast = ((moves && unasked) || asked).then(|| {
            let startup = Delay::observed(&snapshot);
            let assumptions = startup.into_iter().fold(Assumptions::default(), Assumptions::startup);
            (snapshot.forecast(&assumptions), assumptions)
        });
        Some(one_daemonset(&facts.daemonset, &explanation, forecast.as_ref(), moves))
    });
    let content = content.await?.ok_or_else(|| (StatusCode::NOT_FOUND, "there is no such node\n".to_owned()))?;
    Ok(document(&format!("{namespace}/{name}"), !asked, &content))
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
            @if let Some(away) = explanation.rollout.as_ref().and_then(RolloutStatus::away) { p { (sentence(&away)) } }
            @if let UpdateState::Waiting { blocked_by, .. } = &explanation.update {
                ul { @for holdup in blocked_by.iter().take(SHOWN) { li { (node_link(&path, &holdup.node)) ": " (holdup) } } }
                (more(blocked_by.len()))
            }
            @if let Some((forecast, assumptions)) = forecast { (forecast_of(forecast, assumptions)) } @else if moves {
                p { a href={ (path) "?forecast=true" } { "How does it go on?" } }
            }
        }
        section {
            h2 { "Nodes" }
            @for (said, nodes) in explanation.groups() {
                h3 { (count(nodes.len(), "node")) ": " (said) }
                p class="quiet" {
                    @for (number, node) in nodes.iter().take(SHOWN).enumerate() {
                        @if number > 0 { ", " } (node_link(&path, &node.node))
                    }
                    @if nodes.len() > SHOWN { " and " (nodes.len() - SHOWN) " more" }
                }
            }
        }
        @if !explanation.claims.is_empty() { section {
            h2 { "Pods whose labels and controller do not say the same" }
            ul { @for claim in explanation.claims.iter().take(SHOWN) { li { (claim.pod) ": " (claim.reason) } } }
            (more(explanation.claims.len()))
        } }
        p class="quiet" { "For programs: " a href={ "/explain/" (daemonset.namespace) "/" (daemonset.name) } { "JSON" } }
    }
}

fn forecast_of(forecast: &Forecast, assumptions: &Assumptions) -> Markup {
    html! {
        h3 { "Forecast" }
        p { (sentence(forecast)) }
        p class="quiet" { "If " (assumptions) "." }
        @if !forecast.stuck.is_empty() {
            ul { @for stuck in forecast.stuck.iter().take(SHOWN) { li { (stuck.node) ": " (stuck.cause) } } }
            (more(forecast.stuck.len()))
        }
        @if !forecast.waves.is_empty() {
            div class="wide" { table {
                thead { tr {
                    th class="number" { "Begins" } th class="number" { "Ends" } th { "What" }
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

/// Everything about one node.
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
                h3 { "What would bring a pod here" }
                ul { @for remedy in &node.remedies { li { (remedy) } } }
            }
        }
        @if !node.pods.is_empty() { section {
            h2 { "Pods" }
            ul { @for pod in &node.pods { li {
                (pod.pod) ": " (pod.state)
                @if let Some(number) = pod.revision.number { ", revision " (number) }
                @if !pod.revision.is_current { ", not up to date" }
                @if let Some(deletion) = &pod.deletion { ", is deleted next: " (deletion) }
            } } }
        } }
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
    // Nothing is loaded, whatever names the cluster holds.
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

/// With a capital letter and a full stop.
fn sentence(text: &impl Display) -> String {
    let text = text.to_string();
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

/// In whole seconds, rounded up so that nobody looks too early.
fn span(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    format!("{:#}", jiff::SignedDuration::from_secs(seconds.try_into().unwrap_or(i64::MAX)))
}

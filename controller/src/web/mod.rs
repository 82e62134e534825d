//! Web pages, explanations as JSON, health checks and metrics; all read-only.

mod daemonset;
mod list;
mod live;
mod node;
mod parts;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use daemonplan::{
    Explanation, Key, OwnedSnapshot,
    explain::UpdateState,
    forecast::{Assumptions, Delay},
};
use serde::Deserialize;

use daemonset::one_daemonset;
use list::{Filter, list};
use live::{Page, respond, script};
use node::one_node;

use crate::{
    metrics::Metrics,
    shared::Shared,
    state::{KINDS, Moment},
};

/// How long the dispatcher may be silent before it counts as stuck.
const SILENCE: Duration = Duration::from_mins(1);

/// The largest number of nodes for which a page includes the forecast.
const MOST_NODES_UNASKED: usize = 1000;

/// Returns the router of all pages and endpoints.
pub fn site(shared: Arc<Shared>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/", get(all))
        .route("/daemonsets/{namespace}/{name}", get(page))
        .route("/explain/{namespace}/{name}", get(explain))
        .route("/page.js", get(script))
        .route("/metrics", get(move |State(shared): State<Arc<Shared>>| async move { numbers(&shared, &metrics) }))
        .route("/readyz", get(ready))
        .route("/healthz", get(health))
        .with_state(shared)
}

type Problem = (StatusCode, String);
type Answer = Result<Response, Problem>;

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

#[derive(Clone, Debug, Deserialize)]
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

fn known(shared: &Shared, namespace: &str, name: &str) -> Result<OwnedSnapshot, Problem> {
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
async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn all(State(shared): State<Arc<Shared>>, headers: HeaderMap, Query(filter): Query<Filter>) -> Answer {
    let state = Arc::clone(&shared);
    let render = move || {
        let page = list(&state.state(), &filter);
        async move { Ok(page) }
    };
    respond(&shared, &headers, render).await
}

async fn page(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path((namespace, name)): Path<(String, String)>,
    Query(question): Query<Question>,
) -> Answer {
    let state = Arc::clone(&shared);
    let render = move || rendered(Arc::clone(&state), Key::new(namespace.as_str(), name.as_str()), question.clone());
    respond(&shared, &headers, render).await
}

/// Renders the page of a DaemonSet, or of a node with its view of it.
async fn rendered(shared: Arc<Shared>, key: Key, question: Question) -> Result<Page, Problem> {
    let facts = known(&shared, &key.namespace, &key.name)?;
    let is_small = facts.nodes.len() <= MOST_NODES_UNASKED;
    let Question { node, forecast: requested } = question;
    let page = run_blocking(move || {
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
            // The scheduler's half needs the pods of all controllers, which the state keeps if it is asked to.
            let state = shared.state();
            (state.forecast(&facts, &assumptions), assumptions, state.keeps_scheduling())
        });
        Some(one_daemonset(&facts.daemonset, &explanation, forecast.as_ref(), moves))
    });
    page.await?.ok_or_else(|| (StatusCode::NOT_FOUND, "node not found\n".to_owned()))
}

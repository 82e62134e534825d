//! Pages, and the streams that keep them up to date.
//!
//! A page asks for itself again as a stream of events (`Accept: text/event-stream`), and replaces its changing part with what
//! comes. Without scripts it reloads.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{
        Html, IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use daemonplan::forecast::Chart;
use futures::Stream;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time,
};

use super::{Answer, Problem};
use crate::shared::Shared;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The least time between two versions of a page.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a page lasts without a change of the cluster: it tells times, too.
const LASTS: Duration = Duration::from_secs(10);

/// A page.
pub(super) struct Page {
    pub(super) title: String,
    /// The part that stays while the page is shown.
    pub(super) top: Markup,
    /// The part that changes.
    pub(super) live: Markup,
}

/// Answers with a page, or with a stream of its changing part if the client asks for that.
pub(super) async fn respond<F, R>(shared: &Shared, headers: &HeaderMap, render: F) -> Answer
where
    F: Fn() -> R + Send + 'static,
    R: Future<Output = Result<Page, Problem>> + Send + 'static,
{
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let page = render().await?;
    if !accepted.contains("text/event-stream") {
        return Ok(document(&page));
    }
    let busy = (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open\n".to_owned());
    let viewer = Arc::clone(&shared.viewers).try_acquire_owned().map_err(|_| busy)?;
    Ok(Sse::new(stream(shared.versions(), viewer, page, render)).keep_alive(KeepAlive::new()).into_response())
}

/// Sends the changing part whenever it has changed, and last that the page is gone.
fn stream<F, R>(
    mut versions: watch::Receiver<()>,
    viewer: OwnedSemaphorePermit,
    first: Page,
    render: F,
) -> impl Stream<Item = Result<Event, Infallible>> + use<F, R>
where
    F: Fn() -> R + Send + 'static,
    R: Future<Output = Result<Page, Problem>> + Send + 'static,
{
    async_stream::stream! {
        let _viewer = viewer;
        let (mut next, mut sent): (Result<Page, Problem>, _) = (Ok(first), String::new());
        loop {
            match next {
                Ok(page) if page.live.0 == sent => {}
                Ok(page) => {
                    sent = page.live.0;
                    yield Ok(event(&sent));
                }
                Err((_, problem)) => {
                    yield Ok(event(&html! { p class="bad" { (problem.trim_end()) } }.into_string()));
                    return;
                }
            }
            time::sleep(PAUSE).await;
            drop(time::timeout(LASTS, versions.changed()).await);
            next = render().await;
        }
    }
}

fn event(html: &str) -> Event {
    // An event cannot hold a carriage return, which HTML writes in this way, too.
    Event::default().data(html.replace('\r', "&#13;"))
}

/// The script of all pages.
pub(super) async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
}

fn document(page: &Page) -> Response {
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                noscript { meta http-equiv="refresh" content="10"; }
                title { (page.title) }
                style { (PreEscaped(STYLE)) (PreEscaped(Chart::STYLE)) }
                script src="/page.js" defer {}
            }
            body {
                (page.top)
                main id="live" tabindex="-1" { (page.live) }
                p id="connection" class="quiet" role="status" {}
            }
        }
    };
    // Names in the cluster are untrusted: allow no scripts but our own, and no loading from elsewhere.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; form-action 'self'; \
        base-uri 'none'; frame-ancestors 'none'";
    ([(HeaderName::from_static("content-security-policy"), policy)], Html(html.into_string())).into_response()
}

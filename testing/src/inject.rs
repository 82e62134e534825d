//! Lets requests meet the faults that are set.

use std::io;

use axum::{
    body::{Body, Bytes},
    http::{Method, StatusCode},
    response::Response,
};

use crate::{refusal::Refusal, store::Store, target::Target};

/// Decides which fault a request meets before it is done. Returns whether it gets no answer at all.
pub(crate) fn before(store: &mut Store, method: &Method, target: &Target) -> Result<bool, Refusal> {
    let injected = |code, reason| Err(Refusal::new(code, reason, "injected error"));
    let faults = store.faults.clone();
    let (reads, resource) = (*method == Method::GET, target.resource.name());
    if reads && faults.forbidden == Some(&*resource) {
        return injected(StatusCode::FORBIDDEN, "Forbidden");
    }
    let counts = !reads && !matches!(&*resource, "leases" | "events");
    if let Some(left) = store.faults.writes_left.as_mut().filter(|_| counts) {
        let hangs = *left == 0;
        *left = left.saturating_sub(1);
        return Ok(hangs);
    }
    if store.by_chance(faults.refused) {
        return injected(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    }
    if store.by_chance(faults.too_many) {
        return Err(Refusal::too_many("injected error", Some(1)));
    }
    if !reads && resource != "events" && store.by_chance(faults.conflict) {
        return Err(Refusal::conflict("injected error"));
    }
    Ok(false)
}

/// Decides which fault a write meets after it was done.
pub(crate) fn after_write(store: &mut Store, outcome: Result<Response, Refusal>) -> Result<Response, Refusal> {
    let (failed, dropped) = (store.faults.done_and_failed, store.faults.done_and_dropped);
    if store.by_chance(failed) {
        let message = "injected error, after it was done";
        return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message));
    }
    if store.by_chance(dropped) {
        let broken = futures::stream::once(async { Err::<Bytes, _>(io::Error::other("injected error")) });
        return Ok(Response::new(Body::from_stream(broken)));
    }
    outcome
}

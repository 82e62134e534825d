//! Answers requests.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    discovery::discover,
    form::Form,
    inject,
    list::list,
    refusal::{Refusal, reply},
    selection::Selection,
    shared::Shared,
    target::Target,
    watch::watch,
    write::write,
};

pub(crate) async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match respond(shared, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn respond(shared: Arc<Shared>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    if let Some(answer) = discover(&shared.store(), parts.uri.path()) {
        return Ok(reply(StatusCode::OK, answer.to_string()));
    }
    let found = Target::of(&shared.store(), &parts.uri);
    let target = found.ok_or_else(|| Refusal::not_found(format!("the resource at {}", parts.uri.path())))?;
    let query: HashMap<String, String> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    let body = axum::body::to_bytes(body, usize::MAX).await.map_err(|error| Refusal::bad_request(error.to_string()))?;
    if inject::before(&mut shared.store(), &parts.method, &target)? {
        return std::future::pending().await; // until the client is gone
    }
    let form = Form::of(&parts.headers);
    let is_set = |name: &str| query.get(name).is_some_and(|value| value != "false" && value != "0");
    if parts.method != Method::GET {
        if query.contains_key("dryRun") {
            return Err(Refusal::bad_request("this server has no dry runs"));
        }
        let media_type =
            parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let outcome = write(&mut shared.store(), &parts.method, &target, &query, media_type, &body);
        let response = outcome.map(|(code, object)| match object {
            Some(object) => reply(code, form.write(&target.resource, &object, false)),
            None => reply(code, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}).to_string()),
        });
        return inject::after_write(&mut shared.store(), response);
    }
    let selection = Selection::of(&target, &query)?;
    if is_set("watch") {
        return watch(shared, target.resource, selection, form, &query);
    }
    let Some(name) = &target.name else { return list(&shared.store(), &target.resource, &selection, form, &query) };
    let mut store = shared.store();
    store.reads += usize::from(target.resource.kind != "Lease");
    let id = target.id(name);
    let object = store.get(&id).ok_or_else(|| Refusal::not_found(&id))?;
    Ok(reply(StatusCode::OK, form.write(&target.resource, object, false)))
}

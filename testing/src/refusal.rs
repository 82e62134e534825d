//! Errors as the API server says them.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// An error of the API server, as it says it.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: StatusCode,
    reason: &'static str,
    message: String,
    details: Value,
}

impl Refusal {
    pub(crate) fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", message)
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{what} not found"))
    }

    pub(crate) fn expired() -> Self {
        Self::new(StatusCode::GONE, "Expired", "too old resource version")
    }

    pub(crate) fn too_many(message: impl Into<String>, seconds: Option<u64>) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        let details = seconds.map_or(Value::Null, |seconds| json!({"retryAfterSeconds": seconds}));
        Self { details, ..refusal }
    }

    /// A creation in a namespace that is being deleted.
    pub(crate) fn terminating(namespace: &str) -> Self {
        let message = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let details =
            json!({"causes": [{"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}]});
        Self { details, ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message) }
    }

    /// Returns the `Status` object.
    pub(crate) fn status(&self) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": self.code.as_u16(),
            "reason": self.reason, "message": self.message, "details": self.details})
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        reply(self.code, self.status().to_string())
    }
}

pub(crate) fn reply(code: StatusCode, body: String) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

//! Client for the API server, with typed refusals.

use std::{error::Error, fmt, time::Duration};

use daemonplan::{
    Key, Kind,
    model::{ControllerRevision, DaemonSet, Pod},
};
use http::{Method, Request};
use kube::{Client, Resource};
use serde::{Deserialize, de::DeserializeOwned, de::IgnoredAny};
use serde_json::{Value, json};

use crate::watched::Watched;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The API server rejected the request; nothing was written.
    #[error("{code} {reason}: {message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// The `reason` of the response, such as `NotFound`.
        reason: String,
        /// The human-readable message.
        message: String,
        /// Whether the namespace is being deleted, so nothing can be created in it.
        terminating: bool,
        /// How long to wait before the next attempt, if the API server says so.
        retry_after: Option<Duration>,
    },
    /// The API server failed. The write may have been done; reading the object tells.
    #[error("{0}")]
    Failed(String),
    /// No response. The write may have been done, or may still be done.
    #[error("no response: {0}")]
    Unanswered(String),
    /// Another object has the name; nothing was written.
    #[error("{0}")]
    NameTaken(String),
    /// The object is no longer as it was when the plan was made.
    #[error("{0}")]
    Changed(String),
    /// Not written: this replica is no longer the leader, or is shutting down.
    #[error("not written: no longer the leader, or shutting down")]
    Stopped,
}

impl Refusal {
    /// Returns the HTTP status, or a word for a request without one.
    pub fn code(&self) -> String {
        match self {
            Self::Refused { code, .. } => code.to_string(),
            Self::Failed(_) => "5xx".to_owned(),
            Self::Unanswered(_) => "unanswered".to_owned(),
            Self::NameTaken(_) => "name taken".to_owned(),
            Self::Changed(_) => "changed".to_owned(),
            Self::Stopped => "stopped".to_owned(),
        }
    }

    pub(crate) fn is(&self, status: u16) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == status)
    }

    pub(crate) fn is_terminating(&self) -> bool {
        matches!(self, Self::Refused { terminating: true, .. })
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        match error {
            // A gateway or the API server timed out: the write may still be done.
            kube::Error::Api(status) if status.code == 504 => Self::Unanswered(status.message.clone()),
            kube::Error::Api(status) if status.code >= 500 && status.code != 503 => {
                Self::Failed(status.message.clone())
            }
            kube::Error::Api(status) => {
                let details = status.details.as_ref();
                let causes = details.into_iter().flat_map(|details| &details.causes);
                let seconds = details.map_or(0, |details| details.retry_after_seconds);
                Self::Refused {
                    code: status.code,
                    reason: status.reason.clone(),
                    message: status.message.clone(),
                    terminating: causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating"),
                    retry_after: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
                }
            }
            other => Self::Unanswered(reasons(&other)),
        }
    }
}

/// Formats an error and its sources in one line.
pub fn reasons(error: &(dyn Error + 'static)) -> String {
    let mut messages: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let refusal = match error.downcast_ref() {
            Some(kube::Error::Api(status)) => Some(status),
            _ => None,
        };
        let text = match refusal {
            Some(status) => format!("{} {}: {}", status.code, status.reason, status.message),
            // kube appends the whole response, which the next source repeats in fewer words.
            None => error.to_string().split(": ApiError").next().unwrap_or_default().to_owned(),
        };
        // Some errors already contain their source's text.
        if !messages.iter().any(|before| before.contains(&text)) {
            messages.push(text);
        }
        next = error.source().filter(|_| refusal.is_none());
    }
    messages.join(": ")
}

/// The response to a write: the object's new version.
#[derive(Debug, Deserialize)]
pub struct Written {
    metadata: WrittenMeta,
}

#[derive(Debug, Deserialize)]
struct WrittenMeta {
    #[serde(default, rename = "resourceVersion")]
    version: String,
}

impl Written {
    /// The response to a write that left this version.
    pub fn new(version: String) -> Self {
        Self { metadata: WrittenMeta { version } }
    }

    /// Returns `metadata.resourceVersion`.
    pub fn version(&self) -> &str {
        &self.metadata.version
    }
}

/// The media type of patches that merge lists by their merge keys, such as owner references by uid.
const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";

/// Asks for the metadata alone in the response to a write.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json";

/// A client for the API server whose calls all end within a time limit.
#[derive(Clone)]
pub struct Server {
    client: Client,
    limit: Duration,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Server {
    /// Creates a client whose requests time out after `limit`.
    pub fn new(client: Client, limit: Duration) -> Self {
        Self { client, limit }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// If the API server rejects the request or cannot be reached.
    pub async fn get<T: DeserializeOwned>(&self, kind: Kind, key: &Key) -> Result<T, Refusal> {
        self.send(Method::GET, path(kind, key), None, String::new()).await
    }

    /// Creates an object.
    ///
    /// # Errors
    /// If the API server rejects the request or cannot be reached.
    pub async fn create(&self, kind: Kind, namespace: &str, manifest: String) -> Result<Written, Refusal> {
        self.send(Method::POST, collection(kind, namespace), Some("application/json"), manifest).await
    }

    /// Patches an object.
    ///
    /// # Errors
    /// If the API server rejects the request or cannot be reached.
    pub async fn patch(&self, kind: Kind, key: &Key, patch: &Value) -> Result<Written, Refusal> {
        self.send(Method::PATCH, path(kind, key), Some(STRATEGIC_MERGE_PATCH), patch.to_string()).await
    }

    /// Applies a strategic merge patch to an object's `status` subresource.
    ///
    /// # Errors
    /// If the API server rejects the request or cannot be reached.
    pub async fn patch_status(&self, kind: Kind, key: &Key, patch: &Value) -> Result<Written, Refusal> {
        let subresource = path(kind, key) + "/status";
        self.send(Method::PATCH, subresource, Some(STRATEGIC_MERGE_PATCH), patch.to_string()).await
    }

    /// Deletes an object if its uid and version still match; with `at_once`, without its grace period.
    ///
    /// # Errors
    /// If the API server rejects the request or cannot be reached.
    pub async fn delete(&self, kind: Kind, key: &Key, uid: &str, version: &str, at_once: bool) -> Result<(), Refusal> {
        let preconditions = json!({"uid": uid, "resourceVersion": version});
        let grace = at_once.then_some(0);
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions,
            "gracePeriodSeconds": grace});
        let path = path(kind, key);
        self.send::<IgnoredAny>(Method::DELETE, path, Some("application/json"), options.to_string()).await.map(drop)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        media_type: Option<&'static str>,
        body: String,
    ) -> Result<T, Refusal> {
        let accept = if method == Method::GET { "application/json" } else { METADATA_ONLY };
        let mut request = Request::builder().method(method).uri(path).header(http::header::ACCEPT, accept);
        if let Some(media_type) = media_type {
            request = request.header(http::header::CONTENT_TYPE, media_type);
        }
        let request = request.body(body.into_bytes()).map_err(|error| Refusal::Changed(error.to_string()))?;
        match tokio::time::timeout(self.limit, self.client.request(request)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Refusal::Unanswered(format!("timed out after {:?}", self.limit))),
        }
    }
}

fn collection(kind: Kind, namespace: &str) -> String {
    match kind {
        Kind::DaemonSet => Watched::<DaemonSet>::url_path(&(), Some(namespace)),
        Kind::ControllerRevision => Watched::<ControllerRevision>::url_path(&(), Some(namespace)),
        // No other kind but pods is ever written.
        _ => Watched::<Pod>::url_path(&(), Some(namespace)),
    }
}

fn path(kind: Kind, key: &Key) -> String {
    format!("{}/{}", collection(kind, &key.namespace), key.name)
}

#[cfg(test)]
mod tests {
    use kube::{core::Status, runtime::watcher};

    use super::*;

    fn refused(code: u16) -> kube::Error {
        kube::Error::Api(Status::failure("too old", "Expired").with_code(code).boxed())
    }

    #[test]
    fn reasons_are_one_line_without_repetition() {
        let error = watcher::Error::WatchStartFailed(refused(410));
        assert_eq!(reasons(&error), "failed to start watching object: 410 Expired: too old");
    }

    #[test]
    fn the_response_tells_whether_the_write_may_have_been_done() {
        let kind = |code| match Refusal::from(refused(code)) {
            Refusal::Refused { .. } => "not done",
            Refusal::Failed(_) => "unknown",
            Refusal::Unanswered(_) => "maybe later",
            other => panic!("{other}"),
        };
        assert_eq!([403, 409, 429, 503].map(kind), ["not done"; 4]);
        assert_eq!([500, 502, 504].map(kind), ["unknown", "unknown", "maybe later"]);
    }
}

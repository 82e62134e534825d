//! The server: its address, its clients, and its store.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle, time};

use crate::{
    http,
    id::Id,
    shared::{Guard, Shared},
    store::Store,
};

/// An API server in memory that speaks HTTP on a port of its own on the loopback address.
///
/// Clones are handles of the same server, which ends with the last one.
#[derive(Clone, Debug)]
pub struct Server {
    pub(crate) shared: Arc<Shared>,
    address: SocketAddr,
    _listens: Arc<Listening>,
}

#[derive(Debug)]
struct Listening(AbortHandle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    /// Starts a server without any object, on the current Tokio runtime.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> io::Result<Self> {
        Self::with_seed(1).await
    }

    /// As [`start`](Self::start), with a seed for the chances of the [`Faults`](crate::Faults).
    ///
    /// # Errors
    /// If no port is free.
    pub async fn with_seed(seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let store = Store::new(seed);
        let shared = Arc::new(Shared::new(store));
        let router = Router::new().fallback(http::answer).with_state(Arc::clone(&shared));
        let listening = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { shared, address, _listens: Arc::new(Listening(listening.abort_handle())) })
    }

    /// Locks the store, to read it or change it as other parts of the cluster do. Dropping the guard notifies watches.
    ///
    /// Hold one guard at a time: a second one in the same thread waits for ever.
    pub fn store(&self) -> Guard<'_> {
        self.shared.store()
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the configuration of a client that retries nothing by itself.
    ///
    /// # Errors
    /// Never for an address that the server listens on.
    pub fn config(&self) -> Result<kube::Config, axum::http::uri::InvalidUri> {
        let mut config = kube::Config::new(format!("http://{}", self.address).parse()?);
        config.default_retry = false;
        Ok(config)
    }

    /// Returns a client.
    ///
    /// # Errors
    /// Never for an address that the server listens on.
    pub fn client(&self) -> kube::Result<kube::Client> {
        let config = self
            .config()
            .map_err(|error| kube::Error::BuildRequest(kube::core::request::Error::BuildRequest(error.into())))?;
        kube::Client::try_from(config)
    }

    /// Returns a kubeconfig, for programs in other processes.
    pub fn kubeconfig(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{}", self.address)}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": {}}]})
    }

    /// Waits until the store satisfies `holds`. Returns whether it did within `limit`.
    pub async fn wait_for(&self, limit: Duration, mut holds: impl FnMut(&Store) -> bool) -> bool {
        let mut version = self.shared.version.subscribe();
        let end = time::Instant::now() + limit;
        loop {
            if holds(&self.store()) {
                return true;
            }
            // The server is borrowed: its sender cannot be gone.
            if time::timeout_at(end, version.changed()).await.is_err() {
                return holds(&self.store());
            }
        }
    }

    /// Waits until nothing is `wrong` and no write over HTTP to an object that `counts` has come for `rest`.
    ///
    /// # Errors
    /// What is wrong after `limit`, or that writes never stop.
    pub async fn settle(
        &self,
        limit: Duration,
        rest: Duration,
        counts: impl Fn(&Id) -> bool,
        wrong: impl Fn(&Store) -> Option<String>,
    ) -> Result<(), String> {
        let end = Instant::now() + limit;
        let mut resting: Option<(Instant, usize)> = None;
        loop {
            let (state, writes) = {
                let store = self.store();
                (wrong(&store), store.writes.iter().filter(|write| counts(&write.id)).count())
            };
            match (state, resting) {
                (None, Some((since, before))) if before == writes => {
                    if since.elapsed() >= rest {
                        return Ok(());
                    }
                }
                (None, _) if Instant::now() > end + rest * 2 => return Err("writes never stop".to_owned()),
                (None, _) => resting = Some((Instant::now(), writes)),
                (Some(wrong), _) if Instant::now() > end => return Err(format!("not settled in {limit:?}: {wrong}")),
                (Some(_), _) => resting = None,
            }
            time::sleep(Duration::from_millis(5)).await;
        }
    }
}

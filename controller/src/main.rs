//! The controller's executable: flags, logging, signals.

use anyhow::Context;
use clap::Parser;
use daemonplan_controller::{config::Config, controller::Controller};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_subscriber::EnvFilter;

/// The default of `RUST_LOG`. Callers log failed requests and watches, because they know the purpose.
const LOGGED: &str = "info,kube_client::client::builder=off,kube_runtime::watcher=error";

/// One thread: requests and events are many and short, and waking another thread costs more than most of them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if config.log_json {
        log.json().init();
    } else {
        log.init();
    }
    drop(config.settings()?); // fail before the first request
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn({
        let stop = stop.clone();
        async move {
            tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
            info!("shutting down");
            stop.cancel();
        }
    });
    let client = client(&config)
        .await
        .context("failed to load the cluster configuration: expected a kubeconfig file or a pod's service account")?;
    let controller = Controller::new(config, client).await?;
    info!(page = %format_args!("http://{}/", controller.address()?), "started");
    controller.run(stop).await
}

async fn client(config: &Config) -> anyhow::Result<kube::Client> {
    let options = KubeConfigOptions { context: config.context.clone(), ..KubeConfigOptions::default() };
    let mut found = match &config.kubeconfig {
        Some(file) => kube::Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &options).await?,
        None if config.context.is_some() => kube::Config::from_kubeconfig(&options).await?,
        None => kube::Config::infer().await?,
    };
    // The controller decides what to retry, and when.
    found.default_retry = false;
    Ok(kube::Client::try_from(found)?)
}

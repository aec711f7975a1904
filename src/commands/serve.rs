//! `manylens serve`: the process around a server, with its runtime and its signals.

use std::process::ExitCode;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use super::Error;
use crate::app::{Server, Stop};
use crate::backbone::{self, LoadOptions};
use crate::config::Settings;
use crate::telemetry;

/// Threads that speak HTTP. They parse and write; pictures are decoded and batches run elsewhere, on threads that have
/// settings of their own, and want the cores for themselves.
const HTTP_THREADS: usize = 2;
/// Threads for what blocks: base64, versions that are read, and a few management calls at once (http/lanes.rs).
const BLOCKING_THREADS: usize = 32;

/// Serves until SIGTERM or Ctrl-C. Variables of the environment that mean nothing are named in one warning.
pub fn run(settings: Settings, unknown_variables: &[String]) -> Result<ExitCode, Error> {
    telemetry::init(settings.telemetry.log_format, settings.telemetry.log_level);
    if !unknown_variables.is_empty() {
        warn!(variables = unknown_variables.join(", "), "these variables mean nothing to manylens");
    }
    let options = LoadOptions { heads: settings.model.heads, layer_norm_eps: settings.model.layer_norm_eps };
    let loaded = backbone::load(&settings.model.backbone, &options)?;
    let server = Server::open(settings, loaded.backbone, loaded.weights)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(HTTP_THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("http")
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let ended = runtime.block_on(serve(server));
    // Blocking calls that nobody waits for any more are left behind, also when the engine died.
    runtime.shutdown_background();
    ended?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(server: Server) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    let hangups = signal(SignalKind::hangup()).map_err(Error::Runtime)?;
    tokio::spawn(on_each(hangups, server.key_reloader()));
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => Stop::AfterDelay,
            _ = interrupt.recv() => Stop::AtOnce,
        }
    };
    Ok(server.run(stop, || ()).await?)
}

/// Reads the key files again on SIGHUP.
async fn on_each(mut hangups: Signal, reload: impl Fn()) {
    while hangups.recv().await.is_some() {
        reload();
    }
}

//! Builds the server from its settings and runs it to its end.
#![forbid(unsafe_code)]

use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info, warn};

use crate::backbone::{Backbone, Weights};
use crate::config::{KeyFileError, Settings, Shutdown};
use crate::engine::{self, Backend, Description, EngineError};
use crate::http::{self, BindError, Closing, Face, Keyring, Listener, Management};
use crate::memory;
use crate::metrics::Metrics;
use crate::registry::{
    FOLLOW_INTERVAL, ManageError, Manager, Parts, StoreError, TaskName, TaskNameError, UploadOptions,
};
use crate::serving::Serving;

/// A change that is in progress may hold the data folder for longer; the server's end does not wait for it.
const STEP_DOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// After the limit, for answers that say that there is none.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(1);
/// Hexadecimal digits of a fingerprint that tell backbones apart for people.
const FINGERPRINT_DIGITS: usize = 12;

/// Why the server did not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address is taken or not ours.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A key file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The engine did not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder or file of `--adapters` cannot be read.
    #[error("{}: {source}", path.display())]
    Adapters {
        /// The folder or file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Files of `--adapters` that are refused: all of them, so that one start tells everything.
    #[error("--adapters: mend these files or take them away:\n{}", lines(.0))]
    RefusedAdapters(Vec<(PathBuf, RefusedAdapter)>),
    /// The engine died while serving, and once more after it was started again.
    #[error("the engine is dead: {0}")]
    EngineDied(String),
}

/// Why a file of `--adapters` is refused.
#[derive(Debug, thiserror::Error)]
pub enum RefusedAdapter {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its name is no task name.
    #[error(transparent)]
    Name(#[from] TaskNameError),
    /// What it says cannot be served here.
    #[error(transparent)]
    Upload(#[from] ManageError),
}

fn lines(refused: &[(PathBuf, RefusedAdapter)]) -> String {
    let line = |(path, why): &(PathBuf, RefusedAdapter)| format!("  {}: {why}", path.display());
    refused.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A server whose addresses are taken and whose tasks are loaded. Nobody can connect until it runs.
pub struct Server {
    http: http::App,
    manager: Arc<Manager>,
    serving: Arc<Serving>,
    listeners: Listeners,
    shutdown: Shutdown,
}

/// Addresses that are ours.
struct Listeners {
    api: Listener,
    management: Option<Listener>,
}

impl Listeners {
    fn bind(settings: &Settings) -> Result<Self, BindError> {
        let network = &settings.network;
        let management = network.admin_listen.map(Listener::bind).transpose()?;
        Ok(Self { api: Listener::bind(network.listen)?, management })
    }
}

impl Server {
    /// Takes the addresses, then starts the engine, opens the store and loads its tasks. Blocks.
    pub fn open(settings: Settings, backbone: Backbone, weights: Weights) -> Result<Self, AppError> {
        let listeners = Listeners::bind(&settings)?;
        let backbone = Arc::new(backbone);
        let backend = engine::open(settings.model.engine, backbone.clone(), weights, &settings.model.engine_settings)?;
        memory::give_back_freed();
        Self::assemble(settings, listeners, backbone, backend)
    }

    /// The same over an engine that is there already.
    pub fn open_on(settings: Settings, backbone: Backbone, backend: Arc<dyn Backend>) -> Result<Self, AppError> {
        let listeners = Listeners::bind(&settings)?;
        Self::assemble(settings, listeners, Arc::new(backbone), backend)
    }

    fn assemble(
        settings: Settings,
        listeners: Listeners,
        backbone: Arc<Backbone>,
        backend: Arc<dyn Backend>,
    ) -> Result<Self, AppError> {
        let Settings { model, store, network, keys, requests, serving, telemetry, shutdown } = settings;
        let keys = Keyring::load(&keys)?;
        let metrics = Arc::new(Metrics::new(telemetry.task_histograms));
        let (description, fingerprint) = (backend.describe(), backbone.fingerprint.0.clone());
        metrics.set_build_info(&description, &fingerprint);
        metrics.watch(backend.device());
        let threads = Threads { engine: model.engine_settings.threads, decode: serving.decode_threads };
        let inactive_max = serving.rows_max;
        let serving = Arc::new(Serving::start(backend.clone(), serving, metrics.clone())?);
        let adapter_bytes_max = usize::try_from(store.limits.adapter_bytes_max).unwrap_or(usize::MAX);
        let parts = Parts {
            backbone,
            backend,
            prober: serving.clone(),
            metrics: metrics.clone(),
            tokens_max: model.tokens_max,
            limits: store.limits,
        };
        let manager = Arc::new(Manager::open(&store.data_dir, parts)?);
        if let Some(folder) = store.adapters {
            add_missing(&manager, &folder)?;
        }
        let http = http::App::new(http::Shared {
            manager: manager.clone(),
            serving: serving.clone(),
            metrics,
            keys,
            requests,
            network,
            lanes: http::Lanes::new(inactive_max),
            adapter_bytes_max,
            access_log: telemetry.access_log,
            draining: AtomicBool::new(false),
        });
        let management = http.management(listeners.management.as_ref().unwrap_or(&listeners.api).address());
        announce(&description, threads, &fingerprint, &manager, management);
        Ok(Self { http, manager, serving, listeners, shutdown })
    }

    /// Address of the API.
    pub fn address(&self) -> SocketAddr {
        self.listeners.api.address()
    }

    /// Address of management, when it has a listener of its own.
    pub fn management_address(&self) -> Option<SocketAddr> {
        self.listeners.management.as_ref().map(Listener::address)
    }

    /// Reads the key files again. A file that cannot be used leaves its keys as they were, and is logged.
    pub fn key_reloader(&self) -> impl Fn() + Send + use<> {
        let http = self.http.clone();
        move || match http.keys.reload() {
            Ok(()) => info!("keys were read again"),
            Err(error) => error!(%error, "keys stay as they were"),
        }
    }

    /// Serves until `stop`, then lets what is in flight end. `listening` is called once clients can connect. An error
    /// says that the engine died.
    pub async fn run(self, stop: impl Future<Output = Stop>, listening: impl FnOnce()) -> Result<(), AppError> {
        let Self { http, manager, serving, listeners: Listeners { api, management }, shutdown } = self;
        let (close, closed) = watch::channel(());
        let face = if management.is_some() { Face::Api } else { Face::Both };
        let mut listeners = vec![spawn(&http, api, face, closed.clone())?];
        if let Some(management) = management {
            listeners.push(spawn(&http, management, Face::Management, closed)?);
        }
        listening();
        let follow = tokio::spawn(follow(manager.clone()));
        let ended = tokio::select! {
            reason = serving.died() => Err(AppError::EngineDied(reason)),
            stop = stop => {
                http.start_draining();
                // A process that waits for the data folder takes over while this one still answers.
                step_down(manager).await;
                let delay = if stop == Stop::AtOnce { Duration::ZERO } else { shutdown.delay };
                info!(delay_ms = delay.as_millis() as u64, "shutting down");
                sleep(delay).await;
                Ok(())
            }
        };
        follow.abort();
        drop(close);
        end(listeners, &serving, shutdown.timeout).await;
        ended
    }
}

/// Threads that compute.
struct Threads {
    engine: usize,
    decode: usize,
}

/// Says once what this server is.
fn announce(description: &Description, threads: Threads, fingerprint: &str, manager: &Manager, management: Management) {
    let tasks = manager.registry().all();
    let unfit_tasks = tasks.iter().filter(|(_, version)| version.is_err()).count();
    info!(
        engine = description.engine,
        precision = description.precision,
        kernel = description.kernel,
        engine_threads = threads.engine,
        decode_threads = threads.decode,
        backbone = fingerprint.get(.."sha256:".len() + FINGERPRINT_DIGITS).unwrap_or(fingerprint),
        tasks = tasks.len() - unfit_tasks,
        unfit_tasks,
        management = management.as_str(),
        "loaded"
    );
    if management == Management::Off {
        warn!("management is off: there is no admin key, and the listener is not a loopback one");
    }
}

/// On a thread of its own: those for management calls may all be taken by calls that wait for the folder.
async fn step_down(manager: Arc<Manager>) {
    let (done, stepped_down) = oneshot::channel();
    let work = move || {
        manager.step_down();
        // The receiver is gone when this took too long.
        let _ = done.send(());
    };
    // A thread that cannot be started drops `done`.
    let _ = std::thread::Builder::new().name("manylens-step-down".into()).spawn(work);
    if !matches!(timeout(STEP_DOWN_TIMEOUT, stepped_down).await, Ok(Ok(()))) {
        warn!("the data folder is still in use; another process gets it when this one has ended");
    }
}

/// How a server is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Requests are accepted for the delay, so that whoever routes them here can learn of it.
    AfterDelay,
    /// Nobody routes requests here.
    AtOnce,
}

fn spawn(
    http: &http::App,
    listener: Listener,
    face: Face,
    mut closed: watch::Receiver<()>,
) -> Result<tokio::task::JoinHandle<Closing>, AppError> {
    let (address, open) = (listener.address(), listener.listen()?);
    info!(%address, "listening");
    // The sender sends nothing: it is dropped when the listener is to close.
    let stop = async move { while closed.changed().await.is_ok() {} };
    Ok(tokio::spawn(open.serve(http::router(http, face), http.network.clone(), stop)))
}

/// Waits for what is in flight, but not for ever.
async fn end(listeners: Vec<tokio::task::JoinHandle<Closing>>, serving: &Serving, limit: Duration) {
    let connections = async {
        for listener in listeners {
            if let Ok(closing) = listener.await {
                closing.closed().await;
            }
        }
    };
    tokio::pin!(connections);
    let begun = Instant::now();
    // Requests whose bodies still arrive will want the engine, so it ends last.
    let in_time = timeout(limit, &mut connections).await.is_ok();
    // What it still holds at the limit is answered with an error.
    let drained = serving.drain(limit.saturating_sub(begun.elapsed())).await;
    if !in_time {
        let _ = timeout(LAST_ANSWERS_TIMEOUT, connections).await;
    }
    if !in_time || !drained {
        warn!(limit_ms = limit.as_millis() as u64, "ended with requests in flight");
    }
}

/// In a read-only process: takes over what the writer changes, and its place.
async fn follow(manager: Arc<Manager>) {
    let mut ticks = interval(FOLLOW_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let manager = manager.clone();
        if tokio::task::spawn_blocking(move || manager.follow()).await.is_err() {
            warn!("following the data folder failed");
        }
    }
}

/// Uploads the folder's `<task>.safetensors` of every task that the store does not have.
fn add_missing(manager: &Manager, folder: &Path) -> Result<(), AppError> {
    if !manager.is_writer() {
        info!("another process manages the data folder; --adapters is left to it");
        return Ok(());
    }
    let add = |path: PathBuf| add(manager, &path).err().map(|why| (path, why));
    let refused: Vec<_> = adapter_files(folder)?.into_iter().filter_map(add).collect();
    if refused.is_empty() { Ok(()) } else { Err(AppError::RefusedAdapters(refused)) }
}

/// What an operator deleted stays deleted.
fn add(manager: &Manager, path: &Path) -> Result<(), RefusedAdapter> {
    let task = TaskName::parse(&path.file_stem().unwrap_or_default().to_string_lossy())?;
    if manager.registry().contains(&task) {
        return Ok(());
    }
    if manager.was_deleted(&task) {
        info!(%task, "was deleted here, so --adapters leaves it out; upload it to have it again");
        return Ok(());
    }
    manager.upload(&task, &fs::read(path)?, &UploadOptions::default())?;
    info!(%task, "added");
    Ok(())
}

/// In name order.
fn adapter_files(folder: &Path) -> Result<Vec<PathBuf>, AppError> {
    let error = |source| AppError::Adapters { path: folder.into(), source };
    let entries = fs::read_dir(folder).map_err(error)?.collect::<Result<Vec<_>, _>>().map_err(error)?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    Ok(files)
}

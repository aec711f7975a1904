//! The HTTP face: routes, wire types, status codes. Only `app` imports it.
//!
//! A request passes `observe` (id, error body, log line), `drain`, its route's `guard` (keys), and its handler; the
//! handler reserves bytes before it reads the body, and rows before it hands pictures on.
#![forbid(unsafe_code)]

mod access;
mod classify;
mod counted;
mod docs;
mod drain;
mod encoded;
mod error;
mod faults;
mod health;
mod json;
mod keys;
mod lanes;
mod observe;
mod params;
mod pictures;
mod receive;
mod router;
mod server;
mod tasks;
mod timed;
mod trace;
mod wire;

pub use error::ErrorType;
pub use keys::Keyring;
pub use lanes::Lanes;
pub use router::{Face, router};
pub use server::{BindError, Closing, Listener, Open};

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::{AccessLog, Network, Requests};
use crate::metrics::Metrics;
use crate::registry::{Manager, Registry, TaskName, Version};
use crate::serving::Serving;
use error::ApiError;
use keys::Role;

/// What handlers share. Cloning is cheap.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// The parts of [`App`].
pub struct Shared {
    /// Changes.
    pub manager: Arc<Manager>,
    /// Answers.
    pub serving: Arc<Serving>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Who may call.
    pub keys: Keyring,
    /// What one request may ask for.
    pub requests: Requests,
    /// Timeouts.
    pub network: Network,
    /// Bounds on calls that block.
    pub lanes: Lanes,
    /// Bytes of one adapter file.
    pub adapter_bytes_max: usize,
    /// Which requests get a line.
    pub access_log: AccessLog,
    /// Set once the server was told to end.
    pub draining: AtomicBool,
}

/// Who may manage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Management {
    /// Whoever has an admin key.
    Keyed,
    /// Plain callers on this machine.
    Loopback,
    /// Nobody.
    Off,
}

impl Management {
    /// The word of the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keyed => "keyed",
            Self::Loopback => "loopback",
            Self::Off => "off",
        }
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// Shares the parts.
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// Who may manage through a listener that is bound to this address.
    pub fn management(&self, address: SocketAddr) -> Management {
        match (self.keys.has(Role::Admin), address.ip().to_canonical().is_loopback()) {
            (true, _) => Management::Keyed,
            (false, true) => Management::Loopback,
            (false, false) => Management::Off,
        }
    }

    /// `/readyz` answers 503 from now on.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn registry(&self) -> &Registry {
        self.manager.registry()
    }

    /// Runs a management call where blocking is allowed. Once begun it runs to its end even when the client leaves.
    async fn run<T: Send + 'static>(&self, call: impl FnOnce(&Manager) -> T + Send + 'static) -> Result<T, ApiError> {
        let manager = self.manager.clone();
        let place = self.lanes.management.acquire().await;
        let done = off_runtime(move || call(&manager)).await;
        drop(place);
        done
    }

    /// The version of that number, which may have to be read.
    async fn load(&self, task: TaskName, number: u64) -> Result<Arc<Version>, ApiError> {
        if let Some(version) = self.manager.resident(&task, number) {
            return Ok(version);
        }
        let manager = self.manager.clone();
        let place = self.lanes.loads.acquire().await;
        let loaded = off_runtime(move || manager.load_version(&task, number)).await;
        drop(place);
        Ok(loaded??)
    }

    /// The same for a call that can fail.
    async fn blocking<T, E>(&self, call: impl FnOnce(&Manager) -> Result<T, E> + Send + 'static) -> Result<T, ApiError>
    where
        T: Send + 'static,
        E: Into<ApiError> + Send + 'static,
    {
        self.run(call).await?.map_err(Into::into)
    }
}

/// Runs what takes long where blocking is allowed.
async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let failed = |_| ApiError::new(ErrorType::Internal, "the server failed; please report it with the request's id");
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

mod change;
mod follow;
mod list;
mod load;
mod loader;
mod upload;
mod validate;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use follow::FOLLOW_INTERVAL;
pub use upload::{UploadOptions, Uploaded};
pub use validate::ValidationReport;

use super::cache::Cache;
use super::live::Slot;
use super::store::Store;
use super::{Limits, LookupError, ManageError, ProbeFailure, Probed, Registry, StoreError, TaskName, etag};
use crate::adapter::Probe;
use crate::backbone::Backbone;
use crate::engine::{Backend, Lens};
use crate::image::Pixels;
use crate::metrics::Metrics;
use loader::{Loader, Stored};

/// Runs an adapter's probe on the serving engine, in turn with the requests.
pub trait Prober: Send + Sync {
    /// Logits `[pictures][classes]`, before the temperature. Blocks.
    fn logits(&self, lens: &Lens, pictures: &[Pixels]) -> Result<Vec<Vec<f32>>, ProbeFailure>;
}

/// What a manager works with.
pub struct Parts {
    /// The backbone that is served.
    pub backbone: Arc<Backbone>,
    /// The serving engine.
    pub backend: Arc<dyn Backend>,
    /// Runs probes on it.
    pub prober: Arc<dyn Prober>,
    /// Where uploads and resident adapters are counted.
    pub metrics: Arc<Metrics>,
    /// Tokens that a picture may have.
    pub tokens_max: usize,
    /// What the store may hold.
    pub limits: Limits,
}

/// Every change to the store and the registry. Its methods block: call them where blocking is allowed.
///
/// Reading, preparing and probing a file need no lock, so uploads overlap there; checking against what is there,
/// storing and publishing happen under the store's lock, so what is published is what was stored last.
pub struct Manager {
    loader: Loader,
    prober: Arc<dyn Prober>,
    metrics: Arc<Metrics>,
    limits: Limits,
    registry: Arc<Registry>,
    cache: Cache,
    /// Held while an inactive version is loaded, so that callers of one version load it once and memory stays bounded.
    loading: Mutex<()>,
    store: Mutex<Store>,
    /// The last failure of following, so that it is logged once and not four times a second.
    follow_failure: Mutex<Option<String>>,
}

impl Manager {
    /// Opens the data folder, loads every active version, and publishes them. A folder that another process manages
    /// is served read-only.
    pub fn open(folder: &Path, parts: Parts) -> Result<Self, StoreError> {
        let Parts { backbone, backend, prober, metrics, tokens_max, limits } = parts;
        let manager = Self {
            loader: Loader::new(backbone, backend, tokens_max),
            prober,
            metrics,
            registry: Arc::default(),
            cache: Cache::new(limits.cached_bytes_max),
            limits,
            loading: Mutex::default(),
            store: Mutex::new(Store::open(folder)?),
            follow_failure: Mutex::default(),
        };
        let mut store = manager.store();
        if !store.is_writer() {
            tracing::warn!(folder = %folder.display(), "another process manages the data folder; serving read-only");
        }
        manager.reload_all(&mut store);
        drop(store);
        Ok(manager)
    }

    /// What requests read.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Whether this process may change the data folder.
    pub fn is_writer(&self) -> bool {
        self.store().is_writer()
    }

    /// Whether there was a task of that name that an operator deleted.
    pub fn was_deleted(&self, task: &TaskName) -> bool {
        self.store().was_deleted(task)
    }

    /// Memory follows disk in every change, so what a panic leaves is whole.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writable(&self) -> Result<MutexGuard<'_, Store>, ManageError> {
        let store = self.store();
        match (store.is_writer(), store.has_stepped_down()) {
            (true, _) => Ok(store),
            (false, true) => Err(ManageError::Ending),
            (false, false) => Err(ManageError::ReadOnly),
        }
    }

    /// Puts what a task answers with in place; `None` when the task is gone. Its counters exist before it does.
    fn publish(&self, task: &TaskName, slot: Option<Slot>) {
        let name = task.as_str();
        let former = self.registry.slot(task);
        if former.is_none() && slot.is_some() {
            self.metrics.add_task(name);
        }
        let gone = slot.is_none();
        let (old, new) = (identity(former.as_ref()), identity(slot.as_ref()));
        self.registry.publish(task, slot);
        if old != new {
            self.metrics.set_active(name, borrow(&old), borrow(&new));
        }
        if gone {
            self.metrics.remove_task(name);
        }
        self.count_resident();
    }

    fn count_resident(&self) {
        let resident = self.registry.serving() + self.cache.len();
        self.metrics.adapters_resident.set(i64::try_from(resident).unwrap_or(i64::MAX));
    }

    /// Refuses a change that `If-Match` rules out.
    fn check_match(store: &Store, task: &TaskName, if_match: Option<&str>) -> Result<(), ManageError> {
        let state = store.task(task).and_then(|entry| entry.state.as_ref().ok());
        let active = state.and_then(|state| state.active);
        match if_match {
            Some(header) if !etag::allows(header, active) => {
                Err(ManageError::PreconditionFailed { current: active.map(etag::of) })
            }
            _ => Ok(()),
        }
    }

    /// Runs a file's probe on the serving engine.
    fn probe(&self, lens: &Lens, probe: Option<&Probe>) -> Result<Probed, ProbeFailure> {
        let Some(probe) = probe else { return Ok(Probed::Absent) };
        let (height, width) = probe.size;
        let pixels = |data: &[u8]| Pixels::U8 { height, width, data: data.into() };
        let pictures: Vec<Pixels> = probe.pictures().map(pixels).collect();
        let report = probe.compare(&self.prober.logits(lens, &pictures)?, self.loader.tolerance());
        Ok(if report.passed { Probed::Passed(report) } else { Probed::Failed(report) })
    }

    /// Runs a file's probe; a failed one is an error.
    fn demand_probe(&self, lens: &Lens, probe: Option<&Probe>) -> Result<Probed, ManageError> {
        match self.probe(lens, probe)? {
            Probed::Failed(report) => Err(ManageError::ProbeMismatch(report)),
            probed => Ok(probed),
        }
    }
}

fn identity(slot: Option<&Slot>) -> Option<(u64, String)> {
    slot.and_then(Slot::serving).map(|version| (version.number, version.hash.clone()))
}

fn borrow(identity: &Option<(u64, String)>) -> Option<(u64, &str)> {
    identity.as_ref().map(|(number, hash)| (*number, hash.as_str()))
}

/// Where a stored version is and what is known about it.
fn locate(store: &Store, task: &TaskName, number: u64) -> Result<Stored, LookupError> {
    let unknown = || LookupError::UnknownTask { task: task.to_string() };
    let entry = store.task(task).ok_or_else(unknown)?;
    let state = entry.state.as_ref().map_err(|fault| fault.unfit().of(task))?;
    let unknown = || LookupError::UnknownVersion { task: task.clone(), number };
    let record = state.versions.get(&number).ok_or_else(unknown)?.clone();
    if let Some(reason) = entry.damaged.get(&number) {
        return Err(LookupError::Damaged { task: task.clone(), reason: format!("version {number}: {reason}") });
    }
    Ok(Stored { task: task.clone(), number, path: store.folder().version(task, number), record })
}

#[cfg(test)]
mod tests;

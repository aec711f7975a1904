use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{
    Limits, LookupError, ManageError, ProbeFailure, Probed, Problem, Registry, StoreError, TaskName, TaskPage,
    TaskView, Version, VersionView,
};
use crate::backbone::Backbone;
use crate::engine::{Backend, Form, Lens};
use crate::image::Pixels;
use crate::metrics::Metrics;

/// How often [`Manager::follow`] wants to be called: a second process sees an activation within a second.
pub const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

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
pub struct Manager {
    registry: Arc<Registry>,
}

/// How an upload is to be taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UploadOptions {
    /// Whether the version goes live. Unsaid: a new version does, an existing one changes nothing.
    pub activate: Option<bool>,
    /// Whether labels and problem may differ from the active version's.
    pub allow_labels_changed: bool,
    /// How the version is served; rescaled unless said.
    pub form: Option<Form>,
    /// The `If-Match` header.
    pub if_match: Option<String>,
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Uploaded {
    /// The version's number.
    pub version: u64,
    /// Its content hash.
    pub hash: String,
    /// Whether it is the active one now.
    pub active: bool,
    /// Whether it is new; else the bytes were those of an existing version.
    pub created: bool,
    /// What the probe said.
    pub probe: Probed,
}

/// What a dry run found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValidationReport {
    /// Whether an upload of these bytes would be taken.
    pub valid: bool,
    /// Content hash of the bytes.
    pub hash: String,
    /// Their number.
    pub bytes: u64,
    /// Every fault.
    pub problems: Vec<Problem>,
    /// What the probe said.
    pub probe: Probed,
}

impl Manager {
    /// Opens the data folder, loads every active version, and publishes them. A folder that another process manages
    /// is served read-only.
    pub fn open(folder: &Path, parts: Parts) -> Result<Self, StoreError> {
        let _ = (folder, parts);
        todo!("the store is being built")
    }

    /// What requests read.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Whether this process may change the data folder.
    pub fn is_writer(&self) -> bool {
        todo!("the store is being built")
    }

    /// Validates, probes, stores and (unless staged) activates an adapter file.
    pub fn upload(&self, task: &TaskName, bytes: &[u8], options: &UploadOptions) -> Result<Uploaded, ManageError> {
        let _ = (task, bytes, options);
        todo!("the store is being built")
    }

    /// Makes a stored version the active one, in another form if one is named.
    pub fn activate(
        &self,
        task: &TaskName,
        number: u64,
        form: Option<Form>,
        if_match: Option<&str>,
    ) -> Result<VersionView, ManageError> {
        let _ = (task, number, form, if_match);
        todo!("the store is being built")
    }

    /// Deletes an inactive version; its number is not used again.
    pub fn delete_version(&self, task: &TaskName, number: u64, if_match: Option<&str>) -> Result<(), ManageError> {
        let _ = (task, number, if_match);
        todo!("the store is being built")
    }

    /// Deletes a task with all its versions; their numbers are not used again.
    pub fn delete_task(&self, task: &TaskName, if_match: Option<&str>) -> Result<(), ManageError> {
        let _ = (task, if_match);
        todo!("the store is being built")
    }

    /// What an upload of these bytes would find, the probe included. Stores nothing.
    pub fn validate(&self, bytes: &[u8]) -> Result<ValidationReport, ManageError> {
        let _ = bytes;
        todo!("the store is being built")
    }

    /// The stored file of a version, as it was uploaded.
    pub fn adapter_bytes(&self, task: &TaskName, number: u64) -> Result<Vec<u8>, ManageError> {
        let _ = (task, number);
        todo!("the store is being built")
    }

    /// The active version if it has that number, else one from the bounded cache or from disk.
    pub fn load_version(&self, task: &TaskName, number: u64) -> Result<Arc<Version>, LookupError> {
        let _ = (task, number);
        todo!("the store is being built")
    }

    /// At most `limit` tasks in name order, after that name.
    pub fn list(&self, after: Option<&str>, limit: usize) -> TaskPage {
        let _ = (after, limit);
        todo!("the store is being built")
    }

    /// One task.
    pub fn describe(&self, task: &TaskName) -> Result<TaskView, LookupError> {
        let _ = task;
        todo!("the store is being built")
    }

    /// One version of a task.
    pub fn describe_version(&self, task: &TaskName, number: u64) -> Result<VersionView, LookupError> {
        let _ = (task, number);
        todo!("the store is being built")
    }

    /// In a read-only process: takes over what the writer changed, and becomes the writer once the folder is free.
    /// To be called every [`FOLLOW_INTERVAL`]; returns at once in the writer.
    pub fn follow(&self) {
        todo!("the store is being built")
    }

    /// Gives the folder to whichever process waits for it; management is read-only here from now on.
    pub fn step_down(&self) {
        todo!("the store is being built")
    }
}

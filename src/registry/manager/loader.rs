use std::path::PathBuf;
use std::sync::Arc;

use crate::adapter::format::{self, AdapterError, AdapterFile, Target};
use crate::adapter::{Adapter, Layout};
use crate::backbone::{Backbone, Fingerprint};
use crate::engine::{Backend, EngineError, Form, Lens};
use crate::registry::error::Unfit;
use crate::registry::store::files::{ReadFault, read_verified};
use crate::registry::store::state::Record;
use crate::registry::{ManageError, Status, StoreLimit, TaskName, Version};

/// Files to lenses for one backbone and one engine.
pub struct Loader {
    backbone: Arc<Backbone>,
    layout: Layout,
    backend: Arc<dyn Backend>,
    limits: format::Limits,
}

/// A stored version that is not loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub task: TaskName,
    pub number: u64,
    pub path: PathBuf,
    pub record: Record,
}

impl Loader {
    pub fn new(backbone: Arc<Backbone>, backend: Arc<dyn Backend>, tokens_max: usize) -> Self {
        let layout = Layout::of(&backbone.shape);
        Self { backbone, layout, backend, limits: format::Limits { tokens_max, ..Default::default() } }
    }

    pub fn fingerprint(&self) -> &Fingerprint {
        &self.backbone.fingerprint
    }

    /// How far the engine may be from a probe.
    pub fn tolerance(&self) -> f32 {
        self.backend.describe().tolerance
    }

    fn target(&self) -> Target<'_> {
        let Self { backbone, layout, limits, .. } = self;
        Target { shape: &backbone.shape, layout, fingerprint: &backbone.fingerprint, limits: *limits }
    }

    /// Reads an uploaded file.
    pub fn read(&self, bytes: &[u8]) -> Result<AdapterFile, AdapterError> {
        format::read(bytes, &self.target())
    }

    /// Everything that can be said about a file without running the engine.
    pub fn report(&self, bytes: &[u8]) -> format::ValidationReport {
        format::report(bytes, Some(&self.target()), &self.limits)
    }

    /// What a file says about itself, for whatever backbone it was made.
    pub fn summary(&self, bytes: &[u8]) -> Option<format::Summary> {
        format::report(bytes, None, &self.limits).summary
    }

    /// Makes an adapter ready in exactly this form.
    pub fn prepare(&self, adapter: Arc<Adapter>, form: Form) -> Result<Lens, ManageError> {
        if form == Form::Bare {
            return Err(ManageError::Conflict("a task is served rescaled or merged, not bare".to_owned()));
        }
        self.backend.prepare(adapter, form).map_err(|error| match error {
            EngineError::MergeBudget { needed, left } => {
                ManageError::Limit { which: StoreLimit::MergeBytes, limit: left as u64, found: needed as u64 }
            }
            error => ManageError::Engine(error),
        })
    }

    /// Reads a stored version. Its file is checked against its hash.
    pub fn open(&self, stored: &Stored) -> Result<AdapterFile, Unfit> {
        let Stored { number, path, record, .. } = stored;
        let unfit = |status, reason: String| Unfit { status, reason: format!("version {number}: {reason}") };
        if record.backbone != *self.fingerprint() {
            let (found, expected) = (&record.backbone, self.fingerprint());
            let reason = format!("it belongs to backbone {found}, this server serves {expected}");
            return Err(unfit(Status::Incompatible, reason));
        }
        let bytes = read_verified(path, record.bytes, &record.hash).map_err(|fault| match fault {
            ReadFault::Missing => unfit(Status::Damaged, "the file is missing".to_owned()),
            ReadFault::Damaged(reason) => unfit(Status::Damaged, reason),
            ReadFault::Io(error) => unfit(Status::Unavailable, error.to_string()),
        })?;
        // The bytes are those that were stored, so what does not fit is this release, not the file.
        self.read(&bytes).map_err(|error| unfit(Status::Incompatible, error.to_string()))
    }

    /// Loads a stored version in its own form; rescaled where merged weights have no room, which changes no answer
    /// beyond rounding.
    pub fn load(&self, stored: &Stored) -> Result<Arc<Version>, Unfit> {
        let adapter = Arc::new(self.open(stored)?.adapter);
        let lens = match self.prepare(adapter.clone(), stored.record.form) {
            Err(error @ ManageError::Limit { .. }) => {
                let Stored { task, number, .. } = stored;
                tracing::warn!(%task, version = number, %error, "a merged version is served rescaled");
                self.prepare(adapter, Form::Rescaled)
            }
            prepared => prepared,
        };
        let lens = lens.map_err(|error| Unfit { status: Status::Unavailable, reason: error.to_string() })?;
        Ok(stored.version(lens))
    }
}

impl Stored {
    /// The version with its lens.
    pub fn version(&self, lens: Lens) -> Arc<Version> {
        let Self { task, number, record, .. } = self;
        Arc::new(Version { task: task.clone(), number: *number, hash: record.hash.clone(), lens })
    }
}

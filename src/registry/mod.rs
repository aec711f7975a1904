//! Which adapters exist (store: versions on disk) and which answer (registry: task to active version).
//!
//! [`Registry`] is what requests read, [`Manager`] is the only one that changes it or the data folder. Everything here blocks on files or on the engine except [`Registry`]'s own methods, which wait for
//! nothing and are what the async side calls.
#![forbid(unsafe_code)]

mod cache;
#[cfg(test)]
mod crash;
mod error;
mod etag;
mod limits;
mod live;
mod manager;
#[cfg(test)]
mod measure;
mod name;
mod store;
#[cfg(test)]
pub(crate) mod testing;
mod view;

pub use error::{LookupError, ManageError, ProbeFailure, StoreError, StoreLimit};
pub use limits::Limits;
pub use live::Registry;
pub use manager::{FOLLOW_INTERVAL, Manager, Parts, Prober, UploadOptions, Uploaded, ValidationReport};
pub use name::{TaskName, TaskNameError};
pub use view::{LabelsDiff, Probed, Status, TaskPage, TaskView, VersionView};

use crate::engine::Lens;

/// One loaded version of a task, ready to run. Jobs carry an `Arc` of it, so a version lives until its last row.
pub struct Version {
    /// The task.
    pub task: TaskName,
    /// 1, 2, 3 … within this server; never reused.
    pub number: u64,
    /// `sha256:` + hex of the stored file: the identity everywhere.
    pub hash: String,
    /// Parameters made ready for the serving engine.
    pub lens: Lens,
}

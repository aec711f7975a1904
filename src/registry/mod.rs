//! Which adapters exist (store: versions on disk) and which answer (registry: task to active version).

mod name;

pub use name::{TaskName, TaskNameError};

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

use std::io;
use std::path::PathBuf;

use serde::Serialize;

use super::{LabelsDiff, Status, TaskName};
use crate::adapter::ProbeReport;
use crate::adapter::format::AdapterError;
use crate::engine::EngineError;

/// Why a task or version does not answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LookupError {
    /// No task of that name.
    #[error("there is no task `{task}`; GET /v1/tasks lists those there are")]
    UnknownTask {
        /// The name.
        task: String,
    },
    /// The task has no version of that number.
    #[error("task `{task}` has no version {number}")]
    UnknownVersion {
        /// The task.
        task: TaskName,
        /// The number asked for.
        number: u64,
    },
    /// Versions are staged; none was activated.
    #[error("task `{task}` has no active version; activate one of its versions first")]
    NoActiveVersion {
        /// The task.
        task: TaskName,
    },
    /// The version belongs to another backbone or a newer release.
    #[error("task `{task}` cannot be served here: {reason}")]
    Incompatible {
        /// The task.
        task: TaskName,
        /// What does not fit.
        reason: String,
    },
    /// The version's file or the task's state file is damaged.
    #[error("task `{task}` is damaged: {reason}")]
    Damaged {
        /// The task.
        task: TaskName,
        /// What was found.
        reason: String,
    },
    /// The version could not be read or made ready.
    #[error("task `{task}` is not available: {reason}")]
    Unavailable {
        /// The task.
        task: TaskName,
        /// What failed.
        reason: String,
    },
}

/// Why a version cannot be used, before it is said of which task.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unfit {
    /// Any but [`Status::Active`].
    pub status: Status,
    /// A sentence for the caller; empty for [`Status::Staged`].
    pub reason: String,
}

impl Unfit {
    pub fn of(self, task: &TaskName) -> LookupError {
        let (task, reason) = (task.clone(), self.reason);
        match self.status {
            Status::Staged => LookupError::NoActiveVersion { task },
            Status::Incompatible => LookupError::Incompatible { task, reason },
            Status::Damaged => LookupError::Damaged { task, reason },
            Status::Unavailable | Status::Active => LookupError::Unavailable { task, reason },
        }
    }
}

/// A limit of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreLimit {
    /// Number of tasks.
    Tasks,
    /// Bytes of one adapter file.
    AdapterBytes,
    /// Bytes that stay free on the disk; found is what is free.
    FreeDisk,
    /// Bytes of merged weights; limit is what is left.
    MergeBytes,
}

/// Why a change was refused or failed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// Another process holds the data folder.
    #[error("another process manages this data folder; send management calls to it, or try again when it has ended")]
    ReadOnly,
    /// The process is ending and has given the data folder up.
    #[error("this server is ending and changes nothing any more; send management calls to the one that takes over")]
    Ending,
    /// No such task or version, or it cannot be used.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The file is no adapter for this backbone; every fault is listed.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The engine's answers differ from the file's probe.
    #[error("the adapter's probe failed on this engine: {}", mismatch(.0))]
    ProbeMismatch(ProbeReport),
    /// The probe could not be run.
    #[error(transparent)]
    Probe(#[from] ProbeFailure),
    /// Labels or problem differ from the active version's.
    #[error(
        "labels or problem differ from the active version {active}; stage it (activate=false) or allow=labels_changed"
    )]
    LabelsChanged {
        /// The active version.
        active: u64,
        /// What differs.
        diff: LabelsDiff,
    },
    /// `If-Match` names another version than the active one.
    #[error("If-Match does not name the active version ({}); read the task again", .current.as_deref().unwrap_or("there is none"))]
    PreconditionFailed {
        /// The task's ETag, if it has an active version.
        current: Option<String>,
    },
    /// The change cannot be made to what is there; the sentence says what to do.
    #[error("{0}")]
    Conflict(String),
    /// A limit of the store.
    #[error("{}", limit_sentence(*which, *limit, *found))]
    Limit {
        /// Which one.
        which: StoreLimit,
        /// Its value.
        limit: u64,
        /// What was found or asked for.
        found: u64,
    },
    /// The disk has no room for the file.
    #[error("the disk of the data folder is full: {0}")]
    DiskFull(StoreError),
    /// The engine could not make the adapter ready.
    #[error(transparent)]
    Engine(EngineError),
    /// The data folder could not be read or written.
    #[error(transparent)]
    Store(StoreError),
}

/// The probe could not be run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProbeFailure {
    /// The server is too busy to run it.
    #[error("the server is too busy to run the adapter's probe; try again in {retry_after_ms} ms")]
    Overloaded {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The engine failed or is gone.
    #[error("the engine could not run the adapter's probe: {0}")]
    Engine(String),
}

impl ManageError {
    /// Whether the server is at fault, not the call.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Probe(_) | Self::DiskFull(_) | Self::Engine(_) | Self::Store(_))
    }
}

/// Why the data folder cannot be used, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{}: {what}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder was written by a newer release.
    #[error("{}: data format {found} is newer than {known}, the newest that this release reads; use a newer release", path.display())]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// Its number.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// A task's state file cannot be used, so the task cannot be changed.
    #[error("{}: {why}", path.display())]
    TaskState {
        /// The state file.
        path: PathBuf,
        /// What was found and what to do.
        why: String,
    },
    /// The folder holds something else.
    #[error("{}: {why}; name an empty folder or one that manylens made", path.display())]
    NotAStore {
        /// The folder or file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
}

fn mismatch(report: &ProbeReport) -> String {
    let ProbeReport { pictures, max_difference, allowed, flips, .. } = report;
    match max_difference {
        Some(difference) => format!(
            "a logit is {difference} away from the known one where {allowed} is allowed, and the first class differs \
             for {flips} of {pictures} pictures; the file was made with other weights or another preprocessing"
        ),
        None => format!("an answer for one of {pictures} pictures is not finite or has another number of classes"),
    }
}

fn limit_sentence(which: StoreLimit, limit: u64, found: u64) -> String {
    match which {
        StoreLimit::Tasks => {
            format!("there are {found} tasks, the most that --tasks-max allows is {limit}; delete one")
        }
        StoreLimit::AdapterBytes => format!("the file has {found} bytes, --adapter-bytes-max allows {limit}"),
        StoreLimit::FreeDisk => {
            format!(
                "{found} bytes would be free on the data folder's disk, --free-disk-bytes-min keeps {limit}; make room"
            )
        }
        StoreLimit::MergeBytes => {
            format!("merged weights need {found} bytes, --merge-bytes-max leaves {limit}; use form=rescaled")
        }
    }
}

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Folder;
use super::files::{self, ReadFault, read_at_most};
use super::state::{StateFault, TaskState};
use crate::registry::error::Unfit;
use crate::registry::{Status, StoreError, TaskName};

/// Bytes of a state file: some 400 per version.
const STATE_BYTES_MAX: u64 = 16 << 20;

/// What one process knows of a task on disk.
pub struct Entry {
    /// The state file.
    pub state: Result<TaskState, StateFault>,
    /// Versions whose file was found damaged or missing, and what was found.
    pub damaged: BTreeMap<u64, String>,
    stamp: Option<Stamp>,
}

/// Tells one state file from the next, which is always another file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    modified: (i64, i64),
    bytes: u64,
}

/// Every task folder.
pub fn scan(folder: &Folder) -> Result<BTreeMap<TaskName, Entry>, StoreError> {
    let read = |task: TaskName| {
        let entry = Entry::read(folder, &task);
        (task, entry)
    };
    Ok(folder.task_names()?.into_iter().map(read).collect())
}

impl Entry {
    /// Reads a task's state file and looks whether its versions' files are there.
    pub fn read(folder: &Folder, task: &TaskName) -> Self {
        let path = folder.state(task);
        // The stamp comes first: a file that is replaced meanwhile is read again later.
        let stamp = Stamp::of(&path);
        let state = match read_at_most(&path, STATE_BYTES_MAX) {
            Ok(bytes) => TaskState::parse(&bytes),
            Err(ReadFault::Missing) => Err(StateFault::Damaged("state.json is missing".to_owned())),
            Err(ReadFault::Damaged(reason)) => Err(StateFault::Damaged(reason)),
            Err(ReadFault::Io(error)) => Err(StateFault::Unreadable(error.to_string())),
        };
        let damaged = state.as_ref().map(|state| damaged(folder, task, state)).unwrap_or_default();
        Self { state, damaged, stamp }
    }

    /// A state that this process has just written.
    pub fn written(state: TaskState, damaged: BTreeMap<u64, String>) -> Self {
        Self { state: Ok(state), damaged, stamp: None }
    }

    /// Whether the state file is still the one that was read.
    pub fn is_current(&self, folder: &Folder, task: &TaskName) -> bool {
        self.stamp.is_some() && self.stamp == Stamp::of(&folder.state(task))
    }

    /// Whether only the used-up numbers are left.
    pub fn is_deleted(&self) -> bool {
        self.state.as_ref().is_ok_and(TaskState::is_deleted)
    }
}

impl StateFault {
    /// How a task with such a state file is listed.
    pub fn unfit(&self) -> Unfit {
        let (status, reason) = match self {
            Self::Damaged(reason) => (
                Status::Damaged,
                format!("its state file is not usable ({reason}); put a good one back, or delete the task"),
            ),
            Self::Unreadable(reason) => (Status::Unavailable, reason.clone()),
            Self::Newer(found) => (
                Status::Incompatible,
                format!("its state file has format version {found}, which a newer release wrote; use that release"),
            ),
        };
        Unfit { status, reason }
    }
}

/// Versions whose file is missing or has another size. Hashes are checked when a version is read.
fn damaged(folder: &Folder, task: &TaskName, state: &TaskState) -> BTreeMap<u64, String> {
    let check = |(&number, record): (&u64, &super::state::Record)| {
        let reason = match files::size(&folder.version(task, number)) {
            Ok(found) if found == record.bytes => return None,
            Ok(found) => format!("the file has {found} bytes, {} were stored", record.bytes),
            Err(ReadFault::Missing) => "the file is missing".to_owned(),
            Err(ReadFault::Damaged(reason)) => reason,
            // Perhaps only for now: reading it will tell.
            Err(ReadFault::Io(_)) => return None,
        };
        Some((number, reason))
    };
    state.versions.iter().filter_map(check).collect()
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let m = std::fs::metadata(path).ok()?;
        Some(Self { inode: m.ino(), modified: (m.mtime(), m.mtime_nsec()), bytes: m.len() })
    }
}

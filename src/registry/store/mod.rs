//! Versions on disk under one data folder.
//!
//! ```text
//! format_version                     the format of everything below
//! lock                               held by the one process that writes
//! tasks/<task>/state.json            versions and the active one; a version exists when it is named here
//! tasks/<task>/versions/<n>.safetensors
//! quarantine/                        damaged files, moved here under their task's name
//! ```
//!
//! Files are written beside their place, synced and moved, so each is whole at any instant; a version's file comes
//! before the state that names it, so one state file decides each change. What a crash leaves is named by no state and
//! is removed by the next writer. A new task's folder is built beside its place and moved whole, so a folder without a
//! state file is a damaged one.

mod entry;
pub mod files;
mod lock;
mod quarantine;
pub mod state;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use entry::Entry;
use files::{ReadFault, create_folder, read_at_most, write_atomic};
use lock::WriterLock;
use state::FORMAT_VERSION;
pub use writer::{Created, Writer};

use super::{StoreError, TaskName};

/// Bytes of a `format_version` file.
const FORMAT_BYTES_MAX: u64 = 64;

/// One process's view of a data folder.
pub struct Store {
    folder: Folder,
    role: Role,
    tasks: BTreeMap<TaskName, Entry>,
}

/// Where things are.
#[derive(Clone)]
pub struct Folder {
    root: PathBuf,
}

enum Role {
    Writer {
        _lock: WriterLock,
    },
    Reader,
    /// Was the writer and will not be again.
    Retired,
}

impl Store {
    /// Opens a data folder, as its writer if no other process is; the writer makes a folder that is not there and
    /// mends what a crash left.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        create_folder(root)?;
        let folder = Folder { root: root.to_owned() };
        let mut store = Self { folder, role: Role::Reader, tasks: BTreeMap::new() };
        if !store.take_over()? {
            store.folder.check_format()?;
            store.tasks = entry::scan(&store.folder)?;
        }
        Ok(store)
    }

    /// Becomes the writer if the folder is free, and then reads everything anew. False in the writer itself.
    pub fn take_over(&mut self) -> Result<bool, StoreError> {
        if !matches!(self.role, Role::Reader) {
            return Ok(false);
        }
        self.folder.check_format()?;
        let Some(lock) = WriterLock::take(&self.folder.root)? else { return Ok(false) };
        self.folder.prepare()?;
        let mut tasks = entry::scan(&self.folder)?;
        quarantine::mend(&self.folder, &mut tasks);
        self.tasks = tasks;
        self.role = Role::Writer { _lock: lock };
        Ok(true)
    }

    /// Frees the folder for another process, for good.
    pub fn step_down(&mut self) {
        if self.is_writer() {
            self.role = Role::Retired;
        }
    }

    /// Whether this process may change the folder.
    pub fn is_writer(&self) -> bool {
        matches!(self.role, Role::Writer { .. })
    }

    /// Whether this process was the writer and gave the folder up.
    pub fn has_stepped_down(&self) -> bool {
        matches!(self.role, Role::Retired)
    }

    /// What may change the folder; `None` when another process may.
    pub fn writer(&mut self) -> Option<Writer<'_>> {
        self.is_writer().then_some(Writer { store: self })
    }

    /// Reads what another process changed, and says which tasks that were.
    pub fn refresh(&mut self) -> Result<Vec<TaskName>, StoreError> {
        let found = self.folder.task_names()?;
        let mut changed: Vec<TaskName> = self.tasks.keys().filter(|task| !found.contains(*task)).cloned().collect();
        self.tasks.retain(|task, _| found.contains(task));
        for task in found {
            if !self.is_current(&task) {
                self.tasks.insert(task.clone(), Entry::read(&self.folder, &task));
                changed.push(task);
            }
        }
        Ok(changed)
    }

    /// Whether the task's state file is still the one that was read.
    pub fn is_current(&self, task: &TaskName) -> bool {
        self.tasks.get(task).is_some_and(|entry| entry.is_current(&self.folder, task))
    }

    /// A task that exists; a deleted one does not.
    pub fn task(&self, task: &TaskName) -> Option<&Entry> {
        self.tasks.get(task).filter(|entry| !entry.is_deleted())
    }

    /// Whether the task is one that was deleted: its used-up numbers are kept.
    pub fn was_deleted(&self, task: &TaskName) -> bool {
        self.tasks.get(task).is_some_and(Entry::is_deleted)
    }

    /// Every task that exists, in name order.
    pub fn tasks(&self) -> impl Iterator<Item = (&TaskName, &Entry)> {
        self.tasks.iter().filter(|(_, entry)| !entry.is_deleted())
    }

    /// Where things are.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Remembers what is wrong with a version's file; the writer also moves the file away.
    pub fn condemn(&mut self, task: &TaskName, number: u64, reason: &str) {
        let is_writer = self.is_writer();
        let Some(entry) = self.tasks.get_mut(task) else { return };
        tracing::error!(%task, version = number, reason, "a stored version is damaged");
        entry.damaged.insert(number, reason.to_owned());
        if is_writer {
            quarantine::move_away(&self.folder, task, &self.folder.version(task, number));
        }
    }
}

impl Folder {
    fn tasks(&self) -> PathBuf {
        self.root.join("tasks")
    }

    fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    fn task(&self, task: &TaskName) -> PathBuf {
        self.tasks().join(task.as_str())
    }

    fn state(&self, task: &TaskName) -> PathBuf {
        self.task(task).join("state.json")
    }

    fn versions(&self, task: &TaskName) -> PathBuf {
        self.task(task).join("versions")
    }

    /// A version's file.
    pub fn version(&self, task: &TaskName, number: u64) -> PathBuf {
        self.versions(task).join(version_name(number))
    }

    /// Bytes that may still be written.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        files::free_bytes(&self.root)
    }

    /// Refuses a folder that a newer release or something else made. A folder that nobody used yet is fine.
    fn check_format(&self) -> Result<(), StoreError> {
        let path = self.root.join("format_version");
        let not_ours = |why: String| StoreError::NotAStore { path: path.clone(), why };
        let bytes = match read_at_most(&path, FORMAT_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(ReadFault::Missing) if self.tasks().exists() => {
                return Err(StoreError::NotAStore {
                    path: self.root.clone(),
                    why: "it has a folder `tasks` but no file `format_version`".to_owned(),
                });
            }
            Err(ReadFault::Missing) => return Ok(()),
            Err(ReadFault::Damaged(why)) => return Err(not_ours(why)),
            Err(ReadFault::Io(error)) => return Err(error),
        };
        let text = String::from_utf8_lossy(&bytes);
        let found = text.trim().parse().map_err(|_| not_ours(format!("`{}` is no format version", text.trim())))?;
        if found > FORMAT_VERSION {
            return Err(StoreError::Newer { path, found, known: FORMAT_VERSION });
        }
        Ok(())
    }

    /// Makes what a data folder consists of; the format first, so that no other folder exists without it.
    fn prepare(&self) -> Result<(), StoreError> {
        let format = self.root.join("format_version");
        if !format.exists() {
            write_atomic(&format, format!("{FORMAT_VERSION}\n").as_bytes())?;
        }
        create_folder(&self.tasks())?;
        create_folder(&self.quarantine())?;
        files::sync_folder(&self.root)
    }

    /// Names in `tasks/` that are task names; what else lies there is not ours.
    fn task_names(&self) -> Result<std::collections::BTreeSet<TaskName>, StoreError> {
        match files::names(&self.tasks()) {
            Ok(names) => Ok(names.iter().filter_map(|name| TaskName::parse(name).ok()).collect()),
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(Default::default())
            }
            Err(error) => Err(error),
        }
    }
}

fn version_name(number: u64) -> String {
    format!("{number}.safetensors")
}

#[cfg(test)]
mod tests;

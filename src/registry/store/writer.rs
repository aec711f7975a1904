use std::fs;
use std::path::Path;

use super::entry::Entry;
use super::files::{self, create_folder, io_error, parent, sync_folder, temporary, write_atomic, write_synced};
use super::state::{Grown, Record, StateFault, TaskState};
use super::{Store, quarantine, version_name};
use crate::engine::Form;
use crate::registry::{StoreError, TaskName};

/// The changes of a data folder; only its writer has one. Each returns once it would survive a power cut, and an error
/// means that nothing was changed.
pub struct Writer<'a> {
    pub(super) store: &'a mut Store,
}

/// What [`Writer::create`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Created {
    /// The new version's number.
    pub number: u64,
    /// Versions that had to go for it.
    pub pruned: Vec<u64>,
}

impl Writer<'_> {
    /// Stores a new version of a task, existing or not, and keeps at most `keep` of them.
    pub fn create(
        &mut self,
        task: &TaskName,
        bytes: &[u8],
        record: Record,
        activate: bool,
        keep: usize,
    ) -> Result<Created, StoreError> {
        let Some(state) = self.state(task)? else {
            let Grown { number, state, pruned } = TaskState::new().grown(record, activate, keep);
            self.create_task(task, number, bytes, &state)?;
            self.remember(task, state);
            return Ok(Created { number, pruned });
        };
        let Grown { number, state, pruned } = state.grown(record, activate, keep);
        create_folder(&self.store.folder.versions(task))?;
        write_atomic(&self.store.folder.version(task, number), bytes)?;
        if let Err(error) = self.commit(task, state) {
            self.remove_file(task, number);
            return Err(error);
        }
        pruned.iter().for_each(|&gone| self.remove_file(task, gone));
        Ok(Created { number, pruned })
    }

    /// Makes a version the active one, in this form.
    pub fn activate(&mut self, task: &TaskName, number: u64, form: Form) -> Result<(), StoreError> {
        let Some(state) = self.state(task)? else { return Ok(()) };
        let next = state.activated(number, form);
        self.commit(task, next)
    }

    /// Deletes a version; the last one takes its task with it.
    pub fn delete_version(&mut self, task: &TaskName, number: u64) -> Result<(), StoreError> {
        let Some(state) = self.state(task)? else { return Ok(()) };
        let next = state.without(number);
        self.commit(task, next)?;
        self.remove_file(task, number);
        Ok(())
    }

    /// Deletes a task. One whose state file is damaged goes too: its numbers start after the highest file there is.
    pub fn delete_task(&mut self, task: &TaskName) -> Result<(), StoreError> {
        let Some(entry) = self.store.tasks.get(task) else { return Ok(()) };
        let state = match &entry.state {
            Err(StateFault::Damaged(_)) => TaskState::starting_at(self.highest_file(task) + 1),
            Ok(_) | Err(_) => self.state(task)?.cloned().unwrap_or_else(TaskState::new),
        };
        self.commit(task, state.deleted())?;
        let versions = self.store.folder.versions(task);
        for name in files::names(&versions).unwrap_or_default() {
            remove_logged(&versions.join(name));
        }
        Ok(())
    }

    /// Puts the file of a damaged version back, from bytes that have its hash.
    pub fn restore(&mut self, task: &TaskName, number: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(state) = self.state(task)? else { return Ok(()) };
        let same = state.clone();
        create_folder(&self.store.folder.versions(task))?;
        write_atomic(&self.store.folder.version(task, number), bytes)?;
        // A new state file, though an equal one, tells processes that follow to look again.
        self.commit(task, same)?;
        if let Some(entry) = self.store.tasks.get_mut(task) {
            entry.damaged.remove(&number);
        }
        Ok(())
    }

    /// The task's state; `None` for a task that never was.
    fn state(&self, task: &TaskName) -> Result<Option<&TaskState>, StoreError> {
        let Some(entry) = self.store.tasks.get(task) else { return Ok(None) };
        entry
            .state
            .as_ref()
            .map(Some)
            .map_err(|fault| StoreError::TaskState { path: self.store.folder.state(task), why: fault.unfit().reason })
    }

    /// Builds the folder of a new task beside its place and moves it there whole.
    fn create_task(&self, task: &TaskName, number: u64, bytes: &[u8], state: &TaskState) -> Result<(), StoreError> {
        let place = self.store.folder.task(task);
        let new = temporary(&place);
        let build = || {
            remove_leftover(&new)?;
            create_folder(&new.join("versions"))?;
            write_synced(&new.join("versions").join(version_name(number)), bytes)?;
            sync_folder(&new.join("versions"))?;
            write_synced(&new.join("state.json"), &state.to_bytes())?;
            sync_folder(&new)?;
            fs::rename(&new, &place).map_err(io_error(&place, "could not move the new task here"))
        };
        // What cannot be removed now is removed at the next start.
        build().inspect_err(|_| drop(fs::remove_dir_all(&new)))?;
        sync_folder(parent(&place)).inspect_err(|_| drop(fs::remove_dir_all(&place)))
    }

    /// Puts a state in place, on disk and then here.
    fn commit(&mut self, task: &TaskName, state: TaskState) -> Result<(), StoreError> {
        let path = self.store.folder.state(task);
        let bytes = state.to_bytes();
        if let Err(error) = write_atomic(&path, &bytes) {
            self.put_back(task, &path, &bytes);
            return Err(error);
        }
        self.remember(task, state);
        Ok(())
    }

    /// A state that was moved into place but may not last must not be found there later: it was refused.
    fn put_back(&self, task: &TaskName, path: &Path, refused: &[u8]) {
        let former = self.store.tasks.get(task).and_then(|entry| entry.state.as_ref().ok());
        if let Some(former) = former
            && fs::read(path).is_ok_and(|found| found == refused)
            && let Err(error) = write_atomic(path, &former.to_bytes())
        {
            tracing::error!(%task, %error, "the state file holds a change that was refused");
        }
    }

    fn remember(&mut self, task: &TaskName, state: TaskState) {
        let mut damaged = self.store.tasks.remove(task).map(|entry| entry.damaged).unwrap_or_default();
        damaged.retain(|number, _| state.versions.contains_key(number));
        self.store.tasks.insert(task.clone(), Entry::written(state, damaged));
    }

    /// The version is no longer named, so a file that cannot be removed only costs space until the next start.
    fn remove_file(&self, task: &TaskName, number: u64) {
        remove_logged(&self.store.folder.version(task, number));
    }

    /// The highest number that a file of the task has or had before it was moved to the quarantine.
    fn highest_file(&self, task: &TaskName) -> u64 {
        let folder = &self.store.folder;
        let kept = files::names(&folder.versions(task)).unwrap_or_default();
        let moved = quarantine::names_of(folder, task);
        let number = |name: &String| name.strip_suffix(".safetensors")?.parse::<u64>().ok();
        kept.iter().chain(&moved).filter_map(number).filter(|&n| n < 1 << 52).max().unwrap_or(0)
    }
}

fn remove_leftover(folder: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error(folder, "could not remove what an interrupted upload left")(error))
        }
        _ => Ok(()),
    }
}

fn remove_logged(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "could not remove a deleted version's file");
    }
}

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::load::condemn;
use super::loader::Stored;
use super::{Manager, locate};
use crate::engine::Form;
use crate::parallel;
use crate::registry::error::Unfit;
use crate::registry::live::Slot;
use crate::registry::store::Store;
use crate::registry::store::state::Record;
use crate::registry::{Status, StoreError, TaskName, Version};

/// How often [`Manager::follow`] wants to be called: a second process sees an activation within a second.
pub const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

/// Threads that load at a start: a file is read, hashed and checked, which a disk gives to a few at once.
const LOAD_THREADS_MAX: usize = 8;

impl Manager {
    /// In a read-only process: takes over what the writer changed, and becomes the writer once the folder is free.
    /// To be called every [`FOLLOW_INTERVAL`]; returns at once in the writer.
    pub fn follow(&self) {
        let mut store = self.store();
        if store.is_writer() {
            return;
        }
        let outcome = self.catch_up(&mut store);
        drop(store);
        let mut last = self.follow_failure.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = outcome.err().map(|error| error.to_string());
        if let Some(error) = failure.as_ref().filter(|_| *last != failure) {
            tracing::error!(error, "cannot follow the data folder");
        }
        *last = failure;
    }

    /// Gives the folder to whichever process waits for it; management is read-only here from now on.
    pub fn step_down(&self) {
        self.store().step_down();
    }

    fn catch_up(&self, store: &mut Store) -> Result<(), StoreError> {
        // A folder that this process must not write may still be one that it can follow.
        let taken_over = store.take_over();
        if matches!(taken_over, Ok(true)) {
            tracing::info!("this process manages the data folder now");
            self.reload_all(store);
            return Ok(());
        }
        for task in store.refresh()? {
            self.reload(store, &task);
        }
        taken_over.map(|_| ())
    }

    /// Publishes every task as the store has it, and removes those that it has not.
    pub(super) fn reload_all(&self, store: &mut Store) {
        let published = self.registry.all().into_iter().map(|(task, _)| task);
        let stored = store.tasks().map(|(task, _)| task.clone());
        let tasks: BTreeSet<TaskName> = published.chain(stored).collect();
        let wanted: Vec<(TaskName, Next)> =
            tasks.into_iter().map(|task| (task.clone(), self.next(store, &task))).collect();
        let loaded = self.load_each(&wanted);
        for ((task, next), loaded) in wanted.into_iter().zip(loaded) {
            self.put(store, &task, next, loaded);
        }
    }

    /// Publishes a task as the store has it.
    pub(super) fn reload(&self, store: &mut Store, task: &TaskName) {
        let next = self.next(store, task);
        self.put(store, task, next, None);
    }

    /// What is to be loaded, loaded by all cores: a thousand files take seconds for one. Merged versions come later, in
    /// name order: which of them find room must not depend on threads.
    fn load_each(&self, wanted: &[(TaskName, Next)]) -> Vec<Option<Loaded>> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(LOAD_THREADS_MAX);
        parallel::map(wanted.len(), threads, |at| match &wanted[at].1 {
            Next::Load(stored) if stored.record.form == Form::Rescaled => Some(self.loader.load(stored)),
            _ => None,
        })
    }

    fn put(&self, store: &mut Store, task: &TaskName, next: Next, loaded: Option<Loaded>) {
        let state = store.task(task).and_then(|entry| entry.state.as_ref().ok());
        let versions: Vec<u64> = state.map(|state| state.versions.keys().copied().collect()).unwrap_or_default();
        match next {
            Next::Same => {}
            Next::Slot(slot) => self.publish(task, slot),
            Next::Load(stored) => {
                let loaded = loaded.unwrap_or_else(|| self.loader.load(&stored));
                if let Some(slot) = slot_of(store, &stored, loaded) {
                    self.publish(task, Some(slot));
                }
            }
        }
        let active = self.registry.active(task).ok().map(|version| version.number);
        self.forget(task, |kept| versions.contains(&kept) && Some(kept) != active);
    }

    fn next(&self, store: &Store, task: &TaskName) -> Next {
        let Some(entry) = store.task(task) else { return Next::Slot(None) };
        let state = match &entry.state {
            Ok(state) => state,
            Err(fault) => return Next::Slot(Some(Slot::Idle(fault.unfit()))),
        };
        let Some(active) = state.active else { return Next::Slot(Some(Slot::staged())) };
        if self.is_served(task, active, &state.versions[&active]) {
            return Next::Same;
        }
        match locate(store, task, active) {
            Ok(stored) => Next::Load(stored),
            Err(error) => {
                let reason = error.to_string();
                Next::Slot(Some(Slot::Idle(Unfit { status: Status::Damaged, reason })))
            }
        }
    }

    fn is_served(&self, task: &TaskName, number: u64, record: &Record) -> bool {
        self.registry.active(task).is_ok_and(|version| {
            version.number == number && version.hash == record.hash && version.lens.form == record.form
        })
    }
}

/// What to publish.
enum Next {
    /// What is published already.
    Same,
    /// This.
    Slot(Option<Slot>),
    /// This version, once it is loaded.
    Load(Stored),
}

type Loaded = Result<Arc<Version>, Unfit>;

/// What a task answers with after its active version was loaded, or was not; none when what is published stays.
fn slot_of(store: &mut Store, stored: &Stored, loaded: Loaded) -> Option<Slot> {
    let task = &stored.task;
    match loaded {
        Ok(version) => Some(Slot::Serving(version)),
        // The writer has moved on meanwhile; the next call sees what it did.
        Err(_) if !store.is_writer() && !store.is_current(task) => None,
        Err(unfit) => {
            condemn(store, stored, &unfit);
            tracing::error!(%task, reason = unfit.reason, "the active version is not served");
            Some(Slot::Idle(unfit))
        }
    }
}

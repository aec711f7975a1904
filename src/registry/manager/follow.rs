use std::sync::PoisonError;
use std::time::Duration;

use super::load::condemn;
use super::{Manager, locate};
use crate::registry::error::Unfit;
use crate::registry::live::Slot;
use crate::registry::store::Store;
use crate::registry::store::state::Record;
use crate::registry::{Status, StoreError, TaskName};

/// How often [`Manager::follow`] wants to be called: a second process sees an activation within a second.
pub const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

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
        let tasks: std::collections::BTreeSet<TaskName> = published.chain(stored).collect();
        for task in tasks {
            self.reload(store, &task);
        }
    }

    /// Publishes a task as the store has it.
    pub(super) fn reload(&self, store: &mut Store, task: &TaskName) {
        let state = store.task(task).and_then(|entry| entry.state.as_ref().ok());
        let versions: Vec<u64> = state.map(|state| state.versions.keys().copied().collect()).unwrap_or_default();
        match self.slot_of(store, task) {
            Next::Same => {}
            Next::Slot(slot) => self.publish(task, slot),
        }
        let active = self.registry.active(task).ok().map(|version| version.number);
        self.forget(task, |kept| versions.contains(&kept) && Some(kept) != active);
    }

    fn slot_of(&self, store: &mut Store, task: &TaskName) -> Next {
        let Some(entry) = store.task(task) else { return Next::Slot(None) };
        let state = match &entry.state {
            Ok(state) => state,
            Err(fault) => return Next::Slot(Some(Slot::Idle(fault.unfit()))),
        };
        let Some(active) = state.active else { return Next::Slot(Some(Slot::staged())) };
        if self.is_served(task, active, &state.versions[&active]) {
            return Next::Same;
        }
        let stored = match locate(store, task, active) {
            Ok(stored) => stored,
            Err(error) => {
                let reason = error.to_string();
                return Next::Slot(Some(Slot::Idle(Unfit { status: Status::Damaged, reason })));
            }
        };
        match self.loader.load(&stored) {
            Ok(version) => Next::Slot(Some(Slot::Serving(version))),
            // The writer has moved on meanwhile; the next call sees what it did.
            Err(_) if !store.is_writer() && !store.is_current(task) => Next::Same,
            Err(unfit) => {
                condemn(store, &stored, &unfit);
                tracing::error!(%task, reason = unfit.reason, "the active version is not served");
                Next::Slot(Some(Slot::Idle(unfit)))
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
}

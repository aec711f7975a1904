use std::sync::{Arc, PoisonError};

use super::loader::Stored;
use super::{Manager, locate};
use crate::registry::error::Unfit;
use crate::registry::store::Store;
use crate::registry::store::files::{ReadFault, read_verified};
use crate::registry::{LookupError, Status, TaskName, Version};

impl Manager {
    /// The active version if it has that number, else one from the bounded cache or from disk.
    pub fn load_version(&self, task: &TaskName, number: u64) -> Result<Arc<Version>, LookupError> {
        if let Some(version) = self.resident(task, number) {
            return Ok(version);
        }
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(version) = self.resident(task, number) {
            return Ok(version);
        }
        let stored = locate(&self.store(), task, number)?;
        let version = self.loader.load(&stored).map_err(|unfit| self.unreadable(&stored, unfit))?;
        self.keep(&version);
        Ok(version)
    }

    /// A version that is in memory. Waits for nothing but other callers of this function.
    pub fn resident(&self, task: &TaskName, number: u64) -> Option<Arc<Version>> {
        let active = self.registry.active(task).ok().filter(|version| version.number == number);
        active.or_else(|| self.cache.get(task, number))
    }

    /// Holds a loaded version, unless it was deleted meanwhile.
    fn keep(&self, version: &Arc<Version>) {
        let store = self.store();
        if locate(&store, &version.task, version.number).is_ok() {
            self.cache.put(version);
            self.count_resident();
        }
    }

    /// The stored file of a version, as it was uploaded.
    pub fn adapter_bytes(&self, task: &TaskName, number: u64) -> Result<Vec<u8>, LookupError> {
        let stored = locate(&self.store(), task, number)?;
        let unfit = |status, reason| Unfit { status, reason };
        read_verified(&stored.path, stored.record.bytes, &stored.record.hash).map_err(|fault| {
            let unfit = match fault {
                ReadFault::Missing => unfit(Status::Damaged, format!("version {number}: the file is missing")),
                ReadFault::Damaged(reason) => unfit(Status::Damaged, format!("version {number}: {reason}")),
                ReadFault::Io(error) => unfit(Status::Unavailable, error.to_string()),
            };
            self.unreadable(&stored, unfit)
        })
    }

    /// What to answer when a stored version could not be read: it may have been deleted meanwhile. A damaged file is
    /// remembered and, by the writer, moved away.
    pub(super) fn unreadable(&self, stored: &Stored, unfit: Unfit) -> LookupError {
        let mut store = self.store();
        match locate(&store, &stored.task, stored.number) {
            Err(error) => error,
            Ok(_) => {
                condemn(&mut store, stored, &unfit);
                unfit.of(&stored.task)
            }
        }
    }
}

/// Remembers a damaged file.
pub(super) fn condemn(store: &mut Store, stored: &Stored, unfit: &Unfit) {
    if unfit.status == Status::Damaged {
        store.condemn(&stored.task, stored.number, &unfit.reason);
    }
}

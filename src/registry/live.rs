use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{LookupError, Status, TaskName, Version};

/// Task to active version, as requests see it.
///
/// A reader takes one immutable snapshot: it waits for nobody, holds no guard, and sees each change whole. Only the
/// [`Manager`](super::Manager) changes it, by putting the next snapshot in place; that copies one `Arc` per task.
#[derive(Default)]
pub struct Registry {
    tasks: ArcSwap<BTreeMap<TaskName, Slot>>,
}

/// What a task answers with.
#[derive(Clone)]
pub(super) enum Slot {
    /// This version.
    Serving(Arc<Version>),
    /// An error.
    Idle {
        /// Any but [`Status::Active`].
        status: Status,
        /// A sentence for the caller; empty for [`Status::Staged`].
        reason: String,
    },
}

impl Registry {
    /// The version that answers for the task now.
    pub fn active(&self, task: &TaskName) -> Result<Arc<Version>, LookupError> {
        let tasks = self.tasks.load();
        let slot = tasks.get(task).ok_or_else(|| LookupError::UnknownTask { task: task.to_string() })?;
        slot.version(task)
    }

    /// Every task in name order with what answers for it.
    pub fn all(&self) -> Vec<(TaskName, Result<Arc<Version>, LookupError>)> {
        self.tasks.load().iter().map(|(task, slot)| (task.clone(), slot.version(task))).collect()
    }

    /// Whether there is such a task, served or not. Only names for which this holds may become metric labels.
    pub fn contains(&self, task: &TaskName) -> bool {
        self.tasks.load().contains_key(task)
    }

    /// What the task answers with.
    pub(super) fn slot(&self, task: &TaskName) -> Option<Slot> {
        self.tasks.load().get(task).cloned()
    }

    /// Puts all of these slots in place at once; `None` removes the task.
    pub(super) fn publish(&self, changes: &[(TaskName, Option<Slot>)]) {
        self.tasks.rcu(|tasks| {
            let mut tasks = BTreeMap::clone(tasks);
            for (task, slot) in changes {
                match slot {
                    Some(slot) => tasks.insert(task.clone(), slot.clone()),
                    None => tasks.remove(task),
                };
            }
            tasks
        });
    }
}

impl Slot {
    pub(super) fn version(&self, task: &TaskName) -> Result<Arc<Version>, LookupError> {
        let (status, reason) = match self {
            Self::Serving(version) => return Ok(version.clone()),
            Self::Idle { status, reason } => (*status, reason.clone()),
        };
        let task = task.clone();
        Err(match status {
            Status::Staged => LookupError::NoActiveVersion { task },
            Status::Incompatible => LookupError::Incompatible { task, reason },
            Status::Damaged => LookupError::Damaged { task, reason },
            Status::Unavailable | Status::Active => LookupError::Unavailable { task, reason },
        })
    }
}

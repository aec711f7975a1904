use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::error::Unfit;
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
    Idle(Unfit),
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

    /// Versions that answer.
    pub(super) fn serving(&self) -> usize {
        self.tasks.load().values().filter(|slot| slot.serving().is_some()).count()
    }

    /// Puts this slot in place; `None` removes the task.
    pub(super) fn publish(&self, task: &TaskName, slot: Option<Slot>) {
        self.tasks.rcu(|tasks| {
            let mut tasks = BTreeMap::clone(tasks);
            match &slot {
                Some(slot) => tasks.insert(task.clone(), slot.clone()),
                None => tasks.remove(task),
            };
            tasks
        });
    }
}

impl Slot {
    /// Versions are stored, none is active.
    pub fn staged() -> Self {
        Self::Idle(Unfit { status: Status::Staged, reason: String::new() })
    }

    fn version(&self, task: &TaskName) -> Result<Arc<Version>, LookupError> {
        match self {
            Self::Serving(version) => Ok(version.clone()),
            Self::Idle(unfit) => Err(unfit.clone().of(task)),
        }
    }

    /// The version that answers, if one does.
    pub fn serving(&self) -> Option<&Arc<Version>> {
        match self {
            Self::Serving(version) => Some(version),
            Self::Idle(_) => None,
        }
    }
}

use super::Manager;
use crate::registry::live::Slot;
use crate::registry::store::Entry;
use crate::registry::store::state::{Record, TaskState};
use crate::registry::{LookupError, Status, TaskName, TaskPage, TaskView, VersionView};

impl Manager {
    /// At most `limit` tasks in name order, after that name.
    pub fn list(&self, after: Option<&str>, limit: usize) -> TaskPage {
        let store = self.store();
        let mut later = store.tasks().filter(|(task, _)| after.is_none_or(|after| task.as_str() > after));
        let tasks: Vec<TaskView> = later.by_ref().take(limit).map(|(task, entry)| self.view(task, entry)).collect();
        let more = later.next().is_some();
        let next = tasks.last().filter(|_| more).map(|last| last.task.clone());
        TaskPage { tasks, next }
    }

    /// One task.
    pub fn describe(&self, task: &TaskName) -> Result<TaskView, LookupError> {
        let store = self.store();
        let unknown = || LookupError::UnknownTask { task: task.to_string() };
        store.task(task).map(|entry| self.view(task, entry)).ok_or_else(unknown)
    }

    /// One version of a task.
    pub fn describe_version(&self, task: &TaskName, number: u64) -> Result<VersionView, LookupError> {
        let versions = self.describe(task)?.versions.into_iter();
        let unknown = || LookupError::UnknownVersion { task: task.clone(), number };
        versions.into_iter().find(|version| version.version == number).ok_or_else(unknown)
    }

    fn view(&self, task: &TaskName, entry: &Entry) -> TaskView {
        let slot = self.registry.slot(task);
        let serving = slot.as_ref().and_then(Slot::serving);
        let (status, reason) = match &slot {
            Some(Slot::Serving(_)) => (Status::Active, None),
            Some(Slot::Idle(unfit)) => (unfit.status, Some(unfit.reason.clone()).filter(|reason| !reason.is_empty())),
            None => (Status::Staged, None),
        };
        let adapter = serving.map(|version| &version.lens.adapter);
        TaskView {
            task: task.clone(),
            status,
            reason,
            active: entry.state.as_ref().ok().and_then(|state| state.active),
            form: serving.map(|version| version.lens.form),
            labels: adapter.map(|adapter| adapter.labels.clone()),
            problem: adapter.map(|adapter| adapter.problem),
            versions: entry.state.as_ref().map(|state| versions(state, entry)).unwrap_or_default(),
        }
    }
}

fn versions(state: &TaskState, entry: &Entry) -> Vec<VersionView> {
    let view = |(&number, record): (&u64, &Record)| VersionView {
        version: number,
        hash: record.hash.clone(),
        active: state.active == Some(number),
        form: record.form,
        bytes: record.bytes,
        classes: record.classes,
        method: record.method,
        problem: record.problem,
        backbone: record.backbone.clone(),
        created_unix_s: record.created_unix_s,
        damaged: entry.damaged.get(&number).cloned(),
    };
    state.versions.iter().map(view).collect()
}

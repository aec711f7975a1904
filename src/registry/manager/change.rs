use std::sync::Arc;

use super::upload::write_error;
use super::{Manager, locate};
use crate::engine::Form;
use crate::registry::live::Slot;
use crate::registry::{LookupError, ManageError, Probed, TaskName, VersionView};

impl Manager {
    /// Makes a stored version the active one, in another form if one is named. Its probe runs again: engine or form
    /// may be others than at its upload.
    pub fn activate(
        &self,
        task: &TaskName,
        number: u64,
        form: Option<Form>,
        if_match: Option<&str>,
    ) -> Result<VersionView, ManageError> {
        self.switch(task, number, form, if_match)?;
        Ok(self.describe_version(task, number)?)
    }

    pub(super) fn switch(
        &self,
        task: &TaskName,
        number: u64,
        form: Option<Form>,
        if_match: Option<&str>,
    ) -> Result<Probed, ManageError> {
        let stored = {
            let store = self.writable()?;
            Self::check_match(&store, task, if_match)?;
            locate(&store, task, number)?
        };
        let form = form.unwrap_or(stored.record.form);
        if stored.record.form == form && self.serves(task, number, form) {
            return Ok(Probed::NotRun);
        }
        let file = self.loader.open(&stored).map_err(|unfit| self.unreadable(&stored, unfit))?;
        let lens = self.loader.prepare(Arc::new(file.adapter), form)?;
        let probe = self.demand_probe(&lens, file.probe.as_ref())?;

        let mut store = self.writable()?;
        Self::check_match(&store, task, if_match)?;
        if !stored.is_in(&store) {
            return Err(LookupError::UnknownVersion { task: task.clone(), number }.into());
        }
        store.writer().ok_or(ManageError::ReadOnly)?.activate(task, number, form).map_err(write_error)?;
        self.publish(task, Some(Slot::Serving(stored.version(lens))));
        self.forget(task, |kept| kept != number);
        Ok(probe)
    }

    fn serves(&self, task: &TaskName, number: u64, form: Form) -> bool {
        self.registry.active(task).is_ok_and(|version| version.number == number && version.lens.form == form)
    }

    /// Deletes an inactive version; its number is not used again. A task's last version takes the task with it.
    pub fn delete_version(&self, task: &TaskName, number: u64, if_match: Option<&str>) -> Result<(), ManageError> {
        let mut store = self.writable()?;
        let unknown = || LookupError::UnknownTask { task: task.to_string() };
        let entry = store.task(task).ok_or_else(unknown)?;
        let state = entry.state.as_ref().map_err(|fault| fault.unfit().of(task))?;
        if !state.versions.contains_key(&number) {
            return Err(LookupError::UnknownVersion { task: task.clone(), number }.into());
        }
        Self::check_match(&store, task, if_match)?;
        if state.active == Some(number) {
            return Err(ManageError::Conflict(format!(
                "version {number} is the active one of task `{task}`; activate another one first, or delete the task"
            )));
        }
        store.writer().ok_or(ManageError::ReadOnly)?.delete_version(task, number).map_err(write_error)?;
        self.forget(task, |kept| kept != number);
        if store.task(task).is_none() {
            self.publish(task, None);
        }
        Ok(())
    }

    /// Deletes a task with all its versions; their numbers are not used again.
    pub fn delete_task(&self, task: &TaskName, if_match: Option<&str>) -> Result<(), ManageError> {
        let mut store = self.writable()?;
        if store.task(task).is_none() {
            return Err(LookupError::UnknownTask { task: task.to_string() }.into());
        }
        Self::check_match(&store, task, if_match)?;
        store.writer().ok_or(ManageError::ReadOnly)?.delete_task(task).map_err(write_error)?;
        self.forget(task, |_| false);
        self.publish(task, None);
        Ok(())
    }
}

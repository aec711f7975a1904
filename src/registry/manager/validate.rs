use std::sync::Arc;

use serde::Serialize;

use super::Manager;
use crate::adapter::format;
use crate::engine::Form;
use crate::registry::{ManageError, Probed};

/// What a dry run found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValidationReport {
    /// What the file is, and every fault of it; `valid` includes the probe.
    #[serde(flatten)]
    pub file: format::ValidationReport,
    /// What the probe said.
    pub probe: Probed,
}

impl Manager {
    /// What an upload of these bytes would find, the probe included. Stores nothing, and works in a read-only process.
    pub fn validate(&self, bytes: &[u8]) -> Result<ValidationReport, ManageError> {
        self.check_size(bytes)?;
        let mut file = self.loader.report(bytes);
        if !file.valid {
            return Ok(ValidationReport { file, probe: Probed::NotRun });
        }
        let adapter = self.loader.read(bytes)?;
        let lens = self.loader.prepare(Arc::new(adapter.adapter), Form::Rescaled)?;
        let probe = self.probe(&lens, adapter.probe.as_ref())?;
        file.valid = !matches!(probe, Probed::Failed(_));
        Ok(ValidationReport { file, probe })
    }
}

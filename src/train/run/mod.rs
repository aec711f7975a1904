//! A run on disk: its folder has the settings, a log, and a state from which it goes on.

mod checkpoint;
mod folder;

pub use checkpoint::CheckpointError;
pub use folder::{RunError, RunFolder, Start, is_own, is_run};

//! What goes over the wire: the types of bodies, each with its schema. Within /v1 fields are only added.

mod answers;
mod tasks;

pub use answers::{Answers, Item, ItemOutcome};
pub use tasks::{ActivateBody, Activated, HealthBody, TaskBody, TaskList, UploadedBody, ValidationBody, VersionBody};

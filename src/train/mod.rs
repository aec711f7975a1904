//! Training adapters: recipe, data, loss, optimizer and the loop that fits them.
//!
//! Engines compute features and the gradient of the adapter's flat vector ([`crate::engine::training`]); the head, its
//! loss and everything that decides live here, in f32 and on one thread. Whatever is random is a function of the seed and
//! of where the run is, so a run that was stopped goes on as if it had not.
#![forbid(unsafe_code)]

mod augment;
mod consistency;
pub mod data;
mod fit;
mod head;
mod job;
mod learner;
mod loss;
mod objective;
mod optimizer;
mod parameters;
mod prepared;
mod presets;
mod recipe;
pub mod report;
pub mod run;
mod sampler;
mod schedule;
mod score;
mod state;
#[cfg(test)]
pub(crate) mod testing;
mod trained;

pub use consistency::{Consistency, Mode};
pub use fit::{End, FitError, Next, Progress, Watch, fit};
pub use job::{Job, JobError, Task};
pub use learner::{LearnError, Learner};
pub use prepared::PrepareError;
pub use presets::{Preset, UnknownRecipe};
pub use recipe::{ClassWeight, FitOn, Method, Recipe, Sampler, SelectBy};
pub use schedule::Schedule;
pub use score::Scores;
pub use state::{EpochRecord, Position, State};

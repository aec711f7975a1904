//! One file per subcommand; each takes typed arguments, prints its result, and answers with a typed error.
#![forbid(unsafe_code)]

mod bad_files;
pub mod bench;
pub mod classify;
pub mod compare;
pub mod eval;
pub mod export;
mod file;
pub mod import;
pub mod inspect;
mod pictures;
mod probe;
pub mod serve;
pub mod train;
pub mod tune;

use crate::app::AppError;
use crate::backbone::BackboneError;
use crate::config::{ConfigError, KeyFileError};
use crate::engine::EngineError;

pub use bad_files::BadFiles;
pub use file::ReadError;
pub use pictures::PicturesError;
pub use probe::ProbeError;

/// A head of 32,768 classes on 2 x 1,280 features, and room.
const ADAPTER_BYTES_MAX: u64 = 512 << 20;

/// Why a command failed, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backbone cannot be loaded.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// A picture size that the backbone cannot cut into patches.
    #[error("pictures of {image_size} pixels cannot be cut into patches of {patch}; give a multiple as --image-size")]
    ImageSize {
        /// Asked for.
        image_size: usize,
        /// The backbone's patch.
        patch: usize,
    },
    /// An adapter to measure with.
    #[error(transparent)]
    BenchAdapter(#[from] bench::AdapterError),
    /// A server was not measured.
    #[error(transparent)]
    BenchServe(#[from] bench::serve::Error),
    /// A file on the command line cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing was imported.
    #[error(transparent)]
    Import(#[from] import::Error),
    /// Nothing was exported.
    #[error(transparent)]
    Export(#[from] export::ExportError),
    /// A name for a task.
    #[error("--task: {0}")]
    Task(#[from] crate::registry::TaskNameError),
    /// Nothing was trained.
    #[error(transparent)]
    Train(#[from] train::Error),
    /// Nothing was measured.
    #[error(transparent)]
    Eval(#[from] eval::Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Settings that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server did not start, or had to end.
    #[error(transparent)]
    App(#[from] AppError),
    /// A key file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// A version compared with itself.
    #[error("version {0} is named twice: name two versions of the task as --a and --b")]
    SameVersion(u64),
    /// Pictures to ask about.
    #[error(transparent)]
    Pictures(#[from] PicturesError),
    /// The comparison's page.
    #[error(transparent)]
    Html(#[from] compare::HtmlError),
    /// What follows `@` in `--task`.
    #[error("`{0}` is no version: use its number, in digits")]
    Version(String),
    /// Flags that say different things.
    #[error("{0}")]
    Conflict(&'static str),
    /// The process has no threads or signals.
    #[error("the system refused: {0}")]
    Runtime(std::io::Error),
}

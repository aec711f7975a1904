use std::io;
use std::path::PathBuf;

use crate::adapter::Problem;
use crate::backbone::BackboneError;
use crate::client::ClientError;
use crate::commands::file::Exists;
use crate::commands::{BadFiles, ProbeError, ReadError};
use crate::durable::WriteError;
use crate::engine::EngineError;
use crate::evaluate::KnownError;
use crate::train::data::DataError;
use crate::train::run::RunError;
use crate::train::{FitError, JobError, LearnError};
use crate::word::quoted;

/// Why no adapter was trained.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Files that are no pictures.
    #[error(transparent)]
    BadFiles(#[from] BadFiles),
    /// The adapter's name is taken.
    #[error(transparent)]
    Exists(#[from] Exists),
    /// The backbone.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// A file that a flag names.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Class weights that are no numbers.
    #[error("{}: line {line} is {found:?}; it must be the weight of class {line}, counted from 1", path.display())]
    ClassWeights {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// Recipe, task and data do not fit together.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The run's folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Training itself.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// Answers on the validation split that have no figures.
    #[error(transparent)]
    Known(#[from] KnownError),
    /// No trial has finite numbers.
    #[error("every trial diverged: lower --lr")]
    AllDiverged,
    /// A folder of another command.
    #[error("{}: there is a run of train; name another folder as --run-dir", .0.display())]
    NoTuning(PathBuf),
    /// Nothing to choose on.
    #[error("there is no validation split to choose on: give one")]
    NoValidation,
    /// The adapter gives no finite answers.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// There is no place for the adapter.
    #[error("{0}; give another --out")]
    Place(#[from] WriteError),
    /// The adapter cannot be written.
    #[error("{}: {source}; the trained state is kept: mend this, and go on with --resume", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// One name for two things.
    #[error("{}: --out is the run's folder or a file of its own there; give another --out or --run-dir", .0.display())]
    SameName(PathBuf),
    /// Runs among classes.
    #[error("{}: this is the data folder, where every folder is a class or a split: give --out and --run-dir another place", .0.display())]
    InData(PathBuf),
    /// The task is another one on the server.
    #[error(
        "task {task} on the server is another one ({}) than the data's ({}): publish as another --task, put the data right, or \
         leave --publish out and upload the adapter by hand, staged or with allow=labels_changed",
        short(there),
        short(here)
    )]
    OtherTask {
        /// The task.
        task: String,
        /// Classes and problem on the server.
        there: (Vec<String>, Option<Problem>),
        /// In the data.
        here: (Vec<String>, Option<Problem>),
    },
    /// The server would not take the adapter, whatever is learned.
    #[error(
        "the server was asked before anything is trained, and would not take such an adapter ({0}): does it serve this backbone?"
    )]
    NotTaken(String),
    /// The server did not answer as hoped.
    #[error(
        "the server was asked before anything is trained: {0}; mend this, or leave --publish out and upload the adapter later"
    )]
    Rehearse(ClientError),
    /// The server did not take the adapter.
    #[error("{path} is written, but not published: {source}", path = path.display())]
    Publish {
        /// The adapter.
        path: PathBuf,
        /// The server's sentence.
        source: ClientError,
    },
    /// The process has no signals.
    #[error("the system refused to tell about Ctrl-C: {0}")]
    Signals(io::Error),
}

impl From<FitError<RunError>> for Error {
    fn from(error: FitError<RunError>) -> Self {
        match error {
            FitError::Learn(error) => error.into(),
            FitError::Keep(error) => error.into(),
        }
    }
}

/// The first names, how many there are, and whether they exclude each other.
fn short((labels, problem): &(Vec<String>, Option<Problem>)) -> String {
    const SHOWN: usize = 5;
    let more = if labels.len() > SHOWN { format!(" … {} in all", labels.len()) } else { String::new() };
    let several = if *problem == Some(Problem::MultiLabel) { "; several of them a picture" } else { "" };
    quoted(&labels[..labels.len().min(SHOWN)]) + &more + several
}

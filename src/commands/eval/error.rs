use std::path::PathBuf;

use crate::adapter::format::AdapterError;
use crate::backbone::BackboneError;
use crate::commands::file::Exists;
use crate::commands::{BadFiles, ReadError};
use crate::engine::EngineError;
use crate::evaluate::{KnownError, OperatingPointError, TemperatureError};
use crate::train::data::DataError;
use crate::word::quoted;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The labelled pictures.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A split without pictures.
    #[error("{}: there is no picture to look at in {split}; choose others by --split, or give some", path.display())]
    NoPictures {
        /// The data.
        path: PathBuf,
        /// The split.
        split: &'static str,
    },
    /// Nothing to fit on.
    #[error("{}: there is no validation picture to fit on; give some, or leave --fit-temperature and --operating-point out", .0.display())]
    NothingToFit(PathBuf),
    /// Files that are no pictures.
    #[error(transparent)]
    BadFiles(#[from] BadFiles),
    /// Classes that the adapter does not know.
    #[error("the adapter has no class {}; it has {}", quoted(missing), quoted(there))]
    Labels {
        /// Classes of the data.
        missing: Vec<String>,
        /// Classes of the adapter.
        there: Vec<String>,
    },
    /// A picture of none or several classes.
    #[error(
        "{}: the adapter answers with exactly one class, and the data says {found} of this picture; give each picture one", path.display()
    )]
    NotOne {
        /// The picture.
        path: PathBuf,
        /// How many classes it has.
        found: usize,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The adapter.
    #[error("{}: {source}", path.display())]
    Adapter {
        /// The file.
        path: PathBuf,
        /// Every fault.
        source: AdapterError,
    },
    /// The backbone.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Pictures and logits that have no figures.
    #[error(transparent)]
    Known(#[from] KnownError),
    /// A threshold that cannot be fitted.
    #[error(transparent)]
    OperatingPoint(#[from] OperatingPointError),
    /// Thresholds that were fitted under another temperature or limit.
    #[error(
        "thresholds of the adapter were fitted under its former temperature and limit: {}; fit them again in the same call by \
         --operating-point, leave this one out, or begin with the adapter as it was trained",
        quoted(.0)
    )]
    Stale(Vec<String>),
    /// Pictures that tell no temperature.
    #[error(transparent)]
    Temperature(#[from] TemperatureError),
    /// The adapter's file exists.
    #[error(transparent)]
    Exists(#[from] Exists),
    /// What was fitted makes a file that no server takes.
    #[error("{}: nothing is written, for a server would refuse it: {source}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Every fault.
        source: AdapterError,
    },
    /// The adapter cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

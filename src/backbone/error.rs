use std::fmt;
use std::path::PathBuf;

/// Why a folder is no backbone.
#[derive(Debug, thiserror::Error)]
pub enum BackboneError {
    /// A file or the folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was opened.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The folder holds no checkpoint that can be read, or more than one.
    #[error("{}: {why}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What was found and what to do.
        why: String,
    },
    /// A file that cannot be understood.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Tensors or settings that do not make a backbone: every offender at once.
    #[error("{} is not a whole backbone:{}", path.display(), Lines(problems))]
    Unfit {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong, sorted by place.
        problems: Vec<BackboneProblem>,
    },
}

/// One thing that keeps a checkpoint from being a backbone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct BackboneProblem {
    /// A tensor's name in the file, or a setting.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

impl BackboneProblem {
    pub(super) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

struct Lines<'a>(&'a [BackboneProblem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|BackboneProblem { place, problem }| write!(f, "\n  {place}: {problem}"))
    }
}

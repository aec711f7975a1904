use std::io;
use std::path::PathBuf;

/// Why labelled pictures cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The system's answer.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A text that is too large to be a list of pictures.
    #[error("{}: a list of pictures has at most {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// A line that says nothing.
    #[error("{}: line {line} is {found:?}; it must be {expected}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What stands there, or of it what is wrong.
        found: String,
        /// What must stand there.
        expected: &'static str,
    },
    /// A class that has no name.
    #[error("{}: line {line} has class {class}, and there are {classes} classes, counted from 0", path.display())]
    Class {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// The class.
        class: usize,
        /// As many as there are names.
        classes: usize,
    },
    /// A picture that is named twice, or a name of a class.
    #[error("{}: line {line} names {found:?} a second time", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// The picture or class.
        found: String,
    },
    /// A CSV file without the columns that it must have.
    #[error("{}: the first line must be the titles path,label and perhaps split and group; it is {found:?}", path.display())]
    Titles {
        /// The file.
        path: PathBuf,
        /// What stands there.
        found: String,
    },
    /// A group whose pictures are in two splits.
    #[error("{}: group {group:?} is in {first} and in {second}; what belongs together must be in one split", path.display())]
    Straddles {
        /// The file.
        path: PathBuf,
        /// The group.
        group: String,
        /// A split.
        first: &'static str,
        /// Another one.
        second: &'static str,
    },
    /// A folder of a class without a picture.
    #[error("{}: there is no picture of this class; give some, or remove the folder", .0.display())]
    EmptyClass(PathBuf),
    /// Nothing there.
    #[error("{}: there are no labelled pictures; give a folder for each class, a CSV file with path and label, or VTAB-1k's lists", .0.display())]
    Empty(PathBuf),
}

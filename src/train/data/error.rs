use std::io;
use std::path::PathBuf;

use super::Split;

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
    /// A picture in two lists.
    #[error("{}: line {line} names {found:?}, which is to {other} on already; a picture must be in one split", path.display())]
    TwoSplits {
        /// The second list.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// The picture.
        found: String,
        /// What its first list is for.
        other: &'static str,
    },
    /// Two paths to one folder.
    #[error("{}: it is the folder {}, by a link; a picture has one class and is in one split", path.display(), first.display())]
    Linked {
        /// The second path.
        path: PathBuf,
        /// The first one.
        first: PathBuf,
    },
    /// Two paths to one picture.
    #[error(
        "{} is to {} on and {} to {} on, and they are one file, by a link; a picture must be in one split",
        path.display(), split.verb(), first.display(), other.verb()
    )]
    SameFile {
        /// The second path.
        path: PathBuf,
        /// Its split.
        split: Split,
        /// The first one.
        first: PathBuf,
        /// Its split.
        other: Split,
    },
    /// A picture of two classes.
    #[error("{} and {} are one file, by a link, and have different classes; leave one out", path.display(), first.display())]
    TwoClasses {
        /// The second path.
        path: PathBuf,
        /// The first one.
        first: PathBuf,
    },
    /// More pictures than can be listed.
    #[error("{}: there are more than ten million pictures", .0.display())]
    TooMany(PathBuf),
    /// A folder of a class without a picture.
    #[error("{}: there is no picture of this class; give some, or remove the folder", .0.display())]
    EmptyClass(PathBuf),
    /// CSV in a folder.
    #[error("{}: there are no folders of classes; give {} as --data if it lists the pictures", path.display(), file.display())]
    CsvInside {
        /// The folder.
        path: PathBuf,
        /// The first such file.
        file: PathBuf,
    },
    /// Nothing there.
    #[error("{}: there are no labelled pictures; give a folder for each class, a CSV file with path and label, or VTAB-1k's lists", .0.display())]
    Empty(PathBuf),
}

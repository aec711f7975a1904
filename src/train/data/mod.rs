//! Pictures and what is known about them.

mod cache;
mod check;
mod csv;
mod error;
mod folder;
mod lists;
mod placed;
mod read;
mod split;

pub use cache::{PictureCache, PictureError};
pub use check::{BadFile, Checked, check};
pub use error::DataError;
pub use read::{is_class_folders, read};
pub use split::Split;

use std::path::PathBuf;

/// Labelled pictures in three splits. A split that a data form lacks is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Class names, in head order.
    pub labels: Vec<String>,
    /// Whether a picture may have several classes, or none.
    pub multi_label: bool,
    /// To fit on.
    pub train: Vec<Example>,
    /// To select on.
    pub validation: Vec<Example>,
    /// To report on, once.
    pub test: Vec<Example>,
    /// Pictures that no data form puts into a split: ours is by their names' hashes.
    pub unplaced: usize,
    /// What was passed over and may have been meant, a sentence each.
    pub notes: Vec<String>,
}

impl Dataset {
    /// The pictures of one split.
    pub fn of(&self, split: Split) -> &[Example] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// A picture and its classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The picture's file.
    pub path: PathBuf,
    /// Its classes by index; exactly one unless the data is multi-label.
    pub targets: Vec<usize>,
}

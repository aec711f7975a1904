use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::data::{PictureCache, PictureError};
use crate::image::{ImageError, Pixels, Preprocess};

/// Why a picture has no pixels.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It cannot be read or decoded.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The task's preprocessing does not take it.
    #[error("{}: {source}", path.display())]
    Pixels {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ImageError,
    },
}

/// Pictures as one preprocessing makes them, kept while there is room.
pub struct Prepared {
    preprocess: Preprocess,
    bytes_max: usize,
    bytes: usize,
    kept: HashMap<PathBuf, Pixels>,
}

impl Prepared {
    /// Keeps `bytes_max` in all.
    pub fn new(preprocess: Preprocess, bytes_max: usize) -> Self {
        Self { preprocess, bytes_max, bytes: 0, kept: HashMap::new() }
    }

    /// The pixels of that file.
    pub fn pixels(&mut self, pictures: &PictureCache, path: &Path) -> Result<Pixels, PrepareError> {
        if let Some(pixels) = self.kept.get(path) {
            return Ok(pixels.clone());
        }
        let pixels = pictures.picture(path)?.pixels(&self.preprocess);
        let pixels = pixels.map_err(|source| PrepareError::Pixels { path: path.to_owned(), source })?;
        let (height, width) = pixels.size();
        let bytes = self.bytes.saturating_add(height * width * 3);
        if bytes <= self.bytes_max {
            self.bytes = bytes;
            self.kept.insert(path.to_owned(), pixels.clone());
        }
        Ok(pixels)
    }
}

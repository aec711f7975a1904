use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::hash::content_hash;
use crate::image::{DecodeLimits, ImageError, Picture, decode};

/// Decoded pictures, kept in memory while there is room. Nothing is ever put out: every epoch visits every picture once,
/// and what was put out would be the next to be asked for.
pub struct PictureCache {
    limits: DecodeLimits,
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    pictures: HashMap<PathBuf, Arc<Picture>>,
    bytes: usize,
}

/// Why a file is no picture that can be used.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The system's answer.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its bytes.
    #[error("{}: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        source: ImageError,
    },
}

impl PictureCache {
    /// Keeps decoded pictures of `bytes_max` in all.
    pub fn new(bytes_max: usize) -> Self {
        Self { limits: DecodeLimits::default(), bytes_max, kept: Mutex::default() }
    }

    /// The decoded picture.
    pub fn picture(&self, path: &Path) -> Result<Arc<Picture>, PictureError> {
        if let Some(picture) = self.lock().pictures.get(path) {
            return Ok(picture.clone());
        }
        Ok(self.load(path)?.0)
    }

    /// `sha256:` + hex of the file's bytes, if they are a picture.
    pub fn hash(&self, path: &Path) -> Result<String, PictureError> {
        Ok(content_hash(&self.load(path)?.1))
    }

    /// The picture and the bytes that it was decoded from.
    fn load(&self, path: &Path) -> Result<(Arc<Picture>, Vec<u8>), PictureError> {
        let bytes = self.read(path).map_err(|source| PictureError::Read { path: path.to_owned(), source })?;
        let picture = decode(&bytes, &self.limits);
        let picture = picture.map_err(|source| PictureError::Decode { path: path.to_owned(), source })?;
        let picture = Arc::new(picture);
        self.keep(path, &picture);
        Ok((picture, bytes))
    }

    /// At most one byte more than a picture may have, which the decoder then refuses.
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(self.limits.bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn keep(&self, path: &Path, picture: &Arc<Picture>) {
        let mut kept = self.lock();
        let bytes = kept.bytes.saturating_add(picture.bytes());
        if bytes <= self.bytes_max && kept.pictures.insert(path.to_owned(), picture.clone()).is_none() {
            kept.bytes = bytes;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        // A map is whole whatever panicked beside it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/preprocess/images").join(name)
    }

    #[test]
    fn pictures_stay_while_there_is_room() {
        let [cat, rocket] = ["cat.png", "rocket.jpg"].map(fixture);
        let bytes = PictureCache::new(0).picture(&cat).expect("a picture").bytes();
        let cache = PictureCache::new(bytes);
        let first = cache.picture(&cat).expect("a picture");
        assert!(Arc::ptr_eq(&first, &cache.picture(&cat).expect("a picture")));
        let other = cache.picture(&rocket).expect("a picture");
        assert!(!Arc::ptr_eq(&other, &cache.picture(&rocket).expect("a picture")));
    }

    #[test]
    fn an_empty_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("empty.png");
        std::fs::write(&path, []).expect("written");
        let error = PictureCache::new(0).picture(&path).expect_err("no picture").to_string();
        assert!(error.contains("empty.png: the picture is empty"), "{error}");
        assert!(PictureCache::new(0).picture(&fixture("missing.png")).is_err());
    }
}

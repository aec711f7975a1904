//! Files that appear whole or not at all, and outlive a power cut once these functions return.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Names that begin with it belong to an unfinished write.
const TEMPORARY_PREFIX: &str = ".new-";

/// A step that the system refused.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}: {source}", path.display())]
pub struct WriteError {
    /// File or folder.
    pub path: PathBuf,
    /// What was tried.
    pub what: &'static str,
    /// The system's answer.
    pub source: io::Error,
}

fn refused(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> WriteError {
    move |source| WriteError { path: path.to_owned(), what, source }
}

/// The place of an unfinished write beside its final place.
pub fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{TEMPORARY_PREFIX}{name}"))
}

/// Whether the file name says that a write was not finished.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY_PREFIX)
}

/// Writes a file beside its place, moves it there, and makes both last. A failed write leaves the former file.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let new = temporary(path);
    let moved = write_synced(&new, bytes)
        .and_then(|()| fs::rename(&new, path).map_err(refused(path, "could not move the written file here")));
    if moved.is_err() {
        // What cannot be removed now is written over the next time.
        let _ = fs::remove_file(&new);
    }
    moved.and_then(|()| sync_folder(parent(path)))
}

/// Makes the file's folder where it is missing, and finds out whether [`replace`] could write there.
pub fn prepare(path: &Path) -> Result<(), WriteError> {
    let (folder, new) = (parent(path), temporary(path));
    fs::create_dir_all(folder).map_err(refused(folder, "the folder cannot be made"))?;
    File::create(&new)
        .and_then(|_| fs::remove_file(&new))
        .map_err(refused(folder, "no file can be made in this folder"))
}

/// Writes a file where nobody looks yet, and makes its bytes last (its name lasts with [`sync_folder`]).
pub fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(refused(path, "could not write"))
}

/// Makes the names inside a folder last.
pub fn sync_folder(folder: &Path) -> Result<(), WriteError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(refused(folder, "could not make the folder's names last"))
}

/// The folder of a path.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_former_file_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        replace(&path, b"old").expect("written");
        replace(&path, b"new").expect("written");
        fs::create_dir(temporary(&path)).expect("in the way");
        assert!(replace(&path, b"newer").is_err());
        assert_eq!(fs::read(&path).expect("there"), b"new");
    }

    #[test]
    fn a_place_is_prepared_and_left_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b/state");
        prepare(&path).expect("made");
        assert_eq!(fs::read_dir(folder.path().join("a/b")).expect("made").count(), 0);
        fs::write(&path, b"a file").expect("written");
        let below = path.join("state");
        let error = prepare(&below).expect_err("a file is in the way").to_string();
        assert!(error.contains("a/b/state: the folder cannot be made"), "{error}");
    }
}

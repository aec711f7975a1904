//! The files of a data folder. No task or version is ever called as an unfinished write is.

use std::fs;
use std::io;
use std::path::Path;

use crate::capped;
use crate::durable::{self, WriteError};
pub use crate::durable::{is_temporary, parent, temporary};
use crate::hash::content_hash;
use crate::registry::StoreError;

/// Why a file's bytes are not those that were stored.
#[derive(Debug)]
pub enum ReadFault {
    /// There is no such file.
    Missing,
    /// Its bytes are others.
    Damaged(String),
    /// The system refused.
    Io(StoreError),
}

/// For `map_err`: what was tried on which path.
pub fn io_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { path: path.to_owned(), what, source }
}

/// As [`durable::replace`].
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    Ok(durable::replace(path, bytes)?)
}

/// As [`durable::write_synced`].
pub fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    Ok(durable::write_synced(path, bytes)?)
}

/// As [`durable::sync_folder`].
pub fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    Ok(durable::sync_folder(folder)?)
}

/// Reads a file of exactly this size and content hash; a larger one is not read.
pub fn read_verified(path: &Path, bytes: u64, hash: &str) -> Result<Vec<u8>, ReadFault> {
    let found = size(path)?;
    if found != bytes {
        return Err(ReadFault::Damaged(format!("the file has {found} bytes, {bytes} were stored")));
    }
    let contents = read_at_most(path, bytes)?;
    let found = content_hash(&contents);
    if found == hash {
        Ok(contents)
    } else {
        Err(ReadFault::Damaged(format!("its hash is {found}, stored was {hash}")))
    }
}

/// Bytes of a file.
pub fn size(path: &Path) -> Result<u64, ReadFault> {
    fs::metadata(path).map(|m| m.len()).map_err(|e| fault(path, e))
}

/// Reads a file that may have this many bytes.
pub fn read_at_most(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
    let contents = capped::read(path, bytes_max).map_err(|e| fault(path, e))?;
    contents.ok_or_else(|| ReadFault::Damaged(format!("the file has more than {bytes_max} bytes")))
}

fn fault(path: &Path, error: io::Error) -> ReadFault {
    match error.kind() {
        io::ErrorKind::NotFound => ReadFault::Missing,
        _ => ReadFault::Io(io_error(path, "could not read")(error)),
    }
}

/// File names in a folder, in no particular order.
pub fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let list = || {
        let entries = fs::read_dir(folder)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<_>>()
    };
    list().map_err(io_error(folder, "could not list"))
}

/// Makes a folder and those above it.
pub fn create_folder(folder: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(folder).map_err(io_error(folder, "could not make the folder"))
}

/// Bytes that this process may still write on the folder's disk.
pub fn free_bytes(folder: &Path) -> Result<u64, StoreError> {
    let disk = rustix::fs::statvfs(folder)
        .map_err(|e| io_error(folder, "could not ask for the disk's free space")(e.into()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

impl From<WriteError> for StoreError {
    fn from(WriteError { path, what, source }: WriteError) -> Self {
        Self::Io { path, what, source }
    }
}

impl StoreError {
    /// Whether the disk, a quota or the process's file limit has no more room.
    pub(in crate::registry) fn is_full(&self) -> bool {
        let kind = match self {
            Self::Io { source, .. } => source.kind(),
            _ => return false,
        };
        matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
    }
}

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::files::io_error;
use crate::registry::StoreError;

/// The right to change a data folder. The kernel frees it when the process ends, however it ends.
pub struct WriterLock {
    file: File,
}

impl Drop for WriterLock {
    /// Said, not left to closing: a child that is being spawned has a copy of the file until it becomes its program, and
    /// would hold the lock for so long.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl WriterLock {
    /// Takes the lock, or `None` when another process has it. The file itself stays for ever: removing it would let
    /// two processes lock two files of one name.
    pub fn take(root: &Path) -> Result<Option<Self>, StoreError> {
        let path = root.join("lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(io_error(&path, "could not open"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(io_error(&path, "could not lock")(error)),
        }
    }
}

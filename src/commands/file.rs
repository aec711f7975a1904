use std::path::{Path, PathBuf};

use crate::capped;

/// Why a file on the command line cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system's answer.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not the kind of file that is asked for.
    #[error("{} has more than {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
}

/// A whole file, if it is not larger than it may be.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadError> {
    let bytes = capped::read(path, bytes_max).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    bytes.ok_or_else(|| ReadError::TooLarge { path: path.to_owned(), bytes_max })
}

/// Refuses to replace a file that nobody said may be replaced.
pub fn spare(path: &Path, force: bool) -> Result<(), Exists> {
    if path.is_dir() {
        return Err(Exists::Folder(path.to_owned()));
    }
    if force || !path.exists() { Ok(()) } else { Err(Exists::File(path.to_owned())) }
}

/// Something is there already.
#[derive(Debug, thiserror::Error)]
pub enum Exists {
    /// A file.
    #[error("{}: the file exists; give another name, or --force to replace it", .0.display())]
    File(PathBuf),
    /// A folder, which no file replaces.
    #[error("{}: there is a folder of this name; give the name of a file", .0.display())]
    Folder(PathBuf),
}

/// `a.safetensors` to `a.ending`; any other name keeps its own ending: `a.v1` and `a.v2` are of different things.
pub fn beside(file: &Path, ending: &str) -> PathBuf {
    let is_ours = file.extension().is_some_and(|extension| extension == "safetensors");
    let mut name = if is_ours { file.with_extension("") } else { file.to_owned() }.into_os_string();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_a_file_is_its_own() {
        let found = ["x/a.safetensors", "a.v1", "a"].map(|name| beside(Path::new(name), "run"));
        assert_eq!(found.map(|path| path.display().to_string()), ["x/a.run", "a.v1.run", "a.run"]);
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), b"12345").expect("writable");
        assert_eq!(read(file.path(), 5).expect("fits"), b"12345");
        assert!(matches!(read(file.path(), 4), Err(ReadError::TooLarge { bytes_max: 4, .. })));
        assert!(spare(file.path(), false).is_err() && spare(file.path(), true).is_ok());
        assert!(spare(Path::new("/nowhere/at/all"), false).is_ok());
        assert!(matches!(spare(Path::new("/"), true), Err(Exists::Folder(_))));
        assert!(matches!(read(Path::new("/nowhere/at/all"), 4), Err(ReadError::Io { .. })));
    }
}

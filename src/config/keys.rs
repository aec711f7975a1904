use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A key, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Nothing in it.
    #[error("{}: has no key; write one a line", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// No client could send it.
    #[error("{}: line {line} is no key; use visible ASCII without blanks", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// 1 for the first.
        line: usize,
    },
}

/// The keys of a file, one a line. Empty lines and lines that begin with `#` are none.
pub fn read_keys(path: &Path) -> Result<Vec<Secret>, KeyFileError> {
    let text = fs::read_to_string(path).map_err(|source| KeyFileError::Io { path: path.into(), source })?;
    let mut keys = Vec::new();
    for (line, key) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        if key.is_empty() || key.starts_with('#') {
            continue;
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyFileError::NotAKey { path: path.into(), line });
        }
        keys.push(Secret(key.to_owned()));
    }
    if keys.is_empty() { Err(KeyFileError::Empty { path: path.into() }) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Secret>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        fs::write(&path, text).expect("written");
        read_keys(&path).map_err(|e| e.to_string().rsplit('/').next().unwrap_or_default().to_owned())
    }

    #[test]
    fn one_key_a_line() {
        assert_eq!(read("# old\n one \n\ntwo\r\n"), Ok(vec![Secret("one".into()), Secret("two".into())]));
        assert_eq!(read("# none\n"), Err("keys: has no key; write one a line".into()));
        assert_eq!(read("ok\na b\n"), Err("keys: line 2 is no key; use visible ASCII without blanks".into()));
        assert_eq!(format!("{:?}", Secret("hush".into())), "***");
    }
}

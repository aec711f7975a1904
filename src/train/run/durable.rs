use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Writes a file beside its place, moves it there, and makes both last. A failed write leaves the former file.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path);
    let moved = write(&new, bytes).and_then(|()| fs::rename(&new, path));
    if moved.is_err() {
        // What cannot be removed is written over the next time.
        let _ = fs::remove_file(&new);
    }
    moved?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".new-{}", path.file_name().unwrap_or_default().to_string_lossy()))
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
        fs::create_dir(beside(&path)).expect("in the way");
        assert!(replace(&path, b"newer").is_err());
        assert_eq!(fs::read(&path).expect("there"), b"new");
    }
}

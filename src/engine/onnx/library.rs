//! Finds libonnxruntime, and refuses a cut file before the system's loader maps it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::engine::EngineError;

/// How a file or folder of the library may be named here.
const STEM: &str = if cfg!(target_os = "windows") { "onnxruntime" } else { "libonnxruntime" };
const SUFFIX: &str = std::env::consts::DLL_SUFFIX;

/// The library that was asked for (a file, or a folder that holds it), else the newest one in the usual folders:
/// beside the executable, its `lib`, `../lib`, and `cache/onnxruntime/<version>` under the working folder or the
/// engine's cache.
pub fn find(asked: Option<&Path>, cache_dir: &Path) -> Result<PathBuf, EngineError> {
    let folders = match asked {
        Some(path) if path.is_dir() => vec![path.to_owned()],
        Some(path) => return checked(path.to_owned()),
        None => usual_folders(cache_dir),
    };
    let candidates = folders.iter().find_map(|folder| newest_in(folder));
    candidates.map_or_else(|| Err(missing(&folders)), checked)
}

fn usual_folders(cache_dir: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(beside) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        folders.extend([beside.to_owned(), beside.join("lib"), beside.join("../lib")]);
    }
    for root in [Path::new("cache/onnxruntime"), &cache_dir.join("onnxruntime")] {
        let mut versions: Vec<_> = entries(root).filter(|path| path.is_dir()).collect();
        versions.sort_by_key(|path| std::cmp::Reverse(version(path)));
        folders.extend(versions);
        folders.push(root.to_owned());
    }
    folders
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn newest_in(folder: &Path) -> Option<PathBuf> {
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let rest = name.strip_prefix(STEM).unwrap_or_default();
        rest.starts_with(SUFFIX) || (rest.starts_with('.') && rest.ends_with(SUFFIX))
    };
    entries(folder).filter(is_library).max_by_key(|path| version(path))
}

/// The numbers of a name: 1.32.0 after 1.9.2.
fn version(path: &Path) -> Vec<u64> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn missing(folders: &[PathBuf]) -> EngineError {
    let looked: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
    EngineError::Unavailable(format!(
        "ONNX Runtime ({STEM}{SUFFIX}, 1.24 or newer) was not found in {}. Get it with `pip download --no-deps \
         onnxruntime` and `unzip -j onnxruntime-*.whl '*/libonnxruntime*' -d lib`, then name the file with \
         --onnxruntime-lib or MANYLENS_ONNXRUNTIME_LIB",
        looked.join(", ")
    ))
}

fn checked(path: PathBuf) -> Result<PathBuf, EngineError> {
    let refuse = |why: String| Err(EngineError::Unavailable(format!("ONNX Runtime at {}: {why}", path.display())));
    match is_whole(&path) {
        Err(error) => refuse(error.to_string()),
        Ok(false) => refuse("the file is cut short or no shared library; get it again".into()),
        // The loader reads a name without a slash as a search in the system's folders.
        Ok(true) => path.canonicalize().or_else(|error| refuse(error.to_string())),
    }
}

/// Whether an ELF file reaches to the end of its section table, which linkers write last: mapping a shorter one would
/// end the process with SIGBUS. Other formats are left to the loader.
fn is_whole(path: &Path) -> std::io::Result<bool> {
    if !cfg!(target_os = "linux") {
        return Ok(path.is_file());
    }
    let mut file = File::open(path)?;
    let mut header = [0; 64];
    if file.read_exact(&mut header).is_err() || !header.starts_with(b"\x7fELF\x02\x01") {
        return Ok(false);
    }
    let table = u64::from_le_bytes(header[40..48].try_into().expect("eight bytes"));
    let [size, count] = [58, 60].map(|at| u64::from(u16::from_le_bytes([header[at], header[at + 1]])));
    let length = file.seek(SeekFrom::End(0))?;
    Ok(table.checked_add(size * count).is_some_and(|end| end <= length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(asked: &Path) -> String {
        find(Some(asked), Path::new("/nonexistent")).expect_err("refused").to_string()
    }

    #[test]
    fn a_missing_library_says_how_to_get_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let message = refusal(folder.path());
        assert!(message.contains("pip download") && message.contains("--onnxruntime-lib"), "{message}");
        assert!(refusal(&folder.path().join("none.so")).contains("none.so"));
    }

    #[test]
    fn a_file_that_is_no_library_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("libonnxruntime.so");
        for bytes in [&b""[..], b"<html>404</html>", &[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]] {
            std::fs::write(&path, bytes).expect("written");
            assert!(refusal(&path).contains("cut short"));
        }
    }

    #[test]
    fn the_newest_release_of_a_folder_is_taken() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["libonnxruntime.so.1.9.2", "libonnxruntime.so.1.32.0", "libonnxruntime_providers_shared.so"] {
            std::fs::write(folder.path().join(name), b"").expect("written");
        }
        assert_eq!(newest_in(folder.path()), Some(folder.path().join("libonnxruntime.so.1.32.0")));
    }
}

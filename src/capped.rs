//! Files of which no more is read than they may have.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// A whole file; none if it has more than `bytes_max` bytes.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len().min(bytes_max)).unwrap_or(0));
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= bytes_max).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), b"12345").expect("writable");
        assert_eq!(read(file.path(), 5).expect("read").as_deref(), Some(&b"12345"[..]));
        assert_eq!(read(file.path(), 4).expect("read"), None);
        assert!(read(Path::new("/nowhere/at/all"), 4).is_err());
    }
}

//! Zip archives (`.npz` and `.pth` files) read from memory, every size checked before it is trusted.
#![forbid(unsafe_code)]

use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::read::ZipFile;

/// What an archive may hold.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveLimits {
    /// Members.
    pub entries_max: usize,
    /// Bytes of one member after decompression.
    pub entry_bytes_max: u64,
}

/// Why an archive or a member cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// No zip file, or a damaged directory; the reader's own words.
    #[error("not a valid zip archive: {0}")]
    Malformed(String),
    /// More members than the limit.
    #[error("the archive has {entries} members, at most {max} are read")]
    TooManyEntries {
        /// Members there are.
        entries: usize,
        /// The limit.
        max: usize,
    },
    /// A member that is larger than the limit.
    #[error("{name} would be {bytes} bytes, at most {max} are read")]
    TooLarge {
        /// The member.
        name: String,
        /// Its declared size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A member that is not there, is encrypted, or does not decompress to its declared size and checksum.
    #[error("{name}: {why}")]
    Member {
        /// The member.
        name: String,
        /// The reason.
        why: String,
    },
}

/// An open archive.
pub struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    limits: ArchiveLimits,
    names: Vec<String>,
}

impl<'a> Archive<'a> {
    /// Reads the directory of the archive in `bytes`.
    pub fn open(bytes: &'a [u8], limits: ArchiveLimits) -> Result<Self, ArchiveError> {
        let malformed = |e: zip::result::ZipError| ArchiveError::Malformed(e.to_string());
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(malformed)?;
        if zip.len() > limits.entries_max {
            return Err(ArchiveError::TooManyEntries { entries: zip.len(), max: limits.entries_max });
        }
        let names = zip.file_names().map(|name| Ok(name.map_err(malformed)?.into_owned()));
        let names = names.collect::<Result<_, ArchiveError>>()?;
        Ok(Self { zip, limits, names })
    }

    /// Names of all members, in the directory's order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Bytes of a member after decompression, as declared; within the limit.
    pub fn size(&self, name: &str) -> Result<u64, ArchiveError> {
        self.with(name, |file| Ok(file.size()))
    }

    /// The whole member, decompressed and checked against its checksum.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, ArchiveError> {
        self.with(name, |file| {
            let declared = file.size();
            let mut bytes = Vec::new();
            file.take(declared + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
            if bytes.len() as u64 == declared {
                Ok(bytes)
            } else {
                Err(format!("decompresses to {} bytes or more, {declared} declared", bytes.len()))
            }
        })
    }

    /// At most the first `bytes_max` bytes of a member, not checked against its checksum.
    pub fn read_start(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, ArchiveError> {
        self.with(name, |file| {
            let mut bytes = Vec::new();
            file.take(bytes_max).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
            Ok(bytes)
        })
    }

    fn with<R>(
        &self,
        name: &str,
        f: impl FnOnce(&mut ZipFile<'_, Cursor<&'a [u8]>>) -> Result<R, String>,
    ) -> Result<R, ArchiveError> {
        let member = |why: String| ArchiveError::Member { name: name.to_owned(), why };
        // A clone shares the directory and has a cursor of its own, so reading needs no `&mut self`.
        let mut zip = self.zip.clone();
        let mut file = zip.by_name(name).map_err(|e| member(e.to_string()))?;
        let (bytes, max) = (file.size(), self.limits.entry_bytes_max);
        if bytes > max {
            return Err(ArchiveError::TooLarge { name: name.to_owned(), bytes, max });
        }
        f(&mut file).map_err(member)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::io::{Cursor, Write as _};

    use zip::write::{SimpleFileOptions, ZipWriter};

    /// An archive of these members, deflated.
    pub fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).expect("fresh name");
            writer.write_all(bytes).expect("memory");
        }
        writer.finish().expect("memory").into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::archive;
    use super::*;

    const LIMITS: ArchiveLimits = ArchiveLimits { entries_max: 4, entry_bytes_max: 1 << 20 };

    #[test]
    fn members_are_read_whole_or_in_part() {
        let bytes = archive(&[("a/b", b"hello"), ("c", b"")]);
        let archive = Archive::open(&bytes, LIMITS).expect("valid");
        assert_eq!(archive.names(), ["a/b", "c"]);
        assert_eq!(archive.read("a/b").expect("there"), b"hello");
        assert_eq!(archive.read_start("a/b", 2).expect("there"), b"he");
        assert!(matches!(archive.read("d"), Err(ArchiveError::Member { .. })));
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_read() {
        let bytes = archive(&[("bomb", &vec![0; (1 << 20) + 1])]);
        assert!(bytes.len() < 1 << 12);
        let archive = Archive::open(&bytes, LIMITS).expect("the directory is fine");
        assert!(matches!(archive.read("bomb"), Err(ArchiveError::TooLarge { bytes: 1_048_577, .. })));
    }

    #[test]
    fn too_many_members_and_cut_files_are_refused() {
        let bytes = archive(&[("a", b"1"), ("b", b"2"), ("c", b"3"), ("d", b"4"), ("e", b"5")]);
        assert!(matches!(Archive::open(&bytes, LIMITS), Err(ArchiveError::TooManyEntries { entries: 5, max: 4 })));
        for len in 0..bytes.len() {
            assert!(Archive::open(&bytes[..len], LIMITS).is_err(), "{len}");
        }
    }

    #[test]
    fn a_flipped_byte_fails_the_checksum() {
        let mut bytes = archive(&[("a", b"some bytes that deflate leaves about as they are")]);
        let at = bytes.len() / 4;
        bytes[at] ^= 0x40;
        let archive = Archive::open(&bytes, LIMITS);
        assert!(archive.and_then(|a| a.read("a")).is_err());
    }
}

//! SHA-256 in the one spelling that the project uses: `sha256:` + 64 lowercase hex digits.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// A running SHA-256.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// `sha256:` + hex of everything taken.
    pub fn finish(self) -> String {
        let digest = self.0.finalize();
        let mut text = String::with_capacity(7 + 2 * digest.len());
        text.push_str("sha256:");
        for byte in digest {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        }
        text
    }
}

/// `sha256:` + hex of these bytes.
pub fn content_hash(bytes: &[u8]) -> String {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #[test]
    fn matches_the_standards_vector() {
        assert_eq!(
            super::content_hash(b"abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}

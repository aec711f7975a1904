//! Which keys are good. Only their hashes stay in memory, and comparing takes the same time for all of them.

use std::path::PathBuf;

use arc_swap::ArcSwap;
use subtle::{Choice, ConstantTimeEq};

use crate::config::{KeyFileError, Keys, Secret, read_keys};
use crate::hash::content_hash;

/// What a good key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Classify and look.
    Inference,
    /// And manage.
    Admin,
}

/// The keys of both roles.
pub struct Keyring {
    admin: Keyset,
    inference: Keyset,
}

/// One role's keys: those of the file, read again on demand, and the one of the environment.
struct Keyset {
    file: Option<PathBuf>,
    fixed: Option<Secret>,
    hashes: ArcSwap<Vec<String>>,
}

impl Keyring {
    /// Reads both files.
    pub fn load(keys: &Keys) -> Result<Self, KeyFileError> {
        Ok(Self {
            admin: Keyset::load(keys.admin_file.clone(), keys.admin.clone())?,
            inference: Keyset::load(keys.inference_file.clone(), keys.inference.clone())?,
        })
    }

    /// Reads both files again. A file that cannot be used leaves its role's keys as they were.
    pub fn reload(&self) -> Result<(), KeyFileError> {
        let admin = self.admin.reload();
        self.inference.reload().and(admin)
    }

    /// Whether that role needs a key at all.
    pub fn has(&self, role: Role) -> bool {
        match role {
            Role::Admin => self.admin.is_used(),
            Role::Inference => self.inference.is_used(),
        }
    }

    /// The highest role of this key.
    pub fn role(&self, key: &str) -> Option<Role> {
        let hash = content_hash(key.as_bytes());
        // Both sets are searched whatever the first says.
        match (self.admin.contains(&hash), self.inference.contains(&hash)) {
            (true, _) => Some(Role::Admin),
            (false, true) => Some(Role::Inference),
            (false, false) => None,
        }
    }
}

impl Keyset {
    fn load(file: Option<PathBuf>, fixed: Option<Secret>) -> Result<Self, KeyFileError> {
        let keyset = Self { file, fixed, hashes: ArcSwap::default() };
        keyset.reload()?;
        Ok(keyset)
    }

    fn reload(&self) -> Result<(), KeyFileError> {
        let mut keys = self.file.as_deref().map_or(Ok(vec![]), read_keys)?;
        keys.extend(self.fixed.clone());
        self.hashes.store(keys.iter().map(|key| content_hash(key.0.as_bytes())).collect::<Vec<_>>().into());
        Ok(())
    }

    fn is_used(&self) -> bool {
        self.file.is_some() || self.fixed.is_some()
    }

    fn contains(&self, hash: &str) -> bool {
        let equal = |known: &String| known.as_bytes().ct_eq(hash.as_bytes());
        self.hashes.load().iter().map(equal).fold(Choice::from(0), |any, equal| any | equal).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn keys_overlap_while_they_are_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin");
        fs::write(&path, "old\nnew\n").expect("written");
        let keys = Keys { admin_file: Some(path.clone()), inference: Some(Secret("reader".into())), ..Keys::default() };
        let ring = Keyring::load(&keys).expect("readable");
        assert_eq!(ring.role("old"), Some(Role::Admin));
        assert_eq!(ring.role("new"), Some(Role::Admin));
        assert_eq!(ring.role("reader"), Some(Role::Inference));
        assert_eq!(ring.role("reade"), None);
        fs::write(&path, "new\n").expect("written");
        ring.reload().expect("readable");
        assert_eq!((ring.role("old"), ring.role("new")), (None, Some(Role::Admin)));
        fs::write(&path, "").expect("written");
        assert!(ring.reload().is_err());
        assert_eq!(ring.role("new"), Some(Role::Admin), "a bad file changes nothing");
    }
}

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{TaskName, Version};
use crate::engine::Lens;

/// Inactive versions that were asked for by number: the ones used last, up to a number of bytes. One that had to make
/// room while requests hold it is still found, so that it is never in memory twice.
pub struct Cache {
    bytes_max: usize,
    held: Mutex<Held>,
}

type Key = (TaskName, u64);

#[derive(Default)]
struct Held {
    versions: HashMap<Key, Kept>,
    /// Every version that was put, for as long as anybody holds it.
    alive: HashMap<Key, Weak<Version>>,
    bytes: usize,
    uses: u64,
}

struct Kept {
    /// Keeps it alive.
    _version: Arc<Version>,
    bytes: usize,
    last_use: u64,
}

impl Cache {
    /// Keeps at most that many bytes, or one version that is larger.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Mutex::default() }
    }

    /// A version, if it is in memory.
    pub fn get(&self, task: &TaskName, number: u64) -> Option<Arc<Version>> {
        let mut held = self.held();
        let version = held.alive.get(&(task.clone(), number))?.upgrade()?;
        held.keep(&version, self.bytes_max);
        Some(version)
    }

    /// Holds a version; those unused for longest make room.
    pub fn put(&self, version: &Arc<Version>) {
        let mut held = self.held();
        held.alive.retain(|_, known| known.strong_count() > 0);
        held.alive.insert((version.task.clone(), version.number), Arc::downgrade(version));
        held.keep(version, self.bytes_max);
    }

    /// Lets versions of a task go, except those to be kept.
    pub fn retain(&self, task: &TaskName, keep: impl Fn(u64) -> bool) {
        let mut held = self.held();
        let stays = |(name, number): &Key| name != task || keep(*number);
        held.alive.retain(|key, _| stays(key));
        held.versions.retain(|key, _| stays(key));
        held.bytes = held.versions.values().map(|kept| kept.bytes).sum();
    }

    /// Versions held.
    pub fn len(&self) -> usize {
        self.held().versions.len()
    }

    /// Held for a few instructions, which cannot leave it half changed.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn keep(&mut self, version: &Arc<Version>, bytes_max: usize) {
        self.uses += 1;
        let kept = Kept { _version: version.clone(), bytes: resident_bytes(&version.lens), last_use: self.uses };
        self.bytes += kept.bytes;
        if let Some(former) = self.versions.insert((version.task.clone(), version.number), kept) {
            self.bytes -= former.bytes;
        }
        while self.bytes > bytes_max && self.versions.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.versions.iter().min_by_key(|(_, kept)| kept.last_use).map(|(key, _)| key.clone());
        if let Some(kept) = oldest.and_then(|key| self.versions.remove(&key)) {
            self.bytes -= kept.bytes;
        }
    }
}

/// Bytes that a lens keeps in memory.
fn resident_bytes(lens: &Lens) -> usize {
    let adapter = &lens.adapter;
    let values = adapter.rescale.len() + adapter.head.weight.len() + adapter.head.bias.len();
    values * size_of::<f32>() + lens.prepared_bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Form;
    use crate::registry::testing::{Fixture, task};

    fn version(fixture: &Fixture, name: &str, number: u64) -> Arc<Version> {
        let lens = fixture.backend.prepare(Arc::new(fixture.tiny.file().adapter), Form::Rescaled).expect("always");
        Arc::new(Version { task: task(name), number, hash: String::new(), lens })
    }

    #[test]
    fn the_least_recently_used_make_room() {
        let fixture = Fixture::new();
        let bytes = resident_bytes(&version(&fixture, "a", 1).lens);
        let cache = Cache::new(2 * bytes);
        let held = || (1..5).filter(|&n| cache.get(&task("a"), n).is_some()).collect::<Vec<u64>>();
        cache.put(&version(&fixture, "a", 1));
        cache.put(&version(&fixture, "a", 2));
        cache.get(&task("a"), 1).expect("held");
        cache.put(&version(&fixture, "a", 3));
        assert_eq!(held(), [1, 3]);
        cache.put(&version(&fixture, "a", 3));
        cache.retain(&task("b"), |_| false);
        assert_eq!((held(), cache.len()), (vec![1, 3], 2));
        cache.retain(&task("a"), |number| number == 3);
        assert_eq!(held(), [3]);
    }

    #[test]
    fn a_version_that_a_request_holds_is_not_loaded_again() {
        let fixture = Fixture::new();
        let cache = Cache::new(1);
        let held = version(&fixture, "a", 1);
        cache.put(&held);
        cache.put(&version(&fixture, "a", 2));
        assert!(Arc::ptr_eq(&cache.get(&task("a"), 1).expect("in memory"), &held));
        assert_eq!(cache.len(), 1, "it took the other's place");
        cache.retain(&task("a"), |_| false);
        assert!(cache.get(&task("a"), 1).is_none(), "a deleted version is not found, whoever holds it");
    }

    #[test]
    fn the_newest_stays_even_if_it_is_too_large() {
        let fixture = Fixture::new();
        let cache = Cache::new(1);
        cache.put(&version(&fixture, "a", 1));
        cache.put(&version(&fixture, "a", 2));
        assert!(cache.get(&task("a"), 1).is_none() && cache.get(&task("a"), 2).is_some());
    }
}

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{TaskName, Version};
use crate::engine::Lens;

/// Inactive versions that were asked for by number: the ones used last, up to a number of bytes.
pub struct Cache {
    bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    versions: HashMap<(TaskName, u64), Kept>,
    bytes: usize,
    uses: u64,
}

struct Kept {
    version: Arc<Version>,
    bytes: usize,
    last_use: u64,
}

impl Cache {
    /// Keeps at most that many bytes, or one version that is larger.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Mutex::default() }
    }

    /// A version, if it is held.
    pub fn get(&self, task: &TaskName, number: u64) -> Option<Arc<Version>> {
        let mut held = self.held();
        held.uses += 1;
        let now = held.uses;
        let kept = held.versions.get_mut(&(task.clone(), number))?;
        kept.last_use = now;
        Some(kept.version.clone())
    }

    /// Holds a version; those unused for longest make room.
    pub fn put(&self, version: &Arc<Version>) {
        let mut held = self.held();
        held.uses += 1;
        let kept = Kept { version: version.clone(), bytes: resident_bytes(&version.lens), last_use: held.uses };
        held.bytes += kept.bytes;
        if let Some(former) = held.versions.insert((version.task.clone(), version.number), kept) {
            held.bytes -= former.bytes;
        }
        while held.bytes > self.bytes_max && held.versions.len() > 1 {
            held.drop_oldest();
        }
    }

    /// Lets versions of a task go, except those to be kept.
    pub fn retain(&self, task: &TaskName, keep: impl Fn(u64) -> bool) {
        let mut held = self.held();
        held.versions.retain(|(name, number), _| name != task || keep(*number));
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
    fn the_newest_stays_even_if_it_is_too_large() {
        let fixture = Fixture::new();
        let cache = Cache::new(1);
        cache.put(&version(&fixture, "a", 1));
        cache.put(&version(&fixture, "a", 2));
        assert!(cache.get(&task("a"), 1).is_none() && cache.get(&task("a"), 2).is_some());
    }
}

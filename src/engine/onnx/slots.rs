//! Which adapter lies in which slot of the table: a pure allocator, least recently used.

use std::collections::HashMap;

/// An adapter, made ready once; never reused.
pub type Key = u64;

/// The slots of a table whose size never changes.
pub struct Slots {
    slots: Vec<Slot>,
    by_key: HashMap<Key, usize>,
    clock: u64,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    key: Option<Key>,
    used_at: u64,
    /// Runs that read it: it keeps its adapter while there are any.
    pins: usize,
}

/// A slot that was pinned for an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Its place in the table.
    pub slot: usize,
    /// Whether its adapter must be copied there first.
    pub is_new: bool,
}

impl Slots {
    /// `count` free slots.
    pub fn new(count: usize) -> Self {
        Self { slots: vec![Slot::default(); count], by_key: HashMap::new(), clock: 0 }
    }

    /// A slot for the adapter: its own if it has one, else a free one, else the one that was not used for longest.
    /// None when runs read all of them: the adapter waits in host memory.
    pub fn pin(&mut self, key: Key) -> Option<Pinned> {
        self.clock += 1;
        let resident = self.by_key.get(&key).copied();
        let slot = resident.or_else(|| self.free())?;
        let place = &mut self.slots[slot];
        if let Some(evicted) = place.key.replace(key).filter(|&old| old != key) {
            self.by_key.remove(&evicted);
        }
        place.used_at = self.clock;
        place.pins += 1;
        self.by_key.insert(key, slot);
        Some(Pinned { slot, is_new: resident.is_none() })
    }

    /// A run that read the slot has ended.
    pub fn unpin(&mut self, slot: usize) {
        let pins = &mut self.slots[slot].pins;
        *pins = pins.saturating_sub(1);
    }

    /// The copy into that slot failed: it holds nothing that can be read.
    pub fn forget(&mut self, slot: usize) {
        if let Some(key) = self.slots[slot].key.take() {
            self.by_key.remove(&key);
        }
        self.slots[slot].used_at = 0;
    }

    fn free(&self) -> Option<usize> {
        let unpinned = self.slots.iter().enumerate().filter(|(_, slot)| slot.pins == 0);
        unpinned.min_by_key(|(_, slot)| slot.used_at).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_least_recently_used_slot_is_taken() {
        let mut slots = Slots::new(2);
        let mut once = |key| {
            let pinned = slots.pin(key).expect("nothing is pinned");
            slots.unpin(pinned.slot);
            (pinned.slot, pinned.is_new)
        };
        assert_eq!(
            [once(7), once(8), once(7), once(9), once(7), once(8)].map(|(_, is_new)| is_new),
            [true, true, false, true, false, true]
        );
    }

    #[test]
    fn what_runs_read_is_not_replaced() {
        let mut slots = Slots::new(2);
        let first = slots.pin(1).expect("free");
        assert_eq!(slots.pin(1), Some(Pinned { is_new: false, ..first }));
        slots.pin(2).expect("free");
        assert_eq!(slots.pin(3), None);
        slots.unpin(first.slot);
        assert_eq!(slots.pin(3), None, "one of its two runs still reads it");
        slots.unpin(first.slot);
        assert_eq!(slots.pin(3), Some(Pinned { slot: first.slot, is_new: true }));
    }

    #[test]
    fn a_failed_copy_is_made_again() {
        let mut slots = Slots::new(1);
        let pinned = slots.pin(1).expect("free");
        slots.unpin(pinned.slot);
        slots.forget(pinned.slot);
        assert!(slots.pin(1).expect("free").is_new);
    }

    proptest! {
        /// Runs that overlap, and end in any order: every slot holds what its run pinned.
        #[test]
        fn a_pinned_slot_holds_its_adapter(
            count in 1..5usize,
            steps in prop::collection::vec((0..8u64, any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let mut slots = Slots::new(count);
            let mut table = vec![None; count];
            let mut running: Vec<(Key, usize)> = Vec::new();
            for (key, ends, which) in steps {
                if ends && !running.is_empty() {
                    let (_, slot) = running.swap_remove(which.index(running.len()));
                    slots.unpin(slot);
                } else if let Some(Pinned { slot, is_new }) = slots.pin(key) {
                    prop_assert!(is_new || table[slot] == Some(key));
                    table[slot] = Some(key);
                    running.push((key, slot));
                } else {
                    let mut read: Vec<_> = running.iter().map(|(_, slot)| slot).collect();
                    read.sort_unstable();
                    read.dedup();
                    prop_assert_eq!(read.len(), count);
                }
                for &(key, slot) in &running {
                    prop_assert_eq!(table[slot], Some(key));
                }
            }
        }
    }
}

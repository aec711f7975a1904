//! What an engine does with memory that is not the server's own: a device's, or a runtime's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts of one device since the start: written by an engine while it runs, read by whoever watches.
#[derive(Debug)]
pub struct DeviceMeter {
    name: String,
    memory: [AtomicU64; Holding::ALL.len()],
    copied: [AtomicU64; Direction::ALL.len()],
    run_nanoseconds: AtomicU64,
    replays: AtomicU64,
}

/// What memory on a device is for. What a runtime takes for itself, such as activations, is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Constants of the graphs that are open.
    Weights,
    /// The table of adapters, free slots included.
    Adapters,
    /// Inputs and answers at addresses that stay.
    Buffers,
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Pictures and adapters.
    ToDevice,
    /// Features.
    ToHost,
}

/// Memory that counts until this is dropped.
#[derive(Debug)]
pub struct Held {
    meter: Arc<DeviceMeter>,
    kind: Holding,
    bytes: usize,
}

impl Holding {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Weights, Self::Adapters, Self::Buffers];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Adapters => "adapters",
            Self::Buffers => "buffers",
        }
    }
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ToDevice, Self::ToHost];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::ToDevice => "to_device",
            Self::ToHost => "to_host",
        }
    }
}

impl DeviceMeter {
    /// Nothing has happened on the device of that name: `cpu`, `cuda:0` …
    pub fn new(name: String) -> Arc<Self> {
        let (memory, copied) = Default::default();
        Arc::new(Self { name, memory, copied, run_nanoseconds: AtomicU64::new(0), replays: AtomicU64::new(0) })
    }

    /// The device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts memory for as long as the answer lives.
    pub fn hold(self: &Arc<Self>, kind: Holding, bytes: usize) -> Held {
        self.memory[kind as usize].fetch_add(bytes as u64, Ordering::Relaxed);
        Held { meter: self.clone(), kind, bytes }
    }

    /// Bytes went to the device or came from it.
    pub fn copied(&self, direction: Direction, bytes: usize) {
        self.copied[direction as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts the time of a run of a graph, from its launch until the device is done.
    pub fn timed<T>(&self, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let answer = run();
        let nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.run_nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        answer
    }

    /// A captured graph was replayed.
    pub fn replayed(&self) {
        self.replays.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes that are held now.
    pub fn memory_bytes(&self, kind: Holding) -> u64 {
        self.memory[kind as usize].load(Ordering::Relaxed)
    }

    /// Bytes so far.
    pub fn copied_bytes(&self, direction: Direction) -> u64 {
        self.copied[direction as usize].load(Ordering::Relaxed)
    }

    /// Time in runs so far.
    pub fn run_time(&self) -> Duration {
        Duration::from_nanos(self.run_nanoseconds.load(Ordering::Relaxed))
    }

    /// Replays so far.
    pub fn replays(&self) -> u64 {
        self.replays.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.meter.memory[self.kind as usize].fetch_sub(self.bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_counts_until_it_is_dropped() {
        let meter = DeviceMeter::new("cuda:0".into());
        let (first, second) = (meter.hold(Holding::Weights, 3), meter.hold(Holding::Weights, 4));
        let _table = meter.hold(Holding::Adapters, 10);
        let read = || Holding::ALL.map(|kind| meter.memory_bytes(kind));
        assert_eq!(read(), [7, 10, 0]);
        drop(first);
        assert_eq!(read(), [4, 10, 0]);
        drop(second);
        assert_eq!(read(), [0, 10, 0]);
    }
}

//! Notices an engine that hangs, from a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::worker::EngineRoom;

/// When an engine counts as stuck: rows wait, and no batch has ended for the timeout. Given the time, it reads no clock.
struct Stall {
    timeout: Duration,
    batches: u64,
    since: Instant,
}

impl Stall {
    fn new(timeout: Duration, now: Instant) -> Self {
        Self { timeout, batches: 0, since: now }
    }

    /// `batches` have begun: while rows wait, one begins as soon as one ends. After true the time begins anew.
    fn is_stuck(&mut self, now: Instant, batches: u64, rows_wait: bool) -> bool {
        if !rows_wait || batches != self.batches {
            (self.batches, self.since) = (batches, now);
        }
        let stuck = now.saturating_duration_since(self.since) >= self.timeout;
        if stuck {
            self.since = now;
        }
        stuck
    }
}

/// Looks eight times per timeout, until the other end of `stop` drops.
pub(super) fn watch(room: &Arc<EngineRoom>, timeout: Duration, stop: &Receiver<()>) {
    let look = (timeout / 8).clamp(Duration::from_millis(1), Duration::from_secs(1));
    let mut stall = Stall::new(timeout, Instant::now());
    while stop.recv_timeout(look) == Err(RecvTimeoutError::Timeout) {
        let (batches, rows_wait) = room.progress();
        if stall.is_stuck(Instant::now(), batches, rows_wait) {
            let why = format!("rows wait and no batch has ended for {} ms", timeout.as_millis());
            room.replace_worker(batches, &why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_without_progress_is_stuck() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut stall = Stall::new(Duration::from_secs(30), start);
        assert!(!stall.is_stuck(at(100), 0, false), "idle");
        assert!(!stall.is_stuck(at(129), 0, true));
        assert!(!stall.is_stuck(at(130), 1, true), "a batch ended");
        assert!(!stall.is_stuck(at(159), 1, true));
        assert!(stall.is_stuck(at(160), 1, true));
        assert!(!stall.is_stuck(at(189), 1, true), "the next engine gets its own time");
        assert!(stall.is_stuck(at(190), 1, true));
    }
}

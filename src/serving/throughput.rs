use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

/// Weight of the past when a batch is added.
const DECAY: f64 = 0.9;
/// What is said before anything was measured.
const UNKNOWN_MS: u64 = 1000;
const MILLIS_MAX: f64 = 60_000.0;

/// Rows per second of the engine while it is busy: rows and seconds of past batches, both decaying with each batch.
#[derive(Default)]
pub(super) struct Throughput(Mutex<Decayed>);

#[derive(Clone, Copy, Default)]
struct Decayed {
    rows: f64,
    seconds: f64,
}

impl Throughput {
    /// A batch ended.
    pub fn record(&self, rows: usize, took: Duration) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sum.rows = sum.rows * DECAY + rows as f64;
        sum.seconds = sum.seconds * DECAY + took.as_secs_f64();
    }

    /// Milliseconds that this many rows should take: at least 1, at most a minute.
    pub fn millis_for(&self, rows: usize) -> u64 {
        let sum = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sum.rows == 0.0 {
            return UNKNOWN_MS;
        }
        (1000.0 * rows as f64 * sum.seconds / sum.rows).ceil().clamp(1.0, MILLIS_MAX) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_engine_and_stays_in_bounds() {
        let throughput = Throughput::default();
        assert_eq!(throughput.millis_for(5), UNKNOWN_MS);
        throughput.record(10, Duration::from_secs(1));
        assert_eq!(throughput.millis_for(5), 500);
        for _ in 0..100 {
            throughput.record(10, Duration::from_secs(2));
        }
        assert!((995..=1000).contains(&throughput.millis_for(5)), "{}", throughput.millis_for(5));
        assert_eq!(throughput.millis_for(0), 1);
        assert_eq!(throughput.millis_for(usize::MAX), 60_000);
    }
}

use std::str::FromStr;
use std::time::Duration;

use crate::image::DecodeLimits;
use crate::word::word;

/// Limits of the way from an admitted row to its logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Rows (picture × task) in flight at once; one more is refused.
    pub rows_max: usize,
    /// Bytes of request bodies held at once; one more is refused.
    pub bytes_max: usize,
    /// Threads that decode and preprocess pictures.
    pub decode_threads: usize,
    /// What one picture may cost.
    pub decode_limits: DecodeLimits,
    /// Rows in one engine batch.
    pub batch_rows_max: usize,
    /// How many of the rows that wait make a batch. With a `batch_delay_max` it is always [`BatchPlan::Full`].
    pub batch_plan: BatchPlan,
    /// How long a batch that is not full waits for more rows. Zero: the engine takes what is queued when it is free.
    pub batch_delay_max: Duration,
    /// Rows wait and no batch ends for this long: the engine is stuck.
    pub engine_stall_timeout: Duration,
    /// Batches in a row that may fail with an error before the engine counts as broken.
    pub engine_failures_max: u32,
}

/// How many of the rows that wait make a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchPlan {
    /// One of a few, where rows are computed as fast one by one by what former batches took, or of many where they are
    /// clearly faster so; else all.
    #[default]
    Measured,
    /// All of them, up to the limit.
    Full,
}

impl FromStr for BatchPlan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        word(text, &[("measured", Self::Measured), ("full", Self::Full)])
    }
}

impl Settings {
    /// Who asks rows to wait for each other wants batches as large as they get.
    pub(super) fn plan(&self) -> BatchPlan {
        if self.batch_delay_max.is_zero() { self.batch_plan } else { BatchPlan::Full }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rows_max: 256,
            bytes_max: 256 << 20,
            decode_threads: std::thread::available_parallelism().map_or(2, usize::from),
            decode_limits: DecodeLimits::default(),
            batch_rows_max: 8,
            batch_plan: BatchPlan::Measured,
            batch_delay_max: Duration::ZERO,
            engine_stall_timeout: Duration::from_secs(30),
            engine_failures_max: 8,
        }
    }
}

//! A checkpoint's pickle, alone and inside its archive: nothing panics, and memory stays within the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use manylens::adapter::import::{CheckpointLimits, pickle, read_checkpoint};

const LIMITS: CheckpointLimits =
    CheckpointLimits { entries_max: 1000, pickle_bytes_max: 1 << 20, storage_bytes_max: 1 << 24, values_max: 1 << 22 };

fuzz_target!(|bytes: &[u8]| {
    _ = pickle::read(bytes);
    _ = read_checkpoint(bytes, &LIMITS);
});

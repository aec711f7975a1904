use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::commands::bench::turns::percentile;
use crate::engine::Description;
use crate::table::table;

/// What was measured, and on what.
#[derive(Serialize)]
pub struct Report {
    /// The shape's name or the backbone's folder.
    pub backbone: String,
    /// Side of the pictures in pixels.
    pub image_size: usize,
    /// The processor by its own name, and what Linux calls its family and model.
    pub processor: String,
    /// Threads that were asked for.
    pub threads: usize,
    /// The engine.
    #[serde(flatten)]
    pub engine: Description,
    /// What a step took.
    #[serde(flatten)]
    pub speed: Speed,
    /// What the process took.
    #[serde(flatten)]
    pub memory: Memory,
}

/// What a step took.
#[derive(Serialize)]
pub struct Speed {
    /// Pictures in a step.
    pub batch: usize,
    /// Of a step of the median time.
    pub images_per_second: f64,
    /// Median time of a step.
    pub p50_ms: f64,
    /// Time that 99 % of the steps did not exceed.
    pub p99_ms: f64,
    /// Steps measured.
    pub rounds: usize,
    /// Operations of one picture, as `work::training_gflop` counts them.
    pub gflop_per_image: f64,
    /// Operations in a second of a step of the median time.
    pub gflops: f64,
    /// What all threads together do on registers, measured after the steps, for an engine that can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_gflops: Option<f64>,
    /// `gflops / peak_gflops`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of_peak: Option<f64>,
}

/// What the process took.
#[derive(Serialize)]
pub struct Memory {
    /// Bytes that activations were allowed to keep.
    pub memory_bytes_max: usize,
    /// The most that was resident at once, from the start through the last step: weights, activations, everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<usize>,
}

impl Speed {
    /// Sums up the steps' times.
    pub fn new(batch: usize, times: &[Duration], gflop_per_image: f64, peak_gflops: Option<f64>) -> Self {
        let [p50, p99] = [50, 99].map(|percent| percentile(times, percent).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "batches are small")]
        let images_per_second = batch as f64 / p50;
        let gflops = images_per_second * gflop_per_image;
        Self {
            batch,
            images_per_second,
            p50_ms: p50 * 1e3,
            p99_ms: p99 * 1e3,
            rounds: times.len(),
            gflop_per_image,
            gflops,
            peak_gflops,
            share_of_peak: peak_gflops.map(|peak| gflops / peak),
        }
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Description { engine, precision, kernel, .. } = &self.engine;
        let Self { backbone, image_size, processor, threads, speed, memory, .. } = self;
        writeln!(
            f,
            "training step: {backbone} at {image_size} px, {engine} {precision} ({kernel}), {threads} threads on {processor}"
        )?;
        let unknown = || "unknown".to_owned();
        let row = vec![
            speed.batch.to_string(),
            format!("{:.2}", speed.images_per_second),
            format!("{:.1}", speed.p50_ms),
            format!("{:.1}", speed.p99_ms),
            format!("{:.0}", speed.gflops),
            speed.share_of_peak.map_or_else(unknown, |share| format!("{:.0} %", 100.0 * share)),
            memory.peak_bytes.map_or_else(unknown, |bytes| (bytes / 1_000_000).to_string()),
        ];
        let titles = ["batch", "images/s", "p50 ms", "p99 ms", "GFLOP/s", "of the peak", "peak MB"];
        write!(f, "{}", table(&titles, &[row]))
    }
}

/// The most memory that this process has had resident, where the system tells.
pub fn peak_bytes() -> Option<usize> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:").map(|kilobytes| kilobytes * 1024)
}

/// A field of /proc/PID/status (proc_pid_status(5)).
fn kilobytes(status: &str, field: &str) -> Option<usize> {
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_median_step() {
        let times = [4, 2, 3].map(Duration::from_secs);
        let speed = Speed::new(30, &times, 100.0, Some(2000.0));
        assert_eq!([speed.images_per_second, speed.gflops, speed.p50_ms, speed.p99_ms], [10.0, 1000.0, 3e3, 4e3]);
        assert_eq!(speed.share_of_peak, Some(0.5));
        assert_eq!(Speed::new(30, &times, 100.0, None).share_of_peak, None);
    }

    #[test]
    fn the_systems_field_is_read_to_its_unit() {
        let status = "Name:\tmanylens\nVmPeak:\t  999 kB\nVmHWM:\t   12345 kB\n";
        assert_eq!(kilobytes(status, "VmHWM:"), Some(12345));
        assert_eq!(kilobytes("VmHWM:\t1 MB\n", "VmHWM:"), None);
    }
}

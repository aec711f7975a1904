use std::time::Duration;

use serde::Serialize;

use super::cases::Case;
use super::turns::percentile;
use crate::engine::{Description, Rates};
use crate::table::table;

/// What was measured, and on what.
#[derive(Serialize)]
pub struct Report {
    /// The shape's name or the backbone's folder.
    pub backbone: String,
    /// Side of the pictures in pixels.
    pub image_size: usize,
    /// Billions of operations in the matrix products of one picture; a multiplication and an addition are two.
    pub gflop_per_image: f64,
    /// The processor by its own name, and what Linux calls its family and model.
    pub processor: String,
    /// Threads that were asked for.
    pub threads: usize,
    /// The engine's own fields once more, when there is but one.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// Every engine that ran.
    pub engines: Vec<Engine>,
    /// One per case and engine.
    pub results: Vec<Row>,
    /// What could not be measured.
    pub left_out: Vec<LeftOut>,
}

/// An engine, and how near it comes to the machine's limit.
#[derive(Clone, Serialize)]
pub struct Engine {
    /// What it is.
    #[serde(flatten)]
    pub description: Description,
    /// How near the linear layers come to the machine's limit, at the largest batch, for an engine that can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
}

/// A case or an engine without figures.
#[derive(Debug, PartialEq, Serialize)]
pub struct LeftOut {
    /// Which.
    pub what: String,
    /// A sentence.
    pub why: String,
}

/// What one case took.
#[derive(Serialize)]
pub struct Row {
    /// The engine's name, so that a row speaks for itself.
    pub engine: String,
    /// What ran.
    #[serde(flatten)]
    pub case: Case,
    /// Of a batch of the median time.
    pub images_per_second: f64,
    /// Median time of a batch.
    pub p50_ms: f64,
    /// Time that 99 % of the batches did not exceed.
    pub p99_ms: f64,
    /// Batches measured.
    pub rounds: usize,
    /// The whole network's part of what the machine's registers do, for an engine that can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of_peak: Option<f64>,
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let titles = ["engine", "form", "batch", "tasks", "images/s", "p50 ms", "p99 ms", "batches", "of peak"];
        let rows: Vec<_> = self.results.iter().map(Row::cells).collect();
        let Self { backbone, image_size, processor, threads, .. } = self;
        let title = format!("{backbone} at {image_size} px, {threads} threads on {processor}");
        let engines = self.engines.iter().map(Engine::line);
        let left_out = self.left_out.iter().map(|LeftOut { what, why }| format!("left out: {what}: {why}"));
        let lines = [title, table(&titles, &rows)].into_iter().chain(engines).chain(left_out);
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Engine {
    fn line(&self) -> String {
        let Description { engine, precision, kernel, .. } = &self.description;
        let rates = self.rates.as_ref().map(|Rates { peak_gflops, linear_gflops }| {
            let share = 100.0 * linear_gflops / peak_gflops;
            format!("; linear layers {linear_gflops:.0} GFLOP/s, {share:.0} % of this machine's {peak_gflops:.0}")
        });
        format!("{engine}: {precision}, {kernel}{}", rates.unwrap_or_default())
    }
}

impl Row {
    /// Sums up a case's times.
    pub fn new(engine: &Engine, case: Case, times: &[Duration], gflop_per_image: f64) -> Self {
        let [p50, p99] = [50, 99].map(|percent| percentile(times, percent).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "batches are small")]
        let images_per_second = case.batch as f64 / p50;
        let peak = engine.rates.as_ref().map(|rates| rates.peak_gflops);
        Self {
            engine: engine.description.engine.clone(),
            case,
            images_per_second,
            p50_ms: p50 * 1e3,
            p99_ms: p99 * 1e3,
            rounds: times.len(),
            share_of_peak: peak.map(|peak| images_per_second * gflop_per_image / peak),
        }
    }

    fn cells(&self) -> Vec<String> {
        let Self { engine, case, images_per_second, p50_ms, p99_ms, rounds, share_of_peak } = self;
        vec![
            engine.clone(),
            case.form.name().to_owned(),
            case.batch.to_string(),
            case.tasks.to_string(),
            format!("{images_per_second:.2}"),
            format!("{p50_ms:.1}"),
            format!("{p99_ms:.1}"),
            rounds.to_string(),
            share_of_peak.map(|share| format!("{:.0} %", 100.0 * share)).unwrap_or_default(),
        ]
    }
}

/// The processor's own name, family and model, from /proc/cpuinfo where there is one.
pub fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let value =
            |line: &str| line.split_once(':').filter(|(key, _)| key.trim() == name).map(|(_, v)| v.trim().to_owned());
        info.lines().find_map(value)
    };
    match (field("model name"), field("cpu family"), field("model")) {
        (Some(name), Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        (Some(name), ..) => name,
        _ => std::env::consts::ARCH.to_owned(),
    }
}

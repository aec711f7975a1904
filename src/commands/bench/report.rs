use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use serde::Serialize;

use super::cases::Case;
use super::measure::percentile;
use crate::engine::{Description, Rates};

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
    /// One per case.
    pub results: Vec<Row>,
    /// How near the linear layers come to the machine's limit, at the largest batch, for an engine that can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
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
}

impl Row {
    /// Sums up a case's times.
    pub fn new(engine: &str, case: Case, times: &[Duration]) -> Self {
        let [p50, p99] = [50, 99].map(|percent| percentile(times, percent).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "batches are small")]
        let images_per_second = case.batch as f64 / p50;
        let engine = engine.to_owned();
        Self { engine, case, images_per_second, p50_ms: p50 * 1e3, p99_ms: p99 * 1e3, rounds: times.len() }
    }
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY);
        table.set_header(["form", "batch", "tasks", "images/s", "p50 ms", "p99 ms"]);
        for Row { case, images_per_second, p50_ms, p99_ms, .. } in &self.results {
            table.add_row([
                case.form.name().to_owned(),
                case.batch.to_string(),
                case.tasks.to_string(),
                format!("{images_per_second:.2}"),
                format!("{p50_ms:.1}"),
                format!("{p99_ms:.1}"),
            ]);
        }
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        let Description { engine, precision, kernel, .. } = &self.engine;
        let Self { backbone, image_size, processor, threads, .. } = self;
        let rates = self.rates.as_ref().map(Self::rates_line).unwrap_or_default();
        format!(
            "{backbone} at {image_size} px, {engine} {precision} ({kernel}), {threads} threads on {processor}\n{table}{rates}"
        )
    }
}

impl Report {
    fn rates_line(rates: &Rates) -> String {
        let Rates { peak_gflops, linear_gflops } = rates;
        let share = 100.0 * linear_gflops / peak_gflops;
        format!("\nlinear layers: {linear_gflops:.0} GFLOP/s, {share:.0} % of this machine's {peak_gflops:.0}")
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

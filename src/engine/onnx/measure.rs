//! What runs cost, measured when a worker starts: one task, and many tasks in one run.

use std::time::Instant;

use super::plan::{Costs, Curve};
use super::run::{AdaptedBy, Call, Runner};
use super::slots::Key;
use super::{PADDED_ROWS_MAX, Provider};
use crate::engine::EngineError;
use crate::engine::onnx::gather::Row;
use crate::image::{Pixels, Preset};

/// Rows at which runs are measured; between and beyond them costs are straight lines. A processor is busy from the
/// first row on; a device is not, and its costs bend.
const ROWS_OF_A_PROCESSOR: &[usize] = &[1, 8];
const ROWS_OF_A_DEVICE: &[usize] = &[1, 8, 32, PADDED_ROWS_MAX];
/// The fastest of so many runs counts, after one that is not counted.
const TURNS: usize = 2;
/// No adapter has this key: its slot is taken over when it is needed.
const NO_ADAPTER: Key = Key::MAX;

/// Times both forms with empty pictures of the backbone's own size.
pub fn costs(runner: &mut Runner) -> Result<Costs, EngineError> {
    let neutral = runner.shared().layout.neutral();
    let slots = runner.pin(std::iter::once((NO_ADAPTER, &*neutral)))?;
    let group = curve(runner, AdaptedBy::Vector(&neutral), slots[0]);
    let mixed = curve(runner, AdaptedBy::Table, slots[0]);
    runner.unpin(&slots);
    let costs = Costs { group: group?, mixed: mixed? };
    tracing::info!(group = ?costs.group.0, mixed = ?costs.mixed.0, "measured seconds by rows of one task and of many");
    Ok(costs)
}

fn curve(runner: &mut Runner, adapted: AdaptedBy<'_>, slot: usize) -> Result<Curve, EngineError> {
    let side = runner.shared().backbone.image_size;
    let picture = Pixels::U8 { height: side, width: side, data: vec![0; side * side * 3].into() };
    let preprocess = Preset::Vtab.at(side);
    let (rule, given) = (runner.shared().backbone.position_rule, runner.shared().given());
    let is_cpu = runner.shared().settings.provider == Provider::Cpu;
    let rows = if is_cpu { ROWS_OF_A_PROCESSOR } else { ROWS_OF_A_DEVICE };
    let mut seconds = |rows: usize| -> Result<(usize, f64), EngineError> {
        let mut call = Call::new(rule, given, adapted);
        call.rows = vec![Row { pixels: &picture, preprocess: &preprocess, slot }; rows];
        runner.run(&call)?;
        let mut fastest = f64::INFINITY;
        for _ in 0..TURNS {
            let start = Instant::now();
            runner.run(&call)?;
            fastest = fastest.min(start.elapsed().as_secs_f64());
        }
        Ok((rows, fastest))
    };
    rows.iter().map(|&rows| seconds(rows)).collect::<Result<_, _>>().map(Curve)
}

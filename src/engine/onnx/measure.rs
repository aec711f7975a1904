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
    let costs = Costs { group: of_group(runner)?, mixed: of_mixed(runner)? };
    tracing::info!(group = ?costs.group.0, mixed = ?costs.mixed.0, "measured seconds by rows of one task and of many");
    Ok(costs)
}

/// Times one task.
pub fn of_group(runner: &mut Runner) -> Result<Curve, EngineError> {
    let neutral = runner.shared().layout.neutral();
    curve(runner, AdaptedBy::Vector(&neutral), 0)
}

/// Times many tasks in one run.
pub fn of_mixed(runner: &mut Runner) -> Result<Curve, EngineError> {
    let neutral = runner.shared().layout.neutral();
    let slots = runner.pin(std::iter::once((NO_ADAPTER, &*neutral)))?;
    let mixed = curve(runner, AdaptedBy::Table, slots[0]);
    runner.unpin(&slots);
    mixed
}

fn curve(runner: &mut Runner, adapted: AdaptedBy<'_>, slot: usize) -> Result<Curve, EngineError> {
    let side = runner.shared().backbone.image_size;
    let picture = Pixels::U8 { height: side, width: side, data: vec![0; side * side * 3].into() };
    let preprocess = Preset::Vtab.at(side);
    let (rule, given) = (runner.shared().backbone.position_rule, runner.shared().given());
    let call = |rows: usize| {
        let mut call = Call::new(rule, given, adapted);
        call.rows = vec![Row { pixels: &picture, preprocess: &preprocess, slot }; rows];
        call
    };
    let rows = match runner.shared().settings.provider {
        Provider::Cpu => ROWS_OF_A_PROCESSOR,
        Provider::Cuda => ROWS_OF_A_DEVICE,
        Provider::Tensorrt => {
            // It compiles for the range of shapes that it has seen: two of them make all others lie within.
            for rows in [PADDED_ROWS_MAX, 1] {
                runner.run(&call(rows))?;
            }
            ROWS_OF_A_DEVICE
        }
    };
    let mut seconds = |rows: usize| -> Result<(usize, f64), EngineError> {
        let call = call(rows);
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

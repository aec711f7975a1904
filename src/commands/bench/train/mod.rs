//! `manylens bench train`: what a training step takes.

mod report;

use std::process::ExitCode;
use std::time::Duration;

use ndarray::Array2;

use super::turns::{self, Goal};
use super::{CLASSES, Network, picture};
use crate::adapter;
use crate::backbone::Backbone;
use crate::commands::Error;
use crate::commands::bench::work::training_gflop;
use crate::engine::training::{Pass, Perturb, TrainSettings};
use crate::engine::{self, Backend, EngineError, EngineKind, EngineSettings};
use report::{Memory, Report, Speed, peak_bytes};

/// What to measure.
pub struct Args {
    /// What computes features.
    pub network: Network,
    /// Side of the pictures in pixels; the backbone's own when none is asked for.
    pub image_size: Option<usize>,
    /// What computes.
    pub engine: EngineKind,
    /// With how much.
    pub settings: EngineSettings,
    /// Pictures in a batch.
    pub batch: usize,
    /// Dropout rate of the last block, growing from 0 at the first.
    pub dropout: f32,
    /// Bytes that activations may keep between forward and backward.
    pub memory_bytes_max: usize,
    /// Steps that are measured.
    pub rounds: usize,
    /// JSON instead of a table.
    pub json: bool,
}

/// Measures and prints.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let (backbone, weights, image_size) = args.network.load(args.image_size)?;
    let backend = engine::open(args.engine, backbone.clone(), weights, &args.settings)?;
    let times = steps(&*backend, &backbone, image_size, args)?;
    // Before the peak is measured, which takes memory of its own.
    let memory = Memory { memory_bytes_max: args.memory_bytes_max, peak_bytes: peak_bytes() };
    let tokens = backbone.shape.tokens(image_size, image_size);
    let peak_gflops = backend.rates(args.batch).map(|rates| rates.peak_gflops);
    let report = Report {
        backbone: args.network.name(),
        image_size,
        processor: super::report::processor(),
        threads: args.settings.threads,
        engine: backend.describe(),
        speed: Speed::new(args.batch, &times, training_gflop(&backbone.shape, tokens), peak_gflops),
        memory,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).expect("a report is plain data"));
    } else {
        println!("{report}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The time of each step, every one with masks of its own.
fn steps(
    backend: &dyn Backend,
    backbone: &Backbone,
    image_size: usize,
    args: &Args,
) -> Result<Vec<Duration>, EngineError> {
    let adapter = adapter::random(backbone, CLASSES, 0);
    let pictures: Vec<_> = (0..args.batch).map(|i| picture(image_size, i as u64)).collect();
    let pictures: Vec<_> = pictures.iter().collect();
    let mut trainable = backend.trainable(&TrainSettings { memory_bytes_max: args.memory_bytes_max })?;
    let bar = turns::bar(1, "training".into());
    let mut seed = 0;
    let mut times = turns::alternate(1, Goal::Batches(args.rounds), &bar, |_, _| {
        seed += 1;
        let perturb = Perturb { seed, dropout: ramp(args.dropout, backbone.shape.depth), noise: Vec::new() };
        let pass = Pass {
            pictures: &pictures,
            preprocess: &adapter.preprocess,
            position_rule: adapter.position_rule,
            vector: &adapter.rescale,
            perturb: &perturb,
        };
        trainable.gradient(&pass, &mut mean_square_backward).map(drop)
    })?;
    bar.finish_and_clear();
    Ok(times.remove(0))
}

/// Rates of all blocks: 0 at the first, `last` at the last.
#[expect(clippy::cast_precision_loss, reason = "networks have tens of blocks")]
fn ramp(last: f32, depth: usize) -> Vec<f32> {
    (0..depth).map(|block| last * block as f32 / depth.saturating_sub(1).max(1) as f32).collect()
}

/// The derivative of half the mean of all squares: any loss does, since the engine's work is the same.
#[expect(clippy::cast_precision_loss, reason = "features are few")]
fn mean_square_backward(features: &Array2<f32>) -> Array2<f32> {
    features / features.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_grows_from_nothing_to_its_rate() {
        assert_eq!(ramp(0.25, 3), [0.0, 0.125, 0.25]);
        assert_eq!(ramp(0.5, 1), [0.0]);
    }
}

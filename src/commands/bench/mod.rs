//! `manylens bench`: what an engine does in a second.

mod cases;
mod measure;
mod report;
pub mod train;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Error;
use crate::adapter;
use crate::backbone::{self, Backbone, LoadOptions, Shape, Weights};
use crate::engine::{self, Backend, EngineError, EngineKind, EngineSettings, Form, Group, Lens};
use crate::image::Pixels;
use crate::random::Random;
use cases::Case;
use report::{Report, Row};

/// Where the weights come from.
pub enum Network {
    /// A named shape with random weights.
    Random((&'static str, Shape)),
    /// A backbone's folder, and what it leaves open.
    Folder(PathBuf, LoadOptions),
}

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
    /// How adapters are served.
    pub forms: Vec<Form>,
    /// Pictures in a batch.
    pub batches: Vec<usize>,
    /// Tasks that a batch's pictures are shared among.
    pub tasks: Vec<usize>,
    /// Batches of each case that are measured.
    pub rounds: usize,
    /// JSON instead of a table.
    pub json: bool,
}

/// Measures and prints.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let (backbone, weights, image_size) = args.network.load(args.image_size)?;
    let backend = engine::open(args.engine, backbone.clone(), weights, &args.settings)?;
    let cases = cases::all(&args.forms, &args.batches, &args.tasks);
    let times = measure_all(&*backend, &backbone, image_size, args, &cases)?;
    let rates = args.batches.iter().max().and_then(|&batch| backend.rates(batch));
    let engine = backend.describe();
    let rows = cases.iter().zip(&times).map(|(&case, times)| Row::new(&engine.engine, case, times));
    let report = Report {
        backbone: args.network.name(),
        image_size,
        processor: report::processor(),
        threads: args.settings.threads,
        results: rows.collect(),
        rates,
        engine,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).expect("a report is plain data"));
    } else {
        println!("{}", report.table());
    }
    Ok(ExitCode::SUCCESS)
}

impl Network {
    fn name(&self) -> String {
        match self {
            Self::Random((name, _)) => (*name).to_owned(),
            Self::Folder(folder, _) => folder.display().to_string(),
        }
    }

    /// The network, and the side of its pictures.
    fn load(&self, image_size: Option<usize>) -> Result<(Arc<Backbone>, Weights, usize), Error> {
        let (backbone, weights) = match self {
            &Self::Random((_, shape)) => backbone::random(shape, image_size.unwrap_or(IMAGE_SIZE), 1),
            Self::Folder(folder, options) => {
                let loaded = backbone::load(folder, options)?;
                (loaded.backbone, loaded.weights)
            }
        };
        let (image_size, patch) = (image_size.unwrap_or(backbone.image_size), backbone.shape.patch);
        if image_size == 0 || !image_size.is_multiple_of(patch) {
            return Err(Error::ImageSize { image_size, patch });
        }
        Ok((Arc::new(backbone), weights, image_size))
    }
}

/// Pictures of a network that has none of its own.
const IMAGE_SIZE: usize = 224;

/// Classes of each task; the head's share of the time is nothing.
const CLASSES: usize = 100;

fn measure_all(
    backend: &dyn Backend,
    backbone: &Backbone,
    image_size: usize,
    args: &Args,
    cases: &[Case],
) -> Result<Vec<Vec<Duration>>, EngineError> {
    let tasks_max = cases.iter().map(|case| case.tasks).max().unwrap_or(0);
    let batch_max = cases.iter().map(|case| case.batch).max().unwrap_or(0);
    let bar = progress(args.forms.len() * tasks_max + cases.len() * (args.rounds + 1));
    let lenses = Lenses::prepare(backend, backbone, &args.forms, tasks_max, &bar)?;
    let pictures: Vec<_> = (0..batch_max).map(|i| picture(image_size, i as u64)).collect();
    let mut engine = backend.start()?;
    let times = measure::alternate(cases.len(), args.rounds, &bar, |case| {
        engine.run(&lenses.groups(cases[case], &pictures)).map(drop)
    })?;
    bar.finish_and_clear();
    Ok(times)
}

/// Every task's adapter in every form.
struct Lenses(Vec<Lens>);

impl Lenses {
    fn prepare(
        backend: &dyn Backend,
        backbone: &Backbone,
        forms: &[Form],
        tasks: usize,
        bar: &ProgressBar,
    ) -> Result<Self, EngineError> {
        let adapters: Vec<_> = (0..tasks).map(|i| Arc::new(adapter::random(backbone, CLASSES, i as u64))).collect();
        let mut lenses = Vec::new();
        for &form in forms {
            for adapter in &adapters {
                lenses.push(backend.prepare(adapter.clone(), form)?);
                bar.inc(1);
            }
        }
        Ok(Self(lenses))
    }

    fn groups<'a>(&'a self, case: Case, mut pictures: &'a [Pixels]) -> Vec<Group<'a>> {
        let lenses = self.0.iter().filter(|lens| lens.form == case.form);
        let group = |(lens, count): (&'a Lens, usize)| {
            let (rows, rest) = pictures.split_at(count);
            pictures = rest;
            Group { lens, rows: rows.iter().collect() }
        };
        lenses.zip(case.pictures_of_each()).map(group).collect()
    }
}

fn picture(side: usize, seed: u64) -> Pixels {
    let data = Random::seeded(seed).bytes(side * side * 3).into();
    Pixels::U8 { height: side, width: side, data }
}

fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}, {eta} left").expect("a valid template");
    ProgressBar::new(steps as u64).with_style(style)
}

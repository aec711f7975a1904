//! `manylens bench`: what engines do in a second.

mod cases;
mod lenses;
mod report;
pub mod serve;
pub mod train;
mod turns;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::Error;
use crate::backbone::{self, Backbone, LoadOptions, Shape, Weights};
use crate::engine::{self, Backend, EngineKind, EngineSettings, Form};
use crate::image::Pixels;
use crate::random::Random;
use cases::Case;
use lenses::{CLASSES, Lenses};
use report::{Engine, LeftOut, Report, Row};

pub use lenses::AdapterError;
pub use turns::Goal;

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
    pub engines: Vec<EngineKind>,
    /// Whether an engine that this machine does not have is left out; else it is an error.
    pub available_only: bool,
    /// With how much.
    pub settings: EngineSettings,
    /// Adapter files; random adapters when there are none.
    pub adapters: Vec<PathBuf>,
    /// How adapters are served.
    pub forms: Vec<Form>,
    /// Pictures in a batch.
    pub batches: Vec<usize>,
    /// Tasks that a batch's pictures are shared among.
    pub tasks: Vec<usize>,
    /// How long.
    pub goal: Goal,
    /// JSON instead of a table.
    pub json: bool,
}

/// Measures and prints.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let mut report = None;
    for &kind in &args.engines {
        let (backbone, weights, image_size) = args.network.load(args.image_size)?;
        let report = report.get_or_insert_with(|| Report::new(args, &backbone, image_size));
        match engine::open(kind, backbone.clone(), weights, &args.settings) {
            Ok(backend) => measure(&*backend, &backbone, args, report)?,
            Err(why) if args.available_only => report.leave_out(kind.to_string(), why.to_string()),
            Err(why) => return Err(why.into()),
        }
    }
    if let Some(mut report) = report {
        report.engine = (report.engines.len() == 1).then(|| report.engines[0].clone());
        if args.json {
            println!("{}", serde_json::to_string_pretty(&report).expect("a report is plain data"));
        } else {
            println!("{}", report.table());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One engine's rows.
fn measure(backend: &dyn Backend, backbone: &Backbone, args: &Args, report: &mut Report) -> Result<(), Error> {
    let mut cases = cases::all(&args.forms, &args.batches, &args.tasks);
    let tasks_max = cases.iter().map(|case| case.tasks).max().unwrap_or(0);
    let batch_max = cases.iter().map(|case| case.batch).max().unwrap_or(0);
    let adapters = lenses::adapters(&args.adapters, backbone, tasks_max)?;
    let lenses = Lenses::prepare(backend, &adapters, &cases)?;
    let description = backend.describe();
    cases.retain(|case| lenses.are_enough_for(case) || report.leave_out_merged(&description.engine, case));
    let pictures: Vec<_> = (0..batch_max).map(|i| picture(report.image_size, i as u64)).collect();
    let mut worker = backend.start()?;
    let bar = turns::bar(cases.len(), description.engine.clone());
    let times = turns::alternate(cases.len(), args.goal, &bar, |case, turn| {
        worker.run(&lenses.groups(cases[case], turn, &pictures)).map(drop)
    })?;
    bar.finish_and_clear();
    drop(worker);
    let engine = Engine { description, rates: (batch_max > 0).then(|| backend.rates(batch_max)).flatten() };
    let row = |(&case, times): (&Case, &Vec<_>)| Row::new(&engine, case, times, report.gflop_per_image);
    report.results.extend(cases.iter().zip(&times).map(row).collect::<Vec<_>>());
    report.engines.push(engine);
    Ok(())
}

impl Report {
    fn new(args: &Args, backbone: &Backbone, image_size: usize) -> Self {
        Self {
            backbone: args.network.name(),
            image_size,
            gflop_per_image: work::forward_gflop(&backbone.shape, backbone.shape.tokens(image_size, image_size)),
            processor: report::processor(),
            threads: args.settings.threads,
            engine: None,
            engines: Vec::new(),
            results: Vec::new(),
            left_out: Vec::new(),
        }
    }

    fn leave_out(&mut self, what: String, why: String) {
        self.left_out.push(LeftOut { what, why });
    }

    /// False, as a filter of cases wants it.
    fn leave_out_merged(&mut self, engine: &str, case: &Case) -> bool {
        let Case { form, batch, tasks } = case;
        let what = format!("{engine}, {}, batch {batch}, {tasks} tasks", form.name());
        self.leave_out(what, "the merged weights of so many tasks are more than --merge-bytes-max".into());
        false
    }
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

fn picture(side: usize, seed: u64) -> Pixels {
    let data = Random::seeded(seed).bytes(side * side * 3).into();
    Pixels::U8 { height: side, width: side, data }
}

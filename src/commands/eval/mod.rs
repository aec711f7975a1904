//! `manylens eval`: how good an adapter is on labelled pictures, and what makes its probabilities and answers better.

mod error;
mod fit;
mod labels;
mod logits;
mod print;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::bad_files::leave_out;
use super::file::{read as read_file, spare};
use crate::adapter::format::{self, AdapterFile, Limits, Target};
use crate::adapter::{Adapter, Layout, Problem};
use crate::backbone::{self, Backbone, LoadOptions, Loaded};
use crate::durable::replace;
use crate::engine::{self, Backend, EngineKind, EngineSettings, Form};
use crate::evaluate::{Answers, OperatingPoint, Report};
use crate::train::FitOn;
use crate::train::data::{self, Dataset, Example, Split};
pub use error::Error;
use fit::Fits;
use logits::Asked;
use print::Findings;

/// What `manylens eval` needs to know.
pub struct Args {
    /// The adapter's file.
    pub adapter: PathBuf,
    /// Folder of the backbone.
    pub backbone: PathBuf,
    /// What that folder leaves open.
    pub load: LoadOptions,
    /// Labelled pictures.
    pub data: PathBuf,
    /// The pictures to report on: those of one split, or all.
    pub split: Option<Split>,
    /// What becomes of files that are no pictures.
    pub skip_bad_files: bool,
    /// Classes that top-k looks at.
    pub top_k: usize,
    /// What computes.
    pub engine: EngineKind,
    /// With how much.
    pub settings: EngineSettings,
    /// Fit the temperature on the validation split.
    pub fit_temperature: bool,
    /// Fit these on the validation split, in order.
    pub operating_points: Vec<OperatingPoint>,
    /// Where the adapter is written with what was fitted.
    pub out: Option<PathBuf>,
    /// Replace that file if it exists.
    pub force: bool,
    /// Print JSON.
    pub json: bool,
}

impl Args {
    /// The name of the pictures to report on.
    fn part(&self) -> &'static str {
        self.split.map_or("all pictures", Split::name)
    }

    /// Whether anything is fitted.
    fn fits(&self) -> bool {
        self.fit_temperature || !self.operating_points.is_empty()
    }
}

/// Fits what is to be fitted, measures, and prints.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    args.out.as_deref().map_or(Ok(()), |out| spare(out, args.force))?;
    let data = data::read(&args.data)?;
    data.notes.iter().for_each(|note| eprintln!("{note}"));
    let examples = examples(args, &data)?;
    let Loaded { backbone, weights, .. } = backbone::load(&args.backbone, &args.load)?;
    let layout = Layout::of(&backbone.shape);
    let backbone = Arc::new(backbone);
    let Backbone { shape, fingerprint, .. } = &*backbone;
    let target = Target { shape, layout: &layout, fingerprint, limits: Limits::default() };
    let mut file = read_adapter(args, &target)?;
    let warnings = warnings(args, &file.adapter);
    warnings.iter().for_each(|warning| eprintln!("{warning}"));
    if file.adapter.problem == Problem::SingleLabel {
        let fitted = if args.fits() { data.of(Split::Validation) } else { &[] };
        exactly_one(examples.iter().chain(fitted))?;
    }
    fit::check(args, &file.adapter)?;
    if args.fits() && data.of(Split::Validation).is_empty() {
        return Err(Error::NothingToFit(args.data.clone()));
    }
    let backend = engine::open(args.engine, backbone.clone(), weights, &args.settings)?;
    let mut bench = Bench::new(&*backend, &file.adapter, &data, args)?;
    let fits = if args.fits() {
        let asked = bench.ask(data.of(Split::Validation))?;
        fit::fit(&asked.known(file.adapter.problem)?, args, &mut file.adapter)?
    } else {
        Fits::default()
    };
    let asked = bench.ask(&examples)?;
    let answers = Answers::new(asked.known(file.adapter.problem)?, file.adapter.temperature, &file.adapter.decision);
    let report = Report::new(&answers, &file.adapter.labels, args.top_k);
    if let Some(out) = &args.out {
        let bytes = format::write(&file, &layout);
        format::read(&bytes, &target).map_err(|source| Error::Refused { path: out.clone(), source })?;
        replace(out, &bytes).map_err(|error| Error::Write { path: out.clone(), source: error.source })?;
    }
    let (engine, bad_files) = (&backend.describe(), asked.bad.len());
    let findings = Findings { engine, fits: &fits, report: &report, top5: answers.top(5), bad_files, warnings };
    print::print(args, &findings);
    Ok(ExitCode::SUCCESS)
}

/// The pictures to report on.
fn examples(args: &Args, data: &Dataset) -> Result<Vec<Example>, Error> {
    let examples = match args.split {
        Some(split) => data.of(split).to_vec(),
        None => [&data.train[..], &data.validation, &data.test].concat(),
    };
    if examples.is_empty() {
        return Err(Error::NoPictures { path: args.data.clone(), split: args.part() });
    }
    if args.split.is_some() && data.unplaced > 0 {
        let (count, all) = (examples.len(), data.train.len() + data.validation.len() + data.test.len());
        eprintln!(
            "splits that the data leaves open are made by us: {count} of {all} pictures are {}; --split all takes all",
            args.part()
        );
    }
    Ok(examples)
}

/// What the figures don't say by themselves.
fn warnings(args: &Args, adapter: &Adapter) -> &'static [&'static str] {
    let looks = args.fits() || args.split.is_none_or(|split| split == Split::Validation);
    if looks && adapter.lineage["recipe"]["fit_on"] == FitOn::All.name() {
        return &[
            "the adapter was trained on its validation split too (--fit-on all): if these are the same pictures, what is \
             fitted and measured on them promises too much; train with --fit-on train for that",
        ];
    }
    &[]
}

/// Where classes exclude each other, a picture of none or several has no right answer.
fn exactly_one<'a>(mut examples: impl Iterator<Item = &'a Example>) -> Result<(), Error> {
    match examples.find(|example| example.targets.len() != 1) {
        Some(Example { path, targets }) => Err(Error::NotOne { path: path.clone(), found: targets.len() }),
        None => Ok(()),
    }
}

fn read_adapter(args: &Args, target: &Target<'_>) -> Result<AdapterFile, Error> {
    let bytes = read_file(&args.adapter, super::ADAPTER_BYTES_MAX)?;
    format::read(&bytes, target).map_err(|source| Error::Adapter { path: args.adapter.clone(), source })
}

/// An adapter that is ready to be asked.
struct Bench<'a> {
    args: &'a Args,
    lens: engine::Lens,
    engine: Box<dyn engine::Engine>,
    /// The head's index of each of the data's classes.
    classes: Vec<usize>,
}

impl<'a> Bench<'a> {
    fn new(backend: &dyn Backend, adapter: &Adapter, data: &Dataset, args: &'a Args) -> Result<Self, Error> {
        let classes = labels::places(&data.labels, &adapter.labels)?;
        let lens = backend.prepare(Arc::new(adapter.clone()), Form::Rescaled)?;
        Ok(Self { args, lens, engine: backend.start()?, classes })
    }

    fn ask(&mut self, examples: &[Example]) -> Result<Asked, Error> {
        let target = |&target: &usize| self.classes[target];
        let placed = |e: &Example| Example { path: e.path.clone(), targets: e.targets.iter().map(target).collect() };
        let examples: Vec<Example> = examples.iter().map(placed).collect();
        let asked = logits::ask(&mut *self.engine, &self.lens, &examples, self.args.settings.threads)?;
        leave_out(&asked.bad, self.args.skip_bad_files && asked.bad.len() < examples.len())?;
        Ok(asked)
    }
}

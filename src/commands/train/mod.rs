//! `manylens train`: labelled pictures to an adapter file that the server takes.

mod error;
mod follow;
mod inputs;
mod interrupt;
/// Where adapter and run may lie.
pub mod places;
mod progress;
mod publish;
mod report;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::file::{Exists, beside, read, spare};
use super::{ADAPTER_BYTES_MAX, probe};
use crate::adapter::format::{self, AdapterFile};
use crate::adapter::{Pooling, Problem};
use crate::backbone::{LoadOptions, PositionRule, Weights};
use crate::client::Published;
use crate::durable::{prepare, replace};
use crate::engine::training::TrainSettings;
use crate::engine::{self, Backend, EngineKind, EngineSettings};
use crate::hash::content_hash;
use crate::train::run::{RunFolder, Start, is_run};
use crate::train::{End, FitOn, Job, Preset, Recipe, State, fit};
pub use error::Error;
use follow::Follow;
use inputs::Inputs;
pub use interrupt::{INTERRUPTED, Interrupt};
use progress::percent;
pub use publish::Publish;
use report::Trained;
pub use settings::Outcome;
use settings::lineage;

/// What `manylens train` needs to know.
#[derive(Clone)]
pub struct Args {
    /// Folder of the backbone.
    pub backbone: PathBuf,
    /// What that folder leaves open.
    pub load: LoadOptions,
    /// The labelled pictures: a folder, or a CSV file.
    pub data: PathBuf,
    /// What becomes of files that are no pictures.
    pub on_bad_file: OnBadFile,
    /// The adapter file to write.
    pub out: PathBuf,
    /// Where the run is kept; beside the adapter unless given.
    pub run_dir: Option<PathBuf>,
    /// What becomes of a run that is there.
    pub start: Start,
    /// Says how pictures are prepared and what the head reads.
    pub preset: Preset,
    /// How the adapter is trained.
    pub recipe: Recipe,
    /// File with one class weight a line, in head order, instead of the recipe's.
    pub class_weights: Option<PathBuf>,
    /// Side of the picture that the backbone sees; the backbone's own unless given.
    pub image_size: Option<usize>,
    /// Instead of the preset's.
    pub pooling: Option<Pooling>,
    /// The backbone's own unless given.
    pub position_rule: Option<PositionRule>,
    /// What computes.
    pub engine: EngineKind,
    /// With how much.
    pub settings: EngineSettings,
    /// Bytes that activations may keep.
    pub memory_bytes_max: usize,
    /// Bytes of prepared pictures that are kept.
    pub cache_bytes_max: usize,
    /// Between two checkpoints within an epoch.
    pub checkpoint_every: Duration,
    /// A server that gets the adapter.
    pub publish: Option<Publish>,
    /// Print JSON.
    pub json: bool,
}

/// What becomes of files that are no pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadFile {
    /// Nothing is trained.
    Fail,
    /// They are named and left out.
    Skip,
}

/// Trains, writes the adapter, sends it to a server if that is asked for, and says so.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let interrupt = Interrupt::listen().map_err(Error::Signals)?;
    let Some(mut written) = train(args, &interrupt)? else { return Ok(ExitCode::from(INTERRUPTED)) };
    if let Some(publish) = &args.publish {
        written.published = Some(publish.send(&written.file)?);
    }
    print(args, &written);
    Ok(ExitCode::SUCCESS)
}

/// Trains and writes the adapter, which the server to publish it on, if any, was asked about before; none when it was told
/// to stop.
pub fn train<'a>(args: &'a Args, interrupt: &Interrupt) -> Result<Option<Written<'a>>, Error> {
    let run_dir = args.run_dir();
    let replaces = match args.start {
        Start::New => false,
        Start::Overwrite => true,
        // Where there is no run, perhaps because of a wrong name, the adapter is somebody else's.
        Start::Resume => is_run(&run_dir),
    };
    spare(&args.out, replaces)?;
    places::check(&args.out, &run_dir, &args.data)?;
    let Inputs { job, weights, settings, mut engine, held_back } = inputs::read(args)?;
    // Found out before hours of training.
    prepare(&args.out)?;
    let rehearse = || args.publish.as_ref().map_or(Ok(()), |publish| publish.rehearse(&job));
    if args.start != Start::Resume {
        rehearse()?;
    }
    let (folder, mut state) = RunFolder::open(&run_dir, &settings, args.start, &job)?;
    // Of a run that has all its epochs the adapter is written first, wherever the server is.
    if args.start == Start::Resume && state.at.epoch < job.recipe.schedule.total() {
        rehearse()?;
    }
    let mut follow = Follow::new(&job, &state, &folder, interrupt, args.checkpoint_every);
    announce(args, &job, &state, &run_dir);
    if held_back > 0 {
        eprintln!("the test split ({held_back}) is not touched: it is for eval");
    }
    let end = {
        let _keeping = interrupt.keeping();
        fit(&job, &mut *engine, &mut state, &mut follow)
    };
    follow.display.end();
    if end? == End::Stopped || interrupt.is_asked() {
        let at = &state.at;
        eprintln!("stopped in epoch {} after step {}; go on with --resume", at.epoch + 1, at.step);
        return Ok(None);
    }
    let title = args.out.file_name().unwrap_or_default().to_string_lossy();
    let outcome = Outcome::new(&job, &state);
    let trained =
        Trained { title: &title, settings: &settings, job: &job, outcome: &outcome, state: &state, weights: &weights };
    folder.report(&trained.html(&mut *engine)?)?;
    doubt(&state);
    let file = made(&job, &state, weights, lineage(&settings, &job.recipe.class_weight, &outcome))?;
    // Of a complete run the adapter may have been fitted or replaced since.
    if folder.is_complete() && read(&args.out, ADAPTER_BYTES_MAX).is_ok_and(|there| there != file) {
        return Err(Exists::File(args.out.clone()).into());
    }
    replace(&args.out, &file).map_err(|error| Error::Write { path: args.out.clone(), source: error.source })?;
    folder.complete(&outcome)?;
    Ok(Some(Written::new(args, &job, file, outcome)))
}

impl Args {
    /// Where the run is kept.
    pub fn run_dir(&self) -> PathBuf {
        self.run_dir.clone().unwrap_or_else(|| beside(&self.out, "run"))
    }
}

/// Of a ViT with patches of 16 at 224 pixels, and one of 14.
const TOKENS_MANY: usize = 257;

fn announce(args: &Args, job: &Job, state: &State, run_dir: &Path) {
    let (train, validation, classes) = (job.train.len(), job.validation.len(), job.task.labels.len());
    eprintln!(
        "{train} pictures to fit and {validation} to select on, {classes} classes; the run is in {}",
        run_dir.display()
    );
    if let Some(tokens) = args.image_size.is_none().then(|| job.tokens()).filter(|&tokens| tokens > TOKENS_MANY) {
        let side = job.task.preprocess.size;
        eprintln!(
            "pictures are seen at {side} x {side} pixels, the backbone's own size, as {tokens} tokens: a smaller --image-size \
             is faster, in proportion or more"
        );
    }
    for label in job.empty_classes() {
        eprintln!("no picture to fit on is of class {label:?}: the adapter will hardly ever answer with it");
    }
    if job.task.problem == Problem::MultiLabel {
        let counts = |wanted: fn(usize) -> bool| job.train.iter().filter(|e| wanted(e.targets.len())).count();
        let (none, several) = (counts(|n| n == 0), counts(|n| n > 1));
        eprintln!(
            "several labels a picture (multi-label): {none} of those to fit on have none, {several} more than one"
        );
    }
    if job.recipe.fit_on == FitOn::All {
        eprintln!(
            "the validation split is fitted on too, and the last epoch taken (--fit-on all, or the recipe says so)"
        );
    }
    if validation == 0 && job.recipe.fit_on == FitOn::Train {
        eprintln!("nothing to select on: the last epoch is taken. Has every class three pictures, or three groups?");
    }
    if args.start == Start::Resume && state.at.epoch == job.recipe.schedule.total() {
        eprintln!("all epochs are done: what is left is the report and the adapter");
    } else if args.start == Start::Resume && state.at.epoch + state.at.step > 0 {
        eprintln!("going on in epoch {} after step {}", state.at.epoch + 1, state.at.step);
    } else if args.start == Start::Resume {
        eprintln!("nothing was kept there yet: the run begins");
    }
}

/// Says so where training led away from the data: numbers stayed finite, and the adapter is worth nothing.
fn doubt(state: &State) {
    if state.at.best_epoch == Some(0) && state.at.history.len() > 1 {
        eprintln!("the best epoch is the first one, which only warms up: look at the scores, and give more --epochs");
    }
    let [first, last] = [state.at.history.first(), state.at.history.last()].map(|record| record.map(|r| r.train_loss));
    if let (Some(first), Some(last)) = (first, last)
        && last > first
    {
        eprintln!(
            "training ended with a larger loss than it began with, {last:.4} after {first:.4}: a lower --lr or more \
             --epochs may help"
        );
    }
}

/// The adapter file's bytes, probe included.
fn made(job: &Job, state: &State, weights: Weights, lineage: serde_json::Value) -> Result<Vec<u8>, Error> {
    let adapter = job.adapter(state.chosen(), lineage);
    let probe = probe::fill(&adapter, job.backbone.clone(), weights)?;
    let file = AdapterFile { adapter, probe: Some(probe), extra: BTreeMap::new() };
    Ok(format::write(&file, &job.layout))
}

/// What was written.
#[derive(Serialize)]
pub struct Written<'a> {
    out: &'a Path,
    hash: String,
    bytes: usize,
    classes: usize,
    /// Which epoch it has, and its scores.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Task and version on the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<Published>,
    /// The adapter file.
    #[serde(skip)]
    file: Vec<u8>,
}

impl<'a> Written<'a> {
    fn new(args: &'a Args, job: &Job, file: Vec<u8>, outcome: Outcome) -> Self {
        let (hash, bytes, classes) = (content_hash(&file), file.len(), job.task.labels.len());
        Self { out: &args.out, hash, bytes, classes, outcome, published: None, file }
    }
}

fn print(args: &Args, written: &Written<'_>) {
    if args.json {
        println!("{}", serde_json::to_string(written).expect("our own types have string keys only"));
        return;
    }
    let Written { out, hash, bytes, classes, outcome, published, .. } = written;
    println!("{}: {classes} classes, {bytes} bytes, {hash}", out.display());
    for (name, record) in [("last", &outcome.last), ("best", &outcome.best)] {
        if let Some((epoch, scores)) = record.as_ref().and_then(|record| Some((record.epoch, record.validation?))) {
            let measure = outcome.measure;
            println!("{name} epoch ({epoch}): validation {} {}", measure.words(), percent(scores.selected(measure)));
        }
    }
    println!("the adapter is that of epoch {} ({})", outcome.chosen_epoch, outcome.chosen_by);
    if let Some(published) = published {
        println!("{published}");
    }
}

fn train_settings(args: &Args) -> TrainSettings {
    TrainSettings { memory_bytes_max: args.memory_bytes_max }
}

/// The engine's shared half, which keeps weights of its own.
fn backend(args: &Args, job: &Job, weights: &Weights) -> Result<Arc<dyn Backend>, Error> {
    Ok(engine::open(args.engine, job.backbone.clone(), weights.clone(), &args.settings)?)
}

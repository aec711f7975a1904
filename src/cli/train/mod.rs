mod recipe;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::backbone::LoadArgs;
use super::classify::first_line;
use super::engine::EngineArgs;
use super::import::{POSITION_RULES, words};
use super::serve::KEY_VARIABLES;
use crate::adapter::Pooling;
use crate::backbone::PositionRule;
use crate::commands;
use crate::commands::train::{self, OnBadFile, Publish};
use crate::registry::TaskName;
use crate::train::run::Start;
use recipe::RecipeArgs;

/// Train an adapter for a new task, from labelled pictures
///
/// A run can be stopped at any moment, by Ctrl-C or by force, and goes on with --resume as if it had not been: the same
/// seed, data and engine give the same file. The exit status is 130 when it was stopped by Ctrl-C.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the backbone
    #[arg(long, value_name = "DIR")]
    backbone: PathBuf,

    #[command(flatten)]
    load: LoadArgs,

    /// Labelled pictures: a folder for each class, VTAB-1k's lists, or CSV with path,label[,split][,group], where several
    /// labels have | between them
    #[arg(long, value_name = "DIR|FILE.csv")]
    data: PathBuf,

    /// What becomes of files that are no pictures: fail or skip
    #[arg(long, value_name = "WHAT", default_value = "fail", value_parser = on_bad_file)]
    on_bad_file: OnBadFile,

    /// The adapter file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Folder for settings, log and checkpoints of the run [default: the adapter's name with .run for
    /// .safetensors; tune's with .tune]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,

    /// Go on with the run in that folder
    #[arg(long, conflicts_with = "force")]
    resume: bool,

    /// Replace the adapter file, and a run in that folder
    #[arg(long)]
    force: bool,

    /// Side in pixels of the picture that the backbone sees [default: the backbone's]
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<usize>,

    /// What the head reads [default: the recipe's]
    #[arg(long, value_parser = words::<Pooling, 3>(["cls", "mean", "cls_mean"]))]
    pooling: Option<Pooling>,

    /// How the position table is resampled [default: the backbone's own way]
    #[arg(long, value_parser = words::<PositionRule, 4>(POSITION_RULES))]
    position_rule: Option<PositionRule>,

    /// Bytes that activations may keep; with less, parts are computed again
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 30)]
    memory_bytes_max: usize,

    /// Bytes of resized pictures that are kept in memory
    #[arg(long, value_name = "BYTES", default_value_t = 2 << 30)]
    cache_bytes_max: usize,

    /// Time between two checkpoints within an epoch
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    checkpoint_seconds: u64,

    /// A server that gets the adapter as a new version of --task
    #[arg(long, value_name = "URL", requires = "task")]
    publish: Option<String>,

    /// The task on that server
    #[arg(long, value_name = "TASK", requires = "publish")]
    task: Option<String>,

    /// File whose first line is that server's admin key [default: MANYLENS_ADMIN_KEY, if set]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(super) recipe: RecipeArgs,

    #[command(flatten, next_help_heading = "Engine")]
    engine: EngineArgs,
}

/// Trains.
pub fn run(args: Args) -> Result<ExitCode, commands::Error> {
    Ok(train::run(&args.typed()?)?)
}

impl Args {
    /// What the command takes.
    pub fn typed(self) -> Result<train::Args, commands::Error> {
        let args = self;
        args.recipe.conflict().map_or(Ok(()), |said| Err(commands::Error::Conflict(said)))?;
        let publish = publish(&args)?;
        let preset = args.recipe.recipe;
        let (recipe, class_weights) = args.recipe.typed();
        Ok(train::Args {
            backbone: args.backbone,
            load: args.load.into(),
            data: args.data,
            on_bad_file: args.on_bad_file,
            out: args.out,
            run_dir: args.run_dir,
            start: start(args.resume, args.force),
            preset,
            recipe,
            class_weights,
            image_size: args.image_size,
            pooling: args.pooling,
            position_rule: args.position_rule,
            engine: args.engine.engine,
            settings: args.engine.compute.settings(),
            memory_bytes_max: args.memory_bytes_max,
            cache_bytes_max: args.cache_bytes_max,
            checkpoint_every: Duration::from_secs(args.checkpoint_seconds),
            publish,
            json: args.json,
        })
    }
}

fn publish(args: &Args) -> Result<Option<Publish>, commands::Error> {
    let Some((url, task)) = args.publish.clone().zip(args.task.clone()) else { return Ok(None) };
    TaskName::parse(&task)?;
    let key = match args.key_file.clone() {
        Some(path) => Some(first_line(path)?),
        None => std::env::var(KEY_VARIABLES[0]).ok().filter(|key| !key.is_empty()),
    };
    Ok(Some(Publish { url, task, key, out: args.out.clone() }))
}

fn start(resume: bool, force: bool) -> Start {
    match (resume, force) {
        (true, _) => Start::Resume,
        (false, true) => Start::Overwrite,
        (false, false) => Start::New,
    }
}

fn on_bad_file(word: &str) -> Result<OnBadFile, String> {
    match word {
        "fail" => Ok(OnBadFile::Fail),
        "skip" => Ok(OnBadFile::Skip),
        _ => Err("there are fail and skip".into()),
    }
}

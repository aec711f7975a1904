mod serve;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::backbone::LoadArgs;
use super::engine::ComputeArgs;
use crate::backbone::Shape;
use crate::commands::bench::{self, Goal, Network};
use crate::commands::{self, Error};
use crate::engine::{EngineKind, Form};
use crate::word::word;

/// Measure engines on this machine
///
/// Images/s and times of a batch for every combination of engine, form, batch size and tasks, on random pictures.
/// Batches of all combinations take turns; rates are of the median batch. Each combination takes --seconds, or as long as
/// three batches and one that is not counted; a bar says what is left. A thousand random adapters of a ViT-B/16 take
/// 1.8 GB.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    network: NetworkArgs,

    /// What computes; `all` is every engine that serves and that this machine has
    #[arg(long, value_delimiter = ',', default_value = EngineKind::ALL[0].name(), value_parser = engines())]
    engine: Vec<String>,

    /// Adapter files of the backbone, repeated when there are fewer than tasks [default: random adapters]
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "backbone")]
    adapters: Vec<PathBuf>,

    /// How adapters are served; bare is the backbone without any
    #[arg(long, value_delimiter = ',', default_value = "bare,rescaled", value_parser = forms())]
    form: Vec<Form>,

    /// Pictures in a batch
    #[arg(long, value_delimiter = ',', default_value = "1,8,64", value_parser = positive)]
    batch: Vec<usize>,

    /// Tasks that pictures are shared among; more than a batch has pictures take turns in consecutive batches
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,1000", value_parser = positive)]
    tasks: Vec<usize>,

    /// Time for each combination, and at least three batches
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// Batches of each combination, instead of a time
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "seconds")]
    rounds: Option<u32>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    compute: ComputeArgs,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Train(train::Args),
}

/// Measures what was asked for.
pub fn run(args: Args) -> Result<ExitCode, Error> {
    match args.command {
        Some(Command::Serve(args)) => commands::bench::serve::run(&args.try_into()?),
        Some(Command::Train(args)) => commands::bench::train::run(&args.into()),
        None => commands::bench::run(&args.into()),
    }
}

/// What is measured.
#[derive(clap::Args)]
struct NetworkArgs {
    /// A network with random weights
    #[arg(long, default_value = "vit-b16", value_parser = PossibleValuesParser::new(Shape::NAMED.map(|(name, _)| name)))]
    shape: String,

    /// A backbone's folder instead of a shape
    #[arg(long, value_name = "DIR", conflicts_with = "shape")]
    backbone: Option<PathBuf>,

    #[command(flatten)]
    load: LoadArgs,

    /// Side of the pictures in pixels, a multiple of the patch [default: the backbone's own, 224 for a shape]
    #[arg(long)]
    image_size: Option<usize>,
}

impl NetworkArgs {
    fn network(self) -> Network {
        let named = |(name, _): &(&str, _)| *name == self.shape;
        match self.backbone {
            Some(folder) => Network::Folder(folder, self.load.into()),
            None => Network::Random(Shape::NAMED.into_iter().find(named).expect("clap has checked the name")),
        }
    }
}

impl From<Args> for bench::Args {
    fn from(args: Args) -> Self {
        let all = args.engine.iter().any(|name| name == ALL);
        let named = || args.engine.iter().map(|name| name.parse().expect("clap has checked the name"));
        Self {
            image_size: args.network.image_size,
            network: args.network.network(),
            engines: if all { SERVING.to_vec() } else { named().collect() },
            available_only: all,
            settings: args.compute.settings(),
            adapters: args.adapters,
            forms: args.form,
            batches: args.batch,
            tasks: args.tasks,
            goal: match args.rounds {
                Some(rounds) => Goal::Batches(rounds as usize),
                None => Goal::Time(Duration::from_secs(args.seconds)),
            },
            json: args.json,
        }
    }
}

/// Every engine that is made for serving.
const ALL: &str = "all";
const SERVING: [EngineKind; 2] = [EngineKind::Native, EngineKind::Onnx];

fn engines() -> PossibleValuesParser {
    PossibleValuesParser::new(EngineKind::ALL.map(EngineKind::name).into_iter().chain([ALL]))
}

/// Pictures or tasks that memory has room for.
fn positive(text: &str) -> Result<usize, String> {
    const MAX: usize = 65_536;
    text.parse().ok().filter(|number| (1..=MAX).contains(number)).ok_or_else(|| format!("it must be 1 to {MAX}"))
}

fn forms() -> impl TypedValueParser<Value = Form> {
    let parse = |name: String| word(&name, &Form::ALL.map(|form| (form.name(), form)));
    PossibleValuesParser::new(Form::ALL.map(Form::name)).try_map(parse)
}

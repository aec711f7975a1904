mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::backbone::LoadArgs;
use super::engine::EngineArgs;
use crate::backbone::Shape;
use crate::commands::bench::{self, Network};
use crate::commands::{self, Error};
use crate::engine::Form;

/// Measures an engine on random weights and pictures: images/s of every combination of form, batch and tasks. Batches
/// of all combinations take turns; what is printed are medians.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    network: NetworkArgs,

    /// How adapters are served
    #[arg(long, value_delimiter = ',', default_value = "rescaled", value_parser = forms())]
    form: Vec<Form>,

    /// Pictures in a batch
    #[arg(long, value_delimiter = ',', default_value = "1,8")]
    batch: Vec<usize>,

    /// Tasks that a batch's pictures are shared among
    #[arg(long, value_delimiter = ',', default_value = "1,8")]
    tasks: Vec<usize>,

    /// Batches of each combination that are measured
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Subcommand)]
enum Command {
    Train(train::Args),
}

/// Measures what was asked for.
pub fn run(args: Args) -> Result<ExitCode, Error> {
    match args.command {
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
        Self {
            image_size: args.network.image_size,
            network: args.network.network(),
            engine: args.engine.engine,
            settings: args.engine.settings(),
            forms: args.form,
            batches: args.batch,
            tasks: args.tasks,
            rounds: args.rounds as usize,
            json: args.json,
        }
    }
}

fn forms() -> impl TypedValueParser<Value = Form> {
    let parse = |name: String| Form::ALL.into_iter().find(|form| form.name() == name).ok_or("no such form");
    PossibleValuesParser::new(Form::ALL.map(Form::name)).try_map(parse)
}

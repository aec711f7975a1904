use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::ValueEnum;

use super::backbone::LoadArgs;
use super::engine::EngineArgs;
use crate::commands::{Error, eval};
use crate::evaluate::OperatingPoint;
use crate::train::data;

/// Measure an adapter on labelled pictures; fit its temperature and thresholds
///
/// Whatever is fitted is fitted on the validation split and written by --out; figures are those of the adapter with it.
#[derive(clap::Args)]
pub struct Args {
    /// The adapter file
    #[arg(value_name = "ADAPTER", required_unless_present = "adapter_flag")]
    adapter: Option<PathBuf>,

    /// The adapter file, as other commands take it
    #[arg(id = "adapter_flag", long = "adapter", value_name = "FILE")]
    adapter_flag: Option<PathBuf>,

    /// Folder of the backbone
    #[arg(long, value_name = "DIR")]
    backbone: PathBuf,

    #[command(flatten)]
    load: LoadArgs,

    /// Labelled pictures: a folder for each class, VTAB-1k's lists, or CSV with path,label[,split][,group], where several
    /// labels have | between them
    #[arg(long, value_name = "DIR|FILE.csv")]
    data: PathBuf,

    /// The pictures to report on
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,

    /// What becomes of files that are no pictures
    #[arg(long, value_enum, default_value_t = OnBadFile::Fail)]
    on_bad_file: OnBadFile,

    /// Classes that the top-k accuracy looks at
    #[arg(long, value_name = "K", default_value_t = NonZeroUsize::new(5).expect("five"))]
    top_k: NonZeroUsize,

    #[command(flatten)]
    engine: EngineArgs,

    /// Fit the temperature on the validation split
    #[arg(long)]
    fit_temperature: bool,

    /// Fit the decision on the validation split: precision=SHARE[:LABEL] or recall=SHARE:LABEL; may be given several times
    #[arg(long, value_name = "GOAL=SHARE[:LABEL]")]
    operating_point: Vec<OperatingPoint>,

    /// The adapter file to write, with what was fitted
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Replace that file if it exists
    #[arg(long)]
    force: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Split {
    Train,
    Validation,
    Test,
    /// Whatever their split
    All,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum OnBadFile {
    /// Nothing is measured
    Fail,
    /// They are named and left out
    Skip,
}

impl Args {
    /// What the command takes.
    pub fn typed(self) -> Result<eval::Args, Error> {
        let args = self;
        let adapter = match (args.adapter, args.adapter_flag) {
            (Some(one), Some(other)) if one != other => {
                return Err(Error::Conflict("two adapters are named: leave one out"));
            }
            (adapter, flag) => adapter.or(flag).expect("clap requires one of them"),
        };
        Ok(eval::Args {
            adapter,
            backbone: args.backbone,
            load: args.load.into(),
            data: args.data,
            split: match args.split {
                Split::Train => Some(data::Split::Train),
                Split::Validation => Some(data::Split::Validation),
                Split::Test => Some(data::Split::Test),
                Split::All => None,
            },
            skip_bad_files: args.on_bad_file == OnBadFile::Skip,
            top_k: args.top_k.get(),
            engine: args.engine.engine,
            settings: args.engine.compute.settings(),
            fit_temperature: args.fit_temperature,
            operating_points: args.operating_point,
            out: args.out,
            force: args.force,
            json: args.json,
        })
    }
}

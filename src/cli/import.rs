use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde::de::DeserializeOwned;

use super::backbone::LoadArgs;
use crate::adapter::Pooling;
use crate::backbone::PositionRule;
use crate::commands;
use crate::commands::import::{Labels, Official, PreprocessSource};

/// Turn checkpoints that others trained into adapter files
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub source: Source,
}

/// Runs the import that was asked for.
pub fn run(args: Args) -> Result<ExitCode, commands::Error> {
    match args.source {
        Source::Official(args) => Ok(commands::import::official(&(*args).into())?),
    }
}

/// Whose checkpoints.
#[derive(Subcommand)]
pub enum Source {
    Official(Box<OfficialArgs>),
}

/// Read a checkpoint of the paper's code, or tensors by canonical names; a pickle is read without executing anything
#[derive(clap::Args)]
pub struct OfficialArgs {
    /// The checkpoint: .pth (torch.save) or .safetensors
    file: PathBuf,

    /// Folder of the backbone that it was trained on
    #[arg(long, value_name = "DIR")]
    backbone: PathBuf,

    #[command(flatten)]
    load: LoadArgs,

    /// Class names in the head's order: `a,b,c`, or `@FILE` with one per line
    #[arg(long, value_parser = labels)]
    labels: Labels,

    /// How pictures were prepared: vtab, fgvc, timm, dinov2, or a JSON file with a `preprocess` object
    #[arg(long, value_name = "NAME|FILE.json", value_parser = preprocess)]
    preprocess: PreprocessSource,

    /// Side in pixels of the picture that the backbone sees [default: the backbone's]; resizes of presets scale with it
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<usize>,

    /// Mean of x/255 per channel instead of the preset's
    #[arg(long, value_name = "R,G,B", value_parser = channels, allow_hyphen_values = true)]
    mean: Option<Channels>,

    /// Standard deviation of x/255 per channel instead of the preset's
    #[arg(long, value_name = "R,G,B", value_parser = channels)]
    std: Option<Channels>,

    /// What the head reads [default: told by the head's shape]
    #[arg(long, value_parser = words::<Pooling, 3>(["cls", "mean", "cls_mean"]))]
    pooling: Option<Pooling>,

    /// How the position table was resampled in training [default: the backbone's own way]
    #[arg(long, value_parser = words::<PositionRule, 4>(POSITION_RULES))]
    position_rule: Option<PositionRule>,

    /// Tokens that one picture may have
    #[arg(long, value_name = "N", default_value_t = 2048)]
    max_tokens: usize,

    /// The adapter file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Replace that file if it exists
    #[arg(long)]
    force: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Names of every position rule.
pub const POSITION_RULES: [&str; 4] = ["bicubic_size", "bicubic_antialias", "bicubic_offset", "bilinear_corners"];

/// One number per channel.
type Channels = [f32; 3];

impl From<OfficialArgs> for Official {
    fn from(args: OfficialArgs) -> Self {
        Self {
            file: args.file,
            backbone: args.backbone,
            load: args.load.into(),
            labels: args.labels,
            preprocess: args.preprocess,
            image_size: args.image_size,
            mean: args.mean,
            std: args.std,
            pooling: args.pooling,
            position_rule: args.position_rule,
            tokens_max: args.max_tokens,
            out: args.out,
            force: args.force,
            json: args.json,
        }
    }
}

fn labels(text: &str) -> Result<Labels, String> {
    match text.strip_prefix('@') {
        Some("") => Err("name a file after @".into()),
        Some(path) => Ok(Labels::File(path.into())),
        None => Ok(Labels::List(text.split(',').map(|label| label.trim().to_owned()).collect())),
    }
}

fn preprocess(text: &str) -> Result<PreprocessSource, String> {
    match text.parse() {
        Ok(preset) => Ok(PreprocessSource::Preset(preset)),
        Err(_) if text.contains(['.', '/']) => Ok(PreprocessSource::File(text.into())),
        Err(_) => Err("there are vtab, fgvc, timm and dinov2; a file's name ends in .json".into()),
    }
}

fn channels(text: &str) -> Result<Channels, String> {
    let values: Result<Vec<f32>, _> = text.split(',').map(|value| value.trim().parse()).collect();
    values.ok().and_then(|values| values.try_into().ok()).ok_or_else(|| "three numbers, as 0.5,0.5,0.5".into())
}

/// The words of an enum of ours, by their names in files.
pub fn words<T, const N: usize>(words: [&'static str; N]) -> impl clap::builder::TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| serde_json::from_value(serde_json::Value::String(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_a_list_or_a_file() {
        assert!(matches!(labels("cat, dog"), Ok(Labels::List(list)) if list == ["cat", "dog"]));
        assert!(matches!(labels("@classes.txt"), Ok(Labels::File(path)) if path.ends_with("classes.txt")));
        assert!(labels("@").is_err());
    }

    #[test]
    fn a_misspelt_preset_is_not_taken_for_a_file() {
        assert!(matches!(preprocess("vtab"), Ok(PreprocessSource::Preset(_))));
        assert!(matches!(preprocess("a.json"), Ok(PreprocessSource::File(_))));
        assert!(preprocess("vtba").is_err());
    }

    #[test]
    fn channels_are_three_numbers() {
        assert_eq!(channels("0.5, -1,2e-1"), Ok([0.5, -1.0, 0.2]));
        assert!(channels("0.5").is_err() && channels("a,b,c").is_err());
    }
}

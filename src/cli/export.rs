use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::backbone::LoadArgs;
use crate::commands::export::{self, Names, Out};
use crate::engine::onnx::Dialect;
use crate::word::word;

/// Write an adapter in a form that other programs read
#[derive(clap::Args)]
#[group(id = "out", required = true, multiple = false, args = ["merged", "onnx"])]
pub struct Args {
    /// New folder for an ordinary checkpoint, the adapter merged in
    #[arg(long, value_name = "DIR")]
    merged: Option<PathBuf>,

    /// New ONNX file: normalised pictures in, logits out, the adapter merged in
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,

    /// Replace files that exist
    #[arg(long)]
    force: bool,

    /// Operators of the ONNX file: plain ones open everywhere, fused ones are ONNX Runtime's own and faster there
    #[arg(long, default_value = Dialect::Plain.name(), value_parser = dialects())]
    dialect: Dialect,

    /// Whose names and model the merged checkpoint is for
    #[arg(long, value_name = "LIBRARY", default_value = "hf", value_parser = names())]
    names: Names,

    /// Folder of the backbone
    #[arg(long, value_name = "DIR")]
    backbone: PathBuf,

    #[command(flatten)]
    load: LoadArgs,

    /// The adapter file
    #[arg(long, value_name = "FILE")]
    adapter: PathBuf,
}

impl From<Args> for export::Args {
    fn from(args: Args) -> Self {
        let merged = args.merged.map(|folder| Out::Merged { folder, names: args.names });
        let onnx = args.onnx.map(|file| Out::Onnx { file, dialect: args.dialect });
        Self {
            backbone: args.backbone,
            load: args.load.into(),
            adapter: args.adapter,
            force: args.force,
            out: merged.or(onnx).expect("clap requires one of the group"),
        }
    }
}

fn names() -> impl TypedValueParser<Value = Names> {
    PossibleValuesParser::new(["timm", "hf"]).map(|name| match name.as_str() {
        "timm" => Names::Timm,
        _ => Names::HuggingFace,
    })
}

fn dialects() -> impl TypedValueParser<Value = Dialect> {
    let parse = |name: String| word(&name, &Dialect::ALL.map(|dialect| (dialect.name(), dialect)));
    PossibleValuesParser::new(Dialect::ALL.map(Dialect::name)).try_map(parse)
}

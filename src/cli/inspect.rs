use std::path::PathBuf;

use super::backbone::LoadArgs;
use crate::commands::inspect;

/// Say how a backbone's folder or an adapter file is understood
#[derive(clap::Args)]
pub struct Args {
    /// A backbone's folder, or an adapter file
    #[arg(value_name = "DIR|FILE")]
    path: PathBuf,

    /// Folder of the backbone that the adapter file should fit
    #[arg(long, value_name = "DIR")]
    backbone: Option<PathBuf>,

    #[command(flatten)]
    load: LoadArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl From<Args> for inspect::Args {
    fn from(args: Args) -> Self {
        Self { path: args.path, backbone: args.backbone, load: args.load.into(), json: args.json }
    }
}

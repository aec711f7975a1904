use std::path::PathBuf;

use super::backbone::LoadArgs;
use crate::commands::inspect;

/// Say how a backbone's folder is understood
#[derive(clap::Args)]
pub struct Args {
    /// A backbone's folder
    #[arg(value_name = "DIR")]
    path: PathBuf,

    #[command(flatten)]
    load: LoadArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl From<Args> for inspect::Args {
    fn from(args: Args) -> Self {
        Self { path: args.path, load: args.load.into(), json: args.json }
    }
}

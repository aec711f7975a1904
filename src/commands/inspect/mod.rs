//! `manylens inspect`: a file or folder, as understood.

mod backbone;

use std::path::PathBuf;
use std::process::ExitCode;

use super::Error;
use crate::backbone::{LoadOptions, load};

/// What to look at.
pub struct Args {
    /// A backbone's folder.
    pub path: PathBuf,
    /// What the folder may leave open.
    pub load: LoadOptions,
    /// JSON instead of tables.
    pub json: bool,
}

/// Prints what was understood.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let description = backbone::Description::of(&load(&args.path, &args.load)?);
    if args.json {
        println!("{:#}", serde_json::json!(description));
    } else {
        println!("{description}");
    }
    Ok(ExitCode::SUCCESS)
}

//! `manylens inspect`: a file or folder, as understood.

mod adapter;
mod backbone;
mod lineage;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{ADAPTER_BYTES_MAX, Error, file};
use crate::backbone::{LoadOptions, load};

/// What to look at.
pub struct Args {
    /// A backbone's folder, or an adapter file.
    pub path: PathBuf,
    /// The backbone that the adapter should fit.
    pub backbone: Option<PathBuf>,
    /// What the folder may leave open.
    pub load: LoadOptions,
    /// JSON instead of tables.
    pub json: bool,
}

/// Prints what was understood. A faulty adapter is a failure.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    if args.path.is_dir() {
        show(&backbone::Description::of(&load(&args.path, &args.load)?), args.json);
        return Ok(ExitCode::SUCCESS);
    }
    let bytes = file::read(&args.path, ADAPTER_BYTES_MAX)?;
    let backbone = args.backbone.as_ref().map(|folder| load(folder, &args.load)).transpose()?;
    let description = adapter::Description::of(&args.path, &bytes, backbone.as_ref().map(|b| &b.backbone));
    show(&description, args.json);
    Ok(if description.valid() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show<T: Display + Serialize>(description: &T, json: bool) {
    if json {
        println!("{}", serde_json::to_string_pretty(description).expect("our own types have string keys only"));
    } else {
        println!("{description}");
    }
}

//! `manylens export`: an adapter in the forms that other programs read.

mod config;
mod merged;
mod onnx;
mod target;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use target::{Names, Refusal, Target};

use super::file::{self, Exists, spare};
use super::{ADAPTER_BYTES_MAX, Error};
use crate::adapter::Layout;
use crate::adapter::format::{self, Limits};
use crate::backbone::{LoadOptions, Loaded, load};
use crate::durable::replace;
use crate::engine::onnx::Dialect;
use merged::Checkpoint;

/// What to export.
pub struct Args {
    /// Folder of the backbone.
    pub backbone: PathBuf,
    /// What that folder leaves open.
    pub load: LoadOptions,
    /// The adapter file.
    pub adapter: PathBuf,
    /// The form.
    pub out: Out,
    /// Replace a file that exists.
    pub force: bool,
}

/// The form of the export.
pub enum Out {
    /// An ordinary checkpoint with the adapter merged in.
    Merged {
        /// A new or empty folder, unless what it has may be replaced.
        folder: PathBuf,
        /// Whose names.
        names: Names,
    },
    /// A classifier of its own as an ONNX file.
    Onnx {
        /// The file; weights beyond 2 GB go beside it.
        file: PathBuf,
        /// Which operators.
        dialect: Dialect,
    },
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file exists.
    #[error(transparent)]
    Exists(#[from] Exists),
    /// A folder with something in it.
    #[error("{}: the folder is not empty; give a new one, or --force to replace what is in it", .0.display())]
    NotEmpty(PathBuf),
    /// A file that is no adapter of this backbone.
    #[error("{}: {source}", path.display())]
    Adapter {
        /// The file.
        path: PathBuf,
        /// Every fault.
        source: format::AdapterError,
    },
    /// No model of the library can hold the result.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Writes the export and says what was written.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    if let Out::Onnx { file, .. } = &args.out {
        spare(file, args.force).map_err(ExportError::from)?;
    }
    let Loaded { backbone, weights, .. } = load(&args.backbone, &args.load)?;
    let bytes = file::read(&args.adapter, ADAPTER_BYTES_MAX)?;
    let target = format::Target {
        shape: &backbone.shape,
        layout: &Layout::of(&backbone.shape),
        fingerprint: &backbone.fingerprint,
        limits: Limits::default(),
    };
    let faults = |source| ExportError::Adapter { path: args.adapter.clone(), source };
    let adapter = format::read(&bytes, &target).map_err(faults)?.adapter;
    match &args.out {
        Out::Merged { folder, names } => {
            let checkpoint = Checkpoint::of(&backbone, &weights, &adapter, *names).map_err(ExportError::from)?;
            write(folder, &checkpoint, args.force)?;
        }
        Out::Onnx { file, dialect } => onnx::write(file, *dialect, &backbone, weights, &adapter, &bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// With `force` the checkpoint's files are replaced and others stay.
fn write(folder: &Path, checkpoint: &Checkpoint, force: bool) -> Result<(), ExportError> {
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    if !force && std::fs::read_dir(folder).map_err(io(folder))?.next().is_some() {
        return Err(ExportError::NotEmpty(folder.to_owned()));
    }
    for (name, bytes) in &checkpoint.files {
        let path = folder.join(name);
        replace(&path, bytes).map_err(|error| io(&path)(error.source))?;
        println!("{} ({} bytes)", path.display(), bytes.len());
    }
    let folder = folder.display();
    match checkpoint.target {
        Target::Timm => println!("load: timm.create_model(\"local-dir:{folder}\", pretrained=True)"),
        _ => println!("load: transformers.AutoModelForImageClassification.from_pretrained(\"{folder}\")"),
    }
    checkpoint.notes.iter().for_each(|note| println!("note: {note}"));
    Ok(())
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ExportError {
    move |source| ExportError::Io { path: path.to_owned(), source }
}

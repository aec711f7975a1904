//! Checkpoints that others trained, to adapter files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::file::{Exists, ReadError, read, spare};
use super::probe::{self, ProbeError};
use crate::adapter::format::{self, AdapterError, AdapterFile, Limits, Target};
use crate::adapter::import::{self, CheckpointLimits, ImportError, Task};
use crate::adapter::{Layout, Method, Pooling};
use crate::backbone::{self, Backbone, BackboneError, LoadOptions, Loaded, PositionRule};
use crate::hash::content_hash;
use crate::image::{Preprocess, Preset};

/// Room for the largest checkpoint that is read, 1 GiB of values.
const CHECKPOINT_BYTES_MAX: u64 = 5 << 28;
/// 32,768 labels of 256 bytes.
const TEXT_BYTES_MAX: u64 = 8 << 20;

/// `manylens import official`
#[derive(Clone, Debug)]
pub struct Official {
    /// The checkpoint: .pth or .safetensors.
    pub file: PathBuf,
    /// Folder of the backbone that it was trained on.
    pub backbone: PathBuf,
    /// What that folder leaves open.
    pub load: LoadOptions,
    /// Class names in head order.
    pub labels: Labels,
    /// Picture to pixels.
    pub preprocess: PreprocessSource,
    /// Side of the picture that the backbone sees; the backbone's own unless given.
    pub image_size: Option<usize>,
    /// Instead of the preset's.
    pub mean: Option<[f32; 3]>,
    /// Instead of the preset's.
    pub std: Option<[f32; 3]>,
    /// What the head reads; told by its shape unless given.
    pub pooling: Option<Pooling>,
    /// The backbone dialect's own unless given.
    pub position_rule: Option<PositionRule>,
    /// Tokens of one picture.
    pub tokens_max: usize,
    /// The adapter file to write.
    pub out: PathBuf,
    /// Replace that file if it exists.
    pub force: bool,
    /// Print JSON.
    pub json: bool,
}

/// Class names.
#[derive(Clone, Debug)]
pub enum Labels {
    /// As given.
    List(Vec<String>),
    /// One per line of a file.
    File(PathBuf),
}

/// Where the preprocessing is described.
#[derive(Clone, Debug)]
pub enum PreprocessSource {
    /// By a name.
    Preset(Preset),
    /// By a file with the JSON object of adapters/README.md.
    File(PathBuf),
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The adapter's file exists.
    #[error(transparent)]
    Exists(#[from] Exists),
    /// The adapter cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Labels that are no text.
    #[error("{}: the labels are not UTF-8", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
    },
    /// A preprocess file with faults.
    #[error("{}: {source}", path.display())]
    Preprocess {
        /// The file.
        path: PathBuf,
        /// Every fault.
        source: AdapterError,
    },
    /// Two flags that say the same.
    #[error("--image-size goes with a preset; a preprocess file states its own size and crop")]
    TwoSizes,
    /// The backbone.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The checkpoint.
    #[error("{}: {source}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ImportError,
    },
    /// The adapter gives no finite answers.
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

/// What was written.
#[derive(Serialize)]
struct Written<'a> {
    out: &'a Path,
    hash: String,
    bytes: usize,
    method: Method,
    classes: usize,
    values: usize,
    probe_pictures: usize,
    backbone: &'a backbone::Fingerprint,
}

/// Reads a checkpoint, fills the probe with the reference engine, and writes the adapter file.
pub fn official(args: &Official) -> Result<ExitCode, Error> {
    spare(&args.out, args.force)?;
    let bytes = read(&args.file, CHECKPOINT_BYTES_MAX)?;
    let labels = labels(&args.labels)?;
    let Loaded { backbone, weights, .. } = backbone::load(&args.backbone, &args.load)?;
    let layout = Layout::of(&backbone.shape);
    let limits = Limits { tokens_max: args.tokens_max, ..Limits::default() };
    let target = Target { shape: &backbone.shape, layout: &layout, fingerprint: &backbone.fingerprint, limits };
    let task = Task {
        labels,
        preprocess: preprocess(args, &backbone)?,
        pooling: args.pooling,
        position_rule: args.position_rule.unwrap_or(backbone.position_rule),
    };
    let file = import::official(&bytes, task, &target, &CheckpointLimits::default());
    let mut file = file.map_err(|source| Error::Checkpoint { path: args.file.clone(), source })?;
    let fingerprint = backbone.fingerprint.clone();
    file.probe = Some(probe::fill(&file.adapter, Arc::new(backbone), weights)?);
    let bytes = format::write(&file, &layout);
    std::fs::write(&args.out, &bytes).map_err(|source| Error::Write { path: args.out.clone(), source })?;
    print(args, &file, &bytes, &fingerprint);
    Ok(ExitCode::SUCCESS)
}

fn print(args: &Official, file: &AdapterFile, bytes: &[u8], backbone: &backbone::Fingerprint) {
    let AdapterFile { adapter, probe, .. } = file;
    let written = Written {
        out: &args.out,
        hash: content_hash(bytes),
        bytes: bytes.len(),
        method: adapter.method,
        classes: adapter.labels.len(),
        values: adapter.rescale.len() + adapter.head.weight.len() + adapter.head.bias.len(),
        probe_pictures: probe.as_ref().map_or(0, |probe| probe.count),
        backbone,
    };
    if args.json {
        println!("{}", serde_json::to_string(&written).expect("our own types have string keys only"));
        return;
    }
    let Written { out, hash, bytes, classes, values, probe_pictures, .. } = written;
    println!("{}: {classes} classes, {values} values, {bytes} bytes", out.display());
    println!("{hash}, with a probe of {probe_pictures} pictures, for backbone {backbone}");
}

fn preprocess(args: &Official, backbone: &Backbone) -> Result<Preprocess, Error> {
    let mut preprocess = match &args.preprocess {
        PreprocessSource::Preset(preset) => preset.at(args.image_size.unwrap_or(backbone.image_size)),
        PreprocessSource::File(_) if args.image_size.is_some() => return Err(Error::TwoSizes),
        PreprocessSource::File(path) => {
            let text = read(path, TEXT_BYTES_MAX)?;
            let read = format::read_preprocess(&String::from_utf8_lossy(&text), &Limits::default());
            read.map_err(|source| Error::Preprocess { path: path.clone(), source })?
        }
    };
    preprocess.mean = args.mean.unwrap_or(preprocess.mean);
    preprocess.std = args.std.unwrap_or(preprocess.std);
    Ok(preprocess)
}

fn labels(labels: &Labels) -> Result<Vec<String>, Error> {
    match labels {
        Labels::List(labels) => Ok(labels.clone()),
        Labels::File(path) => {
            let text = String::from_utf8(read(path, TEXT_BYTES_MAX)?);
            let text = text.map_err(|_| Error::Labels { path: path.clone() })?;
            Ok(text.trim_end().lines().map(|line| line.trim().to_owned()).collect())
        }
    }
}

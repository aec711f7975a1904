//! The adapter file: one .safetensors container whose metadata says everything about the task.
//!
//! adapters/README.md is the specification. The reader trusts nothing and reports every fault at once; the writer
//! gives equal bytes for equal inputs.

mod container;
mod contents;
mod fields;
mod metadata;
mod problem;
mod read;
mod report;
mod rules;
mod write;

pub use metadata::read_preprocess;
pub use problem::{AdapterError, Problem};
pub use read::read;
pub use report::{Coverage, Range, Summary, ValidationReport, report};
pub(super) use write::metadata;
pub use write::write;

use std::collections::BTreeMap;

use super::{Adapter, Layout, Probe};
use crate::backbone::{Fingerprint, Shape};

/// What `format` says in the metadata.
pub const FORMAT: &str = "manylens.adapter";
/// The version that this program writes, and the highest that it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Pictures that a probe may hold.
pub const PROBE_PICTURES_MAX: usize = 8;

/// A parsed and checked adapter file.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterFile {
    /// The parameters.
    pub adapter: Adapter,
    /// Known answers, when the file carries them.
    pub probe: Option<Probe>,
    /// Metadata keys that this version does not know, kept and written back.
    pub extra: BTreeMap<String, String>,
}

/// The backbone that a file must fit.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Sizes of the network.
    pub shape: &'a Shape,
    /// The layout of that shape.
    pub layout: &'a Layout,
    /// The backbone's identity.
    pub fingerprint: &'a Fingerprint,
    /// What is refused as too large.
    pub limits: Limits,
}

/// What is refused as too large, before anything of that size is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tokens of one picture, prefix included.
    pub tokens_max: usize,
    /// Bytes of the container's header, where names and metadata are.
    pub header_bytes_max: usize,
    /// Classes of a head.
    pub classes_max: usize,
    /// UTF-8 bytes of one label.
    pub label_bytes_max: usize,
    /// Bytes of the lineage's JSON, which stays in memory.
    pub lineage_bytes_max: usize,
    /// Problems that one report lists.
    pub problems_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tokens_max: 2048,
            header_bytes_max: 8 << 20,
            classes_max: 32_768,
            label_bytes_max: 256,
            lineage_bytes_max: 256 << 10,
            problems_max: 500,
        }
    }
}

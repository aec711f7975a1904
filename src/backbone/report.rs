use std::path::PathBuf;

use serde::Serialize;

/// What [`load`](super::load) understood, for `manylens inspect`.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// The checkpoint that was read.
    pub file: PathBuf,
    /// Whose names it uses.
    pub names: &'static str,
    /// What stands before every name, e.g. `vit.`.
    pub prefix: String,
    /// The dialect of config.json; `None` without one.
    pub config: Option<&'static str>,
    /// Element types of the tensors that were read, in the file's own words.
    pub stored_as: Vec<String>,
    /// Whether LayerScale was folded into `proj` and `fc2`.
    pub layer_scale_folded: bool,
    /// Tensors that are no part of the backbone.
    pub ignored: Vec<Ignored>,
    /// What neither the tensors nor config.json say, in sentences.
    pub assumed: Vec<String>,
}

/// A tensor of the checkpoint that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ignored {
    /// Its name in the file.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// What it is.
    pub why: &'static str,
}

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::config::{self, Stated};
use super::error::BackboneError;
use super::inventory::{self, Inventory};
use super::plan::{self, Plan};
use super::source::{Npz, Source};
use super::{Backbone, LoadReport, PositionRule, Weights, canonical, fingerprint, names};
use crate::capped;
use crate::tensors::{Mapped, TensorError, TensorFile};

/// A config with 21,000 labels is about 1 MB.
const CONFIG_BYTES_MAX: u64 = 16 << 20;
const CONFIG: &str = "config.json";
const CHECKPOINT: &str = "model.safetensors";

/// What the caller knows better than the folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadOptions {
    /// Attention heads (`--heads`), for a timm model whose name does not tell.
    pub heads: Option<usize>,
    /// LayerNorm epsilon (`--layer-norm-eps`); another epsilon is another backbone.
    pub layer_norm_eps: Option<f64>,
}

/// A backbone, ready for an engine.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Everything but the weights.
    pub backbone: Backbone,
    /// Canonical weights.
    pub weights: Weights,
    /// How the folder was understood.
    pub report: LoadReport,
}

/// The files of a backbone, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// Where the checkpoint came from, for messages; its extension says whether it is an .npz or a .safetensors.
    pub path: &'a Path,
    /// The checkpoint's bytes.
    pub checkpoint: &'a [u8],
    /// config.json's bytes, where there is one.
    pub config: Option<&'a [u8]>,
}

/// Loads a folder with config.json and model.safetensors, or a Google .npz, in any spelling that `inspect` names.
///
/// The checkpoint is mapped while its tensors are read, and never touched again.
///
/// # Errors
/// The folder's files cannot be read or understood, or tensors are missing, unknown, mis-shaped or not finite: all of
/// them at once.
pub fn load(folder: &Path, options: &LoadOptions) -> Result<Loaded, BackboneError> {
    let path = find_checkpoint(folder)?;
    let config = read_config(&folder.join(CONFIG))?;
    let mapped = Mapped::open(&path).map_err(|error| match error {
        TensorError::Io { path, source } => BackboneError::Io { path, source },
        other => BackboneError::File { path: path.clone(), why: other.to_string() },
    })?;
    from_bytes(&Files { path: &path, checkpoint: mapped.bytes(), config: config.as_deref() }, options)
}

/// What [`load`] does once the files are read or mapped.
///
/// # Errors
/// As `load`'s.
pub fn from_bytes(files: &Files<'_>, options: &LoadOptions) -> Result<Loaded, BackboneError> {
    let &Files { path, checkpoint, config } = files;
    let config_file = |why| BackboneError::File { path: path.with_file_name(CONFIG), why };
    let stated = config.map(config::parse).transpose().map_err(config_file)?.unwrap_or_default();
    let file = |why| BackboneError::File { path: path.to_owned(), why };
    if path.extension().is_some_and(|extension| extension == "npz") {
        read(path, &Npz::parse(checkpoint).map_err(file)?, &stated, options)
    } else {
        read(path, &TensorFile::parse(checkpoint).map_err(|error| file(error.to_string()))?, &stated, options)
    }
}

fn read(path: &Path, source: &dyn Source, stated: &Stated, options: &LoadOptions) -> Result<Loaded, BackboneError> {
    let unfit = |problems| BackboneError::Unfit { path: path.to_owned(), problems };
    let inventory = inventory::take(source.tensors());
    let inventory = inventory.map_err(|why| BackboneError::File { path: path.to_owned(), why })?;
    let plan = plan::plan(&inventory, stated, options).map_err(unfit)?;
    let weights = canonical::weights(source, &inventory, &plan).map_err(unfit)?;
    let backbone = Backbone {
        shape: plan.shape,
        fingerprint: fingerprint(&plan.shape, &weights),
        stored_grid: plan.grid,
        image_size: plan.grid.0 * plan.shape.patch,
        position_rule: position_rule(&inventory, &plan),
        position_table: weights.tensor("pos_embed").data.as_slice().into(),
    };
    let report = report(path, inventory, stated, plan);
    Ok(Loaded { backbone, weights, report })
}

/// What the dialect's own code does. DINOv2 with registers antialiases, without it does not.
fn position_rule(inventory: &Inventory, plan: &Plan) -> PositionRule {
    match inventory.spelling.name {
        name if name == names::GOOGLE.name => PositionRule::BilinearCorners,
        name if name == names::TIMM.name => PositionRule::BicubicAntialias,
        _ if plan.shape.prefix_tokens > 1 => PositionRule::BicubicAntialias,
        _ => PositionRule::BicubicSize,
    }
}

fn report(path: &Path, inventory: Inventory, stated: &Stated, plan: Plan) -> LoadReport {
    let types: BTreeSet<_> = inventory.slots.into_values().map(|(_, stored)| stored.dtype).collect();
    LoadReport {
        file: path.to_owned(),
        names: inventory.spelling.name,
        prefix: inventory.prefix,
        config: Some(stated.dialect).filter(|dialect| !dialect.is_empty()),
        stored_as: types.into_iter().collect(),
        layer_scale_folded: plan.layer_scale,
        ignored: inventory.ignored,
        assumed: plan.assumed,
    }
}

/// The one checkpoint of a folder.
fn find_checkpoint(folder: &Path) -> Result<PathBuf, BackboneError> {
    let io = |source| BackboneError::Io { path: folder.to_owned(), source };
    let names = std::fs::read_dir(folder).map_err(io)?.map(|entry| Ok(entry?.file_name()));
    let names: BTreeSet<String> =
        names.map(|name| name.map(|n| n.to_string_lossy().into_owned())).collect::<Result<_, _>>().map_err(io)?;
    choose_checkpoint(&names)
        .map(|name| folder.join(name))
        .map_err(|why| BackboneError::Folder { folder: folder.to_owned(), why })
}

fn choose_checkpoint(names: &BTreeSet<String>) -> Result<&str, String> {
    let ending = |ends: &[&str]| -> Vec<&str> {
        names.iter().map(String::as_str).filter(|name| ends.iter().any(|end| name.ends_with(end))).collect()
    };
    if names.contains(CHECKPOINT) {
        return Ok(CHECKPOINT);
    }
    if let [index, ..] = ending(&[".safetensors.index.json"])[..] {
        return Err(format!("{index}: the checkpoint is sharded; save it as one {CHECKPOINT}"));
    }
    for end in [".safetensors", ".npz"] {
        match ending(&[end])[..] {
            [] => {}
            [one] => return Ok(one),
            [..] => return Err(format!("has several checkpoints ({}); keep one", ending(&[end]).join(", "))),
        }
    }
    match ending(&[".bin", ".pth", ".pt", ".ckpt"])[..] {
        [] => Err(format!("holds neither {CHECKPOINT} nor an .npz")),
        [pickle, ..] => Err(format!("{pickle} is a pickle, which is never opened; save it as {CHECKPOINT}")),
    }
}

/// The config's bytes; a folder may have none.
fn read_config(path: &Path) -> Result<Option<Vec<u8>>, BackboneError> {
    let too_large = || {
        let why = format!("is larger than {CONFIG_BYTES_MAX} bytes");
        BackboneError::File { path: path.to_owned(), why }
    };
    match capped::read(path, CONFIG_BYTES_MAX) {
        Ok(bytes) => bytes.ok_or_else(too_large).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BackboneError::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn one_checkpoint_is_chosen() {
        let chosen = [
            (&["README.md", "config.json", "model.safetensors", "other.safetensors", "x.npz"][..], "model.safetensors"),
            (&["backbone.timm.safetensors"], "backbone.timm.safetensors"),
            (&["ViT-B_16.npz"], "ViT-B_16.npz"),
        ];
        for (found, expected) in chosen {
            assert_eq!(choose_checkpoint(&names(found)), Ok(expected));
        }
    }

    #[test]
    fn every_other_folder_says_what_to_do() {
        let refused = [
            (&["model.safetensors.index.json", "model-00001-of-00002.safetensors"][..], "sharded"),
            (&["a.npz", "b.npz"], "several checkpoints (a.npz, b.npz)"),
            (&["pytorch_model.bin"], "never opened"),
            (&["config.json"], "holds neither"),
        ];
        for (found, expected) in refused {
            let why = choose_checkpoint(&names(found)).expect_err("refused");
            assert!(why.contains(expected), "{why}");
        }
    }
}

//! The committed goldens: what the paper's own code computes on a tiny ViT.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::adapter::format::{Limits, Target};
use crate::adapter::import::{CheckpointLimits, Task, official};
use crate::adapter::{Adapter, Layout};
use crate::backbone::{Backbone, LoadOptions, Weights, load};
use crate::image::{Pixels, Preset};
use crate::tensors::{TensorFile, View};

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rlrr-tiny").join(file)
}

/// The golden pictures, normalised, and their logits `[pictures * classes]`.
pub fn forward() -> (Vec<Pixels>, Vec<f32>) {
    let bytes = fs::read(path("forward.safetensors")).expect("golden files are committed");
    let file = TensorFile::parse(&bytes).expect("a valid file");
    let read = |name| file.f32(name).expect("there").expect("floats");
    let (shape, values) = read("pixel_values");
    let (height, width) = (shape[2], shape[3]);
    let pictures = values.chunks_exact(3 * height * width);
    let pictures = pictures.map(|p| Pixels::F32 { height, width, data: p.into() }).collect();
    (pictures, read("logits").1)
}

/// The golden pictures' classes.
pub fn labels() -> Vec<usize> {
    let bytes = fs::read(path("forward.safetensors")).expect("golden files are committed");
    let file = TensorFile::parse(&bytes).expect("a valid file");
    let read = |view: View<'_>| view.bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as usize).collect();
    file.with("labels", read).expect("there")
}

/// The golden backbone.
pub fn backbone() -> (Arc<Backbone>, Weights) {
    backbones().remove(0)
}

/// The golden backbone from each of its files.
pub fn backbones() -> Vec<(Arc<Backbone>, Weights)> {
    let files = [
        ("backbone.timm.safetensors", "model.safetensors"),
        ("backbone.hf.safetensors", "model.safetensors"),
        ("backbone.npz", "backbone.npz"),
    ];
    let read = |(from, name)| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::copy(path(from), folder.path().join(name)).expect("golden files are committed");
        fs::copy(path("config.json"), folder.path().join("config.json")).expect("golden files are committed");
        let loaded = load(folder.path(), &LoadOptions::default()).expect("a backbone");
        (Arc::new(loaded.backbone), loaded.weights)
    };
    files.into_iter().map(read).collect()
}

/// The golden adapter from each of its files.
pub fn adapters(backbone: &Backbone) -> Vec<Arc<Adapter>> {
    ["adapter 75.60.pth", "adapter.official-names.safetensors"].map(|file| adapter(backbone, file)).to_vec()
}

/// The gradient of the mean cross-entropy of the golden pictures with respect to the golden adapter.
pub fn gradient(backbone: &Backbone) -> Arc<Adapter> {
    adapter(backbone, "gradients.safetensors")
}

/// The golden adapter after five steps of AdamW on the golden pictures: rate 3e-3, decay 0.05.
pub fn after_5_steps(backbone: &Backbone) -> Arc<Adapter> {
    adapter(backbone, "after_5_adamw_steps.safetensors")
}

/// The losses before each of these steps.
pub const LOSSES: [f64; 5] = [1.386_025_2, 0.942_427_5, 0.606_335_4, 0.391_330_6, 0.271_736_2];

fn adapter(backbone: &Backbone, file: &str) -> Arc<Adapter> {
    let bytes = fs::read(path(file)).expect("golden files are committed");
    let task = Task {
        labels: ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(),
        preprocess: Preset::Vtab.at(backbone.image_size),
        pooling: None,
        position_rule: backbone.position_rule,
    };
    let target = Target {
        shape: &backbone.shape,
        layout: &Layout::of(&backbone.shape),
        fingerprint: &backbone.fingerprint,
        limits: Limits::default(),
    };
    let file = official(&bytes, task, &target, &CheckpointLimits::default());
    Arc::new(file.expect("an adapter").adapter)
}

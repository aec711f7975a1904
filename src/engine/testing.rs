//! Small things that the engines' tests share.

use crate::image::{Alpha, Depth16, Exif, Interpolation, Pixels, Preprocess, Resize};
use crate::tensors::TensorFile;

/// Squash to `size`, mean 0.5, std 0.5.
pub fn preprocess(size: usize) -> Preprocess {
    Preprocess {
        resize: Resize::Squash,
        size,
        interpolation: Interpolation::Bicubic,
        antialias: true,
        pad_color: None,
        crop: None,
        alpha: Alpha::Drop,
        depth16: Depth16::Refuse,
        mean: [0.5; 3],
        std: [0.5; 3],
        exif: Exif::Ignore,
    }
}

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rlrr-tiny");

/// A tensor of a golden file.
pub fn golden(file: &str, name: &str) -> (Vec<usize>, Vec<f32>) {
    let path = std::path::Path::new(GOLDEN).join(file);
    let bytes = std::fs::read(&path).expect("golden files are committed");
    let file = TensorFile::parse(&bytes).expect("golden files are valid");
    file.f32(name).unwrap_or_else(|| panic!("{} has no {name}", path.display())).expect("golden tensors are floats")
}

/// The golden pictures, normalised, and their logits.
pub fn golden_forward() -> (Vec<Pixels>, Vec<f32>) {
    let (shape, values) = golden("forward.safetensors", "pixel_values");
    let (height, width) = (shape[2], shape[3]);
    let pictures = values.chunks_exact(3 * height * width);
    let pictures = pictures.map(|p| Pixels::F32 { height, width, data: p.into() }).collect();
    (pictures, golden("forward.safetensors", "logits").1)
}

/// Largest difference.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

//! The committed goldens: what the paper's own code computes on a tiny ViT.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::adapter::{Adapter, Head, Layout, Pooling};
use crate::backbone::{Backbone, Fingerprint, PositionRule, Shape, Tensor, Weights};
use crate::image::Pixels;
use crate::tensors::TensorFile;

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rlrr-tiny").join(file)
}

/// A tensor of a golden file.
fn tensor(file: &str, name: &str) -> Tensor {
    let path = path(file);
    let bytes = std::fs::read(&path).expect("golden files are committed");
    let file = TensorFile::parse(&bytes).expect("golden files are valid");
    let values = file.f32(name).unwrap_or_else(|| panic!("{} has no {name}", path.display()));
    let (shape, data) = values.expect("golden tensors are floats");
    Tensor { shape, data }
}

/// The golden pictures, normalised, and their logits `[pictures * classes]`.
pub fn forward() -> (Vec<Pixels>, Vec<f32>) {
    let pixels = tensor("forward.safetensors", "pixel_values");
    let (height, width) = (pixels.shape[2], pixels.shape[3]);
    let pictures = pixels.data.chunks_exact(3 * height * width);
    let pictures = pictures.map(|p| Pixels::F32 { height, width, data: p.into() }).collect();
    (pictures, tensor("forward.safetensors", "logits").data)
}

/// The golden backbone.
pub fn backbone() -> (Arc<Backbone>, Weights) {
    let read = |name: String| tensor("backbone.timm.safetensors", &name);
    let shape = Shape { width: 64, depth: 3, heads: 4, mlp: 128, patch: 8, ..Shape::vit_b16() };
    let mut weights = Weights::default();
    let mut put = |name: &str, tensor| weights.0.insert(name.to_owned(), tensor);
    for part in ["weight", "bias"] {
        for block in 0..shape.depth {
            let read = |name: &str| read(format!("blocks.{block}.{name}.{part}"));
            let qkv = read("attn.qkv");
            let third = qkv.data.len() / 3;
            for (name, rows) in ["q", "k", "v"].iter().zip(qkv.data.chunks_exact(third)) {
                let shape = [&[shape.width], &qkv.shape[1..]].concat();
                put(&format!("blocks.{block}.attn.{name}.{part}"), Tensor { shape, data: rows.to_vec() });
            }
            for name in ["norm1", "norm2", "attn.proj", "mlp.fc1", "mlp.fc2"] {
                put(&format!("blocks.{block}.{name}.{part}"), read(name));
            }
        }
        put(&format!("norm.{part}"), read(format!("norm.{part}")));
        let mut embed = read(format!("patch_embed.proj.{part}"));
        embed.shape = [&[shape.width][..], &[shape.patch_values()]].concat()[..embed.shape.len().min(2)].to_vec();
        put(&format!("patch_embed.{part}"), embed);
    }
    let positions = read("pos_embed".into()).data;
    let (first, grid) = positions.split_at(shape.width);
    let cls = read("cls_token".into()).data.iter().zip(first).map(|(a, b)| a + b).collect();
    put("prefix_tokens", Tensor { shape: vec![1, shape.width], data: cls });
    put("pos_embed", Tensor { shape: vec![16, shape.width], data: grid.to_vec() });
    let backbone = Backbone {
        shape,
        fingerprint: Fingerprint("sha256:golden".into()),
        stored_grid: (4, 4),
        image_size: 32,
        position_rule: PositionRule::BicubicAntialias,
        position_table: grid.into(),
    };
    (Arc::new(backbone), weights)
}

/// The golden adapter.
pub fn adapter(backbone: &Backbone) -> Arc<Adapter> {
    let read = |name: &str| tensor("adapter.official-names.safetensors", name).data;
    let layout = Layout::of(&backbone.shape);
    let rescale = layout.segments().iter().flat_map(|segment| read(&official(&segment.name))).collect();
    let head = Head { weight: read("head.weight"), bias: read("head.bias") };
    Arc::new(super::adapter(backbone, rescale, head, Pooling::Cls))
}

/// The paper's name of a segment.
fn official(name: &str) -> String {
    let (place, part) = name.rsplit_once('.').expect("a place and a part");
    let ssf = |place: &str, what: &str| format!("transformer.{place}.ssf_{part}_{what}");
    match place {
        "patch_embed" => return ssf("embeddings", "patch"),
        "norm" => return ssf("encoder", "enc_norm"),
        _ => {}
    }
    let (block, layer) = place.trim_start_matches("blocks.").split_once('.').expect("a block and a layer");
    let layer = match layer {
        "norm1" => return ssf(&format!("encoder.layer.{block}"), "attn_norm"),
        "norm2" => return ssf(&format!("encoder.layer.{block}"), "ffn_norm"),
        "attn.q" => "attn.query",
        "attn.k" => "attn.key",
        "attn.v" => "attn.value",
        "attn.proj" => "attn.out",
        "mlp.fc1" => "ffn.fc1",
        _ => "ffn.fc2",
    };
    let part = match part {
        "scale_in" => "scale_col",
        "scale_out" => "scale_line",
        _ => "shift_bias",
    };
    format!("transformer.encoder.layer.{block}.{layer}.{part}")
}

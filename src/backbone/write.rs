//! Canonical weights under the names of timm and transformers.

use super::names::{HF_DINOV2, HF_VIT, Half, Part, Slot, Spelling, TIMM};
use super::{Shape, Weights};
use crate::tensors::Named;
use crate::vit::{Layer, LinearAt, NormAt};

/// Whose names a checkpoint is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointNames {
    /// timm's `VisionTransformer` with `no_embed_class`: prefix tokens have no position rows.
    Timm,
    /// Hugging Face `ViTModel`; the class token's position row is zeros, since the token carries it already.
    HuggingFaceVit,
    /// Hugging Face `Dinov2Model`, with registers when there are any; LayerScale is ones, the mask token zeros.
    HuggingFaceDinov2,
}

/// The backbone's tensors as `names` calls them, each name behind `prefix`.
///
/// # Panics
/// When a Hugging Face name is asked for a backbone without a class token, which those models cannot do without.
pub fn checkpoint_tensors(
    shape: &Shape,
    weights: &Weights,
    names: CheckpointNames,
    prefix: &str,
) -> Vec<Named<'static>> {
    assert!(names == CheckpointNames::Timm || shape.prefix_tokens > 0, "{names:?} needs a class token");
    let spelling = match names {
        CheckpointNames::Timm => &TIMM,
        CheckpointNames::HuggingFaceVit => &HF_VIT,
        CheckpointNames::HuggingFaceDinov2 => &HF_DINOV2,
    };
    let mut writer = Writer { shape, weights, spelling, prefix, tensors: Vec::new() };
    writer.embeddings();
    for block in 0..shape.depth {
        writer.block(block);
    }
    writer.both(Part::Norm, 0, &NormAt::Final.to_string(), None);
    if names == CheckpointNames::HuggingFaceDinov2 {
        writer.layer_scale();
        let mask = format!("{prefix}embeddings.mask_token");
        writer.tensors.push(Named::f32(mask, vec![1, shape.width], &vec![0.0; shape.width]));
    }
    writer.tensors
}

struct Writer<'a> {
    shape: &'a Shape,
    weights: &'a Weights,
    spelling: &'static Spelling,
    prefix: &'a str,
    tensors: Vec<Named<'static>>,
}

impl Writer<'_> {
    fn put(&mut self, slot: Slot, shape: Vec<usize>, values: &[f32]) {
        let name = self.spelling.write(slot).expect("only parts of the dialect are written");
        self.tensors.push(Named::f32(format!("{}{name}", self.prefix), shape, values));
    }

    /// Weight and bias of a canonical place, as stored or in another shape.
    fn both(&mut self, part: Part, block: usize, place: &str, weight_shape: Option<Vec<usize>>) {
        let weight = self.weights.tensor(&format!("{place}.weight"));
        let bias = self.weights.tensor(&format!("{place}.bias"));
        let weight_shape = weight_shape.unwrap_or_else(|| weight.shape.clone());
        self.put(Slot { part, block, half: Half::Weight }, weight_shape, &weight.data);
        self.put(Slot { part, block, half: Half::Bias }, bias.shape.clone(), &bias.data);
    }

    fn embeddings(&mut self) {
        let &Shape { width, channels, patch, .. } = self.shape;
        let whole = |part| Slot { part, block: 0, half: Half::Whole };
        self.both(Part::PatchEmbed, 0, "patch_embed", Some(vec![width, channels, patch, patch]));
        if let Some(tokens) = self.weights.0.get("prefix_tokens") {
            let (cls, registers) = tokens.data.split_at(width);
            self.put(whole(Part::ClsToken), vec![1, 1, width], cls);
            if !registers.is_empty() {
                self.put(whole(Part::Registers), vec![1, registers.len() / width, width], registers);
            }
        }
        let mut table = vec![0.0; if self.spelling.needs_cls { width } else { 0 }];
        table.extend_from_slice(&self.weights.tensor("pos_embed").data);
        self.put(whole(Part::Positions), vec![1, table.len() / width, width], &table);
    }

    fn block(&mut self, block: usize) {
        self.both(Part::Norm1, block, &NormAt::Attention(block).to_string(), None);
        let rest: &[Layer] = if self.spelling.is_fused() {
            self.fused(block);
            &[Layer::Proj, Layer::Fc1, Layer::Fc2]
        } else {
            &Layer::ALL
        };
        for &layer in rest {
            self.both(Part::Linear(layer), block, &LinearAt { block, layer }.to_string(), None);
        }
        self.both(Part::Norm2, block, &NormAt::Mlp(block).to_string(), None);
    }

    /// q, k and v, one below the other.
    fn fused(&mut self, block: usize) {
        let width = self.shape.width;
        for (half, name, shape) in
            [(Half::Weight, "weight", vec![3 * width, width]), (Half::Bias, "bias", vec![3 * width])]
        {
            let part = |layer| format!("{}.{name}", LinearAt { block, layer });
            let parts = [Layer::Q, Layer::K, Layer::V].map(|layer| self.weights.tensor(&part(layer)).data.as_slice());
            self.put(Slot { part: Part::Qkv, block, half }, shape, &parts.concat());
        }
    }

    fn layer_scale(&mut self) {
        let ones = vec![1.0; self.shape.width];
        for (block, layer) in (0..self.shape.depth).flat_map(|block| [(block, Layer::Proj), (block, Layer::Fc2)]) {
            let slot = Slot { part: Part::LayerScale(layer), block, half: Half::Whole };
            self.put(slot, vec![self.shape.width], &ones);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::backbone::{Activation, LoadOptions, load, random};
    use crate::tensors;

    const TINY: Shape = Shape {
        width: 16,
        depth: 2,
        heads: 4,
        mlp: 24,
        patch: 4,
        channels: 3,
        prefix_tokens: 1,
        eps: 1e-6,
        activation: Activation::Gelu,
    };

    /// Fingerprint before, and after writing and loading.
    fn written_and_read(shape: Shape, names: CheckpointNames, prefix: &str) -> [String; 2] {
        let (backbone, weights) = random(shape, 16, 5);
        let tensors = checkpoint_tensors(&shape, &weights, names, prefix);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bytes = tensors::serialize(&tensors, &BTreeMap::new());
        std::fs::write(folder.path().join("model.safetensors"), bytes).expect("written");
        let options = LoadOptions { heads: Some(shape.heads), layer_norm_eps: Some(shape.eps) };
        let loaded = load(folder.path(), &options).unwrap_or_else(|error| panic!("{names:?}: {error}"));
        [backbone.fingerprint.0, loaded.backbone.fingerprint.0]
    }

    #[test]
    fn what_is_written_is_the_same_backbone() {
        let with = |prefix_tokens| Shape { prefix_tokens, ..TINY };
        let cases = [
            (with(0), CheckpointNames::Timm, ""),
            (with(1), CheckpointNames::Timm, ""),
            (with(5), CheckpointNames::Timm, ""),
            (with(1), CheckpointNames::HuggingFaceVit, "vit."),
            (with(1), CheckpointNames::HuggingFaceDinov2, "dinov2."),
            (with(5), CheckpointNames::HuggingFaceDinov2, "dinov2_with_registers."),
        ];
        for (shape, names, prefix) in cases {
            let [before, after] = written_and_read(shape, names, prefix);
            assert_eq!(before, after, "{names:?} {shape:?}");
        }
    }
}

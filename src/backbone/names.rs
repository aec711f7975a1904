//! The spellings of a ViT checkpoint: for every dialect a table of names, read by one matcher and written by export.

use crate::vit::Layer;

/// What a tensor is, apart from its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// The convolution over patches.
    PatchEmbed,
    /// `[1, 1, width]`
    ClsToken,
    /// `[1, registers, width]`
    Registers,
    /// `[1, prefix rows + grid, width]`
    Positions,
    /// Before attention.
    Norm1,
    /// Before the MLP.
    Norm2,
    /// After the last block.
    Norm,
    /// One of a block's linears.
    Linear(Layer),
    /// q, k and v in one matrix, in this order along the outputs.
    Qkv,
    /// LayerScale behind `proj` or `fc2`.
    LayerScale(Layer),
}

/// Which tensor of a [`Part`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Half {
    /// A matrix or a gain.
    Weight,
    /// A bias.
    Bias,
    /// The part is one tensor.
    Whole,
}

/// A tensor's place in a ViT; `block` is 0 outside blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub part: Part,
    pub block: usize,
    pub half: Half,
}

/// How a dialect lays matrices out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// `[out, in]`, convolutions `[out, channel, row, column]`.
    Torch,
    /// `[in, out]` with attention heads as an axis of their own, convolutions `[row, column, channel, out]`.
    Flax,
}

/// One dialect's names.
pub(super) struct Spelling {
    /// For reports.
    pub name: &'static str,
    /// Layout of matrices.
    pub arrangement: Arrangement,
    /// Between the parts of a name.
    pub separator: char,
    /// LayerNorm epsilon of its code when a config does not say.
    pub default_eps: f64,
    /// Whether every model has a class token, and the position table a row for it and for no other prefix token.
    pub needs_cls: bool,
    /// Last part of a weight's name; gains may be called otherwise.
    weights: &'static [&'static str],
    /// Names outside blocks.
    outer: &'static [(&'static str, Part)],
    /// What stands before a block's number; the first is the one that export writes.
    blocks: &'static [&'static str],
    /// Names inside a block, after its number; for each part the first is the one that export writes.
    inner: &'static [(&'static str, Part)],
}

const Q: Part = Part::Linear(Layer::Q);
const K: Part = Part::Linear(Layer::K);
const V: Part = Part::Linear(Layer::V);
const PROJ: Part = Part::Linear(Layer::Proj);
const FC1: Part = Part::Linear(Layer::Fc1);
const FC2: Part = Part::Linear(Layer::Fc2);

/// timm's `VisionTransformer`; `register_tokens` is what the original DINOv2 code calls `reg_token`.
pub(super) const TIMM: Spelling = Spelling {
    name: "timm",
    arrangement: Arrangement::Torch,
    separator: '.',
    default_eps: 1e-6,
    needs_cls: false,
    weights: &["weight"],
    outer: &[
        ("patch_embed.proj", Part::PatchEmbed),
        ("cls_token", Part::ClsToken),
        ("reg_token", Part::Registers),
        ("register_tokens", Part::Registers),
        ("pos_embed", Part::Positions),
        ("norm", Part::Norm),
    ],
    blocks: &["blocks."],
    inner: &[
        ("norm1", Part::Norm1),
        ("attn.qkv", Part::Qkv),
        ("attn.proj", PROJ),
        ("ls1.gamma", Part::LayerScale(Layer::Proj)),
        ("norm2", Part::Norm2),
        ("mlp.fc1", FC1),
        ("mlp.fc2", FC2),
        ("ls2.gamma", Part::LayerScale(Layer::Fc2)),
    ],
};

const HF_OUTER: &[(&str, Part)] = &[
    ("embeddings.patch_embeddings.projection", Part::PatchEmbed),
    ("embeddings.cls_token", Part::ClsToken),
    ("embeddings.register_tokens", Part::Registers),
    ("embeddings.position_embeddings", Part::Positions),
    ("layernorm", Part::Norm),
];

const HF_BLOCKS: &[&str] = &["encoder.layer.", "layers.", "encoder.layers.", "layer."];

/// Hugging Face `ViTModel`, as transformers wrote it up to version 4 (and still does on saving) and as 5 names it.
pub(super) const HF_VIT: Spelling = Spelling {
    name: "Hugging Face ViT",
    arrangement: Arrangement::Torch,
    separator: '.',
    default_eps: 1e-12,
    needs_cls: true,
    weights: &["weight"],
    outer: HF_OUTER,
    blocks: HF_BLOCKS,
    inner: &[
        ("layernorm_before", Part::Norm1),
        ("attention.attention.query", Q),
        ("attention.attention.key", K),
        ("attention.attention.value", V),
        ("attention.output.dense", PROJ),
        ("layernorm_after", Part::Norm2),
        ("intermediate.dense", FC1),
        ("output.dense", FC2),
        ("attention.q_proj", Q),
        ("attention.k_proj", K),
        ("attention.v_proj", V),
        ("attention.o_proj", PROJ),
        ("mlp.fc1", FC1),
        ("mlp.fc2", FC2),
    ],
};

/// Hugging Face `Dinov2Model` and `Dinov2WithRegistersModel`, both generations of names.
pub(super) const HF_DINOV2: Spelling = Spelling {
    name: "Hugging Face DINOv2",
    arrangement: Arrangement::Torch,
    separator: '.',
    default_eps: 1e-6,
    needs_cls: true,
    weights: &["weight"],
    outer: HF_OUTER,
    blocks: HF_BLOCKS,
    inner: &[
        ("norm1", Part::Norm1),
        ("attention.attention.query", Q),
        ("attention.attention.key", K),
        ("attention.attention.value", V),
        ("attention.output.dense", PROJ),
        ("layer_scale1.lambda1", Part::LayerScale(Layer::Proj)),
        ("norm2", Part::Norm2),
        ("mlp.fc1", FC1),
        ("mlp.fc2", FC2),
        ("layer_scale2.lambda1", Part::LayerScale(Layer::Fc2)),
        ("attention.q_proj", Q),
        ("attention.k_proj", K),
        ("attention.v_proj", V),
        ("attention.o_proj", PROJ),
    ],
};

/// Google's vision_transformer repository (JAX/Flax).
pub(super) const GOOGLE: Spelling = Spelling {
    name: "Google (Flax)",
    arrangement: Arrangement::Flax,
    separator: '/',
    default_eps: 1e-6,
    needs_cls: false,
    weights: &["kernel", "scale"],
    outer: &[
        ("embedding", Part::PatchEmbed),
        ("cls", Part::ClsToken),
        ("Transformer/posembed_input/pos_embedding", Part::Positions),
        ("Transformer/encoder_norm", Part::Norm),
    ],
    blocks: &["Transformer/encoderblock_"],
    inner: &[
        ("LayerNorm_0", Part::Norm1),
        ("MultiHeadDotProductAttention_1/query", Q),
        ("MultiHeadDotProductAttention_1/key", K),
        ("MultiHeadDotProductAttention_1/value", V),
        ("MultiHeadDotProductAttention_1/out", PROJ),
        ("LayerNorm_2", Part::Norm2),
        ("MlpBlock_3/Dense_0", FC1),
        ("MlpBlock_3/Dense_1", FC2),
    ],
};

/// Every dialect; the first of two that fit a file equally well is taken.
pub(super) const SPELLINGS: [&Spelling; 4] = [&TIMM, &HF_VIT, &HF_DINOV2, &GOOGLE];

/// Tensors that are no part of the backbone, by how their names begin (after the prefix or without it), and why.
const IGNORED: &[(&str, &str)] = &[
    ("head.", "classifier"),
    ("head/", "classifier"),
    ("classifier.", "classifier"),
    ("fc.", "classifier"),
    ("pooler.", "pooler"),
    ("attn_pool.", "pooler"),
    ("pre_logits.", "pooler"),
    ("pre_logits/", "pooler"),
    ("mask_token", "mask token"),
    ("embeddings.mask_token", "mask token"),
    ("embeddings.position_embeddings_", "resampled copy of the position table"),
    ("decoder.", "decoder"),
];

/// The reason to leave a tensor out, if there is one.
pub(super) fn ignored(name: &str) -> Option<&'static str> {
    IGNORED.iter().find(|(begin, _)| name.starts_with(begin)).map(|&(_, why)| why)
}

impl Spelling {
    /// The place of the tensor of that name (without its prefix).
    pub(super) fn slot(&self, name: &str) -> Option<Slot> {
        let inner = self.blocks.iter().find_map(|begin| self.inner_slot(name.strip_prefix(begin)?));
        inner.or_else(|| self.find(self.outer, name, 0))
    }

    fn inner_slot(&self, name: &str) -> Option<Slot> {
        let (number, rest) = name.split_once(self.separator)?;
        let canonical = number == "0" || !number.starts_with(['0', '+']);
        let block = number.parse().ok().filter(|_| canonical)?;
        self.find(self.inner, rest, block)
    }

    fn find(&self, table: &[(&str, Part)], name: &str, block: usize) -> Option<Slot> {
        let entry = |wanted: &str| table.iter().find(|(name, _)| *name == wanted).map(|&(_, part)| part);
        if let Some(part) = entry(name).filter(|part| part.is_whole()) {
            return Some(Slot { part, block, half: Half::Whole });
        }
        let (stem, leaf) = name.rsplit_once(self.separator)?;
        let half = match leaf {
            "bias" => Half::Bias,
            leaf if self.weights.contains(&leaf) => Half::Weight,
            _ => return None,
        };
        let part = entry(stem).filter(|part| !part.is_whole())?;
        Some(Slot { part, block, half })
    }

    /// The name of the patch embedding's weight, by whose prefix a file's prefix is known.
    pub(super) fn anchor(&self) -> String {
        self.write(Slot { part: Part::PatchEmbed, block: 0, half: Half::Weight }).expect("every dialect has patches")
    }

    /// The name of a place, or `None` when the dialect has no such tensor.
    pub(super) fn write(&self, slot: Slot) -> Option<String> {
        let entry = |table: &[(&'static str, Part)]| table.iter().find(|(_, p)| *p == slot.part).map(|&(name, _)| name);
        let stem = match (entry(self.outer), entry(self.inner)) {
            (Some(name), _) => name.to_owned(),
            (None, Some(name)) => format!("{}{}{}{name}", self.blocks[0], slot.block, self.separator),
            (None, None) => return None,
        };
        Some(match slot.half {
            Half::Whole => stem,
            Half::Bias => format!("{stem}{}bias", self.separator),
            Half::Weight => format!("{stem}{}{}", self.separator, self.weight_leaf(slot.part)),
        })
    }

    fn weight_leaf(&self, part: Part) -> &'static str {
        match part {
            Part::Norm1 | Part::Norm2 | Part::Norm => self.weights[self.weights.len() - 1],
            _ => self.weights[0],
        }
    }

    /// Whether q, k and v are one matrix.
    pub(super) fn is_fused(&self) -> bool {
        self.inner.iter().any(|(_, part)| *part == Part::Qkv)
    }
}

impl Part {
    fn is_whole(self) -> bool {
        matches!(self, Self::ClsToken | Self::Registers | Self::Positions | Self::LayerScale(_))
    }

    /// Whether there is one in every block.
    pub(super) fn is_inner(self) -> bool {
        !matches!(self, Self::PatchEmbed | Self::ClsToken | Self::Registers | Self::Positions | Self::Norm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(spelling: &Spelling, name: &str) -> Option<(Part, usize, Half)> {
        spelling.slot(name).map(|s| (s.part, s.block, s.half))
    }

    #[test]
    fn both_generations_of_hugging_face_names_are_known() {
        for name in ["encoder.layer.11.attention.attention.query.weight", "layers.11.attention.q_proj.weight"] {
            assert_eq!(slot(&HF_VIT, name), Some((Q, 11, Half::Weight)), "{name}");
            assert_eq!(slot(&HF_DINOV2, name), Some((Q, 11, Half::Weight)), "{name}");
        }
        assert_eq!(slot(&HF_VIT, "encoder.layer.0.output.dense.bias"), Some((FC2, 0, Half::Bias)));
        assert_eq!(slot(&HF_VIT, "layers.0.mlp.fc2.bias"), Some((FC2, 0, Half::Bias)));
        let scale = Some((Part::LayerScale(Layer::Fc2), 3, Half::Whole));
        assert_eq!(slot(&HF_DINOV2, "encoder.layer.3.layer_scale2.lambda1"), scale);
    }

    #[test]
    fn names_that_only_look_alike_are_not() {
        for name in
            ["blocks.01.norm1.weight", "blocks.+1.norm1.weight", "blocks.1.norm1.scale", "blocks.1.norm1", "norm", ""]
        {
            assert_eq!(TIMM.slot(name), None, "{name}");
        }
        assert_eq!(GOOGLE.slot("Transformer/encoderblock_1x/LayerNorm_0/scale"), None);
        assert_eq!(TIMM.slot("cls_token.weight"), None);
    }

    #[test]
    fn copies_of_the_position_table_are_no_part_of_the_backbone() {
        assert_eq!(HF_DINOV2.slot("embeddings.position_embeddings_224"), None);
        assert!(ignored("embeddings.position_embeddings_224").is_some());
        assert!(ignored("embeddings.position_embeddings").is_none());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let halves = |part: Part| if part.is_whole() { vec![Half::Whole] } else { vec![Half::Weight, Half::Bias] };
        for spelling in SPELLINGS {
            for &(_, part) in spelling.outer.iter().chain(spelling.inner) {
                for half in halves(part) {
                    let slot = Slot { part, block: if part.is_inner() { 7 } else { 0 }, half };
                    let name = spelling.write(slot).expect("it is in the table");
                    assert_eq!(spelling.slot(&name), Some(slot), "{name}");
                }
            }
        }
    }
}

use serde::{Deserialize, Serialize};

/// The activation between `fc1` and `fc2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x · Φ(x), with the error function.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
}

impl Activation {
    /// Its name in the fingerprint's JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
        }
    }
}

/// Sizes of a ViT. Field names are those of the fingerprint's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Features per token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads; divides `width`.
    pub heads: usize,
    /// Features between `fc1` and `fc2`.
    pub mlp: usize,
    /// Side of a square patch in pixels.
    pub patch: usize,
    /// Picture channels (3 everywhere we serve).
    pub channels: usize,
    /// Tokens before the patches: CLS, then registers; 0 for a backbone without CLS.
    pub prefix_tokens: usize,
    /// LayerNorm epsilon.
    pub eps: f64,
    /// Activation of the MLP.
    pub activation: Activation,
}

impl Shape {
    /// Features per attention head.
    pub fn head_size(&self) -> usize {
        self.width / self.heads
    }

    /// Values of one flattened patch, channels first: `channels * patch * patch`.
    pub fn patch_values(&self) -> usize {
        self.channels * self.patch * self.patch
    }

    /// Tokens of a picture of `height` x `width` pixels, prefix included.
    pub fn tokens(&self, height: usize, width: usize) -> usize {
        self.prefix_tokens + (height / self.patch) * (width / self.patch)
    }

    /// The shapes that have a name (`vit-b16`), each with one CLS token.
    pub const NAMED: [(&str, Shape); 7] = [
        ("vit-ti16", Self::named(192, 12, 3, 16)),
        ("vit-s16", Self::named(384, 12, 6, 16)),
        ("vit-s14", Self::named(384, 12, 6, 14)),
        ("vit-b16", Self::named(768, 12, 12, 16)),
        ("vit-b14", Self::named(768, 12, 12, 14)),
        ("vit-l16", Self::named(1024, 24, 16, 16)),
        ("vit-h14", Self::named(1280, 32, 16, 14)),
    ];

    /// ViT-B/16: width 768, 12 blocks, 12 heads, one CLS token.
    pub fn vit_b16() -> Self {
        Self::named(768, 12, 12, 16)
    }

    const fn named(width: usize, depth: usize, heads: usize, patch: usize) -> Self {
        Self {
            width,
            depth,
            heads,
            mlp: 4 * width,
            patch,
            channels: 3,
            prefix_tokens: 1,
            eps: 1e-6,
            activation: Activation::Gelu,
        }
    }
}

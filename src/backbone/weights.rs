use std::collections::BTreeMap;

use ndarray::{ArrayView1, ArrayView2};

use crate::vit::{LinearAt, NormAt};

/// A dense f32 tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// `shape.iter().product()` values.
    pub data: Vec<f32>,
}

/// Weight `[out, in]` and bias `[out]` of a linear layer.
#[derive(Clone, Copy)]
pub struct Linear<'a> {
    /// `[out, in]`, torch layout.
    pub weight: ArrayView2<'a, f32>,
    /// `[out]`.
    pub bias: ArrayView1<'a, f32>,
}

/// Gain and bias `[width]` of a LayerNorm.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// γ.
    pub weight: ArrayView1<'a, f32>,
    /// β.
    pub bias: ArrayView1<'a, f32>,
}

/// Canonical weights by canonical name:
///
/// | name | shape |
/// |---|---|
/// | `patch_embed.weight`, `.bias` | `[width, channels * patch * patch]`, `[width]` |
/// | `prefix_tokens` | `[prefix_tokens, width]`, position rows added; absent when there are none |
/// | `pos_embed` | `[grid_h * grid_w, width]`, as stored |
/// | `blocks.{i}.norm1.weight`, `.bias`, and `norm2` | `[width]` |
/// | `blocks.{i}.attn.{q,k,v,proj}.weight`, `.bias` | `[width, width]`, `[width]` |
/// | `blocks.{i}.mlp.fc1.weight`, `.bias` | `[mlp, width]`, `[mlp]` |
/// | `blocks.{i}.mlp.fc2.weight`, `.bias` | `[width, mlp]`, `[width]` |
/// | `norm.weight`, `.bias` | `[width]` |
///
/// Whoever builds one has checked every name and shape (`backbone::load`, tests' random backbones), so the accessors
/// index without a `Result`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights(pub BTreeMap<String, Tensor>);

impl Weights {
    /// The tensor of that canonical name.
    ///
    /// # Panics
    /// When the name is not canonical for this backbone: a mistake of ours, never of a request.
    pub fn tensor(&self, name: &str) -> &Tensor {
        self.0.get(name).unwrap_or_else(|| panic!("no canonical tensor {name}"))
    }

    fn vector(&self, name: &str) -> ArrayView1<'_, f32> {
        ArrayView1::from(&self.tensor(name).data)
    }

    fn matrix(&self, name: &str) -> ArrayView2<'_, f32> {
        let t = self.tensor(name);
        ArrayView2::from_shape((t.shape[0], t.shape[1]), &t.data).expect("canonical tensors are checked when built")
    }

    fn named_linear(&self, name: &str) -> Linear<'_> {
        Linear { weight: self.matrix(&format!("{name}.weight")), bias: self.vector(&format!("{name}.bias")) }
    }

    /// A linear layer of a block.
    pub fn linear(&self, at: LinearAt) -> Linear<'_> {
        self.named_linear(&at.to_string())
    }

    /// A LayerNorm.
    pub fn norm(&self, at: NormAt) -> Norm<'_> {
        let name = at.to_string();
        Norm { weight: self.vector(&format!("{name}.weight")), bias: self.vector(&format!("{name}.bias")) }
    }

    /// The patch embedding as a linear layer over flattened patches (channel, row, column).
    pub fn patch_embed(&self) -> Linear<'_> {
        self.named_linear("patch_embed")
    }

    /// `[prefix_tokens, width]`, or `None` for a backbone without prefix tokens.
    pub fn prefix_tokens(&self) -> Option<ArrayView2<'_, f32>> {
        self.0.contains_key("prefix_tokens").then(|| self.matrix("prefix_tokens"))
    }

    /// Number of values in all tensors.
    pub fn parameters(&self) -> usize {
        self.0.values().map(|t| t.data.len()).sum()
    }
}

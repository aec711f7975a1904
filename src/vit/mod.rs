//! The network, written once over a small set of operations.
//!
//! Engines implement [`Ops`]; weights and adapter are bound inside an implementation and addressed by place, so this
//! file names neither. The same calls compute activations (`engine::reference`) and write a graph (`engine::onnx`).
//! Engines that train implement [`Gradients`] too.

mod backward;

pub use backward::{Gradients, gradient};

use std::fmt;

/// A LayerNorm's place. Displays as its canonical name (`blocks.0.norm1`, `norm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NormAt {
    /// Before attention, in this block.
    Attention(usize),
    /// Before the MLP, in this block.
    Mlp(usize),
    /// After the last block.
    Final,
}

impl fmt::Display for NormAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attention(block) => write!(f, "blocks.{block}.norm1"),
            Self::Mlp(block) => write!(f, "blocks.{block}.norm2"),
            Self::Final => f.write_str("norm"),
        }
    }
}

/// Which linear layer of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// Query projection.
    Q,
    /// Key projection.
    K,
    /// Value projection.
    V,
    /// Attention output.
    Proj,
    /// First layer of the MLP.
    Fc1,
    /// Second layer of the MLP.
    Fc2,
}

impl Layer {
    /// All six, in layout order.
    pub const ALL: [Layer; 6] = [Self::Q, Self::K, Self::V, Self::Proj, Self::Fc1, Self::Fc2];
}

/// A linear layer's place. Displays as its canonical name (`blocks.0.attn.q`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinearAt {
    /// Block, from 0.
    pub block: usize,
    /// Layer inside the block.
    pub layer: Layer,
}

impl fmt::Display for LinearAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = match self.layer {
            Layer::Q => "attn.q",
            Layer::K => "attn.k",
            Layer::V => "attn.v",
            Layer::Proj => "attn.proj",
            Layer::Fc1 => "mlp.fc1",
            Layer::Fc2 => "mlp.fc2",
        };
        write!(f, "blocks.{}.{layer}", self.block)
    }
}

/// What happens to a linear layer's output before it is stored.
pub enum Then<'a, Act> {
    /// The MLP's activation.
    Activate,
    /// Adds the residual stream.
    Add(&'a Act),
}

/// The operations of a ViT for one group: pictures of one size, one adapter.
pub trait Ops {
    /// The normalised pictures of the group.
    type Pictures;
    /// Token activations `[rows, tokens, features]`.
    type Act;
    /// Query, key and value activations of one block.
    type Qkv;
    /// Pooled features of every row.
    type Features;

    /// Patch embedding, its SSF (patch tokens only), prefix tokens and positions.
    fn embed(&mut self, pictures: &Self::Pictures) -> Self::Act;
    /// LayerNorm with its SSF.
    fn norm(&mut self, x: &Self::Act, at: NormAt) -> Self::Act;
    /// The three rescaled linears in front of attention.
    fn qkv(&mut self, x: &Self::Act, block: usize) -> Self::Qkv;
    /// Multi-head softmax attention, scaled by 1/√head_size.
    fn attend(&mut self, qkv: &Self::Qkv) -> Self::Act;
    /// A rescaled linear: x · (W * (1 + scale_out ⊗ scale_in))ᵀ + bias + shift, then its epilogue.
    fn linear(&mut self, x: &Self::Act, at: LinearAt, then: Then<'_, Self::Act>) -> Self::Act;
    /// CLS token and mean of the patch tokens, side by side.
    fn pool(&mut self, x: &Self::Act) -> Self::Features;
}

/// The whole forward pass: a pre-norm ViT of `depth` blocks, pooled.
pub fn forward<O: Ops>(ops: &mut O, depth: usize, pictures: &O::Pictures) -> O::Features {
    let tokens = forward_tokens(ops, depth, pictures);
    ops.pool(&tokens)
}

/// The forward pass up to the final norm: every token, before pooling.
pub fn forward_tokens<O: Ops>(ops: &mut O, depth: usize, pictures: &O::Pictures) -> O::Act {
    let mut x = ops.embed(pictures);
    for block in 0..depth {
        x = forward_block(ops, block, &x);
    }
    ops.norm(&x, NormAt::Final)
}

fn forward_block<O: Ops>(ops: &mut O, block: usize, x: &O::Act) -> O::Act {
    let at = |layer| LinearAt { block, layer };
    let y = ops.norm(x, NormAt::Attention(block));
    let qkv = ops.qkv(&y, block);
    let attended = ops.attend(&qkv);
    let x = ops.linear(&attended, at(Layer::Proj), Then::Add(x));
    let y = ops.norm(&x, NormAt::Mlp(block));
    let hidden = ops.linear(&y, at(Layer::Fc1), Then::Activate);
    ops.linear(&hidden, at(Layer::Fc2), Then::Add(&x))
}

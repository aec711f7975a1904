use std::collections::BTreeMap;

use super::kernel::Kernel;
use super::panels::Panels;
use crate::adapter::Layout;
use crate::backbone::{Shape, Weights};
use crate::parallel;
use crate::vit::{Layer, LinearAt, NormAt};

/// A backbone as the engine keeps it: linears packed, the rest as f32.
pub struct Packed {
    linears: Linears,
    /// `[width, channels * patch * patch]`
    pub patch_embed: Panels,
    /// `[prefix_tokens, width]`
    pub prefix_tokens: Vec<f32>,
    norms: BTreeMap<String, [Vec<f32>; 2]>,
}

/// The six linears of every block: the backbone's own, or an adapter's merged ones.
pub struct Linears(Vec<[Panels; 6]>);

impl Packed {
    /// Packs canonical weights, on as many threads.
    pub fn pack(kernel: &'static Kernel, shape: &Shape, weights: &Weights, threads: usize) -> Self {
        let vector = |name: String| weights.tensor(&name).data.clone();
        let norm = |at: NormAt| {
            let name = at.to_string();
            (name.clone(), [vector(format!("{name}.weight")), vector(format!("{name}.bias"))])
        };
        let blocks = (0..shape.depth).flat_map(|i| [NormAt::Attention(i), NormAt::Mlp(i)]);
        let pack = |linear: crate::backbone::Linear<'_>| {
            Panels::pack(kernel, linear.weight, linear.bias.as_slice().expect("one axis is contiguous"))
        };
        let block = |block: usize| Layer::ALL.map(|layer| pack(weights.linear(LinearAt { block, layer })));
        Self {
            linears: Linears(parallel::map(shape.depth, threads, block)),
            patch_embed: pack(weights.patch_embed()),
            prefix_tokens: weights.prefix_tokens().map(|t| t.iter().copied().collect()).unwrap_or_default(),
            norms: blocks.chain([NormAt::Final]).map(norm).collect(),
        }
    }

    /// The backbone's own linears.
    pub fn linears(&self) -> &Linears {
        &self.linears
    }

    /// Gain and bias of a LayerNorm, `[width]` each.
    pub fn norm(&self, at: NormAt) -> &[Vec<f32>; 2] {
        &self.norms[&at.to_string()]
    }
}

impl Linears {
    /// One weight.
    pub fn at(&self, at: LinearAt) -> &Panels {
        &self.0[at.block][at.layer as usize]
    }

    /// The same linears with inputs and outputs exchanged, on as many threads.
    pub fn transposed(&self, threads: usize) -> Self {
        Self(parallel::map(self.0.len(), threads, |block| self.0[block].each_ref().map(Panels::transposed)))
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.0.iter().flatten().map(Panels::bytes).sum()
    }

    /// The same linears with an adapter's rescaling in them: bit for bit what rescaling at request time gives.
    pub fn merged(&self, layout: &Layout, vector: &[f32], threads: usize) -> Self {
        let block = |block: usize| {
            Layer::ALL.map(|layer| {
                let at = LinearAt { block, layer };
                let range = layout.linear(at);
                self.at(at).rescaled(&vector[range.scale_in], &vector[range.scale_out], &vector[range.shift])
            })
        };
        Self(parallel::map(self.0.len(), threads, block))
    }
}

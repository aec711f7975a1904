//! The half of an engine that trains: gradients of an adapter's flat vector, and what perturbs a training pass.
//!
//! Heads and losses live in `train`: an engine asks for the gradient with respect to its features.

use ndarray::Array2;

use super::EngineError;
use crate::backbone::{PositionRule, Shape};
use crate::image::{Pixels, Preprocess};
use crate::random::{key, mix, normal};
use crate::vit::{Layer, LinearAt};

/// One training pass: pictures of one size and what they meet.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// At least one, all of one size.
    pub pictures: &'a [&'a Pixels],
    /// Mean and standard deviation, applied by the engine as in serving.
    pub preprocess: &'a Preprocess,
    /// How the position table is resampled.
    pub position_rule: PositionRule,
    /// The adapter's flat vector, in [`Layout`](crate::adapter::Layout) order.
    pub vector: &'a [f32],
    /// Dropout and noise; [`Perturb::none`] for evaluation.
    pub perturb: &'a Perturb,
}

/// What an engine may use for training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainSettings {
    /// Bytes that activations may keep between forward and backward. An engine that would need more computes the inside
    /// of blocks again in the backward pass; one block at a time is always kept.
    pub memory_bytes_max: usize,
}

impl TrainSettings {
    /// Blocks whose whole insides fit into that memory, in elements of so many bytes: two norms, query, key, value,
    /// attention and the middle of the stream, and the MLP's inside before and after its activation.
    pub fn blocks_kept(&self, pass: &Pass<'_>, shape: &Shape, element_bytes: usize) -> usize {
        let (height, width) = pass.pictures[0].size();
        let values = pass.pictures.len() * shape.tokens(height, width) * (7 * shape.width + 2 * shape.mlp);
        (self.memory_bytes_max / (values * element_bytes).max(1)).min(shape.depth)
    }
}

/// The backward half of an engine, owned by one thread.
pub trait Trainable: Send {
    /// Features `[pictures, 2 * width]` (CLS, then mean of the patch tokens).
    fn features(&mut self, pass: &Pass<'_>) -> Result<Array2<f32>, EngineError>;

    /// The gradient of the flat vector, in layout order: runs forward, asks `loss` once for d loss / d features (both
    /// `[pictures, 2 * width]`), and runs backward with the same dropout and noise.
    ///
    /// Equal passes and answers of `loss` give equal bits.
    fn gradient(
        &mut self,
        pass: &Pass<'_>,
        loss: &mut dyn FnMut(&Array2<f32>) -> Array2<f32>,
    ) -> Result<Vec<f32>, EngineError>;
}

/// Element-wise dropout on the outputs of proj and fc2 before the residual stream is added, and multiplicative noise on
/// the adapter's part of every linear layer (PACE, NeurIPS 2024, applied to RLRR):
///
/// y = x · Wᵀ + bias + z ∘ ((x · (W ∘ scale_out ⊗ scale_in)ᵀ) + shift)
///
/// Both are functions of counters: forward, recomputation and backward see the same values, and so does every engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Perturb {
    /// Which masks and noise.
    pub seed: u64,
    /// Dropout rate per block, in [0, 1); empty for none.
    pub dropout: Vec<f32>,
    /// Standard deviation of the noise per block; empty for none.
    pub noise: Vec<f32>,
}

impl Perturb {
    /// Nothing is dropped, nothing is noisy.
    pub fn none() -> Self {
        Self::default()
    }

    /// What a value of that layer's output is multiplied with: 0, or 1 / (1 - rate). `picture` counts within the pass,
    /// `token` within the picture, prefix tokens first.
    pub fn keep(&self, at: LinearAt, picture: usize, token: usize, column: usize) -> f32 {
        self.keep_row(at, picture, token).map_or(1.0, |row| row.factor(column))
    }

    /// [`Self::keep`] for all columns of a token; none where nothing is dropped.
    pub fn keep_row(&self, at: LinearAt, picture: usize, token: usize) -> Option<KeepRow> {
        let rate = *self.dropout.get(at.block).filter(|&&rate| rate > 0.0)?;
        matches!(at.layer, Layer::Proj | Layer::Fc2).then(|| {
            let bits = key(&[self.seed, DROPOUT, place(at), picture as u64, token as u64]);
            KeepRow::new(bits, rate)
        })
    }

    /// What values of that block are multiplied with that are not dropped.
    pub fn kept(&self, block: usize) -> f32 {
        self.dropout.get(block).map_or(1.0, |rate| 1.0 / (1.0 - rate))
    }

    /// Whether the adapter's part of that layer is noisy.
    pub fn is_noisy(&self, at: LinearAt) -> bool {
        self.noise.get(at.block).is_some_and(|&deviation| deviation > 0.0)
    }

    /// The factor z ~ N(1, deviation²) of one output of one picture, shared by its tokens.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what is asked for")]
    pub fn noise(&self, at: LinearAt, picture: usize, output: usize) -> f32 {
        let deviation = self.noise.get(at.block).copied().unwrap_or(0.0);
        if deviation <= 0.0 {
            return 1.0;
        }
        let bits = key(&[self.seed, NOISE, place(at), picture as u64, output as u64]);
        1.0 + deviation * normal(bits) as f32
    }
}

/// Tell the two uses of one seed apart.
const DROPOUT: u64 = 1;
const NOISE: u64 = 2;

fn place(at: LinearAt) -> u64 {
    at.block as u64 * Layer::ALL.len() as u64 + at.layer as u64
}

/// The dropout mask of one token at one layer.
#[derive(Clone, Copy, Debug)]
pub struct KeepRow {
    keys: [u32; 2],
    /// Hashes below it are dropped.
    dropped: u32,
    kept: f32,
}

impl KeepRow {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rate in [0, 1) as a fraction of all hashes; the halves of 64 bits"
    )]
    fn new(bits: u64, rate: f32) -> Self {
        let dropped = (f64::from(rate) * (1u64 << 32) as f64) as u32;
        Self { keys: [mix(bits) as u32, (mix(bits) >> 32) as u32], dropped, kept: 1.0 / (1.0 - rate) }
    }

    /// 0, or 1 / (1 - rate). In 32 bits, so that a loop over columns becomes vector instructions.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a layer has far fewer than 2^32 columns")]
    pub fn factor(&self, column: usize) -> f32 {
        // Wellons' lowbias32 with a second key between its rounds.
        let x = (column as u32).wrapping_mul(0x9e37_79b9).wrapping_add(self.keys[0]);
        let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d) ^ self.keys[1];
        let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        if x ^ (x >> 16) < self.dropped { 0.0 } else { self.kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJ: LinearAt = LinearAt { block: 1, layer: Layer::Proj };
    const FC2: LinearAt = LinearAt { block: 1, layer: Layer::Fc2 };
    const Q: LinearAt = LinearAt { block: 1, layer: Layer::Q };

    fn perturb(seed: u64) -> Perturb {
        Perturb { seed, dropout: vec![0.0, 0.3], noise: vec![0.0, 0.5] }
    }

    #[test]
    fn a_mask_drops_its_rate_and_keeps_the_mean() {
        let perturb = perturb(1);
        let values: Vec<f32> = (0..400)
            .flat_map(|i| (0..250).map(move |column| (i % 4, i / 4, column)))
            .map(|(picture, token, column)| perturb.keep(PROJ, picture, token, column))
            .collect();
        let dropped = values.iter().filter(|&&v| v == 0.0).count();
        assert!((dropped as f64 / values.len() as f64 - 0.3).abs() < 0.005, "{dropped}");
        assert!(values.iter().all(|&v| v == 0.0 || v == 1.0 / 0.7));
    }

    #[test]
    fn masks_of_different_places_are_independent() {
        let perturb = perturb(1);
        let mask = |p: &Perturb, at, picture, token| -> Vec<bool> {
            (0..10_000).map(|column| p.keep(at, picture, token, column) == 0.0).collect()
        };
        let masks = [
            mask(&perturb, PROJ, 0, 0),
            mask(&perturb, PROJ, 0, 1),
            mask(&perturb, PROJ, 1, 0),
            mask(&perturb, FC2, 0, 0),
            mask(&Perturb { seed: 2, ..perturb.clone() }, PROJ, 0, 0),
        ];
        for (i, a) in masks.iter().enumerate() {
            for b in &masks[..i] {
                let both = a.iter().zip(b).filter(|(a, b)| **a && **b).count();
                assert!((both as f64 / 1e4 - 0.09).abs() < 0.015, "{both}");
            }
        }
    }

    #[test]
    fn only_proj_and_fc2_of_blocks_with_a_rate_drop() {
        let perturb = perturb(1);
        assert!(perturb.keep_row(Q, 0, 0).is_none());
        assert!(perturb.keep_row(LinearAt { block: 0, ..PROJ }, 0, 0).is_none());
        assert!(perturb.keep_row(FC2, 0, 0).is_some());
        assert!(Perturb::none().keep_row(FC2, 0, 0).is_none());
    }

    #[test]
    fn noise_is_normal_around_one_and_shared_by_tokens_only() {
        let perturb = perturb(3);
        let values: Vec<f64> = (0..20_000).map(|i| f64::from(perturb.noise(Q, i % 7, i / 7))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!((mean - 1.0).abs() < 0.02 && (variance.sqrt() - 0.5).abs() < 0.02, "{mean} {variance}");
        assert_eq!(perturb.noise(LinearAt { block: 0, ..Q }, 0, 0), 1.0);
        assert!(!Perturb::none().is_noisy(Q) && perturb.is_noisy(Q));
    }
}

//! Random networks, adapters and pictures, the same for the same seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::adapter::{Adapter, Head, Layout, Pooling};
use crate::backbone::{Backbone, Fingerprint, PositionRule, Shape, Tensor, Weights};
use crate::hash::content_hash;
use crate::image::Pixels;
use crate::vit::{Layer, LinearAt};

/// splitmix64: small, seeded, good enough for test values.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between -1 and 1.
    pub fn value(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Values around `center`, at most `spread` away.
    pub fn values(&mut self, count: usize, center: f32, spread: f32) -> Vec<f32> {
        (0..count).map(|_| center + spread * self.value()).collect()
    }
}

/// A backbone of that shape for pictures of `grid` patches, with values that keep activations near 1.
pub fn backbone(shape: Shape, grid: usize, seed: u64) -> (Arc<Backbone>, Weights) {
    let mut random = Random(seed);
    let mut weights = BTreeMap::new();
    let mut put = |name: String, shape: Vec<usize>, center: f32, spread: f32| {
        let data = random.values(shape.iter().product(), center, spread);
        weights.insert(name, Tensor { shape, data });
    };
    let mut linear = |name: String, inputs: usize, outputs: usize| {
        put(format!("{name}.weight"), vec![outputs, inputs], 0.0, (3.0 / inputs as f32).sqrt());
        put(format!("{name}.bias"), vec![outputs], 0.0, 0.1);
    };
    linear("patch_embed".into(), shape.patch_values(), shape.width);
    for block in 0..shape.depth {
        for layer in Layer::ALL {
            let (inputs, outputs) = match layer {
                Layer::Fc1 => (shape.width, shape.mlp),
                Layer::Fc2 => (shape.mlp, shape.width),
                _ => (shape.width, shape.width),
            };
            linear(LinearAt { block, layer }.to_string(), inputs, outputs);
        }
    }
    let norms = (0..shape.depth).flat_map(|block| [format!("blocks.{block}.norm1"), format!("blocks.{block}.norm2")]);
    for name in norms.chain(["norm".into()]) {
        put(format!("{name}.weight"), vec![shape.width], 1.0, 0.2);
        put(format!("{name}.bias"), vec![shape.width], 0.0, 0.2);
    }
    if shape.prefix_tokens > 0 {
        put("prefix_tokens".into(), vec![shape.prefix_tokens, shape.width], 0.0, 1.0);
    }
    put("pos_embed".into(), vec![grid * grid, shape.width], 0.0, 0.5);
    let backbone = Backbone {
        shape,
        fingerprint: Fingerprint(content_hash(format!("{shape:?} {grid} {seed}").as_bytes())),
        stored_grid: (grid, grid),
        image_size: grid * shape.patch,
        position_rule: PositionRule::BicubicSize,
        position_table: weights["pos_embed"].data.as_slice().into(),
    };
    (Arc::new(backbone), Weights(weights))
}

/// An adapter that changes every segment, for pictures of the backbone's own size.
pub fn adapter(backbone: &Backbone, seed: u64) -> Arc<Adapter> {
    let mut random = Random(seed);
    let layout = Layout::of(&backbone.shape);
    let rescale = layout.segments().iter().flat_map(|s| random.values(s.range.len(), s.neutral, 0.3)).collect();
    let features = 2 * backbone.shape.width;
    let head = Head { weight: random.values(3 * features, 0.0, 0.1), bias: random.values(3, 0.0, 0.1) };
    Arc::new(super::adapter(backbone, rescale, head, Pooling::ClsMean))
}

/// A picture of `height` x `width` pixels.
pub fn picture((height, width): (usize, usize), seed: u64) -> Pixels {
    let mut random = Random(seed);
    let data = (0..height * width * 3).map(|_| random.next().to_le_bytes()[7]).collect();
    Pixels::U8 { height, width, data }
}

//! Random networks, adapters and pictures, the same for the same seed.

use std::sync::Arc;

use crate::adapter::{Adapter, Head, Layout, Pooling};
use crate::backbone::{self, Backbone, Shape, Weights};
use crate::image::Pixels;
use crate::random::Random;

/// A backbone of that shape for pictures of `grid` patches.
pub fn backbone(shape: Shape, grid: usize, seed: u64) -> (Arc<Backbone>, Weights) {
    let (backbone, weights) = backbone::random(shape, grid * shape.patch, seed);
    (Arc::new(backbone), weights)
}

/// An adapter that changes every segment, for pictures of the backbone's own size.
pub fn adapter(backbone: &Backbone, seed: u64) -> Arc<Adapter> {
    let mut random = Random::seeded(seed);
    let layout = Layout::of(&backbone.shape);
    let rescale = layout.segments().iter().flat_map(|s| random.values(s.range.len(), s.neutral, 0.3)).collect();
    let features = 2 * backbone.shape.width;
    let head = Head { weight: random.values(3 * features, 0.0, 0.1), bias: random.values(3, 0.0, 0.1) };
    Arc::new(super::adapter(backbone, rescale, head, Pooling::ClsMean))
}

/// A picture of `height` x `width` pixels.
pub fn picture((height, width): (usize, usize), seed: u64) -> Pixels {
    let mut random = Random::seeded(seed);
    let data = (0..height * width * 3).map(|_| random.bits().to_le_bytes()[7]).collect();
    Pixels::U8 { height, width, data }
}

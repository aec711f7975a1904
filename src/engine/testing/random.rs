//! Random networks, adapters and pictures, the same for the same seed.

use std::sync::Arc;

use crate::adapter::{self, Adapter};
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
    Arc::new(adapter::random(backbone, 3, seed))
}

/// A picture of `height` x `width` pixels.
pub fn picture((height, width): (usize, usize), seed: u64) -> Pixels {
    let data = Random::seeded(seed).bytes(height * width * 3).into();
    Pixels::U8 { height, width, data }
}

//! The task's classifier, in f32, one row at a time: heads are ragged across a batch.

use crate::adapter::{Adapter, Pooling};

/// Logits `[classes]` of one row from its features `[2 * width]` (CLS, then mean).
pub fn logits(adapter: &Adapter, features: &[f32]) -> Vec<f32> {
    let width = features.len() / 2;
    let pooled = match adapter.pooling {
        Pooling::Cls => &features[..width],
        Pooling::Mean => &features[width..],
        Pooling::ClsMean => features,
    };
    let rows = adapter.head.weight.chunks_exact(pooled.len());
    rows.zip(&adapter.head.bias).map(|(weight, bias)| dot(weight, pooled) + bias).collect()
}

/// Sixteen partial sums: vectorises, and the rounding error grows with n/16.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

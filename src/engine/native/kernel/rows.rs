//! What is done row by row: LayerNorm, softmax, conversion.

use super::math;
use super::simd::Simd;

/// LayerNorm of one row: (x - mean) / √(variance + eps) · gain + bias, written as elements if `to_elements`, else as
/// floats. The mean is taken off before squaring, so large means cost no accuracy.
///
/// # Safety
/// `x`, `gain` and `bias` hold `width` floats, `to` as many values.
#[inline(always)]
pub unsafe fn norm<S: Simd>(width: usize, x: *const f32, n: &Norm, to: *mut u8, to_elements: bool) {
    let count = width as f32;
    let mean = sum::<S>(width, |at| S::load(x.add(at)), |at| *x.add(at)) / count;
    let center = S::splat(mean);
    let square = |at: usize| {
        let d = S::sub(S::load(x.add(at)), center);
        S::mul(d, d)
    };
    let variance = sum::<S>(width, square, |at| (*x.add(at) - mean) * (*x.add(at) - mean)) / count;
    let inverse = S::splat(1.0 / (variance + n.eps).sqrt());
    // The last vector overlaps the one before it where the width is no multiple of the lanes; a width below the lanes
    // is padded with zeros up to them (see `Buffer`), and its surplus lanes are overwritten by nobody.
    let mut at = 0;
    while at < width {
        let centered = S::mul(S::sub(S::load(x.add(at)), center), inverse);
        let y = S::mul_add(centered, S::load(n.gain.add(at)), S::load(n.bias.add(at)));
        if to_elements {
            S::store_elements(to.cast::<S::Element>().add(at), y);
        } else {
            S::store(to.cast::<f32>().add(at), y);
        }
        at += S::LANES;
    }
}

/// Gain, bias and epsilon of a LayerNorm.
pub struct Norm {
    /// `width` floats, zeros up to the pitch.
    pub gain: *const f32,
    /// `width` floats, zeros up to the pitch.
    pub bias: *const f32,
    /// Added to the variance.
    pub eps: f32,
}

/// Four running vectors, then the rest one by one: the order depends on the width alone.
#[inline(always)]
pub unsafe fn sum<S: Simd>(width: usize, vector: impl Fn(usize) -> S::Floats, single: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [S::splat(0.0); 4];
    let full = width / S::LANES;
    for i in 0..full {
        sums[i % 4] = S::add(sums[i % 4], vector(i * S::LANES));
    }
    let mut total = S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])));
    for at in full * S::LANES..width {
        total += single(at);
    }
    total
}

/// Softmax of one row of `count` scores, times `scale` inside the exponent, written as elements up to `padded`. The
/// scores from `count` to `padded` must be -∞; their probabilities come out below 1e-37.
///
/// # Safety
/// `scores` and `to` hold `padded` values, a multiple of the lanes; `scores` is used as scratch.
#[inline(always)]
pub unsafe fn softmax<S: Simd>(padded: usize, scores: *mut f32, scale: f32, to: *mut S::Element) {
    let mut greatest = S::splat(f32::NEG_INFINITY);
    for at in (0..padded).step_by(S::LANES) {
        greatest = S::max(greatest, S::load(scores.add(at)));
    }
    let greatest = S::splat(S::greatest(greatest));
    let scale = S::splat(scale);
    let mut sums = S::splat(0.0);
    for at in (0..padded).step_by(S::LANES) {
        let e = math::exp::<S>(S::mul(S::sub(S::load(scores.add(at)), greatest), scale));
        S::store(scores.add(at), e);
        sums = S::add(sums, e);
    }
    let inverse = S::splat(1.0 / S::sum(sums));
    for at in (0..padded).step_by(S::LANES) {
        S::store_elements(to.add(at), S::mul(S::load(scores.add(at)), inverse));
    }
}

/// Floats to elements.
///
/// # Safety
/// Both sides hold `count` values, padded to the lanes.
#[inline(always)]
pub unsafe fn convert<S: Simd>(count: usize, from: *const f32, to: *mut S::Element) {
    for at in (0..count).step_by(S::LANES) {
        S::store_elements(to.add(at), S::load(from.add(at)));
    }
}

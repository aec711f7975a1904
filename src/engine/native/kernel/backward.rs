//! What the backward pass does beside products: row by row, and the reduction of weight gradients.

use super::math;
use super::rows::sum;
use super::simd::Simd;
use crate::backbone::Activation;
use crate::engine::training::KeepRow;

/// The parameters of a LayerNorm with its SSF, as its derivative sees them; all padded like a row.
pub struct NormBackward {
    /// The backbone's gain.
    pub gain: *const f32,
    /// The backbone's bias.
    pub bias: *const f32,
    /// Gain times the adapter's scale.
    pub slope: *const f32,
    /// Added to the variance.
    pub eps: f32,
}

/// One row through LayerNorm and SSF: adds the input's gradient to `to`, and the scale's and the shift's to `d_scale`
/// and `d_shift`.
///
/// dx = (d' - mean(d') - standard · mean(d' ∘ standard)) / deviation, d' = d ∘ slope.
///
/// # Safety
/// All hold `width` floats, padded to the lanes; what the padding of `to` and of the sums comes to has no meaning.
#[inline(always)]
pub unsafe fn norm<S: Simd>(
    width: usize,
    x: *const f32,
    d: *const f32,
    n: &NormBackward,
    to: *mut f32,
    [d_scale, d_shift]: [*mut f32; 2],
) {
    let count = width as f32;
    let mean = sum::<S>(width, |at| S::load(x.add(at)), |at| *x.add(at)) / count;
    let center = S::splat(mean);
    let square = |at: usize| {
        let apart = S::sub(S::load(x.add(at)), center);
        S::mul(apart, apart)
    };
    let variance = sum::<S>(width, square, |at| (*x.add(at) - mean) * (*x.add(at) - mean)) / count;
    let scalar_inverse = 1.0 / (variance + n.eps).sqrt();
    let inverse = S::splat(scalar_inverse);
    let standard = |at: usize| S::mul(S::sub(S::load(x.add(at)), center), inverse);
    let inner = |at: usize| S::mul(S::load(d.add(at)), S::load(n.slope.add(at)));
    let d_mean = sum::<S>(width, inner, |at| *d.add(at) * *n.slope.add(at)) / count;
    let along = sum::<S>(
        width,
        |at| S::mul(inner(at), standard(at)),
        |at| *d.add(at) * *n.slope.add(at) * ((*x.add(at) - mean) * scalar_inverse),
    ) / count;
    let (d_mean, along) = (S::splat(d_mean), S::splat(along));
    for at in (0..width).step_by(S::LANES) {
        let (standard, d) = (standard(at), S::load(d.add(at)));
        let centered = S::sub(S::sub(inner(at), d_mean), S::mul(standard, along));
        S::store(to.add(at), S::mul_add(centered, inverse, S::load(to.add(at))));
        let y = S::mul_add(standard, S::load(n.gain.add(at)), S::load(n.bias.add(at)));
        S::store(d_scale.add(at), S::mul_add(y, d, S::load(d_scale.add(at))));
        S::store(d_shift.add(at), S::add(d, S::load(d_shift.add(at))));
    }
}

/// One row through softmax of scores times `scale`: weights ∘ (d - Σ d ∘ weights) · scale, as elements.
///
/// # Safety
/// All hold `padded` values, a multiple of the lanes.
#[inline(always)]
pub unsafe fn softmax<S: Simd>(
    padded: usize,
    weights: *const S::Element,
    d: *const f32,
    scale: f32,
    to: *mut S::Element,
) {
    let mut along = S::splat(0.0);
    for at in (0..padded).step_by(S::LANES) {
        along = S::mul_add(S::load_elements(weights.add(at)), S::load(d.add(at)), along);
    }
    let (along, scale) = (S::splat(S::sum(along)), S::splat(scale));
    for at in (0..padded).step_by(S::LANES) {
        let weights = S::mul(S::load_elements(weights.add(at)), scale);
        S::store_elements(to.add(at), S::mul(weights, S::sub(S::load(d.add(at)), along)));
    }
}

/// One row through the MLP's activation, forward.
///
/// # Safety
/// Both hold `count` elements, padded to the lanes.
#[inline(always)]
pub unsafe fn activate<S: Simd>(count: usize, activation: Activation, x: *const S::Element, to: *mut S::Element) {
    for at in (0..count).step_by(S::LANES) {
        S::store_elements(to.add(at), math::activate::<S>(activation, S::load_elements(x.add(at))));
    }
}

/// One row through the MLP's activation, backward: `d` is multiplied with the derivative at `x`.
///
/// # Safety
/// Both hold `count` elements, padded to the lanes.
#[inline(always)]
pub unsafe fn activate_backward<S: Simd>(
    count: usize,
    activation: Activation,
    x: *const S::Element,
    d: *mut S::Element,
) {
    for at in (0..count).step_by(S::LANES) {
        let slope = math::derivative::<S>(activation, S::load_elements(x.add(at)));
        S::store_elements(d.add(at), S::mul(S::load_elements(d.add(at)), slope));
    }
}

/// Dropout of a row's gradient, to elements.
///
/// # Safety
/// Both hold `width` values, padded to the lanes.
#[inline(always)]
pub unsafe fn drop_out<S: Simd>(width: usize, d: *const f32, keep: &KeepRow, to: *mut S::Element) {
    for at in (0..width).step_by(S::LANES) {
        S::store_elements(to.add(at), S::mul(S::load(d.add(at)), factors::<S>(keep, at)));
    }
}

/// Dropout of a row, plus what stands at `residual`, in place.
///
/// # Safety
/// Both hold `width` floats, padded to the lanes.
#[inline(always)]
pub unsafe fn drop_out_add<S: Simd>(width: usize, residual: *const f32, keep: &KeepRow, to: *mut f32) {
    for at in (0..width).step_by(S::LANES) {
        S::store(to.add(at), S::mul_add(S::load(to.add(at)), factors::<S>(keep, at), S::load(residual.add(at))));
    }
}

#[inline(always)]
unsafe fn factors<S: Simd>(keep: &KeepRow, first: usize) -> S::Floats {
    let mut factors = [0.0; super::COLUMNS_MAX];
    for (i, factor) in factors.iter_mut().enumerate().take(S::LANES) {
        *factor = keep.factor(first + i);
    }
    S::load(factors.as_ptr())
}

/// A row of elements times floats, as elements.
///
/// # Safety
/// All hold `width` values, padded to the lanes.
#[inline(always)]
pub unsafe fn scale<S: Simd>(width: usize, x: *const S::Element, by: *const f32, to: *mut S::Element) {
    for at in (0..width).step_by(S::LANES) {
        S::store_elements(to.add(at), S::mul(S::load_elements(x.add(at)), S::load(by.add(at))));
    }
}

/// Turns `LANES` columns of up to `LANES` words of rows: row `i` of the target holds the words of column `i`. Rows
/// beyond `rows` count as zero.
///
/// # Safety
/// `from` holds `rows` rows of `LANES` elements, `pitch` elements apart; `to` `LANES` rows of `LANES` words, `to_pitch`
/// words apart.
#[inline(always)]
pub unsafe fn transpose<S: Simd>(from: *const S::Element, pitch: usize, rows: usize, to: *mut u32, to_pitch: usize) {
    const SIDE_MAX: usize = 16;
    assert!(S::LANES <= SIDE_MAX);
    let mut words = [[0u32; SIDE_MAX]; SIDE_MAX];
    for (word, row) in words.iter_mut().enumerate().take(S::LANES) {
        let first = word * S::PER_WORD;
        let left = rows.saturating_sub(first).min(S::PER_WORD);
        S::store_words(row.as_mut_ptr(), S::interleave(from.wrapping_add(first * pitch), pitch, left));
    }
    for lane in 0..S::LANES {
        let to = to.add(lane * to_pitch);
        for (word, row) in words.iter().enumerate().take(S::LANES) {
            *to.add(word) = row[lane];
        }
    }
}

/// The sum of all elements of a row of words.
///
/// # Safety
/// `from` holds `words` words.
#[inline(always)]
pub unsafe fn row_sum<S: Simd>(words: usize, from: *const u32) -> f32 {
    let one = S::splat_word(if S::PER_WORD == 1 { 0x3f80_0000 } else { 0x3f80_3f80 });
    let mut sums = S::splat(0.0);
    let full = words - words % S::LANES;
    for at in (0..full).step_by(S::LANES) {
        sums = S::dot(sums, S::load_words(from.add(at)), one);
    }
    let mut rest = [0u32; super::COLUMNS_MAX];
    std::ptr::copy_nonoverlapping(from.add(full), rest.as_mut_ptr(), words - full);
    S::sum(S::dot(sums, S::load_words(rest.as_ptr()), one))
}

/// A tile of a weight's gradient on its way to the adapter's.
#[derive(Clone, Copy)]
pub struct Reduce {
    /// Outputs, a multiple of the elements per word.
    pub rows: usize,
    /// The tile `[rows, columns of the panel]` of dY'ᵀ · X.
    pub sums: *const f32,
    /// The same tile of the backbone's weight: words of consecutive outputs, one vector per column vector.
    pub weights: *const u32,
    /// One per column.
    pub scale_in: *const f32,
    /// One per row.
    pub scale_out: *const f32,
    /// One per column, added to.
    pub d_in: *mut f32,
    /// One per row, added to.
    pub d_out: *mut f32,
}

/// d scale_in sums the tile ∘ weights ∘ scale_out over outputs, d scale_out sums it ∘ weights ∘ scale_in over inputs.
///
/// # Safety
/// All operands hold what [`Reduce`] says, for `V` vectors of columns.
#[inline(always)]
pub unsafe fn reduce<S: Simd, const V: usize>(r: &Reduce) {
    let (mut ins, mut d_in) = ([S::splat(0.0); V], [S::splat(0.0); V]);
    for v in 0..V {
        ins[v] = S::load(r.scale_in.add(v * S::LANES));
        d_in[v] = S::load(r.d_in.add(v * S::LANES));
    }
    for word in 0..r.rows / S::PER_WORD {
        for i in 0..S::PER_WORD {
            let row = word * S::PER_WORD + i;
            let out = S::splat(*r.scale_out.add(row));
            let mut d_out = S::splat(0.0);
            for v in 0..V {
                let weights = S::element(S::load_words(r.weights.add((word * V + v) * S::LANES)), i);
                let part = S::mul(S::load(r.sums.add((row * V + v) * S::LANES)), weights);
                d_in[v] = S::mul_add(part, out, d_in[v]);
                d_out = S::mul_add(part, ins[v], d_out);
            }
            *r.d_out.add(row) += S::sum(d_out);
        }
    }
    for (v, d_in) in d_in.into_iter().enumerate() {
        S::store(r.d_in.add(v * S::LANES), d_in);
    }
}

type NormFn = unsafe fn(usize, *const f32, *const f32, &NormBackward, *mut f32, [*mut f32; 2]);
type SoftmaxFn = unsafe fn(padded: usize, weights: *const u8, d: *const f32, scale: f32, to: *mut u8);
type ActivateFn = unsafe fn(count: usize, activation: Activation, x: *const u8, to: *mut u8);
type DropOutFn = unsafe fn(width: usize, d: *const f32, keep: &KeepRow, to: *mut u8);
type DropOutAddFn = unsafe fn(width: usize, residual: *const f32, keep: &KeepRow, to: *mut f32);
type ScaleFn = unsafe fn(width: usize, x: *const u8, by: *const f32, to: *mut u8);
type TransposeFn = unsafe fn(from: *const u8, pitch: usize, rows: usize, to: *mut u32, to_pitch: usize);

/// Entry points of one instruction set; each is the function of its name in this file.
pub struct Backward {
    pub norm: NormFn,
    pub softmax: SoftmaxFn,
    pub activate: ActivateFn,
    pub activate_backward: ActivateFn,
    pub drop_out: DropOutFn,
    pub drop_out_add: DropOutAddFn,
    pub scale: ScaleFn,
    pub transpose: TransposeFn,
    pub row_sum: unsafe fn(words: usize, from: *const u32) -> f32,
    /// By the panel's vectors, from 1.
    pub reduce: [unsafe fn(&Reduce); super::VECTORS_MAX],
}

/// Compiles the functions of this file for the instruction set `S` where it stands.
macro_rules! entries {
    ($s:ty, [$($feature:meta)?]) => {
        mod backward_entries {
            use super::super::backward::{self, Backward, NormBackward, Reduce};
            use super::super::simd::Simd;
            use crate::backbone::Activation;
            use crate::engine::training::KeepRow;

            type S = $s;

            $(#[$feature])?
            unsafe fn norm(
                width: usize,
                x: *const f32,
                d: *const f32,
                norm: &NormBackward,
                to: *mut f32,
                sums: [*mut f32; 2],
            ) {
                backward::norm::<S>(width, x, d, norm, to, sums);
            }

            $(#[$feature])?
            unsafe fn softmax(padded: usize, weights: *const u8, d: *const f32, scale: f32, to: *mut u8) {
                backward::softmax::<S>(padded, weights.cast(), d, scale, to.cast());
            }

            $(#[$feature])?
            unsafe fn activate(count: usize, activation: Activation, x: *const u8, to: *mut u8) {
                backward::activate::<S>(count, activation, x.cast(), to.cast());
            }

            $(#[$feature])?
            unsafe fn activate_backward(count: usize, activation: Activation, x: *const u8, d: *mut u8) {
                backward::activate_backward::<S>(count, activation, x.cast(), d.cast());
            }

            $(#[$feature])?
            unsafe fn drop_out(width: usize, d: *const f32, keep: &KeepRow, to: *mut u8) {
                backward::drop_out::<S>(width, d, keep, to.cast());
            }

            $(#[$feature])?
            unsafe fn drop_out_add(width: usize, residual: *const f32, keep: &KeepRow, to: *mut f32) {
                backward::drop_out_add::<S>(width, residual, keep, to);
            }

            $(#[$feature])?
            unsafe fn scale(width: usize, x: *const u8, by: *const f32, to: *mut u8) {
                backward::scale::<S>(width, x.cast(), by, to.cast());
            }

            $(#[$feature])?
            unsafe fn transpose(from: *const u8, pitch: usize, rows: usize, to: *mut u32, to_pitch: usize) {
                backward::transpose::<S>(from.cast(), pitch, rows, to, to_pitch);
            }

            $(#[$feature])?
            unsafe fn row_sum(words: usize, from: *const u32) -> f32 {
                backward::row_sum::<S>(words, from)
            }

            $(#[$feature])?
            unsafe fn reduce<const V: usize>(r: &Reduce) {
                backward::reduce::<S, V>(r);
            }

            const fn vectors_up_to(vectors: usize) -> usize {
                if vectors < S::VECTORS { vectors } else { S::VECTORS }
            }

            pub const BACKWARD: Backward = Backward {
                norm,
                softmax,
                activate,
                activate_backward,
                drop_out,
                drop_out_add,
                scale,
                transpose,
                row_sum,
                reduce: [
                    reduce::<{ vectors_up_to(1) }>,
                    reduce::<{ vectors_up_to(2) }>,
                    reduce::<{ vectors_up_to(3) }>,
                ],
            };
        }
    };
}
pub(super) use entries;

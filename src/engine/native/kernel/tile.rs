//! The matrix product's tile: `ROWS` rows of the left side by `VECTORS` vectors of a weight panel.

use super::math;
use super::simd::Simd;
use crate::backbone::Activation;
use crate::engine::native::buffer::LINE;

/// What becomes of a tile's sums. Pitches are in elements of the target.
#[derive(Clone, Copy)]
pub enum Finish {
    /// Left as floats, for the next block of the inner axis to go on from.
    Partial,
    /// Plus bias, as floats.
    Floats,
    /// Plus bias and what stands at `residual` (same pitch as the target), as floats.
    Add {
        /// First value of the residual tile.
        residual: *const f32,
    },
    /// Plus bias, then the activation if there is one, as matrix elements.
    Elements(Option<Activation>),
}

/// Operands of one tile.
#[derive(Clone, Copy)]
pub struct Tile {
    /// Words of the inner axis.
    pub words: usize,
    /// Left side, row-major.
    pub left: *const u32,
    /// Words from row to row of the left side.
    pub left_pitch: usize,
    /// Right side: for each word of the inner axis, one vector of words per column vector.
    pub right: *const u32,
    /// One float per column.
    pub bias: *const f32,
    /// First value of the target: floats, or elements for [`Finish::Elements`].
    pub to: *mut u8,
    /// Values from row to row of the target.
    pub pitch: usize,
    /// Whether the target holds partial sums to start from.
    pub resume: bool,
    /// How it ends.
    pub finish: Finish,
    /// What will be read next: fetched into the second-level cache along the way. Never read, so it may point anywhere.
    pub next: *const u8,
}

/// Words per turn of the loop.
const UNROLL: usize = 4;

/// Computes `R` rows by `V` vectors. Every output is summed in the order of the inner axis, whatever `R` and `V` are,
/// so a row's bits do not depend on the tile that computes it.
///
/// # Safety
/// Operands must be valid for `R` rows and `V` vectors; nobody else may touch the target's tile meanwhile.
#[inline(always)]
pub unsafe fn tile<S: Simd, const R: usize, const V: usize>(t: &Tile) {
    let mut sums = [[S::splat(0.0); V]; R];
    let (mut left, mut right, mut next) = (t.left, t.right, t.next);
    let (turns, mut done) = (t.words / UNROLL, 0);
    for row in 0..R {
        prefetch_row::<S, V>(t, row);
        let until = turns * (row + 1) / R;
        for _ in done..until {
            prefetch_far(next);
            next = next.wrapping_add(LINE);
            for word in 0..UNROLL {
                step::<S, R, V>(&mut sums, left.add(word), t.left_pitch, right.add(word * V * S::LANES));
            }
            left = left.add(UNROLL);
            right = right.add(UNROLL * V * S::LANES);
        }
        done = until;
    }
    for word in 0..t.words % UNROLL {
        step::<S, R, V>(&mut sums, left.add(word), t.left_pitch, right.add(word * V * S::LANES));
    }
    finish::<S, R, V>(std::hint::black_box(&Spilled(sums)), t);
}

#[inline(always)]
unsafe fn step<S: Simd, const R: usize, const V: usize>(
    sums: &mut [[S::Floats; V]; R],
    left: *const u32,
    pitch: usize,
    right: *const u32,
) {
    let mut weights = [S::splat_word(0); V];
    for (v, weights) in weights.iter_mut().enumerate() {
        *weights = S::load_words(right.add(v * S::LANES));
    }
    for (r, sums) in sums.iter_mut().enumerate() {
        let value = S::splat_word(*left.add(r * pitch));
        for v in 0..V {
            sums[v] = S::dot(sums[v], value, weights[v]);
        }
    }
}

/// Sums on their way from registers to the target.
#[derive(Clone, Copy)]
struct Spilled<F, const R: usize, const V: usize>([[F; V]; R]);

/// Stores the tile from memory: were registers indexed by a loop that is not unrolled, the compiler would keep them in
/// memory during the whole product.
#[inline(always)]
unsafe fn finish<S: Simd, const R: usize, const V: usize>(spilled: &Spilled<S::Floats, R, V>, t: &Tile) {
    for (r, sums) in spilled.0.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            let floats = t.to.cast::<f32>().add(r * t.pitch + v * S::LANES);
            let elements = t.to.cast::<S::Element>().add(r * t.pitch + v * S::LANES);
            let sum = if t.resume { S::add(sum, S::load(floats)) } else { sum };
            let biased = S::add(sum, S::load(t.bias.add(v * S::LANES)));
            match t.finish {
                Finish::Partial => S::store(floats, sum),
                Finish::Floats => S::store(floats, biased),
                Finish::Add { residual } => {
                    let residual = S::load(residual.add(r * t.pitch + v * S::LANES));
                    S::store(floats, S::add(biased, residual));
                }
                Finish::Elements(None) => S::store_elements(elements, biased),
                Finish::Elements(Some(activation)) => {
                    S::store_elements(elements, math::activate::<S>(activation, biased));
                }
            }
        }
    }
}

/// A target that is first touched when the sums are ready would stall the stores, and what is added to it the loads. Row
/// after row along the product: all at once they would keep its own loads waiting.
#[inline(always)]
unsafe fn prefetch_row<S: Simd, const V: usize>(t: &Tile, row: usize) {
    let size = if matches!(t.finish, Finish::Elements(_)) { size_of::<S::Element>() } else { size_of::<f32>() };
    let (first, bytes) = (row * t.pitch * size, V * S::LANES * size);
    for at in (0..bytes).step_by(LINE) {
        prefetch_near(t.to.wrapping_add(first + at));
        if let Finish::Add { residual } = t.finish {
            prefetch_near(residual.cast::<u8>().wrapping_add(first + at));
        }
    }
}

#[inline(always)]
fn prefetch_near(at: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch reads nothing and faults nowhere.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}

#[inline(always)]
fn prefetch_far(at: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch reads nothing and faults nowhere.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(at.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}

/// Writes W * (1 + scale_out ⊗ scale_in) of one panel block: `words` times `V` vectors of words.
///
/// # Safety
/// `from` and `to` hold the block; `scale_out` a float per column; `scale_in` a float per element of the inner axis.
#[inline(always)]
pub unsafe fn rescale<S: Simd, const V: usize>(
    words: usize,
    from: *const u32,
    to: *mut u32,
    scale_out: *const f32,
    scale_in: *const f32,
) {
    let mut outs = [S::splat(0.0); V];
    for (v, out) in outs.iter_mut().enumerate() {
        *out = S::load(scale_out.add(v * S::LANES));
    }
    for word in 0..words {
        for (v, &out) in outs.iter().enumerate() {
            let at = (word * V + v) * S::LANES;
            let rescaled = S::rescale(S::load_words(from.add(at)), out, scale_in.add(word * S::PER_WORD));
            S::store_words(to.add(at), rescaled);
        }
    }
}

/// Multiplies and adds in registers only, `turns` times a full tile of words; answers with a sum that depends on it.
#[inline(always)]
pub unsafe fn spin<S: Simd, const R: usize, const V: usize>(turns: usize) -> f32 {
    let mut sums = [[S::splat(0.0); V]; R];
    let left = std::hint::black_box(S::splat_word(0x3f80_3f80));
    let right = std::hint::black_box([S::splat_word(0x3a80_3a80); V]);
    for _ in 0..turns {
        for sums in &mut sums {
            for v in 0..V {
                sums[v] = S::dot(sums[v], left, right[v]);
            }
        }
    }
    let mut total = S::splat(0.0);
    for sums in sums {
        for sum in sums {
            total = S::add(total, sum);
        }
    }
    S::sum(total)
}

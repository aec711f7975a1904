//! Plain Rust on arrays of four floats, which every compiler turns into vectors: any processor, and Miri.

use super::simd::Simd;

const LANES: usize = 4;
type Floats = [f32; LANES];
type Words = [u32; LANES];

/// f32 products.
#[derive(Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> Floats {
    std::array::from_fn(f)
}

// SAFETY: no method needs more than the target's baseline.
unsafe impl Simd for Portable {
    type Floats = Floats;
    type Words = Words;
    type Element = f32;

    const LANES: usize = LANES;
    // 12 sums, 2 vectors of weights and one broadcast: 15 of the 16 registers of SSE2.
    const ROWS: usize = 6;
    const VECTORS: usize = 2;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Floats {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Floats {
        from.cast::<Floats>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Floats) {
        to.cast::<Floats>().write_unaligned(x)
    }
    #[inline(always)]
    unsafe fn store_elements(to: *mut f32, x: Floats) {
        to.cast::<Floats>().write_unaligned(x)
    }
    #[inline(always)]
    unsafe fn load_elements(from: *const f32) -> Floats {
        from.cast::<Floats>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn add(a: Floats, b: Floats) -> Floats {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Floats, b: Floats) -> Floats {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Floats, b: Floats) -> Floats {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn mul_add(a: Floats, b: Floats, c: Floats) -> Floats {
        // Not f32::mul_add: without the instruction it is a call that takes a hundred times as long.
        each(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn max(a: Floats, b: Floats) -> Floats {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: Floats, b: Floats) -> Floats {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn recip(x: Floats) -> Floats {
        each(|i| 1.0 / x[i])
    }
    #[inline(always)]
    unsafe fn round(x: Floats) -> Floats {
        // Adding and taking away 1.5 · 2^23 leaves no bits behind the point; |x| is far below 2^22 here.
        const MAGIC: f32 = 12_582_912.0;
        each(|i| (x[i] + MAGIC) - MAGIC)
    }
    #[inline(always)]
    unsafe fn scale_by_power(x: Floats, n: Floats) -> Floats {
        each(|i| x[i] * f32::from_bits(((n[i] as i32).wrapping_add(127) << 23).cast_unsigned()))
    }
    #[inline(always)]
    unsafe fn sum(x: Floats) -> f32 {
        (x[0] + x[2]) + (x[1] + x[3])
    }
    #[inline(always)]
    unsafe fn greatest(x: Floats) -> f32 {
        x[0].max(x[1]).max(x[2].max(x[3]))
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> Words {
        from.cast::<Words>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn store_words(to: *mut u32, x: Words) {
        to.cast::<Words>().write_unaligned(x)
    }
    #[inline(always)]
    unsafe fn splat_word(word: u32) -> Words {
        [word; LANES]
    }
    #[inline(always)]
    unsafe fn element(words: Words, _i: usize) -> Floats {
        words.map(f32::from_bits)
    }
    #[inline(always)]
    unsafe fn dot(sum: Floats, a: Words, b: Words) -> Floats {
        each(|i| sum[i] + f32::from_bits(a[i]) * f32::from_bits(b[i]))
    }
    #[inline(always)]
    unsafe fn rescale(w: Words, scale_out: Floats, scale_in: *const f32) -> Words {
        let scale_in = *scale_in;
        std::array::from_fn(|i| (f32::from_bits(w[i]) * (scale_out[i] * scale_in + 1.0)).to_bits())
    }
    #[inline(always)]
    unsafe fn interleave(from: *const f32, _pitch: usize, rows: usize) -> Words {
        if rows == 0 { [0; LANES] } else { from.cast::<Words>().read_unaligned() }
    }
}

//! AVX-512: f32, and bf16 products where the processor has them.

use std::arch::x86_64::*;

use super::simd::Simd;

/// f32 products.
#[derive(Clone, Copy)]
pub struct Avx512;

/// bf16 products, f32 sums.
#[derive(Clone, Copy)]
pub struct Avx512Bf16;

/// What both have in common: everything on floats.
macro_rules! floats {
    () => {
        type Floats = __m512;
        type Words = __m512i;

        const LANES: usize = 16;
        // 24 sums, 3 vectors of weights and one broadcast: 28 of 32 registers.
        const ROWS: usize = 8;
        const VECTORS: usize = 3;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            _mm512_set1_ps(value)
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            _mm512_loadu_ps(from)
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, x: __m512) {
            _mm512_storeu_ps(to, x)
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            _mm512_add_ps(a, b)
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            _mm512_sub_ps(a, b)
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            _mm512_mul_ps(a, b)
        }
        #[inline(always)]
        unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
            _mm512_fmadd_ps(a, b, c)
        }
        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            _mm512_max_ps(a, b)
        }
        #[inline(always)]
        unsafe fn min(a: __m512, b: __m512) -> __m512 {
            _mm512_min_ps(a, b)
        }
        #[inline(always)]
        unsafe fn recip(x: __m512) -> __m512 {
            // 14 bits, then one step of Newton's method.
            let r = _mm512_rcp14_ps(x);
            _mm512_mul_ps(r, _mm512_fnmadd_ps(x, r, _mm512_set1_ps(2.0)))
        }
        #[inline(always)]
        unsafe fn round(x: __m512) -> __m512 {
            _mm512_roundscale_ps::<0>(x)
        }
        #[inline(always)]
        unsafe fn scale_by_power(x: __m512, n: __m512) -> __m512 {
            _mm512_scalef_ps(x, n)
        }
        #[inline(always)]
        unsafe fn sum(x: __m512) -> f32 {
            _mm512_reduce_add_ps(x)
        }
        #[inline(always)]
        unsafe fn greatest(x: __m512) -> f32 {
            _mm512_reduce_max_ps(x)
        }
        #[inline(always)]
        unsafe fn load_words(from: *const u32) -> __m512i {
            _mm512_loadu_si512(from.cast())
        }
        #[inline(always)]
        unsafe fn store_words(to: *mut u32, x: __m512i) {
            _mm512_storeu_si512(to.cast(), x)
        }
        #[inline(always)]
        unsafe fn splat_word(word: u32) -> __m512i {
            _mm512_set1_epi32(word.cast_signed())
        }
    };
}

// SAFETY: the methods of both use AVX-512 F, BW and VL (and BF16 for the second), which their kernels check for.
unsafe impl Simd for Avx512 {
    floats!();

    type Element = f32;

    #[inline(always)]
    unsafe fn store_elements(to: *mut f32, x: __m512) {
        _mm512_storeu_ps(to, x)
    }
    #[inline(always)]
    unsafe fn load_elements(from: *const f32) -> __m512 {
        _mm512_loadu_ps(from)
    }
    #[inline(always)]
    unsafe fn element(words: __m512i, _i: usize) -> __m512 {
        _mm512_castsi512_ps(words)
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum)
    }
    #[inline(always)]
    unsafe fn rescale(w: __m512i, scale_out: __m512, scale_in: *const f32) -> __m512i {
        let factor = _mm512_fmadd_ps(scale_out, _mm512_set1_ps(*scale_in), _mm512_set1_ps(1.0));
        _mm512_castps_si512(_mm512_mul_ps(_mm512_castsi512_ps(w), factor))
    }
    #[inline(always)]
    unsafe fn interleave(from: *const f32, _pitch: usize, rows: usize) -> __m512i {
        if rows == 0 { _mm512_setzero_si512() } else { _mm512_loadu_si512(from.cast()) }
    }
}

// SAFETY: as above.
unsafe impl Simd for Avx512Bf16 {
    floats!();

    type Element = u16;

    #[inline(always)]
    unsafe fn store_elements(to: *mut u16, x: __m512) {
        // SAFETY (transmute): both are 256 bits of bf16.
        let bits: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(x));
        _mm256_storeu_si256(to.cast(), bits)
    }
    #[inline(always)]
    unsafe fn load_elements(from: *const u16) -> __m512 {
        let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
    }
    #[inline(always)]
    unsafe fn element(words: __m512i, i: usize) -> __m512 {
        _mm512_castsi512_ps(match i {
            0 => _mm512_slli_epi32::<16>(words),
            _ => _mm512_and_si512(words, _mm512_set1_epi32(0xffff_0000_u32.cast_signed())),
        })
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        // SAFETY (transmute): words are pairs of bf16.
        let bf16 = |words: __m512i| std::mem::transmute::<__m512i, __m512bh>(words);
        _mm512_dpbf16_ps(sum, bf16(a), bf16(b))
    }
    #[inline(always)]
    unsafe fn rescale(w: __m512i, scale_out: __m512, scale_in: *const f32) -> __m512i {
        let one = _mm512_set1_ps(1.0);
        let (even, odd) = (Self::element(w, 0), Self::element(w, 1));
        let even = _mm512_mul_ps(even, _mm512_fmadd_ps(scale_out, _mm512_set1_ps(*scale_in), one));
        let odd = _mm512_mul_ps(odd, _mm512_fmadd_ps(scale_out, _mm512_set1_ps(*scale_in.add(1)), one));
        // The conversion puts all evens before all odds; the permutation makes pairs of them again.
        let halves = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(odd, even));
        _mm512_permutexvar_epi16(_mm512_loadu_si512(PAIRS.as_ptr().cast()), halves)
    }
    #[inline(always)]
    unsafe fn interleave(from: *const u16, pitch: usize, rows: usize) -> __m512i {
        let row = |i: usize| {
            if i < rows {
                _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.add(i * pitch).cast()))
            } else {
                _mm512_setzero_si512()
            }
        };
        _mm512_or_si512(row(0), _mm512_slli_epi32::<16>(row(1)))
    }
}

/// 0, 16, 1, 17, …
static PAIRS: [u16; 32] = {
    let mut pairs = [0; 32];
    let mut i = 0;
    while i < 16 {
        pairs[2 * i] = i as u16;
        pairs[2 * i + 1] = 16 + i as u16;
        i += 1;
    }
    pairs
};

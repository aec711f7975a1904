//! AVX2 with FMA: f32.

use std::arch::x86_64::*;

use super::simd::Simd;

/// f32 products.
#[derive(Clone, Copy)]
pub struct Avx2;

// SAFETY: the methods use AVX2 and FMA, which the kernel checks for.
unsafe impl Simd for Avx2 {
    type Floats = __m256;
    type Words = __m256i;
    type Element = f32;

    const LANES: usize = 8;
    // 12 sums, 2 vectors of weights and one broadcast: 15 of 16 registers.
    const ROWS: usize = 6;
    const VECTORS: usize = 2;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        _mm256_set1_ps(value)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        _mm256_loadu_ps(from)
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: __m256) {
        _mm256_storeu_ps(to, x)
    }
    #[inline(always)]
    unsafe fn store_elements(to: *mut f32, x: __m256) {
        _mm256_storeu_ps(to, x)
    }
    #[inline(always)]
    unsafe fn load_elements(from: *const f32) -> __m256 {
        _mm256_loadu_ps(from)
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        _mm256_sub_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        _mm256_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        _mm256_max_ps(a, b)
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        _mm256_min_ps(a, b)
    }
    #[inline(always)]
    unsafe fn recip(x: __m256) -> __m256 {
        _mm256_div_ps(_mm256_set1_ps(1.0), x)
    }
    #[inline(always)]
    unsafe fn round(x: __m256) -> __m256 {
        _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x)
    }
    #[inline(always)]
    unsafe fn scale_by_power(x: __m256, n: __m256) -> __m256 {
        let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
    }
    #[inline(always)]
    unsafe fn sum(x: __m256) -> f32 {
        let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
    #[inline(always)]
    unsafe fn greatest(x: __m256) -> f32 {
        let four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> __m256i {
        _mm256_loadu_si256(from.cast())
    }
    #[inline(always)]
    unsafe fn store_words(to: *mut u32, x: __m256i) {
        _mm256_storeu_si256(to.cast(), x)
    }
    #[inline(always)]
    unsafe fn splat_word(word: u32) -> __m256i {
        _mm256_set1_epi32(word.cast_signed())
    }
    #[inline(always)]
    unsafe fn element(words: __m256i, _i: usize) -> __m256 {
        _mm256_castsi256_ps(words)
    }
    #[inline(always)]
    unsafe fn dot(sum: __m256, a: __m256i, b: __m256i) -> __m256 {
        _mm256_fmadd_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), sum)
    }
    #[inline(always)]
    unsafe fn rescale(w: __m256i, scale_out: __m256, scale_in: *const f32) -> __m256i {
        let factor = _mm256_fmadd_ps(scale_out, _mm256_set1_ps(*scale_in), _mm256_set1_ps(1.0));
        _mm256_castps_si256(_mm256_mul_ps(_mm256_castsi256_ps(w), factor))
    }
    #[inline(always)]
    unsafe fn interleave(from: *const f32, _pitch: usize, rows: usize) -> __m256i {
        if rows == 0 { _mm256_setzero_si256() } else { _mm256_loadu_si256(from.cast()) }
    }
}

//! x86-64 with AVX2.
//!
//! A weight has 23 bits and 16-bit products are the cheap ones, so each is split into `high * 2^SPLIT + low`; both
//! sums are exact in 32 bits, so the result is the portable one's.
//!
//! `unsafe` is here for one reason: a function compiled for AVX2 may only be called where the processor has it, which
//! is asked right before.
#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;

use super::super::filter::{FRACTION_BITS, GROUP, Group, HALF, SPLIT, Taps};
use super::portable;

/// See [`super::horizontal`]. False: this processor can't.
pub(super) fn horizontal(rows: &[u8], stride: usize, taps: &Taps, out: &mut [u8]) -> bool {
    let able = is_x86_feature_detected!("avx2");
    if able {
        // SAFETY: the processor has AVX2.
        unsafe { horizontal_avx2(rows, stride, taps, out) };
    }
    able
}

/// See [`super::vertical`]. False: this processor can't.
pub(super) fn vertical(rows: &[u8], weights: &[i32], out: &mut [u8]) -> bool {
    let able = is_x86_feature_detected!("avx2");
    if able {
        // SAFETY: the processor has AVX2.
        unsafe { vertical_avx2(rows, weights, out) };
    }
    able
}

#[target_feature(enable = "avx2")]
fn vertical_avx2(rows: &[u8], weights: &[i32], out: &mut [u8]) {
    portable::vertical(rows, weights, out);
}

#[target_feature(enable = "avx2")]
fn horizontal_avx2(rows: &[u8], stride: usize, taps: &Taps, out: &mut [u8]) {
    const TOGETHER: usize = 4;
    let width = 3 * taps.iter().len();
    let mut fours = out.chunks_exact_mut(TOGETHER * width);
    let mut y = 0;
    for out in &mut fours {
        some_rows::<TOGETHER>(&rows[y * stride..], stride, taps, out);
        y += TOGETHER;
    }
    for out in fours.into_remainder().chunks_exact_mut(width) {
        some_rows::<1>(&rows[y * stride..], stride, taps, out);
        y += 1;
    }
}

#[target_feature(enable = "avx2")]
fn some_rows<const ROWS: usize>(rows: &[u8], stride: usize, taps: &Taps, out: &mut [u8]) {
    let width = 3 * taps.iter().len();
    for (column, (first, groups)) in taps.groups().enumerate() {
        let pixels = pixels::<ROWS>(&rows[3 * first..], stride, groups);
        for row in 0..ROWS {
            out[row * width + 3 * column..][..3].copy_from_slice(&pixels[row][..3]);
        }
    }
}

/// The output pixel of each row. The lower half of a vector takes the group's taps 0 and 1, the upper half 2 and 3,
/// with a 32-bit sum each for red, green, blue and nothing.
#[inline]
#[target_feature(enable = "avx2")]
fn pixels<const ROWS: usize>(rows: &[u8], stride: usize, groups: &[Group]) -> [[u8; 4]; ROWS] {
    const VOID: i8 = -1;
    let pairs = _mm256_setr_epi8(
        0, VOID, 3, VOID, 1, VOID, 4, VOID, 2, VOID, 5, VOID, VOID, VOID, VOID, VOID, //
        6, VOID, 9, VOID, 7, VOID, 10, VOID, 8, VOID, 11, VOID, VOID, VOID, VOID, VOID,
    );
    let highs = _mm256_setr_epi8(
        0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, //
        4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7,
    );
    let lows = _mm256_add_epi8(highs, _mm256_set1_epi8(8));
    let (mut high, mut low) = ([_mm256_setzero_si256(); ROWS], [_mm256_setzero_si256(); ROWS]);
    for (at, group) in groups.iter().enumerate() {
        let weights = _mm256_broadcastsi128_si256(words(group));
        let (weights_high, weights_low) = (_mm256_shuffle_epi8(weights, highs), _mm256_shuffle_epi8(weights, lows));
        for row in 0..ROWS {
            let samples = _mm256_shuffle_epi8(both_halves(&rows[row * stride + 3 * GROUP * at..]), pairs);
            high[row] = _mm256_add_epi32(high[row], _mm256_madd_epi16(samples, weights_high));
            low[row] = _mm256_add_epi32(low[row], _mm256_madd_epi16(samples, weights_low));
        }
    }
    let mut out = [[0; 4]; ROWS];
    for row in 0..ROWS {
        let sums = _mm256_add_epi32(_mm256_slli_epi32::<{ SPLIT as i32 }>(high[row]), low[row]);
        let sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let sum = _mm_srai_epi32::<{ FRACTION_BITS as i32 }>(_mm_add_epi32(sum, _mm_set1_epi32(HALF)));
        let words = _mm_packs_epi32(sum, sum);
        out[row] = _mm_cvtsi128_si32(_mm_packus_epi16(words, words)).to_le_bytes();
    }
    out
}

/// The first 16 bytes, twice.
#[inline]
#[target_feature(enable = "avx2")]
fn both_halves(bytes: &[u8]) -> __m256i {
    let bytes = u128::from_le_bytes(bytes[..16].try_into().expect("16 bytes"));
    _mm256_broadcastsi128_si256(_mm_set_epi64x((bytes >> 64) as i64, bytes as i64))
}

#[inline]
#[target_feature(enable = "avx2")]
fn words([a, b, c, d, e, f, g, h]: &Group) -> __m128i {
    _mm_setr_epi16(*a, *b, *c, *d, *e, *f, *g, *h)
}

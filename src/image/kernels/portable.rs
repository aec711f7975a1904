//! Plain loops that compilers turn into vectors where the baseline has a 32-bit multiplication.

use super::super::filter::{FRACTION_BITS, HALF, Taps};

/// See [`super::horizontal`]. A pixel is read as four bytes, of which the last is void.
pub(super) fn horizontal(rows: &[u8], stride: usize, taps: &Taps, out: &mut [u8]) {
    for (y, out) in out.chunks_exact_mut(3 * taps.iter().len()).enumerate() {
        let row = &rows[y * stride..];
        for ((first, weights), out) in taps.iter().zip(out.as_chunks_mut::<3>().0) {
            let pixels = row[3 * first..3 * (first + weights.len()) + 1].windows(4).step_by(3);
            let mut sums = [HALF; 4];
            for (pixel, weight) in pixels.zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            *out = [byte(sums[0]), byte(sums[1]), byte(sums[2])];
        }
    }
}

/// See [`super::vertical`].
#[inline(always)]
pub(super) fn vertical(rows: &[u8], weights: &[i32], out: &mut [u8]) {
    const LANES: usize = 32;
    let stride = out.len();
    let (blocks, rest) = out.as_chunks_mut::<LANES>();
    let tail = blocks.len() * LANES;
    for (block, out) in blocks.iter_mut().enumerate() {
        let mut sums = [HALF; LANES];
        for (row, weight) in rows.chunks_exact(stride).zip(weights) {
            let values: &[u8; LANES] = row[block * LANES..][..LANES].try_into().expect("a block");
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += i32::from(value) * weight;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = byte(sum);
        }
    }
    for (at, out) in (tail..).zip(rest) {
        let column = rows.chunks_exact(stride).map(|row| i32::from(row[at]));
        *out = byte(column.zip(weights).fold(HALF, |sum, (value, weight)| sum + value * weight));
    }
}

fn byte(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

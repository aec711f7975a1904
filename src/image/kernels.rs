use super::filter::{FRACTION_BITS, Taps};
use super::resample::HALF;

/// One row, each output pixel from its taps. `row` has a byte after its last pixel: a pixel is read as four bytes, of
/// which the last is void, so that the sums are vectors.
pub(super) fn horizontal(row: &[u8], taps: &Taps, out: &mut [u8]) {
    for ((first, weights), out) in taps.iter().zip(out.chunks_exact_mut(3)) {
        let pixels = &row[3 * first..3 * (first + weights.len()) + 1];
        let mut sums = [HALF; 4];
        for (tap, weight) in weights.iter().enumerate() {
            let pixel: [u8; 4] = pixels[3 * tap..3 * tap + 4].try_into().expect("four bytes");
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(value) * weight;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = byte(sum);
        }
    }
}

/// One output row from `weights.len()` adjacent rows of its length.
pub(super) fn vertical(rows: &[u8], weights: &[i32], out: &mut [u8]) {
    const LANES: usize = 32;
    let stride = out.len();
    for (block, out) in out.chunks_mut(LANES).enumerate() {
        let mut sums = [HALF; LANES];
        for (row, weight) in rows.chunks_exact(stride).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(&row[block * LANES..][..out.len()]) {
                *sum += i32::from(value) * weight;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = byte(sum);
        }
    }
}

fn byte(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

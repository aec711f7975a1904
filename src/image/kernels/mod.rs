//! The two inner loops of the resize, in the fastest form that the processor has. All forms give the same bytes.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

use super::filter::Taps;

/// Bytes that rows given to [`horizontal`] have after their last pixel, so that pixels can be read in groups. Their
/// values are void.
pub(super) const MARGIN: usize = 16;

/// Adjacent rows of `stride` bytes, [`MARGIN`] after them, to adjacent rows of three bytes per output of `taps`.
pub(super) fn horizontal(rows: &[u8], stride: usize, taps: &Taps, out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if avx2::horizontal(rows, stride, taps, out) {
        return;
    }
    portable::horizontal(rows, stride, taps, out);
}

/// One output row from `weights.len()` adjacent rows of its length.
pub(super) fn vertical(rows: &[u8], weights: &[i32], out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if avx2::vertical(rows, weights, out) {
        return;
    }
    portable::vertical(rows, weights, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::filter::Filter;
    use super::super::geometry::Axis;
    use super::*;

    proptest! {
        #[test]
        fn every_form_gives_the_same_bytes(input in 1_usize..200, output in 1_usize..80, rows in 1_usize..8, seed: u64, cubic: bool) {
            let filter = if cubic { Filter::Cubic } else { Filter::Triangle };
            let taps = Taps::new(&Axis { input, output, window: 0..output, offset: 0 }, filter, true);
            let image = noise(seed, 3 * input * rows + MARGIN);
            let (mut fast, mut plain) = (vec![0; 3 * output * rows], vec![0; 3 * output * rows]);
            horizontal(&image, 3 * input, &taps, &mut fast);
            portable::horizontal(&image, 3 * input, &taps, &mut plain);
            prop_assert_eq!(&fast, &plain);

            let (_, weights) = taps.iter().last().unwrap();
            let lines = noise(!seed, weights.len() * plain.len());
            vertical(&lines, weights, &mut fast);
            portable::vertical(&lines, weights, &mut plain);
            prop_assert_eq!(fast, plain);
        }
    }

    /// Bytes with many extremes, which is where sums overflow.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..length).map(|_| if next() % 2 == 0 { 255 * (next() % 2) } else { next() }).collect()
    }
}

//! Pixels to flattened patches, as the patch embedding's matrix reads them.

use crate::image::{Pixels, Preprocess};

/// Rows and columns of patches in a picture.
pub fn grid(pixels: &Pixels, patch: usize) -> (usize, usize) {
    let (height, width) = pixels.size();
    (height / patch, width / patch)
}

/// Writes the normalised picture as `[grid_h * grid_w, channel * row * column]`.
///
/// # Panics
/// When `out` does not hold one value per pixel and channel, or the sides are no multiples of `patch`: an adapter's
/// picture size is checked when the adapter is loaded.
pub fn write(pixels: &Pixels, preprocess: &Preprocess, patch: usize, out: &mut [f32]) {
    let (height, width) = pixels.size();
    assert!(height % patch == 0 && width % patch == 0, "{height} x {width} is not a multiple of {patch}");
    let mut planes = vec![0.0; out.len()];
    pixels.write_normalised(preprocess.mean, preprocess.std, &mut planes);
    let columns = width / patch;
    let per_patch = out.len() / (columns * (height / patch));
    for (run, values) in planes.chunks_exact(patch).enumerate() {
        let (line, column) = (run / columns, run % columns);
        let (channel, y) = (line / height, line % height);
        let at = (y / patch * columns + column) * per_patch + (channel * patch + y % patch) * patch;
        out[at..at + patch].copy_from_slice(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing;

    #[test]
    fn a_patch_is_channel_row_column() {
        let (height, width, patch) = (4, 6, 2);
        let data: Vec<f32> = (0..3 * height * width).map(|i| i as f32).collect();
        let pixels = Pixels::F32 { height, width, data: data.clone().into() };
        let mut out = vec![0.0; data.len()];
        write(&pixels, &testing::preprocess(width), patch, &mut out);
        let mut expected = Vec::new();
        for (gy, gx) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            for channel in 0..3 {
                for y in 0..patch {
                    for x in 0..patch {
                        expected.push(data[(channel * height + gy * patch + y) * width + gx * patch + x]);
                    }
                }
            }
        }
        assert_eq!(out, expected);
    }
}

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
    for (line, out) in out.chunks_exact_mut(3 * patch * width).enumerate() {
        write_line(pixels, preprocess, patch, line, out);
    }
}

/// Writes one row of patches, `[grid_w, channel * row * column]`.
///
/// # Panics
/// As [`write()`].
pub fn write_line(pixels: &Pixels, preprocess: &Preprocess, patch: usize, line: usize, out: &mut [f32]) {
    let (height, width) = pixels.size();
    assert_eq!(out.len(), 3 * patch * width);
    let table = Table::of(preprocess);
    for (run, out) in out.chunks_exact_mut(patch).enumerate() {
        let (y, rest) = (run % patch, run / patch);
        let (channel, column) = (rest % 3, rest / 3);
        let (row, first) = (line * patch + y, column * patch);
        match pixels {
            Pixels::F32 { data, .. } => {
                let from = (channel * height + row) * width + first;
                out.copy_from_slice(&data[from..from + patch]);
            }
            Pixels::U8 { data, .. } => {
                let pixels = data[(row * width + first) * 3..][..3 * patch].chunks_exact(3);
                out.iter_mut().zip(pixels).for_each(|(out, pixel)| *out = table.get(channel, pixel[channel]));
            }
        }
    }
}

/// Writes the picture as it is, in the same order: `[grid_h * grid_w, channel * row * column]` bytes.
///
/// # Panics
/// As [`write()`], and when the picture is normalised already.
pub fn write_bytes(pixels: &Pixels, patch: usize, out: &mut [u8]) {
    let Pixels::U8 { height, width, data } = pixels else { panic!("a normalised picture has no bytes") };
    assert!(height % patch == 0 && width % patch == 0, "{height} x {width} is not a multiple of {patch}");
    assert_eq!(out.len(), data.len());
    for (line, out) in out.chunks_exact_mut(3 * patch * width).enumerate() {
        for (run, out) in out.chunks_exact_mut(patch).enumerate() {
            let (y, rest) = (run % patch, run / patch);
            let (channel, column) = (rest % 3, rest / 3);
            let first = ((line * patch + y) * width + column * patch) * 3;
            let pixels = data[first..][..3 * patch].chunks_exact(3);
            out.iter_mut().zip(pixels).for_each(|(out, pixel)| *out = pixel[channel]);
        }
    }
}

/// What each byte becomes: there are fewer bytes than pixels.
struct Table([[f32; 256]; 3]);

impl Table {
    fn of(preprocess: &Preprocess) -> Self {
        let value =
            |channel: usize, byte: u8| (f32::from(byte) / 255.0 - preprocess.mean[channel]) / preprocess.std[channel];
        Self([0, 1, 2].map(|channel| {
            let mut row = [0.0; 256];
            (0..=u8::MAX).zip(&mut row).for_each(|(byte, out)| *out = value(channel, byte));
            row
        }))
    }

    fn get(&self, channel: usize, byte: u8) -> f32 {
        self.0[channel][usize::from(byte)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Preset;

    #[test]
    fn a_patch_is_channel_row_column() {
        let (height, width, patch) = (4, 6, 2);
        let data: Vec<f32> = (0..3 * height * width).map(|i| i as f32).collect();
        let pixels = Pixels::F32 { height, width, data: data.clone().into() };
        let mut out = vec![0.0; data.len()];
        write(&pixels, &Preset::Vtab.at(width), patch, &mut out);
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

    #[test]
    fn bytes_lie_in_the_order_of_values() {
        let (height, width, patch) = (4, 6, 2);
        let data = (0..height * width * 3).map(|i| (i * 7 % 256) as u8).collect();
        let pixels = Pixels::U8 { height, width, data };
        let preprocess = Preset::Vtab.at(width);
        let mut values = vec![0.0; height * width * 3];
        write(&pixels, &preprocess, patch, &mut values);
        let mut bytes = vec![0; values.len()];
        write_bytes(&pixels, patch, &mut bytes);
        let table = Table::of(&preprocess);
        let per_patch = 3 * patch * patch;
        let expected = bytes.iter().enumerate().map(|(i, &byte)| table.get(i % per_patch / (patch * patch), byte));
        assert_eq!(values, expected.collect::<Vec<_>>());
    }
}

use std::sync::Arc;

/// One picture as the backbone will see it. Cloning is cheap.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// After resize and crop: `[height, width, 3]`, not yet normalised.
    U8 {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// `height * width * 3` values.
        data: Arc<[u8]>,
    },
    /// Already normalised, planar: `[3, height, width]`.
    F32 {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// `3 * height * width` values.
        data: Arc<[f32]>,
    },
}

impl Pixels {
    /// Height and width in pixels.
    pub fn size(&self) -> (usize, usize) {
        match self {
            Self::U8 { height, width, .. } | Self::F32 { height, width, .. } => (*height, *width),
        }
    }

    /// Writes `[3, height, width]` normalised values: `(x / 255 - mean) / std` for bytes, a copy for floats.
    ///
    /// # Panics
    /// When `out` does not hold `3 * height * width` values.
    pub fn write_normalised(&self, mean: [f32; 3], std: [f32; 3], out: &mut [f32]) {
        match self {
            Self::F32 { data, .. } => out.copy_from_slice(data),
            Self::U8 { height, width, data } => {
                let plane = height * width;
                assert_eq!(out.len(), 3 * plane);
                for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
                    for (out, pixel) in out.iter_mut().zip(data.chunks_exact(3)) {
                        *out = (f32::from(pixel[channel]) / 255.0 - mean[channel]) / std[channel];
                    }
                }
            }
        }
    }
}

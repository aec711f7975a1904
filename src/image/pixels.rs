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
}

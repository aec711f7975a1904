use super::error::ImageError;

/// What a picture may cost. Everything is checked against the header, before any pixel is allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Length of the encoded picture in bytes.
    pub bytes_max: usize,
    /// Longer side in pixels.
    pub side_max: usize,
    /// Width times height.
    pub pixels_max: usize,
    /// Memory while decoding, in bytes: the pixels, and the coefficients of a JPEG that needs all of them at once.
    pub decoded_bytes_max: usize,
    /// Scans of a progressive JPEG. Ten are usual; a few bytes each, they cost a pass over the whole picture.
    pub scans_max: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            bytes_max: 32 << 20,
            side_max: 16_384,
            pixels_max: 50_000_000,
            decoded_bytes_max: 256 << 20,
            scans_max: 100,
        }
    }
}

impl DecodeLimits {
    /// The encoded length.
    pub(super) fn check_bytes(&self, bytes: usize) -> Result<(), ImageError> {
        at_most("size in bytes", bytes as u64, self.bytes_max)
    }

    /// What the header promises.
    pub(super) fn check_header(&self, width: u64, height: u64, decoded_bytes: u64) -> Result<(), ImageError> {
        at_most("width in pixels", width, self.side_max)?;
        at_most("height in pixels", height, self.side_max)?;
        at_most("number of pixels", width.saturating_mul(height), self.pixels_max)?;
        at_most("decoded size in bytes", decoded_bytes, self.decoded_bytes_max)
    }

    /// Scans of a JPEG.
    pub(super) fn check_scans(&self, scans: usize) -> Result<(), ImageError> {
        at_most("number of JPEG scans", scans as u64, self.scans_max)
    }
}

fn at_most(what: &'static str, found: u64, max: usize) -> Result<(), ImageError> {
    if found > max as u64 {
        return Err(ImageError::TooLarge { what, found, max: max as u64 });
    }
    Ok(())
}

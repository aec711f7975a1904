use std::ops::Range;

use super::error::ImageError;
use super::kernels::MARGIN;
use super::orientation::Orientation;
use super::pixels::Pixels;
use super::preprocess::{Alpha, Depth16, Exif, Preprocess};
use super::{geometry, resample};

/// The meaning of a stored pixel's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channels {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
}

impl Channels {
    fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// A decoded picture in the channels and the depth of its file, so that every adapter can have it its own way:
/// decoded once, prepared for many tasks.
#[derive(Clone, PartialEq)]
pub struct Picture {
    width: usize,
    height: usize,
    channels: Channels,
    /// 16 bits per channel, in native byte order.
    deep: bool,
    /// Row by row, samples interleaved.
    data: Vec<u8>,
    orientation: Orientation,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = if self.deep { 16 } else { 8 };
        write!(f, "Picture({} x {}, {:?}, {bits} bits)", self.width, self.height, self.channels)
    }
}

impl Picture {
    /// None unless there is a pixel and `data` holds exactly `width * height` of them.
    pub(super) fn new(width: usize, height: usize, channels: Channels, deep: bool, data: Vec<u8>) -> Option<Self> {
        let pixel = channels.count() * if deep { 2 } else { 1 };
        let expected = width.checked_mul(height)?.checked_mul(pixel)?;
        let orientation = Orientation::UPRIGHT;
        (expected > 0 && data.len() == expected).then_some(Self { width, height, channels, deep, data, orientation })
    }

    /// The same with its EXIF orientation.
    pub(super) fn turned(self, orientation: Orientation) -> Self {
        Self { orientation, ..self }
    }

    /// Stored width and height in pixels, before the EXIF orientation.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Bytes that the picture keeps resident.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The picture as one adapter wants it: `[final_size, final_size, 3]` bytes.
    ///
    /// Equal to Pillow's `convert("RGB")`, `resize` and crop, value for value. Only the crop's window is computed.
    ///
    /// # Errors
    /// [`ImageError::Depth16`] when the adapter refuses 16 bits, [`ImageError::Preprocess`] when it describes no
    /// picture.
    pub fn pixels(&self, preprocess: &Preprocess) -> Result<Pixels, ImageError> {
        if self.deep && preprocess.depth16 == Depth16::Refuse {
            return Err(ImageError::Depth16);
        }
        let rows = self.rows(preprocess);
        let plan = geometry::plan(rows.size(), preprocess)?;
        let data = resample::resample(&rows, &plan, preprocess);
        Ok(Pixels::U8 { height: plan.side, width: plan.side, data: data.into() })
    }

    /// The upright RGB rows that `preprocess` sees.
    pub(super) fn rows(&self, preprocess: &Preprocess) -> Rows<'_> {
        let orientation = if preprocess.exif == Exif::Apply { self.orientation } else { Orientation::UPRIGHT };
        let back = match preprocess.alpha {
            Alpha::Drop => None,
            Alpha::White => Some(255),
            Alpha::Black => Some(0),
        };
        Rows { picture: self, orientation, back, clip: preprocess.depth16 == Depth16::Clip }
    }
}

/// A picture read as 8-bit RGB, a few rows at a time.
pub(super) struct Rows<'a> {
    picture: &'a Picture,
    orientation: Orientation,
    /// The grey below transparent pixels; none: alpha is ignored.
    back: Option<u8>,
    /// 16 bits to 8 as Pillow does, else by scaling.
    clip: bool,
}

impl Rows<'_> {
    /// Width and height, upright.
    pub(super) fn size(&self) -> (usize, usize) {
        self.orientation.turned_size(self.picture.size())
    }

    /// Adjacent rows of `3 * width` bytes with [`MARGIN`] after the last one: in place where the picture is stored
    /// like that, else made in `scratch`.
    pub(super) fn block<'s>(&'s self, rows: Range<usize>, scratch: &'s mut Vec<u8>) -> &'s [u8] {
        let picture = self.picture;
        let stride = 3 * self.size().0;
        let in_place = picture.channels == Channels::Rgb && !picture.deep && self.orientation == Orientation::UPRIGHT;
        if in_place && let Some(block) = picture.data.get(rows.start * stride..rows.end * stride + MARGIN) {
            return block;
        }
        scratch.resize(rows.len() * stride + MARGIN, 0);
        let out = &mut scratch[..rows.len() * stride];
        match (picture.channels, picture.deep) {
            (Channels::Grey, false) => self.fill(rows, out, |[v]: [u8; 1]| [v; 3]),
            (Channels::GreyAlpha, false) => self.fill(rows, out, |[v, a]: [u8; 2]| self.over([v; 3], a)),
            (Channels::Rgb, false) => self.fill(rows, out, |rgb: [u8; 3]| rgb),
            (Channels::Rgba, false) => self.fill(rows, out, |[r, g, b, a]: [u8; 4]| self.over([r, g, b], a)),
            (Channels::Grey, true) => self.fill(rows, out, |v: [u8; 2]| [self.narrow_grey(v); 3]),
            (Channels::GreyAlpha, true) => {
                self.fill(rows, out, |[v, w, a, b]: [u8; 4]| self.over([self.narrow([v, w]); 3], self.narrow([a, b])))
            }
            (Channels::Rgb, true) => self.fill(rows, out, |[r, s, g, h, b, c]: [u8; 6]| {
                [self.narrow([r, s]), self.narrow([g, h]), self.narrow([b, c])]
            }),
            (Channels::Rgba, true) => self.fill(rows, out, |[r, s, g, h, b, c, a, z]: [u8; 8]| {
                self.over([self.narrow([r, s]), self.narrow([g, h]), self.narrow([b, c])], self.narrow([a, z]))
            }),
        }
        scratch
    }

    /// Writes the rows' pixels, each made by `rgb` from its `N` stored bytes.
    fn fill<const N: usize>(&self, rows: Range<usize>, out: &mut [u8], rgb: impl Fn([u8; N]) -> [u8; 3]) {
        let (pixels, _) = self.picture.data.as_chunks::<N>();
        let (out, _) = out.as_chunks_mut::<3>();
        let width = self.size().0;
        if self.orientation == Orientation::UPRIGHT {
            for (out, pixel) in out.iter_mut().zip(&pixels[rows.start * width..]) {
                *out = rgb(*pixel);
            }
            return;
        }
        // Column by column: in a picture that lies on its side, adjacent rows are adjacent pixels.
        let lines: Vec<(usize, isize)> = rows.map(|y| self.orientation.row(y, self.picture.size())).collect();
        for x in 0..width {
            for (line, &(first, step)) in lines.iter().enumerate() {
                out[line * width + x] = rgb(pixels[first.wrapping_add_signed(step * x as isize)]);
            }
        }
    }

    /// Composited over the background, rounded as Pillow's `alpha_composite` over an opaque picture does.
    fn over(&self, rgb: [u8; 3], alpha: u8) -> [u8; 3] {
        let Some(back) = self.back else { return rgb };
        rgb.map(|value| {
            let sum = u32::from(value) * u32::from(alpha) + u32::from(back) * u32::from(!alpha) + 128;
            (((sum >> 8) + sum) >> 8) as u8
        })
    }

    /// A 16-bit sample of a picture with colour or alpha: Pillow keeps the high byte of those.
    fn narrow(&self, bytes: [u8; 2]) -> u8 {
        let value = u16::from_ne_bytes(bytes);
        if self.clip { (value >> 8) as u8 } else { scale(value) }
    }

    /// A 16-bit sample of a grey picture: Pillow clips those.
    fn narrow_grey(&self, bytes: [u8; 2]) -> u8 {
        let value = u16::from_ne_bytes(bytes);
        if self.clip { value.min(255) as u8 } else { scale(value) }
    }
}

/// 65535 to 255, rounded to the nearest.
fn scale(value: u16) -> u8 {
    ((u32::from(value) + 128) / 257) as u8
}

use gif::{ColorOutput, DecodeOptions, DecodingError, Frame, MemoryLimit};

use super::error::{Format, ImageError};
use super::limits::DecodeLimits;
use super::picture::{Channels, Picture};

const FORMAT: Format = Format::Gif;

/// The first frame on its screen, as Pillow shows it: a frame that sticks out makes the screen larger, and the screen
/// around it has the transparent colour, or colour 0 when there is none.
pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Picture, ImageError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Bytes((limits.decoded_bytes_max as u64).try_into().unwrap_or(ONE)));
    let mut reader = options.read_info(bytes).map_err(fault)?;
    let screen = (usize::from(reader.width()), usize::from(reader.height()));
    let frame = reader.next_frame_info().map_err(fault)?.ok_or(ImageError::Truncated { format: FORMAT })?.clone();
    let place = Place::of(&frame, screen);
    if place.width == 0 || place.height == 0 {
        return Err(no_pixels());
    }
    let channels = if frame.transparent.is_some() { 4 } else { 3 };
    let pixels = place.width as u64 * place.height as u64;
    limits.check_header(place.width as u64, place.height as u64, (channels + 1) * pixels)?;
    let mut indices = vec![0; reader.buffer_size()];
    reader.read_into_buffer(&mut indices).map_err(fault)?;
    let colors = colors(reader.palette().unwrap_or_default(), frame.transparent);
    let background = colors[usize::from(frame.transparent.unwrap_or(0))];
    let picture = if channels == 4 {
        Picture::new(
            place.width,
            place.height,
            Channels::Rgba,
            false,
            place.paint(&indices, background, |it| it, &colors),
        )
    } else {
        let opaque = |[r, g, b, _]: [u8; 4]| [r, g, b];
        Picture::new(
            place.width,
            place.height,
            Channels::Rgb,
            false,
            place.paint(&indices, background, opaque, &colors),
        )
    };
    picture.ok_or_else(no_pixels)
}

fn no_pixels() -> ImageError {
    ImageError::Bad { format: FORMAT, why: "it has no pixels".into() }
}

const ONE: std::num::NonZeroU64 = std::num::NonZeroU64::MIN;

/// Colours by index: the palette, grey beyond it.
fn colors(palette: &[u8], transparent: Option<u8>) -> [[u8; 4]; 256] {
    let mut colors = std::array::from_fn(|index| [index as u8, index as u8, index as u8, 255]);
    for (color, &[r, g, b]) in colors.iter_mut().zip(palette.as_chunks::<3>().0) {
        *color = [r, g, b, 255];
    }
    if let Some(transparent) = transparent {
        colors[usize::from(transparent)][3] = 0;
    }
    colors
}

/// A frame on a screen.
struct Place {
    width: usize,
    height: usize,
    left: usize,
    top: usize,
    frame_width: usize,
}

impl Place {
    fn of(frame: &Frame<'_>, screen: (usize, usize)) -> Self {
        let (left, top, frame_width) = (frame.left.into(), frame.top.into(), frame.width.into());
        let width = screen.0.max(left + frame_width);
        let height = screen.1.max(top + usize::from(frame.height));
        Self { width, height, left, top, frame_width }
    }

    fn paint<const N: usize>(
        &self,
        indices: &[u8],
        background: [u8; 4],
        stored: impl Fn([u8; 4]) -> [u8; N],
        colors: &[[u8; 4]; 256],
    ) -> Vec<u8> {
        let mut data = stored(background).repeat(self.width * self.height);
        let (pixels, _) = data.as_chunks_mut::<N>();
        let lines = pixels.chunks_exact_mut(self.width).skip(self.top);
        for (line, indices) in lines.zip(indices.chunks_exact(self.frame_width.max(1))) {
            for (pixel, &index) in line[self.left..].iter_mut().zip(indices) {
                *pixel = stored(colors[usize::from(index)]);
            }
        }
        data
    }
}

fn fault(error: DecodingError) -> ImageError {
    match error {
        DecodingError::UnexpectedEof | DecodingError::EndCodeNotFound => ImageError::Truncated { format: FORMAT },
        DecodingError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::Truncated { format: FORMAT }
        }
        other => ImageError::Bad { format: FORMAT, why: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 2 x 1 frame of colours 1 and 2 at (1, 1) of a 3 x 2 screen; the palette is black, red, green, blue.
    fn gif(screen: [u8; 2], transparent: Option<u8>) -> Vec<u8> {
        let mut bytes = b"GIF89a".to_vec();
        bytes.extend([screen[0], 0, screen[1], 0, 0x81, 0, 0]);
        bytes.extend([9, 9, 9, 255, 0, 0, 0, 255, 0, 0, 0, 255]);
        if let Some(index) = transparent {
            bytes.extend([0x21, 0xf9, 4, 1, 0, 0, index, 0]);
        }
        bytes.extend([0x2c, 1, 0, 1, 0, 2, 0, 1, 0, 0]);
        // Code size 2; clear (4), 1, 2, end (5) in three bits each.
        bytes.extend([2, 2, 0b1000_1100, 0b0000_1010, 0, 0x3b]);
        bytes
    }

    fn stored(bytes: &[u8]) -> Picture {
        decode(bytes, &DecodeLimits::default()).unwrap()
    }

    #[test]
    fn a_small_frame_lies_on_color_zero_or_on_nothing() {
        let (red, green) = ([255, 0, 0], [0, 255, 0]);
        let opaque = [[9; 3], [9; 3], [9; 3], [9; 3], red, green].concat();
        assert!(stored(&gif([3, 2], None)) == Picture::new(3, 2, Channels::Rgb, false, opaque.clone()).unwrap());
        assert!(stored(&gif([1, 1], None)) == Picture::new(3, 2, Channels::Rgb, false, opaque).unwrap());
        let hole = [0, 255, 0, 0];
        let open = [hole, hole, hole, hole, [255, 0, 0, 255], hole].concat();
        assert!(stored(&gif([3, 2], Some(2))) == Picture::new(3, 2, Channels::Rgba, false, open).unwrap());
    }

    #[test]
    fn a_picture_without_pixels_is_refused() {
        for [width, height] in [[0, 0], [0, 2], [3, 0]] {
            let mut bytes = b"GIF89a".to_vec();
            bytes.extend([width, 0, height, 0, 0x80, 0, 0, 9, 9, 9, 255, 0, 0]);
            bytes.extend([0x2c, 0, 0, 0, 0, width, 0, height, 0, 0, 2, 1, 0b0010_1100, 0, 0x3b]);
            assert_eq!(decode(&bytes, &DecodeLimits::default()), Err(no_pixels()), "{width} x {height}");
        }
    }

    #[test]
    fn damaged_frames_are_refused() {
        let whole = gif([3, 2], None);
        for length in [3, 12, 20, 30, whole.len() - 4] {
            assert_eq!(
                decode(&whole[..length], &DecodeLimits::default()),
                Err(ImageError::Truncated { format: FORMAT })
            );
        }
        let no_frame = [&whole[..25], b";"].concat();
        assert_eq!(decode(&no_frame, &DecodeLimits::default()), Err(ImageError::Truncated { format: FORMAT }));
    }
}

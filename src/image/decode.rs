use std::error::Error;
use std::io::{self, Cursor};
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::error::{Format, ImageError};
use super::limits::DecodeLimits;
use super::orientation::Orientation;
use super::picture::{Channels, Picture};
use super::sniff::sniff;
use super::{gif, jpeg, webp};

/// Bytes of any accepted format to a picture in its own channels and depth.
///
/// What the header promises is checked against `limits` before a pixel is allocated. Truncated pictures are refused,
/// bytes after the picture's end are ignored, as Pillow does. No input makes this panic: a decoder that does is
/// answered as [`ImageError::Bad`].
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Picture, ImageError> {
    let format = sniff(bytes)?;
    limits.check_bytes(bytes.len())?;
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        Format::Jpeg => jpeg::decode(bytes, limits),
        Format::Gif => gif::decode(bytes, limits),
        Format::Png => decode_by_image(bytes, format, ImageFormat::Png, limits),
        Format::WebP => decode_by_image(bytes, format, ImageFormat::WebP, limits),
        Format::Bmp => decode_by_image(bytes, format, ImageFormat::Bmp, limits),
        Format::Tiff => decode_by_image(bytes, format, ImageFormat::Tiff, limits),
    }));
    decoded.unwrap_or_else(|_| Err(ImageError::Bad { format, why: "its decoder gave up on it".into() }))
}

fn decode_by_image(
    bytes: &[u8],
    format: Format,
    outside: ImageFormat,
    limits: &DecodeLimits,
) -> Result<Picture, ImageError> {
    let fault = |error| fault(format, limits, error);
    if format == Format::WebP {
        webp::check(bytes)?;
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), outside);
    let mut memory = Limits::no_limits();
    memory.max_alloc = Some(limits.decoded_bytes_max as u64);
    reader.limits(memory);
    let mut decoder = reader.into_decoder().map_err(fault)?;
    let (width, height) = decoder.dimensions();
    limits.check_header(width.into(), height.into(), decoder.total_bytes())?;
    let (channels, deep) = layout(format, decoder.color_type())?;
    let orientation = decoder.orientation().map_or(Orientation::UPRIGHT, inside);
    let mut data = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX)];
    decoder.read_image(&mut data).map_err(fault)?;
    Picture::new(width as usize, height as usize, channels, deep, data)
        .map(|picture| picture.turned(orientation))
        .ok_or_else(|| ImageError::Bad { format, why: "it has no pixels".into() })
}

/// The orientation that an EXIF block states; upright when it states none.
pub(super) fn orientation_in_exif(block: &[u8]) -> Orientation {
    image::metadata::Orientation::from_exif_chunk(block).map_or(Orientation::UPRIGHT, inside)
}

fn inside(orientation: image::metadata::Orientation) -> Orientation {
    Orientation::from_exif(orientation.to_exif())
}

fn layout(format: Format, color: ColorType) -> Result<(Channels, bool), ImageError> {
    Ok(match color {
        ColorType::L8 => (Channels::Grey, false),
        ColorType::La8 => (Channels::GreyAlpha, false),
        ColorType::Rgb8 => (Channels::Rgb, false),
        ColorType::Rgba8 => (Channels::Rgba, false),
        ColorType::L16 => (Channels::Grey, true),
        ColorType::La16 => (Channels::GreyAlpha, true),
        ColorType::Rgb16 => (Channels::Rgb, true),
        ColorType::Rgba16 => (Channels::Rgba, true),
        other => {
            let why = format!("its samples are {other:?}, 8 or 16 bits per channel are read");
            return Err(ImageError::Bad { format, why });
        }
    })
}

fn fault(format: Format, limits: &DecodeLimits, error: image::ImageError) -> ImageError {
    let why = match error {
        error if ends_early(&error) => return ImageError::Truncated { format },
        image::ImageError::Limits(_) => {
            format!("it needs more than {} bytes of memory: send a smaller picture", limits.decoded_bytes_max)
        }
        other => other.to_string(),
    };
    ImageError::Bad { format, why }
}

/// Whether the end of the bytes is at the bottom of it, below whatever layers of errors.
fn ends_early(error: &(dyn Error + 'static)) -> bool {
    let as_io = match error.downcast_ref::<image::ImageError>() {
        Some(image::ImageError::IoError(error)) => Some(error),
        _ => error.downcast_ref::<io::Error>(),
    };
    as_io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) || error.source().is_some_and(ends_early)
}

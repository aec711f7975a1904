use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{ColorType, ImageDecoder, ImageReader, Limits};

use super::error::{Format, ImageError};
use super::jpeg;
use super::limits::DecodeLimits;
use super::orientation::Orientation;
use super::picture::{Channels, Picture};
use super::sniff::sniff;

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
        _ => decode_others(bytes, format, limits),
    }));
    decoded.unwrap_or_else(|_| Err(ImageError::Bad { format, why: "its decoder gave up on it".into() }))
}

fn decode_others(bytes: &[u8], format: Format, limits: &DecodeLimits) -> Result<Picture, ImageError> {
    let fault = |error| fault(format, error);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), outside_format(format));
    let mut outside = Limits::no_limits();
    outside.max_alloc = Some(limits.decoded_bytes_max as u64);
    reader.limits(outside);
    let mut decoder = reader.into_decoder().map_err(fault)?;
    let (width, height) = decoder.dimensions();
    limits.check_header(width.into(), height.into(), decoder.total_bytes())?;
    let (channels, deep) = layout(format, decoder.color_type())?;
    let orientation = decoder.orientation().map_or(Orientation::UPRIGHT, |it| Orientation::from_exif(it.to_exif()));
    let mut data = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX)];
    decoder.read_image(&mut data).map_err(fault)?;
    Picture::new(width as usize, height as usize, channels, deep, data)
        .map(|picture| picture.turned(orientation))
        .ok_or_else(|| ImageError::Bad { format, why: "it has no pixels".into() })
}

fn outside_format(format: Format) -> image::ImageFormat {
    match format {
        Format::Jpeg => image::ImageFormat::Jpeg,
        Format::Png => image::ImageFormat::Png,
        Format::WebP => image::ImageFormat::WebP,
        Format::Bmp => image::ImageFormat::Bmp,
        Format::Gif => image::ImageFormat::Gif,
        Format::Tiff => image::ImageFormat::Tiff,
    }
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

fn fault(format: Format, error: image::ImageError) -> ImageError {
    match error {
        image::ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::Truncated { format }
        }
        other => ImageError::Bad { format, why: other.to_string() },
    }
}

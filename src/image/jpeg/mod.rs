//! JPEG as Pillow reads it: libjpeg-turbo's arithmetic, bit for bit (mozjpeg is libjpeg-turbo with a better encoder).

mod header;
mod libjpeg;

use super::error::{Format, ImageError};
use super::limits::DecodeLimits;
use super::picture::{Channels, Picture};

const FORMAT: Format = Format::Jpeg;

/// Header first, in safe code; then the C library under what the header promised.
pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Picture, ImageError> {
    let header = header::read(bytes)?;
    limits.check_header(header.width.into(), header.height.into(), header.decoded_bytes())?;
    if header.buffered {
        limits.check_scans(header::scans(bytes))?;
    }
    let channels = match header.components {
        1 => Channels::Grey,
        3 | 4 => Channels::Rgb,
        other => return Err(bad(format!("it has {other} components, 1, 3 and 4 are read"))),
    };
    let mut data = libjpeg::decode(bytes, &header)?;
    if header.components == 4 {
        data = inverted_cmyk_to_rgb(data);
    }
    Picture::new(header.width.into(), header.height.into(), channels, false, data)
        .map(|picture| picture.turned(header.orientation))
        .ok_or_else(|| bad("it has no pixels".into()))
}

fn bad(why: String) -> ImageError {
    ImageError::Bad { format: FORMAT, why }
}

/// Four-component JPEGs hold inverted inks (Adobe's convention, which Pillow assumes of all of them).
fn inverted_cmyk_to_rgb(mut data: Vec<u8>) -> Vec<u8> {
    let pixels = data.len() / 4;
    for pixel in 0..pixels {
        let [c, m, y, k]: [u8; 4] = data[4 * pixel..4 * pixel + 4].try_into().expect("four bytes");
        for (at, ink) in [c, m, y].into_iter().enumerate() {
            // k - (255 - ink) * k / 255, rounded as Pillow's cmyk2rgb does.
            let product = u32::from(!ink) * u32::from(k) + 128;
            let shade = ((product >> 8) + product) >> 8;
            data[3 * pixel + at] = k - shade as u8;
        }
    }
    data.truncate(3 * pixels);
    data
}

#[cfg(test)]
mod tests {
    /// Pillow 13: `Image.frombytes("CMYK", …).convert("RGB")` of the inverted values.
    #[test]
    fn inks_become_light() {
        let inverted = vec![255, 255, 255, 255, 0, 128, 255, 200, 10, 20, 30, 40, 7, 77, 177, 0];
        assert_eq!(super::inverted_cmyk_to_rgb(inverted), CMYK_AS_PILLOW);
    }

    const CMYK_AS_PILLOW: [u8; 12] = [255, 255, 255, 0, 100, 200, 2, 3, 5, 0, 0, 0];
}

//! What is checked in a WebP file's chunks (RFC 9649, section 2) before its decoder sees them.

use super::error::{Format, ImageError};

const FORMAT: Format = Format::WebP;
/// Bytes of a chunk's name and length.
const HEADER: usize = 8;
/// Bytes of an ANMF chunk before its frame's chunks.
const ANMF_HEADER: usize = 16;

/// Refuses files that are cut, and frames that are larger than their canvas.
///
/// The limits are held against the canvas. The decoder allocates a lossy frame by the frame's own header and compares
/// it with the canvas afterwards, so that a canvas of one pixel could cost 16,383 x 16,383.
pub(super) fn check(bytes: &[u8]) -> Result<(), ImageError> {
    // Decoders only see a corrupt stream where the file is shorter than it states.
    if number(bytes, 4).is_none_or(|length| bytes.len() < HEADER.saturating_add(length)) {
        return Err(ImageError::Truncated { format: FORMAT });
    }
    // The canvas of a file without VP8X is its only frame.
    let mut chunks = Chunks { bytes, at: 12, end: bytes.len() };
    let Some(canvas) = chunks.next().filter(|chunk| &chunk.name == b"VP8X").and_then(|chunk| canvas(chunk.data)) else {
        return Ok(());
    };
    for chunk in chunks {
        check_frame(&chunk, canvas)?;
        if &chunk.name == b"ANMF" {
            let mut inner = Chunks { bytes: chunk.data, at: ANMF_HEADER, end: chunk.length };
            inner.try_for_each(|chunk| check_frame(&chunk, canvas))?;
        }
    }
    Ok(())
}

fn check_frame(chunk: &Chunk<'_>, canvas: (usize, usize)) -> Result<(), ImageError> {
    let size = match &chunk.name {
        b"VP8 " => lossy_size(chunk.data),
        b"VP8L" => lossless_size(chunk.data),
        _ => None,
    };
    match size {
        Some((width, height)) if width > canvas.0 || height > canvas.1 => {
            let why = format!("a frame of {width} x {height} pixels exceeds its canvas of {} x {}", canvas.0, canvas.1);
            Err(ImageError::Bad { format: FORMAT, why })
        }
        _ => Ok(()),
    }
}

/// A chunk; `data` goes on to the end of the bytes, since the decoder may read past a length that lies.
struct Chunk<'a> {
    name: [u8; 4],
    length: usize,
    data: &'a [u8],
}

/// Chunks one after the other that begin before `end`, each padded to an even length.
struct Chunks<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let rest = self.bytes.get(self.at..).filter(|_| self.at < self.end)?;
        let (name, length) = (*rest.first_chunk()?, number(rest, 4)?);
        self.at = self.at.saturating_add(HEADER).saturating_add(length).saturating_add(length & 1);
        Some(Chunk { name, length, data: &rest[HEADER..] })
    }
}

/// Section 2.7: four bytes of flags, then width - 1 and height - 1 in 24 bits each.
fn canvas(data: &[u8]) -> Option<(usize, usize)> {
    let side = |at: usize| Some(1 + u32::from_le_bytes([*data.get(at)?, *data.get(at + 1)?, *data.get(at + 2)?, 0]));
    Some((side(4)? as usize, side(7)? as usize))
}

/// RFC 6386, section 9.1: three bytes of frame tag, a start code, then two sizes of 14 bits below two of scale.
fn lossy_size(data: &[u8]) -> Option<(usize, usize)> {
    let sizes = number(data, 6)?;
    Some((sizes & 0x3fff, sizes >> 16 & 0x3fff))
}

/// RFC 9649, section 3.4: a signature byte, then width - 1 and height - 1 in 14 bits each.
fn lossless_size(data: &[u8]) -> Option<(usize, usize)> {
    let sizes = number(data, 1)?;
    Some(((sizes & 0x3fff) + 1, (sizes >> 14 & 0x3fff) + 1))
}

/// The little-endian 32 bits at `at`.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let padding = &[0][..data.len() & 1];
        [&name[..], &(data.len() as u32).to_le_bytes(), data, padding].concat()
    }

    /// A file whose canvas is 3 x 2.
    fn file(chunks: &[u8]) -> Vec<u8> {
        let body = [&b"WEBP"[..], &chunk(b"VP8X", &[0, 0, 0, 0, 2, 0, 0, 1, 0, 0]), chunks].concat();
        chunk(b"RIFF", &body)
    }

    fn lossy(width: u16, height: u16) -> Vec<u8> {
        let sizes = [width.to_le_bytes(), height.to_le_bytes()].concat();
        chunk(b"VP8 ", &[&[0x10, 0, 0, 0x9d, 0x01, 0x2a][..], &sizes].concat())
    }

    fn lossless(width: u32, height: u32) -> Vec<u8> {
        let sizes = (width - 1) | (height - 1) << 14;
        chunk(b"VP8L", &[&[0x2f][..], &sizes.to_le_bytes()].concat())
    }

    fn animated(frame: &[u8]) -> Vec<u8> {
        [chunk(b"ANIM", &[0; 6]), chunk(b"ANMF", &[&[0; ANMF_HEADER][..], frame].concat())].concat()
    }

    #[test]
    fn a_frame_larger_than_its_canvas_is_refused() {
        let odd = chunk(b"ALPH", &[0; 3]);
        let behind = |frame: Vec<u8>| [&odd[..], &frame].concat();
        for (width, height, fits) in [(3, 2, true), (1, 1, true), (4, 2, false), (3, 3, false), (16_383, 16_383, false)]
        {
            let frames = [lossy(width, height), lossless(width.into(), height.into())];
            for frame in frames {
                for chunks in [
                    frame.clone(),
                    behind(frame.clone()),
                    animated(&frame),
                    animated(&behind(frame.clone())),
                    [animated(&lossy(1, 1)), animated(&frame)].concat(),
                ] {
                    assert_eq!(check(&file(&chunks)).is_ok(), fits, "{width} x {height}");
                }
            }
        }
        let error = check(&file(&lossy(16_383, 9))).unwrap_err().to_string();
        let expected = "the WebP picture cannot be decoded: a frame of 16383 x 9 pixels exceeds its canvas of 3 x 2";
        assert_eq!(error, expected);
    }

    #[test]
    fn the_scale_bits_are_no_size() {
        assert_eq!(check(&file(&lossy(0xc003, 0x4002))), Ok(()));
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        for length in [0, 1, 11, u32::MAX - 1, u32::MAX] {
            for name in [b"ANMF", b"VP8 ", b"EXIF"] {
                let lie = [&name[..], &length.to_le_bytes(), &[0; 3]].concat();
                assert_eq!(check(&file(&lie)), Ok(()));
                assert_eq!(check(&file(&animated(&lie))), Ok(()));
            }
        }
        let whole = file(&lossy(3, 2));
        for length in 0..whole.len() {
            assert_eq!(check(&whole[..length]), Err(ImageError::Truncated { format: FORMAT }), "{length} bytes");
        }
        assert_eq!(check(&chunk(b"RIFF", b"WEBP")), Ok(()));
    }

    #[test]
    fn a_lying_length_hides_no_frame() {
        let mut frame = lossy(9, 9);
        frame[4..8].copy_from_slice(&1_u32.to_le_bytes());
        assert!(check(&file(&frame)).is_err());
    }
}

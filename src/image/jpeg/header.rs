use super::super::decode::orientation_in_exif;
use super::super::error::ImageError;
use super::super::orientation::Orientation;
use super::{FORMAT, bad};

/// What the markers before the first scan say.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Colour components.
    pub components: u8,
    /// Whether decoding holds the coefficients of the whole picture: progressive, or one component per scan.
    pub buffered: bool,
    /// Coefficients of all components.
    coefficients: u64,
    /// From the EXIF segment.
    pub orientation: Orientation,
}

impl Header {
    /// Memory that decoding needs.
    pub(super) fn decoded_bytes(&self) -> u64 {
        let samples = u64::from(self.width) * u64::from(self.height) * u64::from(self.components);
        samples + if self.buffered { 2 * self.coefficients } else { 0 }
    }
}

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;
const APP1: u8 = 0xe1;

/// Walks the segments (ITU-T T.81, annex B) up to the first scan.
pub(super) fn read(bytes: &[u8]) -> Result<Header, ImageError> {
    let mut at = 2;
    let mut frame: Option<Header> = None;
    let mut orientation = Orientation::UPRIGHT;
    loop {
        let (marker, body) = segment(bytes, at).ok_or(ImageError::Truncated { format: FORMAT })?;
        at = body.end;
        let body = &bytes[body];
        match marker {
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                if frame.is_some() {
                    return Err(bad("it has two frames".into()));
                }
                frame = Some(read_frame(marker, body)?);
            }
            APP1 => {
                orientation = body.strip_prefix(b"Exif\0\0").map_or(orientation, orientation_in_exif);
            }
            START_OF_SCAN => {
                let mut header = frame.ok_or_else(|| bad("a scan comes before the frame's size".into()))?;
                header.buffered |= body.first().is_some_and(|&components| components < header.components);
                header.orientation = orientation;
                return Ok(header);
            }
            END_OF_IMAGE => return Err(bad("it ends before its first scan".into())),
            _ => {}
        }
    }
}

/// The marker at or after `at` (anything before its 0xff is skipped, as libjpeg does) and where its body lies.
fn segment(bytes: &[u8], mut at: usize) -> Option<(u8, std::ops::Range<usize>)> {
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        at += bytes[at..].iter().position(|&byte| byte != 0xff)?;
        let marker = bytes[at];
        at += 1;
        match marker {
            0 => {}
            END_OF_IMAGE | 0x01 | 0xd0..=0xd8 => return Some((marker, at..at)),
            _ => {
                let length = usize::from(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?)).max(2);
                bytes.get(at..at + length)?;
                return Some((marker, at + 2..at + length));
            }
        }
    }
}

fn read_frame(marker: u8, body: &[u8]) -> Result<Header, ImageError> {
    let &[8, h1, h0, w1, w0, components, ref table @ ..] = body else {
        let bits = body.first().copied().unwrap_or_default();
        return Err(bad(format!("its frame has {bits} bits per sample, 8 are read")));
    };
    let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
    if width == 0 || height == 0 {
        return Err(bad(format!("it is {width} x {height} pixels")));
    }
    let progressive = marker == 0xc2;
    let samplings: Vec<(u64, u64)> =
        table.chunks_exact(3).map(|part| (u64::from(part[1] >> 4), u64::from(part[1] & 15))).collect();
    let (h_max, v_max) = samplings.iter().fold((1, 1), |max, &(h, v)| (max.0.max(h), max.1.max(v)));
    let blocks =
        |pixels: u16, part: u64, max: u64| (u64::from(pixels) * part).div_ceil(8 * max).next_multiple_of(part.max(1));
    let coefficients = samplings.iter().map(|&(h, v)| 64 * blocks(width, h, h_max) * blocks(height, v, v_max)).sum();
    let orientation = Orientation::UPRIGHT;
    Ok(Header { width, height, components, buffered: progressive, coefficients, orientation })
}

/// Scan markers in the whole file. Thumbnails inside segments count too, which the limit has room for.
pub(super) fn scans(bytes: &[u8]) -> usize {
    bytes.windows(2).filter(|pair| pair == &[0xff, START_OF_SCAN]).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(segments: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8];
        for (marker, body) in segments {
            bytes.extend([0xff, *marker]);
            bytes.extend((body.len() as u16 + 2).to_be_bytes());
            bytes.extend(*body);
        }
        bytes
    }

    const FRAME: &[u8] = &[8, 0, 17, 0, 33, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];

    #[test]
    fn reads_size_kind_and_memory() {
        let header = read(&jpeg(&[(0xc2, FRAME), (START_OF_SCAN, &[3])])).unwrap();
        assert_eq!((header.width, header.height, header.components, header.buffered), (33, 17, 3, true));
        // 6 x 4 luma blocks (33 px are 5, padded to whole sampling units) and twice 3 x 2 chroma blocks.
        assert_eq!(header.decoded_bytes(), 33 * 17 * 3 + 2 * 64 * (24 + 2 * 6));
        let baseline = read(&jpeg(&[(0xc0, FRAME), (START_OF_SCAN, &[3])])).unwrap();
        assert_eq!(baseline.decoded_bytes(), 33 * 17 * 3);
        assert!(read(&jpeg(&[(0xc0, FRAME), (START_OF_SCAN, &[1])])).unwrap().buffered);
    }

    #[test]
    fn refuses_damaged_headers() {
        let truncated = ImageError::Truncated { format: FORMAT };
        assert_eq!(read(b"\xff\xd8\xff"), Err(truncated.clone()));
        assert_eq!(read(&jpeg(&[(0xc0, FRAME)])), Err(truncated.clone()));
        assert_eq!(read(b"\xff\xd8\xff\xe1\xff\xff"), Err(truncated));
        for segments in [
            &[(0xc0, FRAME), (0xc0, FRAME)][..],
            &[(START_OF_SCAN, &[3])],
            &[(0xc0, &[8, 0, 0, 0, 1, 3])],
            &[(0xc0, &[12, 0, 1, 0, 1, 3])],
            &[(0xc0, &[])],
        ] {
            assert!(matches!(read(&jpeg(segments)), Err(ImageError::Bad { .. })), "{segments:?}");
        }
    }
}

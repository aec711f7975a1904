use super::error::{Format, ImageError};

/// The format that the first bytes declare; names and content types of requests are not believed.
pub(super) fn sniff(bytes: &[u8]) -> Result<Format, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    accepted(bytes).ok_or_else(|| ImageError::NotAPicture { looks_like: looks_like(bytes) })
}

fn accepted(bytes: &[u8]) -> Option<Format> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    Some(match () {
        () if starts(b"\xff\xd8\xff") => Format::Jpeg,
        () if starts(b"\x89PNG\r\n\x1a\n") => Format::Png,
        () if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") => Format::WebP,
        () if starts(b"GIF87a") || starts(b"GIF89a") => Format::Gif,
        () if starts(b"II*\0") || starts(b"MM\0*") || starts(b"II+\0") || starts(b"MM\0+") => Format::Tiff,
        () if starts(b"BM") && is_bitmap_header(bytes) => Format::Bmp,
        () => return None,
    })
}

/// "BM" alone also begins words; the length of the second header settles it.
fn is_bitmap_header(bytes: &[u8]) -> bool {
    matches!(bytes.get(14..18), Some([12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
}

fn looks_like(bytes: &[u8]) -> &'static str {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let brand = if bytes.get(4..8) == Some(b"ftyp") { bytes.get(8..12) } else { None };
    match () {
        () if matches!(brand, Some(b"avif" | b"avis")) => "an AVIF file",
        () if matches!(brand, Some(b"heic" | b"heix" | b"mif1" | b"msf1" | b"hevc")) => "a HEIC file",
        () if brand.is_some() => "a video",
        () if starts(b"\xff\x0a") || starts(b"\0\0\0\x0cJXL ") => "a JPEG XL file",
        () if starts(b"\0\0\0\x0cjP  ") || starts(b"\xff\x4f\xff\x51") => "a JPEG 2000 file",
        () if starts(b"%PDF") => "a PDF document",
        () if starts(b"PK\x03\x04") => "a zip archive",
        () if starts(b"\x1f\x8b") => "gzip data",
        () if starts(b"<svg") || starts(b"<?xml") => "XML or SVG text",
        () if starts(b"{") || starts(b"[") => "JSON text",
        () if starts(b"--") => "a multipart body without its Content-Type",
        () if bytes.iter().take(64).all(|&byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => "text",
        () => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_is_not() {
        for (bytes, expected) in [
            (&b"%PDF-1.7"[..], "a PDF document"),
            (b"PK\x03\x04rest", "a zip archive"),
            (b"\x1f\x8b\x08", "gzip data"),
            (b"\0\0\0\x18ftypheic", "a HEIC file"),
            (b"\0\0\0\x18ftypavif", "an AVIF file"),
            (b"<svg xmlns=", "XML or SVG text"),
            (b"BMW is a car, not a bitmap", "text"),
            (b"RIFF\x04\0\0\0WAVE", "something else"),
            (b"\xff\xd8", "something else"),
        ] {
            assert_eq!(sniff(bytes), Err(ImageError::NotAPicture { looks_like: expected }), "{bytes:?}");
        }
        assert_eq!(sniff(b""), Err(ImageError::Empty));
    }
}

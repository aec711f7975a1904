//! Hostile, damaged and mistaken picture bytes, each with the sentence that the client reads.

use manylens::image::{DecodeLimits, ImageError, Pixels, Preprocess, Preset, decode};

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/preprocess/images/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn sentence(bytes: &[u8]) -> String {
    decode(bytes, &DecodeLimits::default()).expect_err("a bad picture").to_string()
}

/// The bytes with some of them replaced.
fn patched(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

fn position(bytes: &[u8], of: &[u8]) -> usize {
    bytes.windows(of.len()).position(|window| window == of).unwrap()
}

/// A PNG of one IHDR and whatever chunks follow.
fn png(width: u32, height: u32, chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", &header[..])].iter().chain(chunks) {
        let body = [&kind[..], data].concat();
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend(crc32(&body).to_be_bytes());
    }
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 })
    })
}

/// A JPEG whose frame claims another size.
fn jpeg(name: &str, frame: u8, width: u16, height: u16) -> Vec<u8> {
    let bytes = golden(name);
    let at = position(&bytes, &[0xff, frame]) + 5;
    patched(bytes, at, &[height.to_be_bytes(), width.to_be_bytes()].concat())
}

/// An uncompressed little-endian TIFF without pixels.
fn tiff(width: u32, height: u32) -> Vec<u8> {
    let tags: [(u16, u32); 7] = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (279, 0)];
    let entries = tags.iter().flat_map(|(tag, value)| {
        [&tag.to_le_bytes()[..], &4_u16.to_le_bytes(), &1_u32.to_le_bytes(), &value.to_le_bytes()].concat()
    });
    [b"II*\0\x08\0\0\0\x07\0"[..].to_vec(), entries.collect(), vec![0; 4]].concat()
}

#[test]
fn what_is_no_picture_is_named() {
    for (bytes, expected) in [
        (&b"PK\x03\x04\x14\0"[..], "a zip archive"),
        (b"\x1f\x8b\x08\0", "gzip data"),
        (b"%PDF-1.7", "a PDF document"),
        (b"{\"image\": \"\"}", "JSON text"),
        (b"hello", "text"),
        (b"\0\0\0\0", "something else"),
    ] {
        let expected =
            format!("this is not a picture but {expected}: send the bytes of a JPEG, PNG, WebP, BMP, GIF or TIFF file");
        assert_eq!(sentence(bytes), expected);
        assert!(matches!(decode(bytes, &DecodeLimits::default()), Err(ImageError::NotAPicture { .. })));
    }
    assert_eq!(sentence(b""), "the picture is empty: send the bytes of a JPEG, PNG, WebP, BMP, GIF or TIFF file");
}

#[test]
fn truncated_pictures_are_refused_and_trailing_bytes_ignored() {
    for (name, format) in [
        ("cat_444.jpg", "JPEG"),
        ("cat_420_progressive.jpg", "JPEG"),
        ("cat.png", "PNG"),
        ("cat.gif", "GIF"),
        ("cat.bmp", "BMP"),
        ("cat.tif", "TIFF"),
        ("cat_lossy.webp", "WebP"),
        ("cat_lossless.webp", "WebP"),
    ] {
        let whole = golden(name);
        let expected = format!("the {format} picture is truncated: send the whole file");
        for length in [whole.len() / 2, whole.len() * 9 / 10] {
            assert_eq!(sentence(&whole[..length]), expected, "{name} cut to {length}");
        }
        let longer = [&whole[..], b"and then some"].concat();
        let limits = DecodeLimits::default();
        assert!(decode(&whole, &limits).unwrap() == decode(&longer, &limits).unwrap(), "{name}");
    }
    let no_end = golden("cat_444.jpg");
    assert_eq!(sentence(&no_end[..no_end.len() - 2]), "the JPEG picture is truncated: send the whole file");
}

#[test]
fn huge_headers_are_refused_before_any_pixel() {
    let gif = patched(golden("cat.gif"), 6, &[30_000_u16.to_le_bytes(); 2].concat());
    let bmp = patched(golden("cat.bmp"), 18, &[30_000_u32.to_le_bytes(); 2].concat());
    for bytes in [
        png(30_000, 30_000, &[(b"IDAT", b"")]),
        jpeg("cat_444.jpg", 0xc0, 30_000, 30_000),
        jpeg("cat_420_progressive.jpg", 0xc2, 30_000, 30_000),
        gif,
        bmp,
        tiff(30_000, 30_000),
    ] {
        assert_eq!(
            sentence(&bytes),
            "the picture's width in pixels is 30000, the limit is 16384: send a smaller picture"
        );
    }
    assert_eq!(
        sentence(&png(1, 30_000, &[(b"IDAT", b"")])),
        "the picture's height in pixels is 30000, the limit is 16384: send a smaller picture"
    );
    assert_eq!(
        sentence(&jpeg("cat_444.jpg", 0xc0, 10_000, 10_000)),
        "the picture's number of pixels is 100000000, the limit is 50000000: send a smaller picture"
    );
    assert_eq!(
        sentence(&png(u32::MAX >> 1, u32::MAX >> 1, &[(b"IDAT", b"")])),
        "the PNG picture cannot be decoded: it needs more than 268435456 bytes of memory: send a smaller picture"
    );
    // 7,000 x 7,000: 147 MB of pixels fit, with 147 MB of coefficients they don't.
    assert_eq!(
        sentence(&jpeg("cat_420_progressive.jpg", 0xc2, 7_000, 7_000)),
        "the picture's decoded size in bytes is 294336192, the limit is 268435456: send a smaller picture"
    );
}

#[test]
fn every_limit_is_a_parameter() {
    let limits = |change: fn(&mut DecodeLimits)| {
        let mut limits = DecodeLimits::default();
        change(&mut limits);
        limits
    };
    let picture = golden("cat_420_progressive.jpg");
    for (limits, what) in [
        (limits(|it| it.bytes_max = 1000), "size in bytes"),
        (limits(|it| it.side_max = 310), "width in pixels"),
        (limits(|it| it.pixels_max = 311 * 187 - 1), "number of pixels"),
        (limits(|it| it.decoded_bytes_max = 3 * 311 * 187), "decoded size in bytes"),
        (limits(|it| it.scans_max = 3), "number of JPEG scans"),
    ] {
        let error = decode(&picture, &limits).unwrap_err();
        assert!(matches!(error, ImageError::TooLarge { what: found, .. } if found == what), "{error}");
    }
}

/// A scan of a few bytes costs a pass over the whole picture.
#[test]
fn a_jpeg_of_countless_scans_is_refused() {
    let picture = golden("cat_420_progressive.jpg");
    let last = picture.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
    let scan = &picture[last..picture.len() - 2];
    let bytes = [&picture[..last], &scan.repeat(200), b"\xff\xd9"].concat();
    assert!(sentence(&bytes).starts_with("the picture's number of JPEG scans is 2"), "{}", sentence(&bytes));
}

#[test]
fn damaged_and_unsupported_pictures_say_why() {
    let lab = patched(tiff(8, 8), 10 + 4 * 12 + 8, &8_u32.to_le_bytes());
    for (bytes, expected) in [
        (png(8, 8, &[(b"IDAT", b"no zlib stream")]), "the PNG picture cannot be decoded: "),
        (jpeg("cat_444.jpg", 0xc0, 0, 10), "the JPEG picture cannot be decoded: it is 0 x 10 pixels"),
        (lab, "the TIFF picture cannot be decoded: "),
        (b"\xff\xd8\xff\xd9".to_vec(), "the JPEG picture cannot be decoded: it ends before its first scan"),
        (patched(golden("cat.bmp"), 28, &[99]), "the BMP picture cannot be decoded: "),
    ] {
        let found = sentence(&bytes);
        assert!(found.starts_with(expected), "{found}");
    }
    // libjpeg's own words, through its error exit: 17 quantisation tables don't exist.
    let jpeg = golden("cat_444.jpg");
    let at = position(&jpeg, &[0xff, 0xdb]) + 4;
    assert_eq!(sentence(&patched(jpeg, at, &[0x0f])), "the JPEG picture cannot be decoded: Bogus DQT index 15");
}

#[test]
fn sixteen_bits_are_refused_unless_the_adapter_takes_them() {
    // One grey pixel of 16 bits, stored by a zlib block that isn't compressed: filter 0, then 0x1234.
    let zlib = b"\x78\x01\x01\x03\0\xfc\xff\0\x12\x34\0\x7a\0\x47";
    let mut bytes = png(1, 1, &[(b"IDAT", zlib), (b"IEND", b"")]);
    bytes[24..26].copy_from_slice(&[16, 0]);
    let crc = crc32(&bytes[12..29]).to_be_bytes();
    let picture = decode(&patched(bytes, 29, &crc), &DecodeLimits::default()).unwrap();
    let prepared = |depth16| {
        let preprocess = Preprocess { depth16, ..Preset::Vtab.at(1) };
        picture.pixels(&preprocess)
    };
    use manylens::image::Depth16;
    assert_eq!(
        prepared(Depth16::Refuse).unwrap_err().to_string(),
        "the picture has 16 bits per channel and this task takes 8: convert the picture to 8 bits"
    );
    for (depth16, expected) in [(Depth16::Clip, 255), (Depth16::Scale, 0x12)] {
        let expected = Pixels::U8 { height: 1, width: 1, data: [expected; 3].into() };
        assert_eq!(prepared(depth16).unwrap(), expected);
    }
}

#[test]
fn the_thinnest_picture_is_prepared() {
    let thin = patched(golden("cat.bmp"), 18, &[1_u32.to_le_bytes(), 16_384_u32.to_le_bytes()].concat());
    // 16,384 rows of one padded pixel are 64 KiB, which the file holds.
    let picture = decode(&thin, &DecodeLimits::default()).unwrap();
    for preset in Preset::ALL {
        assert_eq!(picture.pixels(&preset.at(224)).unwrap().size(), (224, 224));
    }
}

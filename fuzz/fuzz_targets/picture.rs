//! An uploaded picture: decoding never panics, stays within the limits, and what is decoded can be prepared.
//! `tests/data/preprocess/images` is a good first corpus.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use manylens::image::{Alpha, DecodeLimits, Depth16, Exif, Preprocess, Preset, decode};

static PIPELINES: LazyLock<Vec<Preprocess>> = LazyLock::new(|| {
    let presets = Preset::ALL.map(|preset| preset.at(28));
    let turned = |preset: &Preprocess| Preprocess {
        exif: Exif::Apply,
        alpha: Alpha::White,
        depth16: Depth16::Scale,
        antialias: false,
        ..preset.clone()
    };
    presets.iter().cloned().chain(presets.iter().map(turned)).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let limits =
        DecodeLimits { side_max: 2048, pixels_max: 1 << 20, decoded_bytes_max: 16 << 20, ..Default::default() };
    let Ok(picture) = decode(bytes, &limits) else { return };
    let (width, height) = picture.size();
    assert!(width * height <= limits.pixels_max && picture.bytes() <= limits.decoded_bytes_max);
    for preprocess in PIPELINES.iter() {
        assert_eq!(picture.pixels(preprocess).expect("every preset is valid").size(), (28, 28));
    }
});

//! Pictures prepared by torchvision over Pillow (tests/data/preprocess), against ours.

use std::path::Path;

use manylens::image::{DecodeLimits, Interpolation, Pixels, Preprocess, Preset, Resize, decode};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/preprocess");

/// The golden's pipelines by their file names.
fn pipeline(name: &str) -> Preprocess {
    match name {
        "squash_bicubic_224" => Preset::Vtab.at(224),
        "squash_bilinear_256_crop_224" => Preset::Fgvc.at(224),
        "short_edge_248_bicubic_crop_224" => Preset::Timm.at(224),
        other => panic!("unknown pipeline {other}"),
    }
}

fn prepared(path: &Path, preprocess: &Preprocess) -> Vec<u8> {
    let picture = decode(&std::fs::read(path).unwrap(), &DecodeLimits::default()).unwrap();
    match picture.pixels(preprocess).unwrap() {
        Pixels::U8 { height: 224, width: 224, data } => data.to_vec(),
        other => panic!("{:?}", other.size()),
    }
}

/// The expected PNGs are plain RGB: decoding them exactly is what the lossless goldens prove, so they are read by
/// the code under test at their own size.
fn expected(path: &Path) -> Vec<u8> {
    prepared(
        path,
        &Preprocess { interpolation: Interpolation::Nearest, resize: Resize::Squash, ..pipeline("squash_bicubic_224") },
    )
}

/// Decoding and resizing are exact: JPEG has libjpeg-turbo's arithmetic, which is Pillow's, and the WebP decoder agrees
/// with libwebp.
#[test]
fn every_golden_is_pillows_value_for_value() {
    let mut seen = 0;
    for entry in std::fs::read_dir(format!("{DATA}/expected")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let (image, pipeline_name) = name.rsplit_once('.').unwrap();
        let ours = prepared(&Path::new(DATA).join("images").join(image), &pipeline(pipeline_name));
        let deltas = ours.iter().zip(expected(&path)).map(|(&ours, pillows)| ours.abs_diff(pillows));
        let (differing, worst) =
            deltas.fold((0, 0), |(count, worst), delta| (count + usize::from(delta > 0), worst.max(delta)));
        assert_eq!((differing, worst), (0, 0), "{name}: values that differ, and the largest difference");
        seen += 1;
    }
    assert_eq!(seen, 33);
}

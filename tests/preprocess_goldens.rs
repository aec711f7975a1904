//! Pictures prepared by torchvision over Pillow (tests/data/preprocess), against ours.

use std::path::Path;

use manylens::image::{DecodeLimits, Interpolation, Pixels, Preprocess, Resize, decode};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/preprocess");

/// The golden's pipelines by their file names.
fn pipeline(name: &str) -> Preprocess {
    let preset = |preset| Preprocess::preset(preset, 224).unwrap();
    match name {
        "squash_bicubic_224" => preset("vtab"),
        "squash_bilinear_256_crop_224" => preset("fgvc"),
        "short_edge_248_bicubic_crop_224" => preset("timm"),
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

/// Differences of one golden, ours minus Pillow's.
struct Difference {
    equal: f64,
    max: i32,
    mean: f64,
    signed: [f64; 3],
}

fn difference(ours: &[u8], pillows: &[u8]) -> Difference {
    assert_eq!(ours.len(), pillows.len());
    let deltas: Vec<i32> = ours.iter().zip(pillows).map(|(&a, &b)| i32::from(a) - i32::from(b)).collect();
    let count = deltas.len() as f64;
    let signed = |channel: usize| deltas.iter().skip(channel).step_by(3).sum::<i32>() as f64 / (count / 3.0);
    Difference {
        equal: deltas.iter().filter(|&&delta| delta == 0).count() as f64 / count,
        max: deltas.iter().map(|delta| delta.abs()).max().unwrap(),
        mean: deltas.iter().map(|delta| delta.abs()).sum::<i32>() as f64 / count,
        signed: [signed(0), signed(1), signed(2)],
    }
}

fn goldens(wanted: impl Fn(&str) -> bool) -> Vec<(String, Difference)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("{DATA}/expected")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let stem = name.strip_suffix(".png").unwrap();
        let (image, pipeline_name) = stem.rsplit_once('.').unwrap();
        if wanted(image) {
            let ours = prepared(&Path::new(DATA).join("images").join(image), &pipeline(pipeline_name));
            let difference = difference(&ours, &expected(&path));
            println!(
                "{stem}: equal {:.5}, max {}, mean {:.4}, signed {:.4?}",
                difference.equal, difference.max, difference.mean, difference.signed
            );
            found.push((stem.to_owned(), difference));
        }
    }
    assert!(!found.is_empty());
    found
}

/// Decoded exactly and resized exactly: JPEG too, since libjpeg-turbo's arithmetic is Pillow's.
#[test]
fn all_but_lossy_webp_are_pillows_value_for_value() {
    for (name, difference) in goldens(|image| image != "cat_lossy.webp") {
        assert!(difference.max == 0, "{name}: {:.5} equal, max {}", difference.equal, difference.max);
    }
}

#[test]
fn lossy_webp_is_close() {
    for (name, difference) in goldens(|image| image == "cat_lossy.webp") {
        assert!(difference.mean <= 1.5, "{name}: mean {}", difference.mean);
    }
}

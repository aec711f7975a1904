//! What a picture costs before the engine sees it: decoding once, then each task's resize and crop.

use divan::{Bencher, black_box};
use manylens::engine::patches;
use manylens::image::{DecodeLimits, Picture, Preset, decode};

fn main() {
    divan::main();
}

/// A photograph of the usual size, and one that a client shrank first.
const PICTURES: [&str; 2] = ["rocket_1024x768.jpg", "rocket_500x375.png"];

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/bench/{name}", env!("CARGO_MANIFEST_DIR")))
        .expect("a picture of the repository")
}

fn picture(name: &str) -> Picture {
    decode(&bytes(name), &DecodeLimits::default()).expect("a good picture")
}

#[divan::bench(args = PICTURES)]
fn decoding(bencher: Bencher<'_, '_>, name: &str) {
    let (bytes, limits) = (bytes(name), DecodeLimits::default());
    bencher.bench_local(|| decode(black_box(&bytes), &limits));
}

/// Pillow's `resize((224, 224), BICUBIC)`.
#[divan::bench(args = PICTURES)]
fn squash_224(bencher: Bencher<'_, '_>, name: &str) {
    let (picture, preprocess) = (picture(name), Preset::Vtab.at(224));
    bencher.bench_local(|| picture.pixels(black_box(&preprocess)));
}

/// The short edge to 248, of which only the crop's 224 are computed.
#[divan::bench(args = PICTURES)]
fn short_edge_248_crop_224(bencher: Bencher<'_, '_>, name: &str) {
    let (picture, preprocess) = (picture(name), Preset::Timm.at(224));
    bencher.bench_local(|| picture.pixels(black_box(&preprocess)));
}

/// Bytes to the flattened, normalised patches of a ViT-B/16.
#[divan::bench(args = PICTURES)]
fn whole(bencher: Bencher<'_, '_>, name: &str) {
    let (bytes, limits, preprocess) = (bytes(name), DecodeLimits::default(), Preset::Vtab.at(224));
    let mut flat = vec![0.0; 3 * 224 * 224];
    bencher.bench_local(|| {
        let pixels = decode(black_box(&bytes), &limits).unwrap().pixels(&preprocess).unwrap();
        patches::write(&pixels, &preprocess, 16, &mut flat);
    });
}

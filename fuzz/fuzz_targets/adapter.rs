//! An uploaded adapter file: reader and report never panic, a refusal names a fault, and what is read is written back.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use manylens::adapter::Layout;
use manylens::adapter::format::{Limits, Target, read, report, write};
use manylens::backbone::{Fingerprint, Shape};

struct World {
    shape: Shape,
    layout: Layout,
    fingerprint: Fingerprint,
}

/// The backbone of tests/data/formats/adapter-v1.safetensors, which is a good first input.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let shape = Shape { width: 4, depth: 2, heads: 2, mlp: 8, patch: 4, ..Shape::vit_b16() };
    World { layout: Layout::of(&shape), shape, fingerprint: Fingerprint(format!("sha256:{}", "0a".repeat(32))) }
});

fuzz_target!(|bytes: &[u8]| {
    let World { shape, layout, fingerprint } = &*WORLD;
    let target = Target { shape, layout, fingerprint, limits: Limits::default() };
    let report = report(bytes, Some(&target), &target.limits);
    match read(bytes, &target) {
        Ok(file) => {
            assert!(report.valid);
            assert_eq!(read(&write(&file, layout), &target).expect("what is written is read"), file);
        }
        Err(error) => assert!(!report.valid && !error.problems().is_empty()),
    }
});

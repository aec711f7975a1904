//! A backbone's checkpoint as a file: neither a Google archive with its arrays nor a safetensors container can make the
//! loader panic or take memory that they do not hold.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use manylens::backbone::{Files, LoadOptions, from_bytes};

const CONFIG: &[u8] = include_bytes!("../../tests/data/backbones/hf-dinov2-5-bf16/config.json");

fuzz_target!(|bytes: &[u8]| {
    for (name, config) in [("fuzz.npz", None), ("fuzz.safetensors", Some(CONFIG))] {
        let files = Files { path: Path::new(name), checkpoint: bytes, config };
        if let Err(error) = from_bytes(&files, &LoadOptions::default()) {
            assert!(!error.to_string().is_empty());
        }
    }
});

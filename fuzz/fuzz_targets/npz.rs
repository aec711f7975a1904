//! A Google checkpoint: neither the archive nor its arrays can make the loader panic or take memory that they do not
//! hold.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use manylens::backbone::{Files, LoadOptions, from_bytes};

fuzz_target!(|bytes: &[u8]| {
    let files = Files { path: Path::new("fuzz.npz"), checkpoint: bytes, config: None };
    if let Err(error) = from_bytes(&files, &LoadOptions::default()) {
        assert!(!error.to_string().is_empty());
    }
});

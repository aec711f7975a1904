//! A backbone's names, shapes and config.json. The input is the config, a zero byte, and one `name sizes…` line per
//! tensor; the tensors' values are zeros.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use manylens::backbone::{Files, LoadOptions, from_bytes};
use manylens::tensors::{Named, serialize};

/// Values of one tensor; larger ones would only be slow.
const VALUES_MAX: usize = 4096;

fuzz_target!(|input: &str| {
    let (config, lines) = input.split_once('\0').unwrap_or(("", input));
    let tensors: BTreeMap<&str, Vec<usize>> = lines.lines().filter_map(tensor).collect();
    let zeros = |(name, shape): (&&str, &Vec<usize>)| {
        let values = vec![0.0; shape.iter().product()];
        Named::f32(*name, shape.clone(), &values)
    };
    let checkpoint = serialize(&tensors.iter().map(zeros).collect::<Vec<_>>(), &BTreeMap::new());
    let config = Some(config.as_bytes()).filter(|config| !config.is_empty());
    let files = Files { path: Path::new("fuzz.safetensors"), checkpoint: &checkpoint, config };
    match from_bytes(&files, &LoadOptions::default()) {
        Ok(loaded) => assert!(loaded.weights.parameters() <= tensors.len() * VALUES_MAX * 2),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn tensor(line: &str) -> Option<(&str, Vec<usize>)> {
    let mut words = line.split(' ');
    let name = words.next().filter(|name| *name != "__metadata__")?;
    let shape: Vec<usize> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
    let values = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    values.filter(|&values| values <= VALUES_MAX).map(|_| (name, shape))
}

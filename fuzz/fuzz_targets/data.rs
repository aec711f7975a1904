//! Lists of labelled pictures: a CSV file, or, where the input has zero bytes, VTAB-1k's lists between them. Whatever
//! they say, no picture lies outside their folder and every class has a name.
#![no_main]

use std::fs;
use std::path::{Component, Path};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use manylens::train::data::{DataError, Dataset, read};
use tempfile::TempDir;

const CSV: &str = "data.csv";
const LISTS: [&str; 4] = ["classes.txt", "train800.txt", "val200.txt", "test.txt"];

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

fuzz_target!(|bytes: &[u8]| {
    let folder = FOLDER.path();
    match dataset(folder, bytes) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(data) => {
            for example in data.train.iter().chain(&data.validation).chain(&data.test) {
                let inside = example.path.strip_prefix(folder).expect("in the folder");
                assert!(inside.components().all(|part| matches!(part, Component::Normal(_))), "{inside:?}");
                assert!(example.targets.iter().all(|&target| target < data.labels.len()));
                assert!(data.multi_label || example.targets.len() == 1);
            }
        }
    }
});

fn dataset(folder: &Path, bytes: &[u8]) -> Result<Dataset, DataError> {
    if !bytes.contains(&0) {
        fs::write(folder.join(CSV), bytes).expect("written");
        return read(&folder.join(CSV));
    }
    for name in LISTS {
        let _ = fs::remove_file(folder.join(name));
    }
    for (name, text) in LISTS.iter().zip(bytes.split(|&byte| byte == 0)) {
        fs::write(folder.join(name), text).expect("written");
    }
    read(folder)
}

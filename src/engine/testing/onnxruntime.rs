//! The ONNX Runtime releases that tests run with: `make onnxruntime` puts them into cache/onnxruntime.

use std::path::{Path, PathBuf};
use std::process::Command;

const NEWEST: &str = "1.32.0";
const OLDEST: &str = "1.24.4";

/// Names the library's file or folder for a process.
const LIBRARY: &str = "MANYLENS_ONNXRUNTIME_LIB";
/// Threads of a child's pool.
const THREADS: &str = "MANYLENS_TEST_THREADS";
/// Set by who knows that the library cannot be had: its tests are then left out, else they fail.
const WITHOUT: &str = "MANYLENS_TEST_WITHOUT_ONNXRUNTIME";

/// The release that this process was told to use, else the newest one.
pub fn newest() -> Option<PathBuf> {
    std::env::var_os(LIBRARY).map(PathBuf::from).or_else(|| release(NEWEST))
}

/// The oldest release that we promise to load.
pub fn oldest() -> Option<PathBuf> {
    release(OLDEST)
}

/// Threads of this process's pool.
pub fn threads() -> usize {
    std::env::var(THREADS).map_or(2, |threads| threads.parse().expect("a number"))
}

/// Runs tests of this binary in a process of their own.
pub fn run_tests(filter: &str, library: &Path, threads: usize, flags: &[&str]) {
    let mut command = Command::new(std::env::current_exe().expect("this test binary"));
    command.arg(filter).args(flags).env(LIBRARY, library).env(THREADS, threads.to_string());
    let output = command.output().expect("the child starts");
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{}:\n{out}\n{err}", library.display());
    assert!(!out.contains("running 0 tests"), "no test is called {filter}");
}

/// `cache/onnxruntime/VERSION`, or that folder beside the library that this process was told to use.
fn release(version: &str) -> Option<PathBuf> {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("cache/onnxruntime");
    let told = std::env::var_os(LIBRARY).map(PathBuf::from);
    let beside = told.iter().flat_map(|path| path.ancestors().skip(1).take(2)).map(Path::to_owned);
    let found = std::iter::once(cache).chain(beside).map(|root| root.join(version)).find(|folder| folder.is_dir());
    let left_out = std::env::var_os(WITHOUT).is_some();
    assert!(found.is_some() || left_out, "ONNX Runtime {version} is not in cache/onnxruntime; run `make onnxruntime`");
    found
}

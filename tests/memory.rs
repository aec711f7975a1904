//! What resident adapters cost. Alone in its binary, because it measures the process.
#![cfg(target_os = "linux")]

use manylens::adapter::Layout;
use manylens::adapter::format::{self, Limits, Target};
use manylens::backbone::Shape;

const FILE: &[u8] = include_bytes!("../adapters/digits.safetensors");
const ADAPTERS: usize = 300;

/// Pages in memory times their size.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of kB")
}

#[test]
fn an_adapter_takes_no_more_memory_than_its_file() {
    let shape = Shape { width: 384, heads: 6, mlp: 1536, patch: 14, ..Shape::vit_b16() };
    let limits = Limits::default();
    let summary = format::report(FILE, None, &limits).summary.expect("an adapter");
    let fingerprint = &summary.backbone.expect("a fingerprint");
    let target = Target { shape: &shape, layout: &Layout::of(&shape), fingerprint, limits };
    let read = || format::read(FILE, &target).expect("a valid file").adapter;
    let _first = read();
    let before = resident_bytes();
    let adapters: Vec<_> = (0..ADAPTERS).map(|_| read()).collect();
    let each = (resident_bytes() - before) / ADAPTERS;
    println!("{each} bytes each, the file has {}", FILE.len());
    assert!(each * 10 <= FILE.len() * 12, "{each} bytes each, the file has {}", FILE.len());
    assert_eq!(adapters.len(), ADAPTERS);
}

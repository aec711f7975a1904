//! `--engine onnx` trains: the graphs of the training step, executed by ONNX Runtime on the processor.

use std::fs;
use std::path::Path;

use manylens::tensors::TensorFile;

use crate::bench::{Bench, TRAIN};

const FLAGS: [&str; 4] = ["--epochs", "4", "--fit-on", "all"];

fn is_left_out() -> bool {
    let left_out = std::env::var_os("MANYLENS_TEST_WITHOUT_ONNXRUNTIME").is_some();
    assert!(left_out || Path::new("cache/onnxruntime").is_dir(), "ONNX Runtime is missing; run `make onnxruntime`");
    left_out
}

/// Everything in an adapter file but its metadata, and but the key's shift: softmax ignores what is added to all keys, so
/// its gradient is rounding noise, of which AdamW makes steps of full size.
fn values(bytes: &[u8]) -> Vec<f32> {
    let file = TensorFile::parse(bytes).expect("an adapter file");
    let mut names = file.names();
    names.retain(|name| !name.contains("attn.k.shift") && !name.starts_with("probe"));
    names.sort();
    names.iter().flat_map(|name| file.f32(name).expect("there").expect("floats").1).collect()
}

/// With dropout, noise, and a last batch that is smaller than the others.
#[test]
fn the_graphs_train_to_what_the_kernels_train_to() {
    if is_left_out() {
        return;
    }
    let [native, onnx] = ["native", "onnx"].map(|engine| {
        let bench = Bench::new(engine);
        bench.write("train800.txt", TRAIN.trim_end().rsplit_once('\n').expect("lines").0);
        bench
    });
    let f32 = [&FLAGS[..], &["--precision", "f32"]].concat();
    let expected = values(&native.trained("a.safetensors", &f32));
    let caches = ["one", "other"].map(|name| onnx.path(name).display().to_string());
    let [one, other] = [("a.safetensors", &caches[0]), ("b.safetensors", &caches[1])]
        .map(|(out, cache)| onnx.trained(out, &[&FLAGS[..], &["--cache-dir", cache]].concat()));
    assert_eq!(one, other, "the same seed gives the same bytes");
    let found = values(&one);
    assert_eq!(found.len(), expected.len());
    let largest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);

    assert!(largest <= 1e-5, "{largest}");
}

#[test]
fn what_the_graphs_cannot_do_is_said_before_a_run_begins() {
    if is_left_out() {
        return;
    }
    let bench = Bench::new("onnx");
    let cache = bench.path("cache").display().to_string();
    let says = |flags: &[&str], part: &str| {
        let said = bench.refused(&[flags, &["--cache-dir", &cache]].concat());
        assert!(said.contains(part), "{said}");
        assert!(!bench.path("refused.run").exists());
    };
    says(&["--precision", "f16"], "the onnx engine trains in f32, not f16");
    says(&["--provider", "cuda"], "--provider cuda needs an ONNX Runtime that was built with it");
    fs::create_dir_all(bench.path("empty")).expect("made");
    let empty = bench.path("empty").display().to_string();
    says(&["--onnxruntime-lib", &empty], "was not found in");
}

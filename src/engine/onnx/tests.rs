use super::*;
use crate::backbone;
use crate::engine::testing::{Running, distance, onnxruntime, random, settings};

fn open(backbone: &Arc<Backbone>, weights: Weights) -> Option<Onnx> {
    let settings = EngineSettings { onnxruntime_lib: Some(onnxruntime::newest()?), ..settings() };
    Some(Onnx::new(backbone.clone(), weights, &settings).expect("the engine opens"))
}

fn tiny() -> (Arc<Backbone>, Weights) {
    let shape = Shape { width: 48, depth: 2, heads: 3, mlp: 96, patch: 4, ..Shape::vit_b16() };
    random::backbone(shape, 3, 800)
}

#[test]
fn tokens_are_the_oracles() {
    let (backbone, weights) = tiny();
    let reference = crate::engine::reference::Reference::<f64>::new(backbone.clone(), weights.clone(), 0);
    let Some(onnx) = open(&backbone, weights) else { return };
    let adapter = random::adapter(&backbone, 1);
    let lens = reference.prepare(adapter, Form::Bare).expect("nothing to prepare");
    let picture = random::picture((12, 12), 1);
    let [ours, expected] = [
        onnx.tokens(&lens, &picture).expect("runs").into_raw_vec_and_offset().0,
        reference.tokens(&lens, &picture).mapv(|v| v as f32).into_raw_vec_and_offset().0,
    ];
    assert!(distance(&ours, &expected) < 1e-4);
}

#[test]
fn merged_adapters_leave_no_files_behind() {
    let (backbone, weights) = tiny();
    let Some(onnx) = open(&backbone, weights) else { return };
    let running = Running::new(Arc::new(onnx));
    let _lens = running.lens(&random::adapter(&backbone, 1), Form::Merged);
    let folder = settings().cache_dir.join("onnx-1").join(backbone.fingerprint.0.trim_start_matches("sha256:"));
    let mut names: Vec<_> = std::fs::read_dir(folder).expect("there").flatten().map(|e| e.file_name()).collect();
    names.sort();
    assert_eq!(names, ["rescaled.onnx", "weights.safetensors"]);
}

#[test]
fn one_copy_of_the_weights_is_in_memory() {
    if let Some(library) = onnxruntime::newest() {
        onnxruntime::run_tests("engine::onnx::tests::resident_weights", &library, 2, &["--ignored"]);
    }
}

/// 22 million weights, served rescaled: they are mapped, and no second copy is on the heap.
#[test]
#[ignore = "needs a process of its own: one_copy_of_the_weights_is_in_memory"]
fn resident_weights() {
    let shape = Shape { width: 384, heads: 6, mlp: 1536, ..Shape::vit_b16() };
    let (backbone, weights) = backbone::random(shape, 64, 1);
    let bytes = weights.parameters() * size_of::<f32>();
    let backbone = Arc::new(backbone);
    let before = resident("RssAnon") - bytes;
    let mut running = Running::new(Arc::new(open(&backbone, weights).expect("the library is there")));
    let lens = running.lens(&random::adapter(&backbone, 1), Form::Rescaled);
    running.row(&lens, &random::picture((64, 64), 1));
    let heap = resident("RssAnon") - before;
    let mapped = resident("RssFile");
    assert!(heap < bytes / 2, "{heap} bytes of heap for {bytes} of weights");
    assert!(mapped >= bytes, "{mapped} bytes mapped of {bytes}");
}

/// Bytes of this process's memory of one kind.
fn resident(kind: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(kind)).expect("the kernel counts it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") * 1024
}

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::backbone;
use crate::engine::device::{Direction, Holding};
use crate::engine::head;
use crate::engine::reference::Reference;
use crate::engine::testing::{Running, distance, golden, onnxruntime, random, settings};

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
    let reference = Reference::<f64>::new(backbone.clone(), weights.clone(), 0);
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
    let folder = settings().cache_dir.join("onnx-2").join(backbone.fingerprint.0.trim_start_matches("sha256:"));
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

/// A batch of any tasks: for each group, which task and which pictures.
type Batch = Vec<(usize, Vec<usize>)>;

/// Mixed runs with fewer slots than tasks, cut and filled up: slots are taken over in the middle of traffic.
fn any_traffic_is_the_oracles(form: BatchForm) {
    const TASKS: usize = 6;
    const PICTURES: usize = 4;
    let Some(library) = onnxruntime::newest() else { return };
    for (backbone, weights) in golden::backbones() {
        let mut oracle = Running::new(Arc::new(Reference::<f32>::new(backbone.clone(), weights.clone(), 0)));
        let onnx =
            OnnxSettings { form: Some(form), adapter_slots: 3, pads_batches: Some(true), ..OnnxSettings::default() };
        let settings = EngineSettings { onnxruntime_lib: Some(library.clone()), onnx, ..settings() };
        let mut running = Running::new(Arc::new(Onnx::new(backbone.clone(), weights, &settings).expect("it opens")));
        let mut adapters = golden::adapters(&backbone);
        adapters.extend((0..TASKS as u64 - 2).map(|seed| random::adapter(&backbone, seed)));
        let side = backbone.image_size;
        let pictures: Vec<_> = (0..PICTURES as u64).map(|seed| random::picture((side, side), seed)).collect();
        let expected: Vec<Vec<_>> = adapters
            .iter()
            .map(|adapter| {
                let lens = oracle.lens(adapter, Form::Rescaled);
                pictures.iter().map(|picture| head::logits(adapter, &oracle.row(&lens, picture))).collect()
            })
            .collect();
        let lenses: Vec<_> = adapters.iter().map(|adapter| running.lens(adapter, Form::Rescaled)).collect();
        let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
        let group = (0..TASKS, prop::collection::vec(0..PICTURES, 1..4));
        let batches = prop::collection::vec(prop::collection::vec(group, 1..6), 1..4);
        let run = |batches: Vec<Batch>| {
            for batch in batches {
                let rows: Vec<Vec<_>> =
                    batch.iter().map(|(_, rows)| rows.iter().map(|&row| &pictures[row]).collect()).collect();
                let groups: Vec<_> =
                    batch.iter().zip(&rows).map(|((task, _), rows)| (&lenses[*task], &rows[..])).collect();
                let features = running.rows(&groups);
                let asked = batch.iter().flat_map(|(task, rows)| rows.iter().map(|&row| (*task, row)));
                for (features, (task, row)) in features.iter().zip(asked) {
                    let distance = distance(&head::logits(&adapters[task], features), &expected[task][row]);
                    prop_assert!(distance <= 1e-5, "task {task} row {row} of {batch:?}: {distance}");
                }
            }
            Ok(())
        };
        let run = std::cell::RefCell::new(run);
        TestRunner::new_with_rng(config, TestRunner::deterministic().rng().clone())
            .run(&batches, |batches| (run.borrow_mut())(batches))
            .unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn any_mixed_traffic_is_the_oracles() {
    any_traffic_is_the_oracles(BatchForm::Mixed);
}

#[test]
fn any_traffic_in_the_cheapest_form_is_the_oracles() {
    any_traffic_is_the_oracles(BatchForm::Auto);
}

#[test]
fn a_device_that_is_not_there_is_named_in_one_sentence() {
    let Some(library) = onnxruntime::newest() else { return };
    for provider in [Provider::Cuda, Provider::Tensorrt] {
        let (backbone, weights) = tiny();
        let onnx = OnnxSettings { provider, ..OnnxSettings::default() };
        let settings = EngineSettings { onnxruntime_lib: Some(library.clone()), onnx, ..settings() };
        let error = Onnx::new(backbone, weights, &settings).err().expect("this release has the CPU provider only");
        let message = error.to_string();
        assert!(message.contains(provider.name()) && message.contains("onnxruntime-gpu"), "{message}");
    }
}

/// The CPU provider with a table and fixed addresses counts as a device would.
#[test]
fn what_is_held_and_copied_is_counted() {
    let Some(library) = onnxruntime::newest() else { return };
    let (backbone, weights) = tiny();
    let onnx = OnnxSettings {
        form: Some(BatchForm::Mixed),
        adapter_slots: 3,
        pads_batches: Some(true),
        ..OnnxSettings::default()
    };
    let settings = EngineSettings { onnxruntime_lib: Some(library), onnx, ..settings() };
    let onnx = Arc::new(Onnx::new(backbone.clone(), weights, &settings).expect("it opens"));
    let meter = onnx.device().expect("counted");
    let mut running = Running::new(onnx);
    let adapter_bytes = size_of::<f32>() * Layout::of(&backbone.shape).len();
    let [one, two] = [1, 2].map(|seed| running.lens(&random::adapter(&backbone, seed), Form::Rescaled));
    let picture = random::picture((8, 8), 1);
    let rows = [&picture];
    let mut run = |lenses: &[&Lens]| {
        let before = Direction::ALL.map(|direction| meter.copied_bytes(direction));
        running.rows(&lenses.iter().map(|&lens| (lens, &rows[..])).collect::<Vec<_>>());
        Direction::ALL.map(|direction| meter.copied_bytes(direction) - before[direction as usize])
    };
    let features = 2 * backbone.shape.width * size_of::<f32>();
    let [first, back] = run(&[&one, &two]);
    let [second, _] = run(&[&one, &two]);
    assert_eq!(back, 2 * features as u64);
    assert_eq!(first - second, 2 * adapter_bytes as u64, "an adapter goes to the table once");
    assert_eq!(meter.memory_bytes(Holding::Adapters), 3 * adapter_bytes as u64);
    assert_eq!(meter.memory_bytes(Holding::Buffers), second + back, "one shape occurred");
    assert_eq!(meter.memory_bytes(Holding::Weights), 0, "they are mapped");
    assert!(meter.run_time() > std::time::Duration::ZERO && meter.replays() == 0);
    drop(running);
    assert_eq!(Holding::ALL.map(|kind| meter.memory_bytes(kind)), [0; 3]);
}

#[test]
fn bf16_needs_a_device() {
    let Some(library) = onnxruntime::newest() else { return };
    let (backbone, weights) = tiny();
    let settings = EngineSettings { onnxruntime_lib: Some(library), precision: Some(Precision::Bf16), ..settings() };
    let error = Onnx::new(backbone, weights, &settings).err().expect("the CPU provider has no bf16");
    assert!(error.to_string().contains("--provider cuda"), "{error}");
}

/// ARCHITECTURE.md quotes the bound; run with --nocapture for the figure.
#[test]
fn forms_and_buckets_differ_in_the_last_bits_only() {
    let Some(library) = onnxruntime::newest() else { return };
    let (backbone, weights) = golden::backbone();
    let adapter = golden::adapters(&backbone).remove(0);
    let side = backbone.image_size;
    let pictures: Vec<_> = (0..9).map(|seed| random::picture((side, side), seed)).collect();
    let logits = |form, pads, rows: usize| -> Vec<Vec<f32>> {
        let onnx = OnnxSettings { form: Some(form), pads_batches: Some(pads), ..OnnxSettings::default() };
        let settings = EngineSettings { onnxruntime_lib: Some(library.clone()), onnx, ..settings() };
        let onnx = Onnx::new(backbone.clone(), weights.clone(), &settings).expect("it opens");
        let mut running = Running::new(Arc::new(onnx));
        let lens = running.lens(&adapter, Form::Rescaled);
        let mut features = Vec::new();
        for pictures in pictures.chunks(rows) {
            features.extend(running.rows(&[(&lens, &pictures.iter().collect::<Vec<_>>())]));
        }
        features.iter().map(|row| head::logits(&adapter, row)).collect()
    };
    let expected = logits(BatchForm::Group, false, 9);
    let mut largest = 0.0f32;
    for form in [BatchForm::Group, BatchForm::Mixed] {
        for (pads, rows) in [(false, 1), (false, 4), (true, 1), (true, 3), (true, 9)] {
            let found = logits(form, pads, rows);
            largest = found.iter().zip(&expected).map(|(a, b)| distance(a, b)).fold(largest, f32::max);
        }
    }
    eprintln!("largest difference of logits between forms and buckets: {largest:e}");
    assert!(largest <= 2e-6, "{largest}");
}

//! The native engine's kernels, optimised and with AddressSanitizer: a network of any shape, batches of any groups, and a
//! training step. Rows have the same bits in company as alone, f32 is near the oracle, and gradients have the same bits
//! whatever is kept for the backward pass.
#![no_main]

use std::path::PathBuf;
use std::sync::Arc;

use libfuzzer_sys::{Corpus, fuzz_target};
use manylens::adapter::{self, Adapter};
use manylens::backbone::{self, Activation, Backbone, Shape};
use manylens::engine::native::{self, Native};
use manylens::engine::onnx::OnnxSettings;
use manylens::engine::reference::Reference;
use manylens::engine::training::{Pass, Perturb, TrainSettings};
use manylens::engine::{Backend, EngineSettings, Form, Group, Lens};
use manylens::image::Pixels;

/// What one input describes.
struct Case {
    shape: Shape,
    /// Patches on a side of the stored position table.
    grid: usize,
    /// Two picture sizes in patches.
    sizes: [(usize, usize); 2],
    /// Rows of each group; neighbours differ in adapter and picture size.
    groups: Vec<usize>,
    threads: usize,
    form: Form,
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some(case) = case(bytes) else { return Corpus::Reject };
    let (backbone, weights) = backbone::random(case.shape, case.grid * case.shape.patch, 1);
    let backbone = Arc::new(backbone);
    let adapters = [1, 2].map(|seed| Arc::new(adapter::random(&backbone, 2, seed)));
    let oracle = Reference::<f64>::new(backbone.clone(), weights.clone(), 1 << 30);
    let pictures = case.sizes.map(|(rows, columns)| picture(rows * case.shape.patch, columns * case.shape.patch));
    let expected = [0, 1].map(|i| alone(&oracle, &adapters[i], case.form, &pictures[i]));
    let pairs = case.shape.head_size().is_multiple_of(2) && case.shape.mlp.is_multiple_of(2);
    for kernel in native::kernels().into_iter().filter(|kernel| pairs || *kernel != "avx512-bf16") {
        let engine = Native::new(backbone.clone(), &weights, &settings(kernel, case.threads)).expect("it opens");
        let rows = [0, 1].map(|i| alone(&engine, &adapters[i], case.form, &pictures[i]));
        if engine.describe().precision == "f32" {
            rows.iter().zip(&expected).for_each(|(found, expected)| assert_near(found, expected, kernel));
        }
        together(&engine, &adapters, &pictures, &case, &rows);
        train(&engine, &backbone, &adapters[0], &pictures[0], case.groups[0]);
    }
    Corpus::Keep
});

fn case(bytes: &[u8]) -> Option<Case> {
    let mut bytes = bytes.iter().copied().map(usize::from);
    let mut up_to = |most: usize| bytes.next().map(|byte| 1 + byte % most);
    let (heads, head, depth, mlp) = (up_to(3)?, up_to(48)?, up_to(2)?, up_to(64)?);
    let shape = Shape {
        width: (2 + heads * head).next_multiple_of(heads),
        depth,
        heads,
        mlp,
        patch: up_to(6)?,
        prefix_tokens: up_to(4)? - 1,
        activation: if up_to(2)? == 1 { Activation::Gelu } else { Activation::GeluTanh },
        ..Shape::vit_b16()
    };
    let (grid, threads, form) = (up_to(4)?, up_to(3)?, [Form::Rescaled, Form::Merged, Form::Bare][up_to(3)? - 1]);
    let sizes = [(up_to(3)?, up_to(4)?), (up_to(4)?, up_to(3)?)];
    Some(Case { shape, grid, sizes, groups: vec![up_to(5)?, up_to(3)?, up_to(2)?], threads, form })
}

fn settings(kernel: &str, threads: usize) -> EngineSettings {
    EngineSettings {
        onnxruntime_lib: None,
        cache_dir: PathBuf::new(),
        precision: None,
        kernel: Some(kernel.to_owned()),
        onnx: OnnxSettings::default(),
        threads,
        merge_bytes_max: 1 << 30,
    }
}

fn picture(height: usize, width: usize) -> Pixels {
    let data: Vec<u8> = (0..3 * height * width).map(|at| (at * 37 % 251) as u8).collect();
    Pixels::U8 { height, width, data: data.into() }
}

/// Features of one row.
fn alone(backend: &dyn Backend, adapter: &Arc<Adapter>, form: Form, picture: &Pixels) -> Vec<f32> {
    let lens = backend.prepare(adapter.clone(), form).expect("a lens");
    let group = Group { lens: &lens, rows: vec![picture] };
    let features = backend.start().expect("it starts").run(&[group]).expect("it runs").remove(0);
    features.into_iter().collect()
}

fn together(
    engine: &Native,
    adapters: &[Arc<Adapter>; 2],
    pictures: &[Pixels; 2],
    case: &Case,
    expected: &[Vec<f32>; 2],
) {
    let lenses: [Lens; 2] = [0, 1].map(|i| engine.prepare(adapters[i].clone(), case.form).expect("a lens"));
    let group = |(i, &rows): (usize, &usize)| Group { lens: &lenses[i % 2], rows: vec![&pictures[i % 2]; rows] };
    let batch: Vec<_> = case.groups.iter().enumerate().map(group).collect();
    let answers = engine.start().expect("it starts").run(&batch).expect("it runs");
    for (i, features) in answers.iter().enumerate() {
        for row in features.rows() {
            assert!(row.iter().zip(&expected[i % 2]).all(|(a, b)| a.to_bits() == b.to_bits()), "group {i}");
        }
    }
}

fn train(engine: &Native, backbone: &Backbone, adapter: &Adapter, picture: &Pixels, rows: usize) {
    let depth = backbone.shape.depth;
    let perturb = Perturb { seed: 3, dropout: vec![0.2; depth], noise: vec![0.3; depth] };
    let pass = Pass {
        pictures: &vec![picture; rows],
        preprocess: &adapter.preprocess,
        position_rule: adapter.position_rule,
        vector: &adapter.rescale,
        perturb: &perturb,
    };
    let [little, much] = [0, usize::MAX].map(|memory_bytes_max| {
        let mut trainable = engine.trainable(&TrainSettings { memory_bytes_max }).expect("it trains");
        trainable.gradient(&pass, &mut |features| features.clone()).expect("it runs")
    });
    assert_eq!(little.len(), adapter.rescale.len());
    assert!(little.iter().zip(&much).all(|(a, b)| a.is_finite() && a.to_bits() == b.to_bits()));
}

fn assert_near(found: &[f32], expected: &[f32], kernel: &str) {
    let largest = expected.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
    let apart = found.iter().zip(expected).fold(0.0, |max: f32, (a, b)| max.max((a - b).abs()));
    assert!(apart <= 1e-3 * largest, "{kernel}: {apart} of {largest}");
}

use std::cell::RefCell;

use ndarray::Array2;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::backbone::{Activation, Backbone, Shape, Weights};
use crate::engine::onnx::Onnx;
use crate::engine::testing::{golden, onnxruntime, random, settings};
use crate::engine::training::Perturb;
use crate::engine::{EngineSettings, Precision};
use crate::image::Pixels;

fn trainer(backbone: &Arc<Backbone>, weights: Weights, memory_bytes_max: usize) -> Option<Trainer> {
    let settings = EngineSettings { onnxruntime_lib: Some(onnxruntime::newest()?), ..settings() };
    let onnx = Onnx::new(backbone.clone(), weights, &settings).expect("the engine opens");
    Some(Trainer::new(onnx.shared, TrainSettings { memory_bytes_max }).expect("it trains"))
}

/// A row's derivative depends on that row alone.
fn loss(features: &Array2<f32>) -> Array2<f32> {
    Array2::from_shape_fn(features.dim(), |at| (at.1 % 7) as f32 / 3.0 - 1.0 + 0.1 * features[at])
}

fn gradient(trainer: &mut Trainer, backbone: &Backbone, pictures: &[&Pixels], perturb: &Perturb) -> Vec<f32> {
    let adapter = random::adapter(backbone, 1);
    let pass = Pass {
        pictures,
        preprocess: &adapter.preprocess,
        position_rule: adapter.position_rule,
        vector: &adapter.rescale,
        perturb,
    };
    trainer.gradient(&pass, &mut loss).expect("it runs")
}

fn relative(a: &[f32], b: &[f32]) -> f32 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

/// One trainer for batches of any sizes, one after another, in memory that shrinks what is kept.
#[test]
fn a_batchs_gradient_is_the_sum_of_its_pictures() {
    let shape = Shape { width: 24, depth: 3, heads: 3, mlp: 40, patch: 4, ..Shape::vit_b16() };
    let (backbone, weights) = random::backbone(shape, 3, 900);
    let block_bytes = 10 * (7 * 24 + 2 * 40) * size_of::<f32>();
    let Some(trainer) = trainer(&backbone, weights, 12 * block_bytes).map(RefCell::new) else { return };
    let config = Config { cases: 8, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRunner::deterministic().rng().clone());
    let sum_of_singles = |(rows, seed): (usize, u64)| {
        let pictures: Vec<_> = (0..rows).map(|i| random::picture((12, 12), seed ^ i as u64)).collect();
        let pictures: Vec<_> = pictures.iter().collect();
        let whole = gradient(&mut trainer.borrow_mut(), &backbone, &pictures, &Perturb::none());
        let mut sum = vec![0.0; whole.len()];
        for picture in pictures {
            let one = gradient(&mut trainer.borrow_mut(), &backbone, &[picture], &Perturb::none());
            sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
        }
        let off = relative(&whole, &sum);
        prop_assert!(off <= 1e-5, "{} rows: {}", rows, off);
        prop_assert_eq!(trainer.borrow().halves.len(), 1);
        Ok(())
    };
    runner.run(&(1..12usize, any::<u64>()), sum_of_singles).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(trainer.borrow().kept < 3, "the memory is too much for this test");
}

/// What TensorRT gets.
#[test]
fn standard_operators_give_the_same_gradients() {
    for activation in [Activation::Gelu, Activation::GeluTanh] {
        let shape = Shape { width: 24, depth: 2, heads: 3, mlp: 40, patch: 4, activation, ..Shape::vit_b16() };
        let (backbone, weights) = random::backbone(shape, 3, 910);
        let Some(mut trainer) = trainer(&backbone, weights, usize::MAX) else { return };
        let pictures = [1, 2, 3].map(|seed| random::picture((12, 16), seed));
        let perturb = Perturb { seed: 3, dropout: vec![0.0, 0.3], noise: vec![0.5, 0.0] };
        let [fused, plain] = [Dialect::Fused, Dialect::Plain].map(|dialect| {
            trainer.dialect = dialect;
            gradient(&mut trainer, &backbone, &pictures.each_ref(), &perturb)
        });
        let off = relative(&plain, &fused);
        assert!(off <= 1e-5, "{activation:?}: {off}");
        let kind = Kind::of(&perturb, 1, Dialect::Plain);
        let graphs = write::halves(&shape, &trainer.shared.layout, &trainer.shared.operands, kind);
        assert!(graphs.iter().all(|graph| !String::from_utf8_lossy(graph).contains("com.microsoft")));
    }
}

#[test]
fn narrow_precisions_do_not_train() {
    let Some(library) = onnxruntime::newest() else { return };
    let (backbone, weights) = golden::backbone();
    let settings = EngineSettings { onnxruntime_lib: Some(library), precision: Some(Precision::F16), ..settings() };
    let onnx = Onnx::new(backbone, weights, &settings).expect("the engine opens");
    let error = Trainer::new(onnx.shared, TrainSettings { memory_bytes_max: 0 }).err().expect("it refuses");
    assert!(error.to_string().contains("trains in f32, not f16"), "{error}");
}

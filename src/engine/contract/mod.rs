//! What every engine promises, run over all of them. A new engine joins with one line in `engines`.

mod engines;
mod training;

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::reference::Reference;
use super::testing::{Running, distance, golden, random, same_bits};
use super::{Backend, Form, head};
use crate::adapter::{Adapter, Layout};
use crate::backbone::{Activation, Backbone, Shape, Weights};
use crate::image::Pixels;

/// An engine under test.
struct Subject {
    open: Box<dyn Fn(Arc<Backbone>, Weights) -> Arc<dyn Backend>>,
    tolerance: Tolerance,
    /// Whether it takes even head sizes and MLP widths only.
    pairs: bool,
}

/// How far an engine may be from what it should answer.
struct Tolerance {
    /// Golden logits, absolute; they reach 1.
    golden: f32,
    /// Features against the oracle in f64, relative to the largest.
    oracle: f32,
    /// Features of a neutral adapter against the bare backbone, relative to the largest; all bits where it is 0.
    neutral: f32,
    /// Features of the merged form against the rescaled one, relative to the largest.
    merged: f32,
    /// Gradients, ‖Δ‖ of a segment relative to ‖g‖.
    gradient: f32,
    /// What rounding leaves of the gradient of `attn.k.shift`, which is 0, relative to the whole gradient.
    zero: f64,
}

impl Tolerance {
    const F32: Self = Self { golden: 1e-5, oracle: 1e-4, neutral: 0.0, merged: 1e-4, gradient: 1e-5, zero: 0.01 };
    /// A bf16 keeps 8 bits: a rounding is up to 2^-9 of a value, and a block has some ten on its way, of random sign.
    const BF16: Self = Self { golden: 3e-2, oracle: 3e-2, neutral: 0.0, merged: 0.0, gradient: 5e-2, zero: 0.1 };
    /// An f16 keeps 11 bits; which roundings the runtime leaves out between operations is its own.
    const F16: Self = Self { golden: 5e-3, oracle: 1e-2, neutral: 1e-2, merged: 1e-2, gradient: 0.0, zero: 0.0 };
    const F64: Self = Self { golden: 1e-5, oracle: 1e-6, neutral: 0.0, merged: 1e-6, gradient: 1e-5, zero: 0.01 };
}

/// Shapes with everything that backbones have or lack.
fn shapes() -> Vec<(Shape, usize)> {
    let base = Shape { width: 48, depth: 2, heads: 3, mlp: 96, patch: 4, ..Shape::vit_b16() };
    vec![
        (base, 3),
        (Shape { prefix_tokens: 0, ..base }, 2),
        (Shape { prefix_tokens: 5, activation: Activation::GeluTanh, ..base }, 4),
        (Shape { width: 35, heads: 5, mlp: 33, patch: 3, ..base }, 3),
        (Shape { width: 192, depth: 1, mlp: 768, patch: 16, ..base }, 7),
    ]
}

/// All of one engine's promises on one backbone.
struct Bench {
    backbone: Arc<Backbone>,
    adapters: Vec<Arc<Adapter>>,
    running: Running,
}

impl Subject {
    fn shapes(&self) -> Vec<(Shape, usize)> {
        let fits = |shape: &Shape| !self.pairs || (shape.head_size().is_multiple_of(2) && shape.mlp.is_multiple_of(2));
        shapes().into_iter().filter(|(shape, _)| fits(shape)).collect()
    }

    fn running(&self, backbone: &Arc<Backbone>, weights: &Weights) -> Running {
        Running::new((self.open)(backbone.clone(), weights.clone()))
    }

    fn bench(&self, (shape, grid): (Shape, usize), seed: u64) -> Bench {
        let (backbone, weights) = random::backbone(shape, grid, seed);
        let running = self.running(&backbone, &weights);
        let adapters = (0..3).map(|i| random::adapter(&backbone, seed + 1 + i)).collect();
        Bench { backbone, adapters, running }
    }

    fn golden_logits(&self) {
        let (pictures, expected) = golden::forward();
        let pictures: Vec<_> = pictures.iter().collect();
        for (backbone, weights) in golden::backbones() {
            let mut running = self.running(&backbone, &weights);
            for adapter in golden::adapters(&backbone) {
                for form in [Form::Rescaled, Form::Merged] {
                    let lens = running.lens(&adapter, form);
                    let features = running.rows(&[(&lens, &pictures)]);
                    let logits: Vec<_> = features.iter().flat_map(|row| head::logits(&adapter, row)).collect();
                    let distance = distance(&logits, &expected);
                    assert!(distance <= self.tolerance.golden, "{form:?}: {distance}");
                }
            }
        }
    }

    fn neutral_adapter_is_the_bare_backbone(&self) {
        for (i, shape) in self.shapes().into_iter().enumerate() {
            let mut bench = self.bench(shape, 100 + i as u64);
            let mut neutral = Adapter::clone(&bench.adapters[0]);
            neutral.rescale = Layout::of(&bench.backbone.shape).neutral();
            let neutral = Arc::new(neutral);
            let [bare, rescaled] = [Form::Bare, Form::Rescaled].map(|form| bench.running.lens(&neutral, form));
            for size in bench.sizes() {
                let picture = random::picture(size, 7);
                let (bare, rescaled) = (bench.running.row(&bare, &picture), bench.running.row(&rescaled, &picture));
                let distance = relative(&rescaled, &bare);
                let is_near = if self.tolerance.neutral > 0.0 {
                    distance <= self.tolerance.neutral
                } else {
                    same_bits(&bare, &rescaled)
                };
                assert!(is_near, "{shape:?} {size:?}: {distance}");
            }
        }
    }

    fn merged_is_rescaled(&self) {
        for (i, shape) in self.shapes().into_iter().enumerate() {
            let mut bench = self.bench(shape, 200 + i as u64);
            let [merged, rescaled] =
                [Form::Merged, Form::Rescaled].map(|form| bench.running.lens(&bench.adapters[0], form));
            let picture = random::picture(bench.sizes()[0], 7);
            let distance = relative(&bench.running.row(&merged, &picture), &bench.running.row(&rescaled, &picture));
            assert!(distance <= self.tolerance.merged, "{shape:?}: {distance}");
        }
    }

    fn a_row_is_the_same_in_any_company(&self) {
        for (i, shape) in self.shapes().into_iter().enumerate() {
            for form in [Form::Rescaled, Form::Merged, Form::Bare] {
                self.bench(shape, 300 + i as u64).compare_companies(form);
            }
        }
    }

    fn a_bad_row_spoils_no_other(&self) {
        let mut bench = self.bench(shapes()[0], 400);
        let size = bench.sizes()[0];
        let good = random::picture(size, 1);
        let count = 3 * size.0 * size.1;
        let nan = Pixels::F32 { height: size.0, width: size.1, data: vec![f32::NAN; count].into() };
        let mut broken = Adapter::clone(&bench.adapters[1]);
        broken.rescale = vec![f32::NAN; broken.rescale.len()].into();
        for form in [Form::Rescaled, Form::Merged] {
            let lens = bench.running.lens(&bench.adapters[0], form);
            let broken = bench.running.lens(&Arc::new(broken.clone()), form);
            let expected = bench.running.row(&lens, &good);
            let rows = bench.running.rows(&[(&broken, &[&good]), (&lens, &[&good, &nan, &good]), (&lens, &[&good])]);
            for bad in [0, 2] {
                assert!(rows[bad].iter().all(|v| !v.is_finite()), "{form:?}: row {bad} must not look like an answer");
            }
            for good in [1, 3, 4] {
                assert!(same_bits(&rows[good], &expected), "{form:?}: row {good}");
            }
        }
    }

    fn a_merged_lens_says_what_it_keeps(&self) {
        let (backbone, weights) = random::backbone(shapes()[0].0, 3, 500);
        let lens = self.running(&backbone, &weights).lens(&random::adapter(&backbone, 1), Form::Merged);
        let linears = backbone.shape.depth * (4 * backbone.shape.width + 2 * backbone.shape.mlp) * backbone.shape.width;
        assert!(lens.prepared_bytes >= linears * size_of::<u16>(), "{}", lens.prepared_bytes);
    }

    fn any_shape_is_near_the_oracle(&self) {
        let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
        let run = |(shape, grid, size, seed)| {
            let (backbone, weights) = random::backbone(shape, grid, seed);
            let adapter = random::adapter(&backbone, seed);
            let picture = random::picture(size, seed);
            let mut oracle = Running::new(Arc::new(Reference::<f64>::new(backbone.clone(), weights.clone(), 0)));
            let expected = oracle.row(&oracle.lens(&adapter, Form::Rescaled), &picture);
            let mut running = self.running(&backbone, &weights);
            for form in [Form::Rescaled, Form::Merged] {
                let distance = relative(&running.row(&running.lens(&adapter, form), &picture), &expected);
                prop_assert!(distance <= self.tolerance.oracle, "{form:?}: {distance}");
            }
            Ok(())
        };
        TestRunner::new_with_rng(config, TestRunner::deterministic().rng().clone())
            .run(&any_network(self.pairs), run)
            .unwrap_or_else(|failure| panic!("{failure}"));
    }
}

impl Bench {
    /// Picture sizes: the backbone's own, and others that need a resampled position table.
    fn sizes(&self) -> [(usize, usize); 3] {
        let (patch, side) = (self.backbone.shape.patch, self.backbone.image_size);
        [(side, side), (side + patch, side), (2 * side, 2 * side)]
    }

    /// Every row alone, then the same rows in batches of other sizes, orders and neighbours.
    fn compare_companies(&mut self, form: Form) {
        let lenses: Vec<_> = self.adapters.iter().map(|adapter| self.running.lens(adapter, form)).collect();
        let sizes = self.sizes();
        let pictures: Vec<_> = (0..9).map(|i| random::picture(sizes[i % 3], i as u64)).collect();
        let alone: Vec<Vec<_>> = lenses
            .iter()
            .map(|lens| pictures.iter().map(|picture| self.running.row(lens, picture)).collect())
            .collect();
        for batch in batches() {
            let groups: Vec<_> = batch
                .iter()
                .map(|(lens, rows)| (&lenses[*lens], rows.iter().map(|&row| &pictures[row]).collect::<Vec<_>>()))
                .collect();
            let groups: Vec<_> = groups.iter().map(|(lens, rows)| (*lens, &rows[..])).collect();
            let together = self.running.rows(&groups);
            let expected = batch.iter().flat_map(|(lens, rows)| rows.iter().map(|&row| (*lens, row)));
            for (features, (lens, row)) in together.iter().zip(expected) {
                let expected = &alone[lens][row];
                let distance = distance(features, expected);
                let shape = &self.backbone.shape;
                assert!(
                    same_bits(features, expected),
                    "{form:?} {shape:?} lens {lens} row {row} of {batch:?}: {distance}"
                );
            }
        }
    }
}

/// Batches of (lens, rows): pictures 0, 3, 6 are of one size, so are 1, 4, 7 and 2, 5, 8.
fn batches() -> Vec<Vec<(usize, Vec<usize>)>> {
    vec![
        vec![(0, vec![0, 3, 6])],
        vec![(0, vec![6, 0, 0, 3, 3])],
        vec![(1, vec![1, 4]), (0, vec![0]), (2, vec![8, 5, 2]), (0, vec![7, 7, 7, 1])],
        vec![(2, vec![0, 3, 6, 3, 0, 6, 6, 0, 3, 0, 3, 6, 0, 3, 6, 6]), (1, vec![2])],
        vec![(0, vec![5; 8]), (0, vec![3; 7])],
    ]
}

/// Shape, stored grid, picture size, seed.
fn any_network(pairs: bool) -> impl Strategy<Value = (Shape, usize, (usize, usize), u64)> {
    let sizes = (1..=4usize, 1..=9usize, 1..=2usize, 1..=40usize, 1..=5usize, 0..=3usize);
    let rest = (any::<bool>(), 1..=4usize, (1..=4usize, 1..=4usize), any::<u64>());
    (sizes, rest).prop_map(
        move |((heads, head, depth, mlp, patch, prefix_tokens), (tanh, grid, (rows, columns), seed))| {
            let activation = if tanh { Activation::GeluTanh } else { Activation::Gelu };
            let width = 2 + heads * head;
            let width = width.next_multiple_of(if pairs { 2 * heads } else { heads });
            let mlp = if pairs { 2 * mlp } else { mlp };
            let shape = Shape { width, depth, heads, mlp, patch, prefix_tokens, activation, ..Shape::vit_b16() };
            (shape, grid, (rows * patch, columns * patch), seed)
        },
    )
}

fn relative(a: &[f32], b: &[f32]) -> f32 {
    distance(a, b) / b.iter().fold(0.0, |max: f32, v| max.max(v.abs()))
}

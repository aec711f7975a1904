//! What every engine promises that trains.

use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView2};

use super::{Subject, relative};
use crate::adapter::{Adapter, Layout};
use crate::backbone::{Backbone, Weights};
use crate::engine::Backend;
use crate::engine::reference::Reference;
use crate::engine::testing::{golden, random, same_bits};
use crate::engine::training::{Pass, Perturb, TrainSettings, Trainable};
use crate::image::Pixels;

const ROOM: TrainSettings = TrainSettings { memory_bytes_max: usize::MAX };

impl Subject {
    fn trainable(&self, backbone: &Arc<Backbone>, weights: &Weights, settings: &TrainSettings) -> Box<dyn Trainable> {
        (self.open)(backbone.clone(), weights.clone()).trainable(settings).expect("the engine trains")
    }

    /// Per segment ‖Δ‖ ≤ tolerance · ‖g‖ + 1e-7. Softmax ignores what is added to all keys, so the golden holds rounding
    /// noise for their shift.
    pub(super) fn golden_gradients(&self) {
        let (backbone, weights) = golden::backbone();
        let (pictures, labels) = (golden::forward().0, golden::labels());
        let pictures: Vec<_> = pictures.iter().collect();
        let (adapter, expected) = (golden::adapters(&backbone).remove(0), golden::gradient(&backbone));
        let calm = Perturb::none();
        let mut trainable = self.trainable(&backbone, &weights, &ROOM);
        let mut loss = |features: &Array2<f32>| cross_entropy_backward(&adapter, features, &labels);
        let gradient = trainable.gradient(&pass(&adapter, &pictures, &calm), &mut loss).expect("it runs");
        for segment in Layout::of(&backbone.shape).segments() {
            let (found, expected) = (&gradient[segment.range.clone()], &expected.rescale[segment.range.clone()]);
            let name = &segment.name;
            if name.ends_with("attn.k.shift") {
                assert!(norm(found) < 0.1 * f64::from(self.tolerance.gradient), "{name}: {}", norm(found));
                continue;
            }
            let (off, allowed) = (apart(found, expected), f64::from(self.tolerance.gradient) * norm(expected) + 1e-7);
            assert!(off <= allowed, "{name}: {off} of {}", norm(expected));
        }
    }

    /// With and without dropout and noise, on pictures of the stored grid and of another.
    pub(super) fn gradients_are_near_the_oracle(&self) {
        for (i, (shape, grid)) in self.shapes().into_iter().enumerate() {
            let (backbone, weights) = random::backbone(shape, grid, 600 + i as u64);
            let adapter = random::adapter(&backbone, 1);
            let oracle = Reference::<f64>::new(backbone.clone(), weights.clone(), 0);
            let mut oracle = oracle.trainable(&ROOM).expect("the oracle trains");
            let mut trainable = self.trainable(&backbone, &weights, &ROOM);
            for (size, perturb) in cases(&backbone) {
                let pictures: Vec<_> = (0..3).map(|i| random::picture(size, i)).collect();
                let pictures: Vec<_> = pictures.iter().collect();
                let pass = pass(&adapter, &pictures, &perturb);
                let expected = oracle.gradient(&pass, &mut any_loss).expect("it runs");
                let found = trainable.gradient(&pass, &mut any_loss).expect("it runs");
                // What is small beside the rest is rounding noise of the rest. Softmax ignores what is added to all keys:
                // the gradient of their shift is nothing else.
                let noise = |name: &str| {
                    norm(&expected) * if name.ends_with("attn.k.shift") { self.tolerance.zero } else { 0.01 }
                };
                for segment in Layout::of(&backbone.shape).segments() {
                    let (found, expected) = (&found[segment.range.clone()], &expected[segment.range.clone()]);
                    let name = &segment.name;
                    let relative = apart(found, expected) / (norm(expected) + noise(name));
                    assert!(relative <= f64::from(self.tolerance.gradient), "{shape:?} {perturb:?} {name}: {relative}");
                }
            }
        }
    }

    /// The loss sees what `features` answers, and the same pass gives the same bits.
    pub(super) fn gradients_are_those_of_the_features(&self) {
        let (shape, grid) = self.shapes()[0];
        let (backbone, weights) = random::backbone(shape, grid, 620);
        let adapter = random::adapter(&backbone, 1);
        let mut trainable = self.trainable(&backbone, &weights, &ROOM);
        for (size, perturb) in cases(&backbone) {
            let pictures: Vec<_> = (0..4).map(|i| random::picture(size, i)).collect();
            let pictures: Vec<_> = pictures.iter().collect();
            let pass = pass(&adapter, &pictures, &perturb);
            let features = trainable.features(&pass).expect("it runs");
            let mut run = || {
                let mut seen = Vec::new();
                let mut loss = |features: &Array2<f32>| {
                    seen = features.iter().copied().collect();
                    any_loss(features)
                };
                let gradient = trainable.gradient(&pass, &mut loss).expect("it runs");
                (gradient, seen)
            };
            let ((first, seen), (second, _)) = (run(), run());
            assert!(same_bits(&first, &second), "{perturb:?}");
            let distance = relative(&seen, features.as_slice().expect("row-major"));
            assert!(distance <= self.tolerance.oracle, "{perturb:?}: {distance}");
        }
    }

    /// What is computed again in the backward pass is what was computed in the forward pass, masks and noise included.
    pub(super) fn any_memory_gives_the_same_gradients(&self) {
        let (shape, grid) = self.shapes()[0];
        let (backbone, weights) = random::backbone(shape, grid, 640);
        let adapter = random::adapter(&backbone, 1);
        for (size, perturb) in cases(&backbone) {
            let pictures: Vec<_> = (0..3).map(|i| random::picture(size, i)).collect();
            let pictures: Vec<_> = pictures.iter().collect();
            let pass = pass(&adapter, &pictures, &perturb);
            let [little, much] = [0, usize::MAX].map(|memory_bytes_max| {
                let mut trainable = self.trainable(&backbone, &weights, &TrainSettings { memory_bytes_max });
                trainable.gradient(&pass, &mut any_loss).expect("it runs")
            });
            assert!(same_bits(&little, &much), "{perturb:?}");
        }
    }
}

impl Subject {
    /// Of a wide network with dropout and noise.
    pub(super) fn any_gradient(&self) -> Vec<f32> {
        let (shape, grid) = *self.shapes().last().expect("there are shapes");
        let (backbone, weights) = random::backbone(shape, grid, 660);
        let adapter = random::adapter(&backbone, 1);
        let mut trainable = self.trainable(&backbone, &weights, &ROOM);
        let (size, perturb) = cases(&backbone).swap_remove(3);
        let pictures: Vec<_> = (0..5).map(|i| random::picture(size, i)).collect();
        let pictures: Vec<_> = pictures.iter().collect();
        trainable.gradient(&pass(&adapter, &pictures, &perturb), &mut any_loss).expect("it runs")
    }
}

fn pass<'a>(adapter: &'a Adapter, pictures: &'a [&'a Pixels], perturb: &'a Perturb) -> Pass<'a> {
    Pass {
        pictures,
        preprocess: &adapter.preprocess,
        position_rule: adapter.position_rule,
        vector: &adapter.rescale,
        perturb,
    }
}

/// Picture sizes, each calm, with dropout, with noise, and with both.
fn cases(backbone: &Backbone) -> Vec<((usize, usize), Perturb)> {
    let (side, depth) = (backbone.image_size, backbone.shape.depth);
    let ramp = |to: f32| (0..depth).map(|block| to * (block + 1) as f32 / depth as f32).collect::<Vec<f32>>();
    let perturbs = [(0.0, 0.0), (0.3, 0.0), (0.0, 0.5), (0.3, 0.5)];
    let perturbs = perturbs.map(|(dropout, noise)| Perturb { seed: 9, dropout: ramp(dropout), noise: ramp(noise) });
    let size = [(side, side), (side + backbone.shape.patch, side)];
    size.into_iter().flat_map(|size| perturbs.clone().map(|perturb| (size, perturb))).collect()
}

/// The derivative of a loss that weighs every feature differently and is not linear.
fn any_loss(features: &Array2<f32>) -> Array2<f32> {
    let weight = |(row, column): (usize, usize)| ((3 * row + 7 * column) % 11) as f32 / 5.0 - 1.0;
    Array2::from_shape_fn(features.dim(), |at| weight(at) + 0.1 * features[at])
}

/// d mean cross-entropy / d features.
fn cross_entropy_backward(adapter: &Adapter, features: &Array2<f32>, labels: &[usize]) -> Array2<f32> {
    let width = features.ncols() / 2;
    let weight = ArrayView2::from_shape((adapter.head.classes(), width), &adapter.head.weight).expect("a head on CLS");
    let mut d = Array2::zeros(features.dim());
    for (row, &label) in labels.iter().enumerate() {
        let pooled = features.slice(ndarray::s![row, ..width]);
        let logits = (weight.dot(&pooled) + Array1::from(adapter.head.bias.clone())).mapv(f64::from);
        let sum: f64 = logits.iter().map(|l| l.exp()).sum();
        let mut d_logits = logits.mapv(|l| l.exp() / sum);
        d_logits[label] -= 1.0;
        let d_logits = d_logits.mapv(|d| (d / labels.len() as f64) as f32);
        d.slice_mut(ndarray::s![row, ..width]).assign(&d_logits.dot(&weight));
    }
    d
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

fn apart(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

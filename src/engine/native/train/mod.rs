//! The engine's training half: the adapter's gradient, with the frozen weights packed a second time, transposed.
//!
//! The gradient of the residual stream is f32; what is multiplied is of the kernel's precision, summed in f32. No
//! weight's gradient is ever stored: see [`reduce`].
#![allow(unsafe_code, reason = "calls kernels; each block says why its pointers are good")]

mod gradients;
mod reduce;

use std::sync::Arc;

use ndarray::Array2;

use super::batch::Group;
use super::buffer::{Matrix, pitch};
use super::ops::Forward;
use super::team::Team;
use super::weights::Linears;
use super::{Shared, kernel::Kernel};
use crate::engine::training::{Pass, Perturb, TrainSettings, Trainable};
use crate::engine::{EngineError, patches};
use crate::vit::{self, Layer, LinearAt};

/// A worker that trains.
pub struct Trainer {
    shared: Arc<Shared>,
    team: Team,
    settings: TrainSettings,
}

/// One pass: the forward half, and what the backward half needs.
struct Training<'a> {
    forward: Forward<'a>,
    transposed: &'a Linears,
    perturb: &'a Perturb,
    /// The adapter without noise.
    vector: &'a [f32],
    /// As many as the widest layer has inputs.
    zeros: Vec<f32>,
    gradient: Vec<f32>,
}

impl Trainer {
    /// Packs the transposed weights, unless another trainer has.
    pub fn new(shared: Arc<Shared>, settings: TrainSettings) -> Self {
        let team = Team::new(shared.kernel, shared.threads);
        Self { shared, team, settings }
    }

    fn run<T>(&mut self, pass: &Pass<'_>, f: impl FnOnce(&mut Training<'_>) -> T) -> T {
        let shared = &*self.shared;
        let vectors = noisy_vectors(shared, pass);
        let groups = groups(shared, pass, &vectors);
        let linears = || shared.packed.linears().transposed(shared.threads);
        let shape = &shared.backbone.shape;
        f(&mut Training {
            forward: shared.forward(&mut self.team, &groups),
            transposed: shared.transposed.get_or_init(linears),
            perturb: pass.perturb,
            vector: pass.vector,
            zeros: vec![0.0; pitch(shape.width.max(shape.mlp))],
            gradient: vec![0.0; shared.layout.len()],
        })
    }

    /// Blocks whose insides fit into the memory.
    fn kept(&self, pass: &Pass<'_>) -> usize {
        let shape = &self.shared.backbone.shape;
        let (height, width) = pass.pictures[0].size();
        let (narrow, wide) = (pitch(shape.width), pitch(shape.mlp));
        // Two norms, q, k, v and attention, the MLP's inside before and after its activation; the middle of the stream.
        let elements = (6 * narrow + 2 * wide) * element_size(self.shared.kernel);
        let token = elements + narrow * size_of::<f32>();
        self.settings.memory_bytes_max / (pass.pictures.len() * shape.tokens(height, width) * token).max(1)
    }
}

impl Trainable for Trainer {
    fn features(&mut self, pass: &Pass<'_>) -> Result<Array2<f32>, EngineError> {
        let depth = self.shared.backbone.shape.depth;
        Ok(self.run(pass, |training| vit::forward(training, depth, &())))
    }

    fn gradient(
        &mut self,
        pass: &Pass<'_>,
        loss: &mut dyn FnMut(&Array2<f32>) -> Array2<f32>,
    ) -> Result<Vec<f32>, EngineError> {
        let (depth, kept) = (self.shared.backbone.shape.depth, self.kept(pass));
        Ok(self.run(pass, |training| {
            vit::gradient(training, depth, kept, &(), loss);
            std::mem::take(&mut training.gradient)
        }))
    }
}

fn element_size(kernel: &Kernel) -> usize {
    size_of::<u32>() / kernel.precision.per_word()
}

/// The adapter as each picture meets it, scale_out and shift times the picture's noise; none without noise.
fn noisy_vectors(shared: &Shared, pass: &Pass<'_>) -> Vec<Vec<f32>> {
    let depth = shared.backbone.shape.depth;
    let places = (0..depth).flat_map(|block| Layer::ALL.map(|layer| LinearAt { block, layer }));
    let noisy: Vec<_> = places.filter(|&at| pass.perturb.is_noisy(at)).collect();
    let vector = |picture| {
        let mut vector = pass.vector.to_vec();
        for &at in &noisy {
            let range = shared.layout.linear(at);
            for (output, (scale_out, shift)) in range.scale_out.zip(range.shift).enumerate() {
                let noise = pass.perturb.noise(at, picture, output);
                vector[scale_out] *= noise;
                vector[shift] *= noise;
            }
        }
        vector
    };
    let pictures = if noisy.is_empty() { 0 } else { pass.pictures.len() };
    (0..pictures).map(vector).collect()
}

/// All pictures as one group, or each as one of its own where each has a vector of its own.
fn groups<'a>(shared: &Shared, pass: &Pass<'a>, vectors: &'a [Vec<f32>]) -> Vec<Group<'a>> {
    let shape = &shared.backbone.shape;
    let (height, width) = pass.pictures[0].size();
    let (tokens, grid) = (shape.tokens(height, width), patches::grid(pass.pictures[0], shape.patch));
    let rows = if vectors.is_empty() { pass.pictures.len() } else { 1 };
    let group = |(index, pictures): (usize, &'a [&'a crate::image::Pixels])| Group {
        rows: pictures,
        preprocess: pass.preprocess,
        grid,
        positions: shared.positions.get(pass.position_rule, grid),
        vector: Some(vectors.get(index).map_or(pass.vector, |vector| vector)),
        merged: None,
        tokens,
        first: index * rows * tokens,
        first_patch: index * rows * grid.0 * grid.1,
    };
    pass.pictures.chunks(rows).enumerate().map(group).collect()
}

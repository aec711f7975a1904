//! Dropout and noise as inputs of graphs: the very bits that every engine sees.

use crate::backbone::Shape;
use crate::engine::onnx::session::{Input, Values};
use crate::engine::training::{Pass, Perturb};
use crate::parallel;
use crate::vit::{Layer, LinearAt};

/// Layers whose outputs are dropped, in the order of the input `masks`.
pub const DROPPED: [Layer; 2] = [Layer::Proj, Layer::Fc2];

/// The inputs of one pass; empty where nothing is perturbed.
pub struct Perturbation {
    rows: usize,
    /// `[2 * depth, rows, tokens, width]`: 1 where a value is kept.
    masks: Vec<u8>,
    masks_shape: Vec<usize>,
    /// What is kept is multiplied with it, for each block.
    factors: Vec<f32>,
    /// `[rows, noises]`: of every output of every linear, block after block, in the order of [`Layer::ALL`].
    noise: Vec<f32>,
}

impl Perturbation {
    /// Of a pass over a backbone of that shape.
    pub fn of(pass: &Pass<'_>, shape: &Shape, threads: usize) -> Self {
        let perturb = pass.perturb;
        let (rows, (height, width)) = (pass.pictures.len(), pass.pictures[0].size());
        let tokens = shape.tokens(height, width);
        let drops = if drops(perturb) { DROPPED.len() * shape.depth } else { 0 };
        let mask = |index| {
            let at = LinearAt { block: index / DROPPED.len(), layer: DROPPED[index % DROPPED.len()] };
            mask(perturb, at, [rows, tokens, shape.width])
        };
        let rows_noisy = if is_noisy(perturb) { rows } else { 0 };
        Self {
            rows,
            masks: parallel::map(drops, threads, mask).concat(),
            masks_shape: vec![drops, rows, tokens, shape.width],
            factors: (0..shape.depth).map(|block| perturb.kept(block)).collect(),
            noise: parallel::map(rows_noisy, threads, |picture| noise(perturb, shape, picture)).concat(),
        }
    }

    /// For a graph that was written for such passes.
    pub fn inputs(&self) -> Vec<Input<'_>> {
        let mut inputs = Vec::new();
        if !self.masks.is_empty() {
            inputs.push(Input { name: "masks", shape: self.masks_shape.clone(), values: Values::U8(&self.masks) });
            inputs.push(Input { name: "kept", shape: vec![self.factors.len()], values: Values::F32(&self.factors) });
        }
        if !self.noise.is_empty() {
            let shape = vec![self.rows, self.noise.len() / self.rows];
            inputs.push(Input { name: "noise", shape, values: Values::F32(&self.noise) });
        }
        inputs
    }
}

/// Whether any value may be dropped.
pub fn drops(perturb: &Perturb) -> bool {
    perturb.dropout.iter().any(|&rate| rate > 0.0)
}

/// Whether any linear is noisy.
pub fn is_noisy(perturb: &Perturb) -> bool {
    perturb.noise.iter().any(|&deviation| deviation > 0.0)
}

/// Every linear and how many outputs it has, in the order of the input `noise`.
pub fn outputs(shape: &Shape) -> impl Iterator<Item = (LinearAt, usize)> {
    let Shape { width, mlp, depth, .. } = *shape;
    let places = (0..depth).flat_map(|block| Layer::ALL.map(|layer| LinearAt { block, layer }));
    places.map(move |at| (at, if at.layer == Layer::Fc1 { mlp } else { width }))
}

fn mask(perturb: &Perturb, at: LinearAt, [rows, tokens, width]: [usize; 3]) -> Vec<u8> {
    let mut mask = vec![1; rows * tokens * width];
    for (index, row) in mask.chunks_exact_mut(width).enumerate() {
        if let Some(keep) = perturb.keep_row(at, index / tokens, index % tokens) {
            row.iter_mut().enumerate().for_each(|(column, kept)| *kept = u8::from(keep.factor(column) > 0.0));
        }
    }
    mask
}

fn noise(perturb: &Perturb, shape: &Shape, picture: usize) -> Vec<f32> {
    outputs(shape).flat_map(|(at, count)| (0..count).map(move |output| perturb.noise(at, picture, output))).collect()
}

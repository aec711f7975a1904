use std::collections::BTreeMap;

use ndarray::{ArrayView2, ArrayView4};

use super::error::BackboneProblem;
use super::inventory::Inventory;
use super::names::{Arrangement, Half, Part, Slot};
use super::plan::Plan;
use super::source::Source;
use super::{Shape, Tensor, Weights};
use crate::vit::{Layer, LinearAt, NormAt};

/// Reads every tensor of a complete inventory and brings it to its canonical name, arrangement and shape.
pub(super) fn weights(
    source: &dyn Source,
    inventory: &Inventory,
    plan: &Plan,
) -> Result<Weights, Vec<BackboneProblem>> {
    let mut reader = Reader { source, inventory, plan, weights: BTreeMap::new(), problems: Vec::new() };
    reader.patch_embed();
    reader.positions();
    for block in 0..plan.shape.depth {
        reader.block(block);
    }
    reader.norm(Part::Norm, NormAt::Final, 0);
    reader.problems.sort();
    if reader.problems.is_empty() { Ok(Weights(reader.weights)) } else { Err(reader.problems) }
}

struct Reader<'a> {
    source: &'a dyn Source,
    inventory: &'a Inventory,
    plan: &'a Plan,
    weights: BTreeMap<String, Tensor>,
    problems: Vec<BackboneProblem>,
}

impl Reader<'_> {
    fn shape(&self) -> &Shape {
        &self.plan.shape
    }

    /// The values of a place, row-major as stored. After a problem, zeros of no importance: nothing is returned then.
    fn read(&mut self, part: Part, block: usize, half: Half) -> Vec<f32> {
        let name = self.inventory.name(Slot { part, block, half });
        let problem = match self.source.read(&name) {
            Ok(values) => match values.iter().filter(|v| !v.is_finite()).count() {
                0 => return values,
                wrong => format!("{wrong} of {} values are not finite", values.len()),
            },
            Err(why) => why,
        };
        self.problems.push(BackboneProblem::new(name, problem));
        Vec::new()
    }

    fn put(&mut self, name: String, shape: Vec<usize>, data: Vec<f32>) {
        // A tensor that could not be read has its problem already.
        if data.len() == shape.iter().product::<usize>() {
            self.weights.insert(name, Tensor { shape, data });
        }
    }

    fn patch_embed(&mut self) {
        let &Shape { width, patch, channels, .. } = self.shape();
        let mut weight = self.read(Part::PatchEmbed, 0, Half::Weight);
        if self.inventory.spelling.arrangement == Arrangement::Flax
            && let Ok(stored) = ArrayView4::from_shape((patch, patch, channels, width), &weight)
        {
            weight = stored.permuted_axes([3, 2, 0, 1]).iter().copied().collect();
        }
        let bias = self.read(Part::PatchEmbed, 0, Half::Bias);
        self.put("patch_embed.weight".into(), vec![width, self.shape().patch_values()], weight);
        self.put("patch_embed.bias".into(), vec![width], bias);
    }

    /// Prefix tokens take the first rows of the position table into themselves.
    fn positions(&mut self) {
        let Plan { shape: Shape { width, prefix_tokens, .. }, grid, position_rows, .. } = *self.plan;
        let mut table = self.read(Part::Positions, 0, Half::Whole);
        let patches = table.split_off(table.len().min(position_rows * width));
        self.put("pos_embed".into(), vec![grid.0 * grid.1, width], patches);
        if prefix_tokens == 0 {
            return;
        }
        let mut tokens = self.read(Part::ClsToken, 0, Half::Whole);
        if prefix_tokens > 1 {
            tokens.extend(self.read(Part::Registers, 0, Half::Whole));
        }
        tokens.iter_mut().zip(table).for_each(|(token, position)| *token += position);
        self.put("prefix_tokens".into(), vec![prefix_tokens, width], tokens);
    }

    fn block(&mut self, block: usize) {
        let &Shape { width, mlp, .. } = self.shape();
        self.norm(Part::Norm1, NormAt::Attention(block), block);
        self.norm(Part::Norm2, NormAt::Mlp(block), block);
        if self.inventory.spelling.is_fused() {
            self.fused(block);
        } else {
            for layer in [Layer::Q, Layer::K, Layer::V] {
                let bias = self.plan.qkv_bias;
                self.linear(layer, block, (width, width), bias);
            }
        }
        self.linear(Layer::Proj, block, (width, width), true);
        self.linear(Layer::Fc1, block, (mlp, width), true);
        self.linear(Layer::Fc2, block, (width, mlp), true);
    }

    fn norm(&mut self, part: Part, at: NormAt, block: usize) {
        let width = self.shape().width;
        for (half, name) in [(Half::Weight, "weight"), (Half::Bias, "bias")] {
            let values = self.read(part, block, half);
            self.put(format!("{at}.{name}"), vec![width], values);
        }
    }

    /// q, k and v are thirds of one matrix along its outputs.
    fn fused(&mut self, block: usize) {
        let width = self.shape().width;
        let weight = self.read(Part::Qkv, block, Half::Weight);
        let bias = if self.plan.qkv_bias { self.read(Part::Qkv, block, Half::Bias) } else { vec![0.0; 3 * width] };
        let thirds = weight.chunks(width * width).zip(bias.chunks(width));
        for (layer, (weight, bias)) in [Layer::Q, Layer::K, Layer::V].into_iter().zip(thirds) {
            self.put_linear(LinearAt { block, layer }, (width, width), (weight.to_vec(), bias.to_vec()));
        }
    }

    fn linear(&mut self, layer: Layer, block: usize, (outputs, inputs): (usize, usize), has_bias: bool) {
        let mut weight = self.read(Part::Linear(layer), block, Half::Weight);
        if self.inventory.spelling.arrangement == Arrangement::Flax
            && let Ok(stored) = ArrayView2::from_shape((inputs, outputs), &weight)
        {
            weight = stored.t().iter().copied().collect();
        }
        let mut bias = if has_bias { self.read(Part::Linear(layer), block, Half::Bias) } else { vec![0.0; outputs] };
        if self.plan.layer_scale && matches!(layer, Layer::Proj | Layer::Fc2) {
            let scale = self.read(Part::LayerScale(layer), block, Half::Whole);
            fold(&scale, inputs, &mut weight, &mut bias);
        }
        self.put_linear(LinearAt { block, layer }, (outputs, inputs), (weight, bias));
    }

    fn put_linear(&mut self, at: LinearAt, (outputs, inputs): (usize, usize), (weight, bias): (Vec<f32>, Vec<f32>)) {
        self.put(format!("{at}.weight"), vec![outputs, inputs], weight);
        self.put(format!("{at}.bias"), vec![outputs], bias);
    }
}

/// γ (W x + b) = (γ W) x + γ b, one product rounded to f32 each.
fn fold(scale: &[f32], inputs: usize, weight: &mut [f32], bias: &mut [f32]) {
    for ((row, bias), scale) in weight.chunks_exact_mut(inputs).zip(bias).zip(scale) {
        row.iter_mut().for_each(|w| *w *= scale);
        *bias *= scale;
    }
}

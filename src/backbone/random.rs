use std::collections::BTreeMap;

use super::{Backbone, PositionRule, Shape, Tensor, Weights, fingerprint};
use crate::random::Random;
use crate::vit::{Layer, LinearAt, NormAt};

/// A backbone with random weights that keep activations near 1, for pictures of `image_size` pixels: the same for the
/// same arguments. For benchmarks and tests.
pub fn random(shape: Shape, image_size: usize, seed: u64) -> (Backbone, Weights) {
    let mut writer = Writer { random: Random::seeded(seed), tensors: BTreeMap::new() };
    writer.network(&shape);
    let side = image_size / shape.patch;
    writer.put("pos_embed".into(), vec![side * side, shape.width], 0.0, 0.5);
    let weights = Weights(writer.tensors);
    let backbone = Backbone {
        shape,
        fingerprint: fingerprint(&shape, &weights),
        stored_grid: (side, side),
        image_size,
        position_rule: PositionRule::BicubicSize,
        position_table: weights.tensor("pos_embed").data.as_slice().into(),
    };
    (backbone, weights)
}

struct Writer {
    random: Random,
    tensors: BTreeMap<String, Tensor>,
}

impl Writer {
    fn put(&mut self, name: String, shape: Vec<usize>, center: f32, spread: f32) {
        let data = self.random.values(shape.iter().product(), center, spread);
        self.tensors.insert(name, Tensor { shape, data });
    }

    /// Outputs of variance 1 for inputs of variance 1.
    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a layer has far fewer than 2^24 inputs")]
        let spread = (3.0 / inputs as f32).sqrt();
        self.put(format!("{name}.weight"), vec![outputs, inputs], 0.0, spread);
        self.put(format!("{name}.bias"), vec![outputs], 0.0, 0.1);
    }

    fn norm(&mut self, at: NormAt, width: usize) {
        self.put(format!("{at}.weight"), vec![width], 1.0, 0.2);
        self.put(format!("{at}.bias"), vec![width], 0.0, 0.2);
    }

    fn network(&mut self, shape: &Shape) {
        let width = shape.width;
        self.linear("patch_embed", shape.patch_values(), width);
        if shape.prefix_tokens > 0 {
            self.put("prefix_tokens".into(), vec![shape.prefix_tokens, width], 0.0, 1.0);
        }
        for block in 0..shape.depth {
            self.norm(NormAt::Attention(block), width);
            self.norm(NormAt::Mlp(block), width);
            for layer in Layer::ALL {
                let (inputs, outputs) = match layer {
                    Layer::Fc1 => (width, shape.mlp),
                    Layer::Fc2 => (shape.mlp, width),
                    Layer::Q | Layer::K | Layer::V | Layer::Proj => (width, width),
                };
                self.linear(&LinearAt { block, layer }.to_string(), inputs, outputs);
            }
        }
        self.norm(NormAt::Final, width);
    }
}

//! The derivatives of the network's operations, as writers.

use super::write::Training;
use crate::adapter::SsfRange;
use crate::backbone::{Activation, Shape};
use crate::engine::onnx::graph::{Attribute, Element, Value, as_i64};
use crate::engine::onnx::ops::{Constants, Pictures};
use crate::vit::{Gradients, Layer, LinearAt, NormAt, Ops, Then};

use Attribute::{Float, Int, Ints};

impl<C: Constants> Ops for Training<'_, C> {
    type Pictures = Pictures;
    type Act = Value;
    type Qkv = [Value; 3];
    type Features = Value;

    fn embed(&mut self, pictures: &Pictures) -> Value {
        self.writer.embed(pictures)
    }

    fn norm(&mut self, x: &Value, at: NormAt) -> Value {
        self.writer.norm(x, at)
    }

    fn qkv(&mut self, x: &Value, block: usize) -> [Value; 3] {
        self.writer.qkv(x, block)
    }

    fn attend(&mut self, qkv: &[Value; 3]) -> Value {
        self.writer.attend(qkv)
    }

    fn linear(&mut self, x: &Value, at: LinearAt, then: Then<'_, Value>) -> Value {
        self.writer.graph.enter(at);
        let y = self.writer.adapted_linear(x, at);
        match then {
            Then::Activate => self.writer.activate(&y),
            Then::Add(residual) => {
                let y = self.dropped(&y, at);
                self.writer.graph.op("Add", &[&y, residual], &[])
            }
        }
    }

    fn pool(&mut self, x: &Value) -> Value {
        self.writer.pool(x)
    }
}

impl<C: Constants> Gradients for Training<'_, C> {
    /// Before and after the activation.
    type Hidden = [Value; 2];

    fn up(&mut self, x: &Value, block: usize) -> [Value; 2] {
        let at = LinearAt { block, layer: Layer::Fc1 };
        self.writer.graph.enter(at);
        let before = self.writer.adapted_linear(x, at);
        let after = self.writer.activate(&before);
        [before, after]
    }

    fn down(&mut self, [_, after]: &[Value; 2], block: usize, residual: &Value) -> Value {
        self.linear(after, LinearAt { block, layer: Layer::Fc2 }, Then::Add(residual))
    }

    /// The first operation of the second half.
    fn pool_backward(&mut self, d: &Value, x: &Value) -> Value {
        self.adapt(".again");
        let Shape { width, prefix_tokens, .. } = *self.writer.shape;
        let graph = &mut self.writer.graph;
        graph.enter("pool");
        let first = [("start", Int(0)), ("end", Int(1))];
        let [rows, all] = [d, x].map(|x| graph.op("Shape", &[x], &first));
        let tokens = graph.op("Div", &[&all, &rows], &[]);
        let rest = graph.ints(&[-1]);
        self.writer.token_shape = Some(graph.op("Concat", &[&rows, &tokens, &rest], &[("axis", Int(0))]));
        let [prefix, columns, axis] = [as_i64(prefix_tokens), as_i64(width), 1].map(|n| graph.ints(&[n]));
        let patches = graph.op("Sub", &[&tokens, &prefix], &[]);
        let [cls, mean] = graph.halve(d, 1).map(|half| graph.op("Unsqueeze", &[&half, &axis], &[]));
        let count = graph.cast(&patches, Element::F32);
        let mean = graph.op("Div", &[&mean, &count], &[]);
        let sizes = graph.op("Concat", &[&rows, &patches, &columns], &[("axis", Int(0))]);
        let mut d_x = graph.op("Expand", &[&mean, &sizes], &[]);
        if prefix_tokens > 0 {
            let registers = graph.ints(&[as_i64(prefix_tokens - 1)]);
            let zero = self.writer.scalar("none", 0.0);
            let graph = &mut self.writer.graph;
            let sizes = graph.op("Concat", &[&rows, &registers, &columns], &[("axis", Int(0))]);
            let zeros = graph.op("Expand", &[&zero, &sizes], &[]);
            d_x = graph.op("Concat", &[&cls, &zeros, &d_x], &[("axis", Int(1))]);
        }
        self.writer.flatten(&d_x, width)
    }

    fn norm_backward(&mut self, x: &Value, d: Value, at: NormAt, d_residual: Option<Value>) -> Value {
        self.writer.graph.enter(at);
        let (frozen, width) = (self.writer.frozen(&at.to_string()), self.writer.shape.width);
        let [standard, per_deviation] = self.standardised(x);
        let range = self.writer.layout.norm(at);
        let part = self.norm_parts(&standard, &d, &frozen, &range);
        let graph = &mut self.writer.graph;
        // d x = (d - mean(d) - standard · mean(d ∘ standard)) / deviation, behind gain and scale.
        let slope = graph.op("Mul", &[&frozen[0], &self.segments[&range.scale.start]], &[]);
        let d = graph.op("Mul", &[&d, &slope], &[]);
        let mean = [("axes", Ints(vec![-1])), ("keepdims", Int(1))];
        let along = graph.op("Mul", &[&d, &standard], &[]);
        let along = graph.op("ReduceMean", &[&along], &mean);
        let along = graph.op("Mul", &[&standard, &along], &[]);
        let level = graph.op("ReduceMean", &[&d], &mean);
        let d = graph.op("Sub", &[&d, &level], &[]);
        let d = graph.op("Sub", &[&d, &along], &[]);
        let mut d = graph.op("Mul", &[&d, &per_deviation], &[]);
        if let Some(residual) = d_residual {
            d = graph.op("Add", &[&d, &residual], &[]);
        }
        self.once(&d, &part, width)
    }

    fn down_backward(&mut self, [before, after]: [Value; 2], d: &Value, block: usize) -> Value {
        let d = self.linear_backward(&after, d, LinearAt { block, layer: Layer::Fc2 });
        let slope = match self.writer.shape.activation {
            Activation::Gelu => self.gelu_derivative(&before),
            Activation::GeluTanh => self.gelu_tanh_derivative(&before),
        };
        self.writer.graph.op("Mul", &[&d, &slope], &[])
    }

    /// With dW' = (z ∘ dY)ᵀ X: d scale_out sums dW' ∘ W ∘ scale_in over inputs, d scale_in sums dW' ∘ W ∘ scale_out over
    /// outputs, d shift sums z ∘ dY over tokens.
    fn linear_backward(&mut self, x: &Value, d: &Value, at: LinearAt) -> Value {
        self.writer.graph.enter(at);
        let d = self.dropped(d, at);
        let weight = self.writer.constant(format!("{at}.weight"));
        let range = self.writer.layout.linear(at);
        let scales = [&range.scale_in, &range.scale_out].map(|range| self.segments[&range.start].clone());
        let (d_x, noisy) = self.through(&d, &weight, &scales, at);
        let [scale_in, scale_out] = &scales;
        let graph = &mut self.writer.graph;
        let rescaling = graph.op("Gemm", &[&noisy, x], &[("transA", Int(1))]);
        let rescaling = graph.op("Mul", &[&rescaling, &weight], &[]);
        let d_in = graph.op("MatMul", &[scale_out, &rescaling], &[]);
        let d_out = graph.op("MatMul", &[&rescaling, scale_in], &[]);
        let d_shift = self.sum(&noisy);
        let inputs = range.scale_in.len();
        let part = self.keep(range.scale_in.start, &[&d_in, &d_out, &d_shift], &d);
        self.once(&d_x, &part, inputs)
    }

    fn attend_backward(&mut self, qkv: [Value; 3], attended: Value, d: Value) -> [Value; 3] {
        self.attention_backward(&qkv, &attended, &d)
    }

    fn qkv_backward(&mut self, x: &Value, d: [Value; 3], block: usize) -> Value {
        let [q, k, v] = [Layer::Q, Layer::K, Layer::V].map(|layer| LinearAt { block, layer });
        let [d_q, d_k, d_v] = d;
        let [d_q, d_k, d_v] = [(d_q, q), (d_k, k), (d_v, v)].map(|(d, at)| self.linear_backward(x, &d, at));
        let graph = &mut self.writer.graph;
        let sum = graph.op("Add", &[&d_q, &d_k], &[]);
        graph.op("Add", &[&sum, &d_v], &[])
    }

    /// What the recomputation reads has the gradient's shape, which is known when the gradient is.
    fn not_before(&mut self, x: Value, d: &Value) -> Value {
        let shape = self.writer.graph.op("Shape", &[d], &[]);
        self.writer.graph.op("Reshape", &[&x, &shape], &[])
    }

    fn embed_backward(&mut self, pictures: &Pictures, d: Value) {
        self.writer.graph.enter("patch_embed");
        let [weight, bias] = self.writer.frozen("patch_embed");
        let Shape { width, prefix_tokens, .. } = *self.writer.shape;
        let patches = self.writer.flatten(&pictures.patches, self.writer.shape.patch_values());
        let x = self.writer.affine(&patches, &[weight, bias]);
        let d = self.writer.tokens(&d);
        let graph = &mut self.writer.graph;
        let [start, end, axis] = [as_i64(prefix_tokens), i64::MAX, 1].map(|i| graph.ints(&[i]));
        let d = graph.op("Slice", &[&d, &start, &end, &axis], &[]);
        let d = self.writer.flatten(&d, width);
        let d_scale = self.writer.graph.op("Mul", &[&d, &x], &[]);
        let [d_scale, d_shift] = [&d_scale, &d].map(|d| self.sum(d));
        self.keep(self.writer.layout.patch_embed().scale.start, &[&d_scale, &d_shift], &d);
    }
}

impl<C: Constants> Training<'_, C> {
    /// `d` behind the rescaled weight, and `d` times each row's noise.
    fn through(
        &mut self,
        d: &Value,
        weight: &Value,
        [scale_in, scale_out]: &[Value; 2],
        at: LinearAt,
    ) -> (Value, Value) {
        let Some(noise) = self.noise.get(&at).cloned() else {
            let rescaled = self.writer.rescaled_weight(d, weight, [scale_in, scale_out]);
            return (self.writer.graph.op("Gemm", &[d, &rescaled], &[]), d.clone());
        };
        let Shape { width, mlp, .. } = *self.writer.shape;
        let noisy = self.writer.times_row(d, &noise);
        let noisy = self.writer.flatten(&noisy, if at.layer == Layer::Fc1 { mlp } else { width });
        let graph = &mut self.writer.graph;
        let change = graph.op("Mul", &[&noisy, scale_out], &[]);
        let change = graph.op("Gemm", &[&change, weight], &[]);
        let change = graph.op("Mul", &[&change, scale_in], &[]);
        (graph.op("Gemm", &[d, weight, &change], &[]), noisy)
    }

    /// Of all rows.
    fn sum(&mut self, x: &Value) -> Value {
        let axis = self.writer.graph.ints(&[0]);
        self.writer.graph.op("ReduceSum", &[x, &axis], &[("keepdims", Int(0))])
    }

    /// Zero mean and unit variance per token, and what the difference from the mean was multiplied with.
    fn standardised(&mut self, x: &Value) -> [Value; 2] {
        let Shape { width, eps, .. } = *self.writer.shape;
        let graph = &mut self.writer.graph;
        let [ones, zeros] =
            [("ones", 1.0), ("zeros", 0.0)].map(|(name, value)| graph.floats(name, &[width], &vec![value; width]));
        #[expect(clippy::cast_possible_truncation, reason = "the attribute is f32")]
        let epsilon = Float(eps as f32);
        let attributes = [("axis", Int(-1)), ("epsilon", epsilon)];
        let [standard, _, per_deviation] = graph.ops("LayerNormalization", &[x, &ones, &zeros], &attributes);
        [standard, per_deviation]
    }

    /// The gradients of an SSF behind a norm with gain and bias.
    fn norm_parts(&mut self, standard: &Value, d: &Value, [gain, bias]: &[Value; 2], range: &SsfRange) -> Value {
        let d_shift = self.sum(d);
        let along = self.writer.graph.op("Mul", &[d, standard], &[]);
        let along = self.sum(&along);
        let graph = &mut self.writer.graph;
        let [along, level] =
            [(gain, &along), (bias, &d_shift)].map(|(frozen, sum)| graph.op("Mul", &[frozen, sum], &[]));
        let d_scale = graph.op("Add", &[&along, &level], &[]);
        self.keep(range.scale.start, &[&d_scale, &d_shift], d)
    }

    /// Φ(x) + x · φ(x).
    fn gelu_derivative(&mut self, x: &Value) -> Value {
        use std::f32::consts::{FRAC_1_SQRT_2, TAU};
        let [root, one, half, minus_half, density] = [
            ("root_half", FRAC_1_SQRT_2),
            ("one", 1.0),
            ("half", 0.5),
            ("minus_half", -0.5),
            ("density", 1.0 / TAU.sqrt()),
        ]
        .map(|(name, value)| self.writer.scalar(name, value));
        let graph = &mut self.writer.graph;
        let erf = graph.op("Mul", &[x, &root], &[]);
        let erf = graph.op("Erf", &[&erf], &[]);
        let share = graph.op("Add", &[&erf, &one], &[]);
        let share = graph.op("Mul", &[&share, &half], &[]);
        let square = graph.op("Mul", &[x, x], &[]);
        let square = graph.op("Mul", &[&square, &minus_half], &[]);
        let bell = graph.op("Exp", &[&square], &[]);
        let bell = graph.op("Mul", &[&bell, &density], &[]);
        let bell = graph.op("Mul", &[&bell, x], &[]);
        graph.op("Add", &[&share, &bell], &[])
    }

    /// (1 + t) / 2 + x · (1 - t²) / 2 · r · (1 + 3 · 0.044715 x²) with t = tanh(r · (x + 0.044715 x³)), r = √(2/π).
    fn gelu_tanh_derivative(&mut self, x: &Value) -> Value {
        let root = std::f32::consts::FRAC_2_PI.sqrt();
        let [cubic, three, root, one, half] =
            [("cubic", 0.044_715), ("three", 3.0), ("root", root), ("one", 1.0), ("half", 0.5)]
                .map(|(name, value)| self.writer.scalar(name, value));
        let graph = &mut self.writer.graph;
        let square = graph.op("Mul", &[x, x], &[]);
        let square = graph.op("Mul", &[&square, &cubic], &[]);
        let bent = graph.op("Add", &[&square, &one], &[]);
        let inner = graph.op("Mul", &[&bent, x], &[]);
        let inner = graph.op("Mul", &[&inner, &root], &[]);
        let tanh = graph.op("Tanh", &[&inner], &[]);
        let slope = graph.op("Mul", &[&square, &three], &[]);
        let slope = graph.op("Add", &[&slope, &one], &[]);
        let slope = graph.op("Mul", &[&slope, &root], &[]);
        let rest = graph.op("Mul", &[&tanh, &tanh], &[]);
        let rest = graph.op("Sub", &[&one, &rest], &[]);
        let change = graph.op("Mul", &[&rest, &slope], &[]);
        let change = graph.op("Mul", &[&change, x], &[]);
        let level = graph.op("Add", &[&tanh, &one], &[]);
        let sum = graph.op("Add", &[&level, &change], &[]);
        graph.op("Mul", &[&sum, &half], &[])
    }
}

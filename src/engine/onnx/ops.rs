//! The network's operations as writers: each call adds nodes to a graph.
//!
//! Activations are `[rows * tokens, features]`, so that every linear is one Gemm with its bias fused. Weights keep the
//! torch layout `[out, in]`; the rescaled ones are computed in the graph from the adapter's flat vector.

use std::collections::HashMap;

use super::graph::{Attribute, Axis, Graph, Value, as_i64};
use crate::adapter::{Layout, SsfRange};
use crate::backbone::{Activation, Shape};
use crate::vit::{Layer, LinearAt, NormAt, Ops, Then};

use Attribute::{Float, Int, Ints};

/// Which operators may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// ONNX Runtime's fused attention and GELU: its CPU provider's fastest.
    Fused,
    /// Standard operators only: every viewer and runtime, and providers that compile whole graphs.
    Plain,
}

impl Dialect {
    /// Every dialect, the one that opens everywhere first.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Fused];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Fused => "fused",
        }
    }
}

/// Adds a constant weight of that canonical name to the graph.
pub trait Constants {
    /// The value that holds the tensor, added once.
    fn constant(&self, graph: &mut Graph, name: &str) -> Value;
}

/// Patches and the position rows of their grid.
pub struct Pictures {
    /// `[rows, patches, channels * patch * patch]`.
    pub patches: Value,
    /// `[patches, width]`.
    pub positions: Value,
}

/// Writes the network of one adapter.
pub struct Writer<'a, C> {
    /// The graph so far.
    pub graph: Graph,
    shape: &'a Shape,
    layout: &'a Layout,
    constants: &'a C,
    dialect: Dialect,
    /// The adapter's segments by their place in the flat vector; empty when its weights are constants.
    segments: HashMap<usize, Value>,
    one: Option<Value>,
    /// `[rows, tokens, width]` as the graph computes it.
    token_shape: Option<Value>,
}

impl<'a, C: Constants> Writer<'a, C> {
    /// A network whose constants are used as they are.
    pub fn new(name: &str, shape: &'a Shape, layout: &'a Layout, constants: &'a C, dialect: Dialect) -> Self {
        let graph = Graph::new(name);
        Self { graph, shape, layout, constants, dialect, segments: HashMap::new(), one: None, token_shape: None }
    }

    /// Adds the input `adapter` `[P]`: from here on it rescales every constant.
    pub fn rescale_by_input(&mut self) {
        let vector = self.graph.input("adapter", &[Axis::Fixed(self.layout.len())]);
        let parts = self.layout.segments().iter().map(|s| (s.name.clone(), s.range.len()));
        let values = self.graph.split(&vector, parts);
        self.segments = self.layout.segments().iter().map(|s| s.range.start).zip(values).collect();
        self.one = Some(self.graph.floats("one", &[], &[1.0]));
    }

    /// Every token of the last activations, `[rows, tokens, width]`.
    pub fn tokens(&mut self, x: &Value) -> Value {
        let shape = self.token_shape.clone().expect("embed comes first");
        self.graph.op("Reshape", &[x, &shape], &[])
    }

    fn constant(&mut self, name: String) -> Value {
        self.constants.constant(&mut self.graph, &name)
    }

    fn segment(&self, start: usize) -> Value {
        self.segments[&start].clone()
    }

    /// `[n]` to `[n, 1]`.
    fn column(&mut self, vector: &Value) -> Value {
        let axis = self.graph.ints(&[1]);
        self.graph.op("Unsqueeze", &[vector, &axis], &[])
    }

    fn flatten(&mut self, x: &Value, features: usize) -> Value {
        let shape = self.graph.ints(&[-1, as_i64(features)]);
        self.graph.op("Reshape", &[x, &shape], &[])
    }

    /// The number 1, known when `x` is. The runtime orders nodes by what they need: weights that need the number are
    /// rescaled when their layer's turn comes and freed after it, else all would be rescaled, and kept, at the start.
    fn one_after(&mut self, x: &Value) -> Value {
        let count = self.graph.op("Shape", &[x], &[("start", Int(0)), ("end", Int(1))]);
        self.graph.op("Div", &[&count, &count], &[])
    }

    /// Weight and bias of the linear of `x`, rescaled when the adapter is an input.
    fn linear_parameters(&mut self, at: LinearAt, x: &Value) -> [Value; 2] {
        let [weight, bias] = ["weight", "bias"].map(|part| self.constant(format!("{at}.{part}")));
        let Some(one) = self.one.clone() else { return [weight, bias] };
        let range = self.layout.linear(at);
        let [scale_in, scale_out, shift] =
            [range.scale_in, range.scale_out, range.shift].map(|r| self.segment(r.start));
        let axis = self.one_after(x);
        let scale_out = self.graph.op("Unsqueeze", &[&scale_out, &axis], &[]);
        let outer = self.graph.op("Mul", &[&scale_out, &scale_in], &[]);
        let factor = self.graph.op("Add", &[&outer, &one], &[]);
        let weight = self.graph.op("Mul", &[&weight, &factor], &[]);
        let bias = self.graph.op("Add", &[&bias, &shift], &[]);
        [weight, bias]
    }

    /// Gain and bias (or weight rows and bias) with an SSF folded in.
    fn ssf_parameters(&mut self, place: &str, at: &SsfRange, weight_is_matrix: bool) -> [Value; 2] {
        let [weight, bias] = ["weight", "bias"].map(|part| self.constant(format!("{place}.{part}")));
        if self.segments.is_empty() {
            return [weight, bias];
        }
        let [scale, shift] = [at.scale.start, at.shift.start].map(|start| self.segment(start));
        let scaled = self.graph.op("Mul", &[&bias, &scale], &[]);
        let bias = self.graph.op("Add", &[&scaled, &shift], &[]);
        let scale = if weight_is_matrix { self.column(&scale) } else { scale };
        let weight = self.graph.op("Mul", &[&weight, &scale], &[]);
        [weight, bias]
    }

    fn affine(&mut self, x: &Value, [weight, bias]: &[Value; 2]) -> Value {
        self.graph.op("Gemm", &[x, weight, bias], &[("transB", Int(1))])
    }

    /// A constant once per picture of `like`: `[rows, inner…]`.
    fn repeat(&mut self, constant: &Value, like: &Value, inner: &[i64]) -> Value {
        let rows = self.graph.op("Shape", &[like], &[("start", Int(0)), ("end", Int(1))]);
        let inner = self.graph.ints(inner);
        let shape = self.graph.op("Concat", &[&rows, &inner], &[("axis", Int(0))]);
        self.graph.op("Expand", &[constant, &shape], &[])
    }

    fn activate(&mut self, x: &Value) -> Value {
        match (self.shape.activation, self.dialect) {
            (Activation::Gelu, Dialect::Fused) => self.graph.contrib("Gelu", &[x], &[]),
            (Activation::Gelu, Dialect::Plain) => self.gelu(x),
            (Activation::GeluTanh, _) => self.gelu_tanh(x),
        }
    }

    fn scalar(&mut self, name: &str, value: f32) -> Value {
        let name = format!("{}.{name}", self.graph.place());
        self.graph.floats(&name, &[], &[value])
    }

    /// x / 2 · (1 + erf(x / √2)).
    fn gelu(&mut self, x: &Value) -> Value {
        let [root, one, half] =
            [("sqrt2", std::f32::consts::SQRT_2), ("one", 1.0), ("half", 0.5)].map(|(n, v)| self.scalar(n, v));
        let scaled = self.graph.op("Div", &[x, &root], &[]);
        let erf = self.graph.op("Erf", &[&scaled], &[]);
        let gate = self.graph.op("Add", &[&erf, &one], &[]);
        let gated = self.graph.op("Mul", &[x, &gate], &[]);
        self.graph.op("Mul", &[&gated, &half], &[])
    }

    /// x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))).
    fn gelu_tanh(&mut self, x: &Value) -> Value {
        let root = std::f32::consts::FRAC_2_PI.sqrt();
        let [three, cubic, root, one, half] =
            [("three", 3.0), ("cubic", 0.044_715), ("root", root), ("one", 1.0), ("half", 0.5)]
                .map(|(n, v)| self.scalar(n, v));
        let cube = self.graph.op("Pow", &[x, &three], &[]);
        let cube = self.graph.op("Mul", &[&cube, &cubic], &[]);
        let inner = self.graph.op("Add", &[x, &cube], &[]);
        let inner = self.graph.op("Mul", &[&inner, &root], &[]);
        let tanh = self.graph.op("Tanh", &[&inner], &[]);
        let gate = self.graph.op("Add", &[&tanh, &one], &[]);
        let gated = self.graph.op("Mul", &[x, &gate], &[]);
        self.graph.op("Mul", &[&gated, &half], &[])
    }

    /// softmax(q · kᵀ / √head_size) · v with standard operators, `[rows, tokens, width]` in and out.
    fn attention(&mut self, [q, k, v]: &[Value; 3]) -> Value {
        let (heads, head_size) = (as_i64(self.shape.heads), as_i64(self.shape.head_size()));
        let split = self.graph.ints(&[0, 0, heads, head_size]);
        let [q, k, v] = [(q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3])].map(|(x, order)| {
            let x = self.graph.op("Reshape", &[x, &split], &[]);
            self.graph.op("Transpose", &[&x], &[("perm", Ints(order.to_vec()))])
        });
        #[expect(clippy::cast_precision_loss, reason = "a head has far fewer than 2^24 features")]
        let scale = self.scalar("scale", 1.0 / (self.shape.head_size() as f32).sqrt());
        let scores = self.graph.op("MatMul", &[&q, &k], &[]);
        let scores = self.graph.op("Mul", &[&scores, &scale], &[]);
        let scores = self.graph.op("Softmax", &[&scores], &[("axis", Int(-1))]);
        let out = self.graph.op("MatMul", &[&scores, &v], &[]);
        let out = self.graph.op("Transpose", &[&out], &[("perm", Ints(vec![0, 2, 1, 3]))]);
        let join = self.graph.ints(&[0, 0, as_i64(self.shape.width)]);
        self.graph.op("Reshape", &[&out, &join], &[])
    }
}

impl<C: Constants> Ops for Writer<'_, C> {
    type Pictures = Pictures;
    type Act = Value;
    type Qkv = [Value; 3];
    type Features = Value;

    fn embed(&mut self, pictures: &Pictures) -> Value {
        self.graph.enter("patch_embed");
        let width = as_i64(self.shape.width);
        let flat = self.flatten(&pictures.patches, self.shape.patch_values());
        let parameters = self.ssf_parameters("patch_embed", &self.layout.patch_embed(), true);
        let x = self.affine(&flat, &parameters);
        let patch_shape = self.graph.op("Shape", &[&pictures.patches], &[("start", Int(0)), ("end", Int(2))]);
        let last = self.graph.ints(&[width]);
        let shape = self.graph.op("Concat", &[&patch_shape, &last], &[("axis", Int(0))]);
        let x = self.graph.op("Reshape", &[&x, &shape], &[]);
        let mut x = self.graph.op("Add", &[&x, &pictures.positions], &[]);
        if self.shape.prefix_tokens > 0 {
            let prefix = self.constant("prefix_tokens".into());
            let prefix = self.repeat(&prefix, &x, &[as_i64(self.shape.prefix_tokens), width]);
            x = self.graph.op("Concat", &[&prefix, &x], &[("axis", Int(1))]);
        }
        self.token_shape = Some(self.graph.op("Shape", &[&x], &[]));
        self.flatten(&x, self.shape.width)
    }

    fn norm(&mut self, x: &Value, at: NormAt) -> Value {
        self.graph.enter(at);
        let [gain, bias] = self.ssf_parameters(&at.to_string(), &self.layout.norm(at), false);
        #[expect(clippy::cast_possible_truncation, reason = "the attribute is f32")]
        let epsilon = Float(self.shape.eps as f32);
        self.graph.op("LayerNormalization", &[x, &gain, &bias], &[("axis", Int(-1)), ("epsilon", epsilon)])
    }

    fn qkv(&mut self, x: &Value, block: usize) -> [Value; 3] {
        [Layer::Q, Layer::K, Layer::V].map(|layer| {
            let at = LinearAt { block, layer };
            self.graph.enter(at);
            let parameters = self.linear_parameters(at, x);
            let y = self.affine(x, &parameters);
            self.tokens(&y)
        })
    }

    fn attend(&mut self, qkv: &[Value; 3]) -> Value {
        let out = match self.dialect {
            Dialect::Plain => self.attention(qkv),
            Dialect::Fused => {
                let heads = Int(as_i64(self.shape.heads));
                let [q, k, v] = qkv;
                self.graph.contrib("MultiHeadAttention", &[q, k, v], &[("num_heads", heads)])
            }
        };
        self.flatten(&out, self.shape.width)
    }

    fn linear(&mut self, x: &Value, at: LinearAt, then: Then<'_, Value>) -> Value {
        self.graph.enter(at);
        let parameters = self.linear_parameters(at, x);
        let y = self.affine(x, &parameters);
        match then {
            Then::Activate => self.activate(&y),
            Then::Add(residual) => self.graph.op("Add", &[&y, residual], &[]),
        }
    }

    fn pool(&mut self, x: &Value) -> Value {
        self.graph.enter("pool");
        let x = self.tokens(x);
        let [start, end, axis] = [as_i64(self.shape.prefix_tokens), i64::MAX, 1].map(|i| self.graph.ints(&[i]));
        let patches = self.graph.op("Slice", &[&x, &start, &end, &axis], &[]);
        // ReduceMean splits its sums by the number of rows; this operator gives a row the same mean in every batch.
        let features_first = self.graph.op("Transpose", &[&patches], &[("perm", Ints(vec![0, 2, 1]))]);
        let mean = self.graph.op("GlobalAveragePool", &[&features_first], &[]);
        let last = self.graph.ints(&[2]);
        let mean = self.graph.op("Squeeze", &[&mean, &last], &[]);
        let cls = if self.shape.prefix_tokens > 0 {
            let [start, end] = [0, 1].map(|i| self.graph.ints(&[i]));
            let first = self.graph.op("Slice", &[&x, &start, &end, &axis], &[]);
            self.graph.op("Squeeze", &[&first, &axis], &[])
        } else {
            let zero = self.scalar("zero", 0.0);
            self.repeat(&zero, &x, &[as_i64(self.shape.width)])
        };
        self.graph.op("Concat", &[&cls, &mean], &[("axis", Int(1))])
    }
}

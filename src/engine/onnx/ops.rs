//! The network's operations as writers: each call adds nodes to a graph.
//!
//! Activations are `[rows * tokens, features]`, so that every linear is one Gemm with its bias fused. Weights keep the
//! torch layout `[out, in]`. What an adapter does to them is `adapted`'s.
//!
//! Where matrices are narrower than f32, so are the activations between operations; norms, softmax and pooling are
//! computed in f32, and products are summed in f32 by the runtime's kernels.

use super::adapted::Adapted;
use super::graph::{Attribute, Element, Graph, Value, as_i64};
use crate::adapter::Layout;
use crate::backbone::{Activation, Shape};
use crate::vit::{Layer, LinearAt, NormAt, Ops, Then};

use Attribute::{Int, Ints};

/// Which operators may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// Writes the network.
pub struct Writer<'a, C> {
    /// The graph so far.
    pub graph: Graph,
    pub(super) shape: &'a Shape,
    pub(super) layout: &'a Layout,
    constants: &'a C,
    dialect: Dialect,
    /// Of matrices and activations.
    element: Element,
    pub(super) adapted: Adapted,
    /// `[rows, tokens, -1]` as the graph computes it.
    pub(super) token_shape: Option<Value>,
}

impl<'a, C: Constants> Writer<'a, C> {
    /// A network whose constants are used as they are.
    pub fn new(name: &str, shape: &'a Shape, layout: &'a Layout, constants: &'a C, dialect: Dialect) -> Self {
        let (graph, element) = (Graph::new(name), Element::F32);
        Self { graph, shape, layout, constants, dialect, element, adapted: Adapted::Constants, token_shape: None }
    }

    /// Computes in these elements; the constants of linears and prefix tokens must have them.
    pub fn computing_in(mut self, element: Element) -> Self {
        self.element = element;
        self
    }

    /// Flat activations as `[rows, tokens, features]`.
    pub fn tokens(&mut self, x: &Value) -> Value {
        let shape = self.token_shape.clone().expect("embed comes first");
        self.graph.op("Reshape", &[x, &shape], &[])
    }

    /// Says that what follows has the rows and tokens of `x`.
    fn count_tokens(&mut self, x: &Value) {
        let counts = self.graph.op("Shape", &[x], &[("start", Int(0)), ("end", Int(2))]);
        let features = self.graph.ints(&[-1]);
        self.token_shape = Some(self.graph.op("Concat", &[&counts, &features], &[("axis", Int(0))]));
    }

    pub(super) fn constant(&mut self, name: String) -> Value {
        self.constants.constant(&mut self.graph, &name)
    }

    /// Weight (or gain) and bias.
    pub(super) fn frozen(&mut self, place: &str) -> [Value; 2] {
        ["weight", "bias"].map(|part| self.constant(format!("{place}.{part}")))
    }

    pub(super) fn flatten(&mut self, x: &Value, features: usize) -> Value {
        let shape = self.graph.ints(&[-1, as_i64(features)]);
        self.graph.op("Reshape", &[x, &shape], &[])
    }

    pub(super) fn affine(&mut self, x: &Value, [weight, bias]: &[Value; 2]) -> Value {
        self.graph.op("Gemm", &[x, weight, bias], &[("transB", Int(1))])
    }

    /// From f32 to what is computed in.
    pub(super) fn narrow(&mut self, x: &Value) -> Value {
        if self.element == Element::F32 { x.clone() } else { self.graph.cast(x, self.element) }
    }

    /// From what is computed in to f32.
    fn widen(&mut self, x: &Value) -> Value {
        if self.element == Element::F32 { x.clone() } else { self.graph.cast(x, Element::F32) }
    }

    /// A constant once per picture of `like`: `[rows, inner…]`.
    fn repeat(&mut self, constant: &Value, like: &Value, inner: &[i64]) -> Value {
        let rows = self.graph.op("Shape", &[like], &[("start", Int(0)), ("end", Int(1))]);
        let inner = self.graph.ints(inner);
        let shape = self.graph.op("Concat", &[&rows, &inner], &[("axis", Int(0))]);
        self.graph.op("Expand", &[constant, &shape], &[])
    }

    pub(super) fn activate(&mut self, x: &Value) -> Value {
        match (self.shape.activation, self.dialect) {
            (Activation::Gelu, Dialect::Fused) => self.graph.contrib("Gelu", &[x], &[]),
            (activation, _) => {
                let x = self.widen(x);
                let y = if activation == Activation::Gelu { self.gelu(&x) } else { self.gelu_tanh(&x) };
                self.narrow(&y)
            }
        }
    }

    pub(super) fn scalar(&mut self, name: &str, value: f32) -> Value {
        let name = format!("{}.{name}", self.graph.place());
        self.graph.number(&name, Element::F32, value)
    }

    /// In the elements that are computed in.
    pub(super) fn narrow_scalar(&mut self, name: &str, value: f32) -> Value {
        let name = format!("{}.{name}", self.graph.place());
        self.graph.number(&name, self.element, value)
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
        let scores = self.widen(&scores);
        let scores = self.graph.op("Mul", &[&scores, &scale], &[]);
        let scores = self.graph.op("Softmax", &[&scores], &[("axis", Int(-1))]);
        let scores = self.narrow(&scores);
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
        let width = self.shape.width;
        let patches = self.narrow(&pictures.patches);
        self.count_tokens(&patches);
        let flat = self.flatten(&patches, self.shape.patch_values());
        let x = self.adapted_patches(&flat);
        let x = self.tokens(&x);
        let positions = self.narrow(&pictures.positions);
        let mut x = self.graph.op("Add", &[&x, &positions], &[]);
        if self.shape.prefix_tokens > 0 {
            let prefix = self.constant("prefix_tokens".into());
            let prefix = self.repeat(&prefix, &x, &[as_i64(self.shape.prefix_tokens), as_i64(width)]);
            x = self.graph.op("Concat", &[&prefix, &x], &[("axis", Int(1))]);
        }
        self.count_tokens(&x);
        self.flatten(&x, width)
    }

    fn norm(&mut self, x: &Value, at: NormAt) -> Value {
        self.graph.enter(at);
        let x = self.widen(x);
        let y = self.adapted_norm(&x, at);
        self.narrow(&y)
    }

    fn qkv(&mut self, x: &Value, block: usize) -> [Value; 3] {
        [Layer::Q, Layer::K, Layer::V].map(|layer| {
            let at = LinearAt { block, layer };
            self.graph.enter(at);
            let y = self.adapted_linear(x, at);
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
        let y = self.adapted_linear(x, at);
        match then {
            Then::Activate => self.activate(&y),
            Then::Add(residual) => self.graph.op("Add", &[&y, residual], &[]),
        }
    }

    fn pool(&mut self, x: &Value) -> Value {
        self.graph.enter("pool");
        let x = self.widen(x);
        let x = self.tokens(&x);
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

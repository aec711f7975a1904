//! What an adapter does to the operations: nothing, new weights for one task, or vectors of its own for every row.

use std::collections::HashMap;

use super::graph::{Attribute, Axis, Element, Value};
use super::ops::{Constants, Writer};
use crate::adapter::SsfRange;
use crate::backbone::Shape;
use crate::vit::{Layer, LinearAt, NormAt};

use Attribute::{Float, Int};

/// How the adapter's numbers reach the network.
pub enum Adapted {
    /// They are merged into the constants, or there are none.
    Constants,
    /// One vector for all rows: the weights are rescaled in the graph, once per run.
    Vector(Segments),
    /// A vector for every row: one weight for all of them, scaled inputs and outputs.
    Rows(Segments),
}

/// The adapter's segments by their place in the flat vector: `[n]`, or `[rows, n]`.
pub struct Segments {
    /// As norms read them.
    wide: HashMap<usize, Value>,
    /// As linears read them: the same where they compute in f32.
    narrow: HashMap<usize, Value>,
}

impl Segments {
    /// The same for norms and linears.
    pub fn of(values: HashMap<usize, Value>) -> Self {
        Self { wide: values.clone(), narrow: values }
    }

    fn wide(&self, start: usize) -> Value {
        self.wide[&start].clone()
    }

    fn narrow(&self, start: usize) -> Value {
        self.narrow[&start].clone()
    }
}

impl<C: Constants> Writer<'_, C> {
    /// Adds the input `adapter` `[P]`.
    pub fn adapt_by_vector(&mut self) {
        let vector = self.vector();
        self.adapted = Adapted::Vector(self.segments(&vector));
    }

    /// The input `adapter` `[P]`.
    pub(super) fn vector(&mut self) -> Value {
        self.graph.input("adapter", Element::F32, &[Axis::Fixed(self.layout.len())])
    }

    /// Adds the inputs `adapters` `[slots, P]` and `slots` `[rows]`: which of them each row has.
    pub fn adapt_by_rows(&mut self) {
        let table = [Axis::Named("slots"), Axis::Fixed(self.layout.len())];
        let table = self.graph.input("adapters", Element::F32, &table);
        let slots = self.graph.input("slots", Element::I64, &[Axis::Named("rows")]);
        let vectors = self.graph.op("Gather", &[&table, &slots], &[("axis", Int(0))]);
        self.adapted = Adapted::Rows(self.segments(&vectors));
    }

    fn segments(&mut self, vectors: &Value) -> Segments {
        let wide = self.split(vectors, "");
        let narrowed = self.narrow(vectors);
        let narrow = if narrowed == *vectors { wide.clone() } else { self.split(&narrowed, ".narrow") };
        Segments { wide, narrow }
    }

    /// The segments by their place, each a value of its name and that suffix.
    pub(super) fn split(&mut self, vectors: &Value, suffix: &str) -> HashMap<usize, Value> {
        let segments = self.layout.segments();
        let parts = segments.iter().map(|s| (format!("{}{suffix}", s.name), s.range.len()));
        let values = self.graph.split(vectors, parts);
        segments.iter().map(|s| s.range.start).zip(values).collect()
    }

    /// The linear of `x` `[rows * tokens, in]`: x · (W * (1 + scale_out ⊗ scale_in))ᵀ + bias + shift.
    pub(super) fn adapted_linear(&mut self, x: &Value, at: LinearAt) -> Value {
        let [weight, bias] = self.frozen(&at.to_string());
        let range = self.layout.linear(at);
        let starts = [range.scale_in, range.scale_out, range.shift].map(|range| range.start);
        match &self.adapted {
            Adapted::Constants => self.affine(x, &[weight, bias]),
            Adapted::Vector(segments) => {
                let scales = starts.map(|start| segments.narrow(start));
                let parameters = self.rescaled(x, &[weight, bias], &scales);
                self.affine(x, &parameters)
            }
            Adapted::Rows(segments) => {
                let scales = starts.map(|start| segments.narrow(start));
                self.linear_by_row(x, at, &[weight, bias], &scales)
            }
        }
    }

    /// Weight and bias of one task.
    fn rescaled(
        &mut self,
        x: &Value,
        [weight, bias]: &[Value; 2],
        [scale_in, scale_out, shift]: &[Value; 3],
    ) -> [Value; 2] {
        let weight = self.rescaled_weight(x, weight, [scale_in, scale_out]);
        let bias = self.graph.op("Add", &[bias, shift], &[]);
        [weight, bias]
    }

    /// W * (1 + scale_out ⊗ scale_in), computed when `x` is known.
    pub(super) fn rescaled_weight(&mut self, x: &Value, weight: &Value, [scale_in, scale_out]: [&Value; 2]) -> Value {
        let one = self.narrow_scalar("unscaled", 1.0);
        let axis = self.one_after(x);
        let scale_out = self.graph.op("Unsqueeze", &[scale_out, &axis], &[]);
        let outer = self.graph.op("Mul", &[&scale_out, scale_in], &[]);
        let factor = self.graph.op("Add", &[&outer, &one], &[]);
        self.graph.op("Mul", &[weight, &factor], &[])
    }

    /// The number 1, known when `x` is. The runtime orders nodes by what they need: weights that need the number are
    /// rescaled when their layer's turn comes and freed after it, else all would be rescaled, and kept, at the start.
    pub(super) fn one_after(&mut self, x: &Value) -> Value {
        let count = self.graph.op("Shape", &[x], &[("start", Int(0)), ("end", Int(1))]);
        self.graph.op("Div", &[&count, &count], &[])
    }

    /// x · Wᵀ + scale_out * ((x * scale_in) · Wᵀ) + bias + shift, each row with vectors of its own. Both products are
    /// one, of twice the rows: the weights are read once.
    fn linear_by_row(
        &mut self,
        x: &Value,
        at: LinearAt,
        [weight, bias]: &[Value; 2],
        [scale_in, scale_out, shift]: &[Value; 3],
    ) -> Value {
        let Shape { width, mlp, .. } = *self.shape;
        let inputs = if at.layer == Layer::Fc2 { mlp } else { width };
        let outputs = if at.layer == Layer::Fc1 { mlp } else { width };
        let scaled = self.times_row(x, scale_in);
        let scaled = self.flatten(&scaled, inputs);
        let stacked = self.graph.op("Concat", &[x, &scaled], &[("axis", Int(0))]);
        let products = self.graph.op("Gemm", &[&stacked, weight], &[("transB", Int(1))]);
        let [plain, change] = self.graph.halve(&products, 0);
        let bias = self.graph.op("Add", &[bias, shift], &[]);
        let change = self.times_row(&change, scale_out);
        let plain = self.tokens(&plain);
        let y = self.graph.op("Add", &[&plain, &change], &[]);
        let bias = self.across_tokens(&bias);
        let y = self.graph.op("Add", &[&y, &bias], &[]);
        self.flatten(&y, outputs)
    }

    /// `[rows, tokens, features]` of `x` `[rows * tokens, features]` times a vector `[rows, features]`.
    pub(super) fn times_row(&mut self, x: &Value, vectors: &Value) -> Value {
        let x = self.tokens(x);
        let vectors = self.across_tokens(vectors);
        self.graph.op("Mul", &[&x, &vectors], &[])
    }

    /// `[rows, features]` to `[rows, 1, features]`.
    fn across_tokens(&mut self, vectors: &Value) -> Value {
        let axis = self.graph.ints(&[1]);
        self.graph.op("Unsqueeze", &[vectors, &axis], &[])
    }

    /// The LayerNorm of `x` with its SSF, in f32.
    pub(super) fn adapted_norm(&mut self, x: &Value, at: NormAt) -> Value {
        let [gain, bias] = self.frozen(&at.to_string());
        let range = self.layout.norm(at);
        match &self.adapted {
            Adapted::Constants => self.layer_norm(x, &[gain, bias]),
            Adapted::Vector(segments) => {
                let [scale, shift] = starts(&range).map(|start| segments.wide(start));
                let bias = self.scaled_and_shifted(&bias, &scale, &shift);
                let gain = self.graph.op("Mul", &[&gain, &scale], &[]);
                self.layer_norm(x, &[gain, bias])
            }
            Adapted::Rows(segments) => {
                let ssf = starts(&range).map(|start| segments.wide(start));
                let y = self.layer_norm(x, &[gain, bias]);
                self.ssf_by_row(&y, &ssf)
            }
        }
    }

    fn layer_norm(&mut self, x: &Value, [gain, bias]: &[Value; 2]) -> Value {
        #[expect(clippy::cast_possible_truncation, reason = "the attribute is f32")]
        let epsilon = Float(self.shape.eps as f32);
        self.graph.op("LayerNormalization", &[x, gain, bias], &[("axis", Int(-1)), ("epsilon", epsilon)])
    }

    /// The patch embedding of flat patches with its SSF.
    pub(super) fn adapted_patches(&mut self, patches: &Value) -> Value {
        let [weight, bias] = self.frozen("patch_embed");
        let range = self.layout.patch_embed();
        match &self.adapted {
            Adapted::Constants => self.affine(patches, &[weight, bias]),
            Adapted::Vector(segments) => {
                let [scale, shift] = starts(&range).map(|start| segments.narrow(start));
                let bias = self.scaled_and_shifted(&bias, &scale, &shift);
                let axis = self.graph.ints(&[1]);
                let scale = self.graph.op("Unsqueeze", &[&scale, &axis], &[]);
                let weight = self.graph.op("Mul", &[&weight, &scale], &[]);
                self.affine(patches, &[weight, bias])
            }
            Adapted::Rows(segments) => {
                let ssf = starts(&range).map(|start| segments.narrow(start));
                let x = self.affine(patches, &[weight, bias]);
                self.ssf_by_row(&x, &ssf)
            }
        }
    }

    /// x * scale + shift of a row's tokens `[rows * tokens, width]`.
    fn ssf_by_row(&mut self, x: &Value, [scale, shift]: &[Value; 2]) -> Value {
        let y = self.times_row(x, scale);
        let shift = self.across_tokens(shift);
        let y = self.graph.op("Add", &[&y, &shift], &[]);
        self.flatten(&y, self.shape.width)
    }

    fn scaled_and_shifted(&mut self, x: &Value, scale: &Value, shift: &Value) -> Value {
        let scaled = self.graph.op("Mul", &[x, scale], &[]);
        self.graph.op("Add", &[&scaled, shift], &[])
    }
}

fn starts(range: &SsfRange) -> [usize; 2] {
    [range.scale.start, range.shift.start]
}

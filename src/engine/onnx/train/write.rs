//! Writes the graphs.

use std::collections::HashMap;

use super::perturb::{self, DROPPED};
use crate::adapter::Layout;
use crate::backbone::Shape;
use crate::engine::onnx::adapted::{Adapted, Segments};
use crate::engine::onnx::graph::{Attribute, Axis, Element, Value, as_i64};
use crate::engine::onnx::model::{self, Given};
use crate::engine::onnx::ops::{Constants, Dialect, Pictures, Writer};
use crate::engine::training::Perturb;
use crate::vit::{self, LinearAt};

use Attribute::Int;

/// Which graph for training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The last blocks whose insides the first half leaves for the second.
    kept: usize,
    drops: bool,
    noisy: bool,
    dialect: Dialect,
}

/// The network and what its derivatives need to know.
pub struct Training<'a, C> {
    pub(super) writer: Writer<'a, C>,
    /// The adapter, `[P]`.
    vector: Value,
    /// Its segments by their place, `[n]`.
    pub(super) segments: HashMap<usize, Value>,
    /// `[2 * depth, rows, tokens, width]` of bytes, and `[depth]`.
    masks: Option<[Value; 2]>,
    /// `[rows, noises]`.
    noises: Option<Value>,
    /// The parts of each linear, `[rows, outputs]`; none without noise.
    pub(super) noise: HashMap<LinearAt, Value>,
    /// Gradients of segments that lie side by side, `[1, n]`, with the place where they begin.
    pub(super) parts: Vec<(usize, Value)>,
}

impl Kind {
    /// For passes that are perturbed like this one.
    pub fn of(perturb: &Perturb, kept: usize, dialect: Dialect) -> Self {
        Self { kept, drops: perturb::drops(perturb), noisy: perturb::is_noisy(perturb), dialect }
    }

    /// The name of the file of that part.
    pub fn file(self, part: &str) -> String {
        let drops = if self.drops { "-dropout" } else { "" };
        let noisy = if self.noisy { "-noise" } else { "" };
        let dialect = if self.dialect == Dialect::Plain { "-plain" } else { "" };
        format!("train-{part}-{}{drops}{noisy}{dialect}.onnx", self.kept)
    }
}

/// The forward pass alone: answers with `[rows, 2 * width]`. Inputs are `patches`, `positions` and `adapter` as in
/// [`model::serving`], and
///
/// | name | shape | when |
/// |---|---|---|
/// | `masks`, `kept` | `[2 * depth, rows, tokens, width]` of bytes, `[depth]` | values are dropped |
/// | `noise` | `[rows, noises]` | linears are noisy |
pub fn features<C: Constants>(shape: &Shape, layout: &Layout, constants: &C, kind: Kind) -> Vec<u8> {
    let (mut training, pictures) = Training::new(shape, layout, constants, kind);
    let features = vit::forward(&mut training, shape.depth, &pictures);
    let axes = [Axis::Named("rows"), Axis::Fixed(2 * shape.width)];
    training.writer.graph.output("features", &features, &axes);
    training.writer.graph.finish()
}

/// The forward pass, which answers with features and what the backward pass needs of it; and the backward pass, which
/// takes that, `d_features` `[rows, 2 * width]` and the inputs again, and answers with the gradient `[P]`.
pub fn halves<C: Constants>(shape: &Shape, layout: &Layout, constants: &C, kind: Kind) -> [Vec<u8>; 2] {
    let (mut training, pictures) = Training::new(shape, layout, constants, kind);
    let axes = [Axis::Named("rows"), Axis::Fixed(2 * shape.width)];
    let d_features = training.writer.graph.input("d_features", Element::F32, &axes);
    let mut seam = None;
    vit::gradient(&mut training, shape.depth, kind.kept, &pictures, |features| {
        seam = Some(features.clone());
        d_features
    });
    let gradient = training.gradient();
    training.writer.graph.output("gradient", &gradient, &[Axis::Fixed(layout.len())]);
    training.writer.graph.halves(&seam.expect("a forward pass has features"))
}

impl<'a, C: Constants> Training<'a, C> {
    fn new(shape: &'a Shape, layout: &'a Layout, constants: &'a C, kind: Kind) -> (Self, Pictures) {
        let mut writer = Writer::new("training", shape, layout, constants, kind.dialect);
        let pictures = model::pictures(&mut writer.graph, shape, Given::Values);
        let vector = writer.vector();
        let (rows, width) = (Axis::Named("rows"), Axis::Fixed(shape.width));
        let masks = kind.drops.then(|| {
            let axes = [Axis::Fixed(DROPPED.len() * shape.depth), rows, Axis::Named("tokens"), width];
            let masks = writer.graph.input("masks", Element::U8, &axes);
            [masks, writer.graph.input("kept", Element::F32, &[Axis::Fixed(shape.depth)])]
        });
        let noises = kind.noisy.then(|| {
            let count = perturb::outputs(shape).map(|(_, outputs)| outputs).sum();
            writer.graph.input("noise", Element::F32, &[rows, Axis::Fixed(count)])
        });
        let (segments, noise) = (HashMap::new(), HashMap::new());
        let mut training = Self { writer, vector, segments, masks, noises, noise, parts: Vec::new() };
        training.adapt("");
        (training, pictures)
    }

    /// Cuts the adapter into its segments; where linears are noisy, each row gets its own. Called once in each half, so
    /// that no segment is handed from one to the other.
    pub(super) fn adapt(&mut self, suffix: &str) {
        self.writer.graph.enter(format!("adapter{suffix}"));
        self.segments = self.writer.split(&self.vector, suffix);
        self.writer.adapted = match self.noises.clone() {
            None => Adapted::Vector(Segments::of(self.segments.clone())),
            Some(noises) => Adapted::Rows(Segments::of(self.by_row(&noises, suffix))),
        };
    }

    /// The segments as rows meet them, `[1, n]`, or `[rows, n]` where noise is in them.
    fn by_row(&mut self, noises: &Value, suffix: &str) -> HashMap<usize, Value> {
        let Writer { graph, layout, shape, .. } = &mut self.writer;
        let axis = graph.ints(&[0]);
        let starts = layout.segments().iter().map(|segment| segment.range.start);
        let rows = starts.map(|start| (start, graph.op("Unsqueeze", &[&self.segments[&start], &axis], &[])));
        let mut rows: HashMap<_, _> = rows.collect();
        let places: Vec<_> = perturb::outputs(shape).collect();
        let names = places.iter().map(|&(at, outputs)| (format!("{at}.noise{suffix}"), outputs));
        let noises = graph.split(noises, names);
        for ((at, _), noise) in places.into_iter().zip(noises) {
            let range = layout.linear(at);
            for start in [range.scale_out.start, range.shift.start] {
                let noisy = graph.op("Mul", &[&rows[&start], &noise], &[]);
                rows.insert(start, noisy);
            }
            self.noise.insert(at, noise);
        }
        rows
    }

    /// A linear's output, or that output's gradient, `[rows * tokens, width]` behind the layer's dropout.
    pub(super) fn dropped(&mut self, y: &Value, at: LinearAt) -> Value {
        let layer = DROPPED.iter().position(|&layer| layer == at.layer);
        let (Some([masks, factors]), Some(layer)) = (self.masks.clone(), layer) else { return y.clone() };
        // A mask becomes floats when its turn comes, not with all others at the start.
        let now = self.writer.one_after(y);
        let graph = &mut self.writer.graph;
        let first = as_i64(DROPPED.len() * at.block + layer);
        let [from, to, axis, block] = [first, first + 1, 0, as_i64(at.block)].map(|i| graph.ints(&[i]));
        let from = graph.op("Mul", &[&from, &now], &[]);
        let mask = graph.op("Slice", &[&masks, &from, &to, &axis], &[]);
        let factor = graph.op("Gather", &[&factors, &block], &[("axis", Int(0))]);
        let mask = self.writer.flatten(&mask, self.writer.shape.width);
        let graph = &mut self.writer.graph;
        let mask = graph.cast(&mask, Element::F32);
        let mask = graph.op("Mul", &[&mask, &factor], &[]);
        graph.op("Mul", &[y, &mask], &[])
    }

    /// `x` once `part` is known, whose length the runtime must not know beforehand: no arithmetic, but an order.
    pub(super) fn once(&mut self, x: &Value, part: &Value, features: usize) -> Value {
        let graph = &mut self.writer.graph;
        let one = graph.op("Shape", &[part], &[("start", Int(0)), ("end", Int(1))]);
        let sizes = graph.ints(&[-1, as_i64(features)]);
        let sizes = graph.op("Mul", &[&sizes, &one], &[]);
        graph.op("Reshape", &[x, &sizes], &[])
    }

    /// Keeps gradients of segments that lie side by side from there on; answers with them as `[1, n]`.
    pub(super) fn keep(&mut self, start: usize, gradients: &[&Value], d: &Value) -> Value {
        let one = self.writer.one_after(d);
        let graph = &mut self.writer.graph;
        let part = graph.op("Concat", gradients, &[("axis", Int(0))]);
        let rest = graph.ints(&[-1]);
        let sizes = graph.op("Concat", &[&one, &rest], &[("axis", Int(0))]);
        let part = graph.op("Reshape", &[&part, &sizes], &[]);
        self.parts.push((start, part.clone()));
        part
    }

    /// The whole gradient, `[P]`.
    fn gradient(&mut self) -> Value {
        let mut parts = std::mem::take(&mut self.parts);
        parts.sort_unstable_by_key(|(start, _)| *start);
        let parts: Vec<_> = parts.iter().map(|(_, part)| part).collect();
        let graph = &mut self.writer.graph;
        graph.enter("gradient");
        let whole = graph.op("Concat", &parts, &[("axis", Int(1))]);
        let flat = graph.ints(&[-1]);
        graph.op("Reshape", &[&whole, &flat], &[])
    }
}

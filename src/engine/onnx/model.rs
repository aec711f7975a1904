//! Whole graphs: what goes in, the network, what comes out.

use super::graph::{Attribute, Axis, Element, Graph, Value, as_i64};
use super::ops::{Constants, Dialect, Pictures, Writer};
use crate::adapter::{Adapter, Layout, Pooling};
use crate::backbone::Shape;
use crate::vit;

use Attribute::{Int, Ints};

/// Where the adapter's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Adaptation {
    /// In the input `adapter`: one task.
    Vector,
    /// In the input `adapters`, one row of it for each picture.
    Rows,
    /// In the constants, or nowhere.
    Constants,
}

/// How pictures reach the graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Given {
    /// Normalised, in f32.
    #[default]
    Values,
    /// As bytes, with the mean and the standard deviation of each picture's channels.
    Bytes,
}

/// What the graph answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// `features` `[rows, 2 * width]`.
    Features,
    /// `tokens` `[rows, tokens, width]`, after the final norm.
    Tokens,
}

/// Which graph for serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Where the adapter's numbers are.
    pub adaptation: Adaptation,
    /// How pictures are given.
    pub given: Given,
    /// What comes out.
    pub answer: Answer,
    /// What linears compute in.
    pub element: Element,
    /// Which operators.
    pub dialect: Dialect,
}

impl Kind {
    /// The name of its file.
    pub fn file(self) -> String {
        let name = match (self.answer, self.adaptation) {
            (Answer::Tokens, _) => "tokens",
            (_, Adaptation::Vector) => "rescaled",
            (_, Adaptation::Rows) => "mixed",
            (_, Adaptation::Constants) => "bare",
        };
        let given = if self.given == Given::Bytes { "-bytes" } else { "" };
        let element = self.element.suffix();
        let dialect = if self.dialect == Dialect::Plain { "-plain" } else { "" };
        format!("{name}{given}{element}{dialect}.onnx")
    }
}

/// A graph for serving. Inputs:
///
/// | name | shape | when |
/// |---|---|---|
/// | `patches` | `[rows, patches, channels * patch * patch]`, f32 or u8 | |
/// | `mean`, `std` | `[rows, channels]` | patches are bytes |
/// | `positions` | `[patches, width]` | |
/// | `adapter` | `[P]` | one task |
/// | `adapters`, `slots` | `[slots, P]`, `[rows]` of i64 | a task for each row |
///
/// One graph serves every picture size and position rule.
pub fn serving<C: Constants>(shape: &Shape, layout: &Layout, constants: &C, kind: Kind) -> Vec<u8> {
    let writer = Writer::new("manylens", shape, layout, constants, kind.dialect);
    let mut writer = writer.computing_in(kind.element);
    let rows = Axis::Named("rows");
    let pictures = pictures(&mut writer.graph, shape, kind.given);
    match kind.adaptation {
        Adaptation::Vector => writer.adapt_by_vector(),
        Adaptation::Rows => writer.adapt_by_rows(),
        Adaptation::Constants => {}
    }
    match kind.answer {
        Answer::Features => {
            let features = vit::forward(&mut writer, shape.depth, &pictures);
            writer.graph.output("features", &features, &[rows, Axis::Fixed(2 * shape.width)]);
        }
        Answer::Tokens => {
            let tokens = vit::forward_tokens(&mut writer, shape.depth, &pictures);
            let tokens = writer.tokens(&tokens);
            writer.graph.output("tokens", &tokens, &[rows, Axis::Named("tokens"), Axis::Fixed(shape.width)]);
        }
    }
    writer.graph.finish()
}

pub(super) fn pictures(graph: &mut Graph, shape: &Shape, given: Given) -> Pictures {
    let (rows, patches) = (Axis::Named("rows"), Axis::Named("patches"));
    let axes = [rows, patches, Axis::Fixed(shape.patch_values())];
    let patches_in = match given {
        Given::Values => graph.input("patches", Element::F32, &axes),
        Given::Bytes => {
            let bytes = graph.input("patches", Element::U8, &axes);
            let [mean, std] =
                ["mean", "std"].map(|name| graph.input(name, Element::F32, &[rows, Axis::Fixed(shape.channels)]));
            normalised(graph, shape, &bytes, [&mean, &std])
        }
    };
    Pictures {
        patches: patches_in,
        positions: graph.input("positions", Element::F32, &[patches, Axis::Fixed(shape.width)]),
    }
}

/// (byte / 255 - mean) / std, in the order of operations that the host's table has.
fn normalised(graph: &mut Graph, shape: &Shape, bytes: &Value, [mean, std]: [&Value; 2]) -> Value {
    graph.enter("normalise");
    let [channels, values] = [shape.channels, shape.patch_values()].map(as_i64);
    let x = graph.cast(bytes, Element::F32);
    let by_channel = graph.ints(&[0, 0, channels, -1]);
    let x = graph.op("Reshape", &[&x, &by_channel], &[]);
    let most = graph.number("normalise.most", Element::F32, 255.0);
    let x = graph.op("Div", &[&x, &most], &[]);
    let axes = graph.ints(&[1, 3]);
    let [mean, std] = [mean, std].map(|vector| graph.op("Unsqueeze", &[vector, &axes], &[]));
    let x = graph.op("Sub", &[&x, &mean], &[]);
    let x = graph.op("Div", &[&x, &std], &[]);
    let flat = graph.ints(&[0, 0, values]);
    graph.op("Reshape", &[&x, &flat], &[])
}

/// A classifier on its own: input `pixel_values` `[batch, channels, side, side]`, normalised; output `logits`
/// `[batch, classes]`, before the temperature. The constants have the adapter merged in; `positions` is the table of
/// that picture size.
pub fn classifier<C: Constants>(
    shape: &Shape,
    constants: &C,
    dialect: Dialect,
    adapter: &Adapter,
    positions: &[f32],
    notes: &[(&str, String)],
) -> Vec<u8> {
    let layout = Layout::of(shape);
    let mut writer = Writer::new("classifier", shape, &layout, constants, dialect);
    let side = Axis::Fixed(adapter.preprocess.final_size());
    let batch = Axis::Named("batch");
    let pixels = writer.graph.input("pixel_values", Element::F32, &[batch, Axis::Fixed(shape.channels), side, side]);
    let patches = cut(&mut writer, &pixels, shape, adapter.preprocess.final_size() / shape.patch);
    let positions = writer.graph.floats("positions", &[positions.len() / shape.width, shape.width], positions);
    let features = vit::forward(&mut writer, shape.depth, &Pictures { patches, positions });
    let logits = head(&mut writer, &features, adapter, shape.width);
    writer.graph.output("logits", &logits, &[batch, Axis::Fixed(adapter.head.classes())]);
    for (key, value) in notes {
        writer.graph.note(key, value.clone());
    }
    writer.graph.finish()
}

/// Pictures to patches `[batch, patches, channel * row * column]`.
fn cut<C: Constants>(writer: &mut Writer<'_, C>, pixels: &Value, shape: &Shape, grid: usize) -> Value {
    let graph = &mut writer.graph;
    graph.enter("patches");
    let [channels, grid, patch] = [shape.channels, grid, shape.patch].map(as_i64);
    let sizes = graph.ints(&[0, channels, grid, patch, grid, patch]);
    let x = graph.op("Reshape", &[pixels, &sizes], &[]);
    let x = graph.op("Transpose", &[&x], &[("perm", Ints(vec![0, 2, 4, 1, 3, 5]))]);
    let sizes = graph.ints(&[0, grid * grid, as_i64(shape.patch_values())]);
    graph.op("Reshape", &[&x, &sizes], &[])
}

fn head<C: Constants>(writer: &mut Writer<'_, C>, features: &Value, adapter: &Adapter, width: usize) -> Value {
    let graph = &mut writer.graph;
    graph.enter("head");
    let part = match adapter.pooling {
        Pooling::Cls => Some((0, width)),
        Pooling::Mean => Some((width, 2 * width)),
        Pooling::ClsMean => None,
    };
    let pooled = part.map_or_else(
        || features.clone(),
        |(start, end)| {
            let [start, end, axis] = [start, end, 1].map(|n| graph.ints(&[as_i64(n)]));
            graph.op("Slice", &[features, &start, &end, &axis], &[])
        },
    );
    let head = &adapter.head;
    let weight = graph.floats("head.weight", &[head.classes(), head.features()], &head.weight);
    let bias = graph.floats("head.bias", &[head.classes()], &head.bias);
    graph.op("Gemm", &[&pooled, &weight, &bias], &[("transB", Int(1))])
}

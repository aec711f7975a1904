//! Whole graphs: what goes in, the network, what comes out.

use super::graph::{Attribute, Axis, Value, as_i64};
use super::ops::{Constants, Dialect, Pictures, Writer};
use crate::adapter::{Adapter, Layout, Pooling};
use crate::backbone::Shape;
use crate::vit;

use Attribute::{Int, Ints};

/// Where the adapter's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adaptation {
    /// In the input `adapter`.
    Input,
    /// In the constants, or nowhere.
    Constants,
}

/// What the graph answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `features` `[rows, 2 * width]`.
    Features,
    /// `tokens` `[rows, tokens, width]`, after the final norm.
    Tokens,
}

/// A graph for serving: inputs `patches` `[rows, patches, channels * patch * patch]`, `positions` `[patches, width]` and,
/// if so asked, `adapter` `[P]`. One graph serves every picture size and position rule.
pub fn serving<C: Constants>(
    shape: &Shape,
    layout: &Layout,
    constants: &C,
    adaptation: Adaptation,
    answer: Answer,
) -> Vec<u8> {
    let mut writer = Writer::new("manylens", shape, layout, constants, Dialect::Fused);
    let (rows, patches) = (Axis::Named("rows"), Axis::Named("patches"));
    let pictures = Pictures {
        patches: writer.graph.input("patches", &[rows, patches, Axis::Fixed(shape.patch_values())]),
        positions: writer.graph.input("positions", &[patches, Axis::Fixed(shape.width)]),
    };
    if adaptation == Adaptation::Input {
        writer.rescale_by_input();
    }
    match answer {
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
    let pixels = writer.graph.input("pixel_values", &[batch, Axis::Fixed(shape.channels), side, side]);
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

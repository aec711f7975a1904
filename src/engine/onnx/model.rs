//! Whole graphs: what goes in, the network, what comes out.

use super::graph::Axis;
use super::ops::{Constants, Dialect, Pictures, Writer};
use crate::adapter::Layout;
use crate::backbone::Shape;
use crate::vit;

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

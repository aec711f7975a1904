//! Cuts a graph in two, so that the host can compute something between the halves.

use std::collections::HashSet;

use super::{Graph, Value, model};
use crate::engine::onnx::proto::{DataType, GraphProto, NodeProto, TensorTypeProto, TypeProto, ValueInfoProto, encode};

impl Graph {
    /// Two files instead of one: what makes `seam` and all that was written before, and what was written after. The
    /// first answers with `seam` and with all floats that the second takes from it, by name.
    pub fn halves(mut self, seam: &Value) -> [Vec<u8>; 2] {
        let last = self.proto.node.iter().position(|node| node.output.contains(&seam.0));
        let second = self.proto.node.split_off(last.map_or(0, |last| last + 1));
        let first = std::mem::take(&mut self.proto.node);
        let needed = needed(&second);
        let made = first.iter().flat_map(|node| &node.output);
        let crossing: Vec<_> = made.filter(|name| needed.contains(name.as_str())).collect();
        let kept = crossing.iter().filter(|name| ***name != seam.0);
        let first_out = std::iter::once(&seam.0).chain(kept.copied()).map(|name| any_floats(name)).collect();
        let crossing = crossing.iter().map(|name| any_floats(name)).collect();
        let first = self.part(first, Vec::new(), first_out);
        let second = self.part(second, crossing, self.proto.output.clone());
        [first, second].map(|part| encode(&model(part, self.contrib, self.metadata.clone())))
    }

    /// These nodes with the inputs and constants that they read, and more inputs.
    fn part(&self, node: Vec<NodeProto>, more: Vec<ValueInfoProto>, output: Vec<ValueInfoProto>) -> GraphProto {
        let needed = needed(&node);
        let inputs = self.proto.input.iter().filter(|input| needed.contains(input.name.as_str()));
        let initializers = self.proto.initializer.iter().filter(|constant| needed.contains(constant.name.as_str()));
        GraphProto {
            name: self.proto.name.clone(),
            input: inputs.cloned().chain(more).collect(),
            initializer: initializers.cloned().collect(),
            output,
            node,
        }
    }
}

fn needed(nodes: &[NodeProto]) -> HashSet<&str> {
    nodes.iter().flat_map(|node| &node.input).map(String::as_str).collect()
}

/// Of any shape.
fn any_floats(name: &str) -> ValueInfoProto {
    let tensor = TensorTypeProto { elem_type: DataType::Float.into(), shape: None };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::onnx::graph::{Axis, Element};
    use crate::engine::onnx::proto::decode;

    #[test]
    fn halves_hand_over_what_the_second_needs_and_no_more() {
        let mut graph = Graph::new("cut");
        let [a, b] = ["a", "b"].map(|name| graph.input(name, Element::F32, &[Axis::Fixed(1)]));
        let two = graph.number("two", Element::F32, 2.0);
        assert_eq!(graph.number("two", Element::F32, 2.0), two);
        let kept = graph.op("Mul", &[&a, &two], &[]);
        let lost = graph.op("Add", &[&kept, &a], &[]);
        let seam = graph.op("Add", &[&lost, &a], &[]);
        let late = graph.op("Mul", &[&kept, &b], &[]);
        graph.output("late", &late, &[Axis::Fixed(1)]);
        let halves = graph.halves(&seam).map(|bytes| decode(&bytes).graph.expect("a graph"));
        let names = |values: &[ValueInfoProto]| values.iter().map(|v| v.name.clone()).collect::<Vec<_>>();
        let [first, second] = halves;
        assert_eq!((names(&first.input), names(&first.output)), (vec!["a".into()], vec![seam.0, kept.0.clone()]));
        assert_eq!((names(&second.input), names(&second.output)), (vec!["b".into(), kept.0], vec!["late".into()]));
        assert_eq!((first.initializer.len(), second.initializer.len()), (1, 0));
    }
}

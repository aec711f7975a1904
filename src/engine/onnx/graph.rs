//! Writes an ONNX graph call by call: every call adds a node and answers with the value that it makes.

mod halves;

use std::collections::HashSet;

use super::proto::{
    AttributeProto, AttributeType, DataLocation, DataType, Dimension, DimensionProto, GraphProto, ModelProto,
    NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto, encode,
};

/// Domain of ONNX Runtime's own operators.
const CONTRIB: &str = "com.microsoft";

/// The oldest operator set with LayerNormalization: what it holds runs in the most viewers and runtimes.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

/// Of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32 bits of float.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// A byte.
    U8,
    /// An integer.
    I64,
}

impl Element {
    /// Size in memory and in files.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::I64 => 8,
        }
    }

    /// What names of files end with that hold these instead of f32.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::F16 => "-f16",
            Self::Bf16 => "-bf16",
            Self::F32 | Self::U8 | Self::I64 => "",
        }
    }

    fn proto(self) -> DataType {
        match self {
            Self::F32 => DataType::Float,
            Self::F16 => DataType::Float16,
            Self::Bf16 => DataType::Bfloat16,
            Self::U8 => DataType::Uint8,
            Self::I64 => DataType::Int64,
        }
    }
}

/// A tensor of the graph, by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Value(String);

/// An operator's attribute.
#[derive(Clone, Debug)]
pub enum Attribute {
    /// One integer.
    Int(i64),
    /// One float.
    Float(f32),
    /// Integers.
    Ints(Vec<i64>),
}

/// One axis of an input or output.
#[derive(Clone, Copy, Debug)]
pub enum Axis<'a> {
    /// Always this long.
    Fixed(usize),
    /// Any length, the same wherever the name is.
    Named(&'a str),
}

/// Where an external tensor's bytes lie.
#[derive(Clone, Copy, Debug)]
pub struct External<'a> {
    /// File name, relative to the graph's own folder.
    pub file: &'a str,
    /// First byte.
    pub offset: usize,
}

/// A graph in the making.
#[derive(Default)]
pub struct Graph {
    proto: GraphProto,
    /// Names of constants.
    constants: HashSet<String>,
    place: String,
    contrib: bool,
    metadata: Vec<StringStringEntryProto>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Self { proto: GraphProto { name: name.into(), ..GraphProto::default() }, ..Self::default() }
    }

    /// Names the nodes that follow after a place in the network.
    pub fn enter(&mut self, place: impl ToString) {
        self.place = place.to_string();
    }

    /// The place that was entered last.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// An input.
    pub fn input(&mut self, name: &str, element: Element, axes: &[Axis<'_>]) -> Value {
        self.proto.input.push(describe(name, element, axes));
        Value(name.into())
    }

    /// Makes a value of floats an output of that name.
    pub fn output(&mut self, name: &str, value: &Value, axes: &[Axis<'_>]) {
        self.push("", "Identity", &[value], vec![name.into()], &[]);
        self.proto.output.push(describe(name, Element::F32, axes));
    }

    /// A free-form key and value in the model's metadata.
    pub fn note(&mut self, key: &str, value: impl Into<String>) {
        self.metadata.push(StringStringEntryProto { key: key.into(), value: value.into() });
    }

    /// A standard operator with one output.
    pub fn op(&mut self, op: &str, inputs: &[&Value], attributes: &[(&str, Attribute)]) -> Value {
        let [output] = self.ops(op, inputs, attributes);
        output
    }

    /// A standard operator with its first `N` outputs.
    pub fn ops<const N: usize>(&mut self, op: &str, inputs: &[&Value], attributes: &[(&str, Attribute)]) -> [Value; N] {
        let first = self.fresh(op);
        let outputs = std::array::from_fn(|i| if i == 0 { first.clone() } else { format!("{first}.{i}") });
        self.push("", op, inputs, outputs.to_vec(), attributes);
        outputs.map(Value)
    }

    /// One of ONNX Runtime's own operators, with one output.
    pub fn contrib(&mut self, op: &str, inputs: &[&Value], attributes: &[(&str, Attribute)]) -> Value {
        let name = self.fresh(op);
        self.contrib = true;
        self.push(CONTRIB, op, inputs, vec![name.clone()], attributes);
        Value(name)
    }

    /// Cuts the last axis into named parts of these lengths.
    pub fn split(&mut self, x: &Value, parts: impl Iterator<Item = (String, usize)>) -> Vec<Value> {
        let (names, lengths): (Vec<_>, Vec<_>) = parts.map(|(name, len)| (name, as_i64(len))).unzip();
        let lengths = self.ints(&lengths);
        self.push("", "Split", &[x, &lengths], names.clone(), &[("axis", Attribute::Int(-1))]);
        names.into_iter().map(Value).collect()
    }

    /// Cuts an axis into two halves.
    pub fn halve(&mut self, x: &Value, axis: i64) -> [Value; 2] {
        let names = ["first", "second"].map(|half| self.fresh(half));
        self.push("", "Split", &[x], names.to_vec(), &[("axis", Attribute::Int(axis))]);
        names.map(Value)
    }

    /// The same values as other elements.
    pub fn cast(&mut self, x: &Value, to: Element) -> Value {
        self.op("Cast", &[x], &[("to", Attribute::Int(i32::from(to.proto()).into()))])
    }

    /// A constant vector of integers.
    pub fn ints(&mut self, values: &[i64]) -> Value {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let name = self.fresh("ints");
        self.constant(&name, &[values.len()], DataType::Int64, raw)
    }

    /// A constant tensor of floats, its values inside the graph.
    pub fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Value {
        self.constant(name, shape, DataType::Float, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A constant number.
    pub fn number(&mut self, name: &str, element: Element, value: f32) -> Value {
        let raw = match element {
            Element::F16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
            Element::Bf16 => half::bf16::from_f32(value).to_le_bytes().to_vec(),
            Element::F32 | Element::U8 | Element::I64 => value.to_le_bytes().to_vec(),
        };
        self.constant(name, &[], element.proto(), raw)
    }

    /// A constant tensor, its values in another file; the same one when it is asked for again.
    pub fn external(&mut self, name: &str, element: Element, shape: &[usize], at: External<'_>) -> Value {
        let length = shape.iter().product::<usize>() * element.bytes();
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
        self.initialize(TensorProto {
            dims: shape.iter().map(|&n| as_i64(n)).collect(),
            data_type: element.proto().into(),
            name: name.into(),
            raw_data: None,
            external_data: vec![
                entry("location", at.file.into()),
                entry("offset", at.offset.to_string()),
                entry("length", length.to_string()),
            ],
            data_location: Some(DataLocation::External.into()),
        })
    }

    /// The bytes of the `.onnx` file.
    pub fn finish(self) -> Vec<u8> {
        let Self { proto, contrib, metadata, .. } = self;
        encode(&model(proto, contrib, metadata))
    }

    /// Adds a constant, unless there is one of that name.
    fn initialize(&mut self, tensor: TensorProto) -> Value {
        let value = Value(tensor.name.clone());
        if self.constants.insert(tensor.name.clone()) {
            self.proto.initializer.push(tensor);
        }
        value
    }
}

fn model(graph: GraphProto, contrib: bool, metadata: Vec<StringStringEntryProto>) -> ModelProto {
    let mut opsets = vec![OperatorSetIdProto { domain: String::new(), version: OPSET }];
    if contrib {
        opsets.push(OperatorSetIdProto { domain: CONTRIB.into(), version: 1 });
    }
    ModelProto {
        ir_version: IR_VERSION,
        producer_name: "manylens".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: opsets,
        metadata_props: metadata,
    }
}

impl Graph {
    fn constant(&mut self, name: &str, shape: &[usize], data_type: DataType, raw: Vec<u8>) -> Value {
        self.initialize(TensorProto {
            dims: shape.iter().map(|&n| as_i64(n)).collect(),
            data_type: data_type.into(),
            name: name.into(),
            raw_data: Some(raw),
            external_data: Vec::new(),
            data_location: None,
        })
    }

    fn fresh(&self, what: &str) -> String {
        format!("{}/{what}_{}", self.place, self.proto.node.len() + self.proto.initializer.len())
    }

    fn push(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&Value],
        output: Vec<String>,
        attributes: &[(&str, Attribute)],
    ) {
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|v| v.0.clone()).collect(),
            name: output[0].clone(),
            output,
            op_type: op.into(),
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
            domain: domain.into(),
        });
    }
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let blank = AttributeProto { name: name.into(), ..AttributeProto::default() };
    match value {
        Attribute::Int(i) => AttributeProto { i: Some(*i), r#type: AttributeType::Int.into(), ..blank },
        Attribute::Float(f) => AttributeProto { f: Some(*f), r#type: AttributeType::Float.into(), ..blank },
        Attribute::Ints(ints) => AttributeProto { ints: ints.clone(), r#type: AttributeType::Ints.into(), ..blank },
    }
}

fn describe(name: &str, element: Element, axes: &[Axis<'_>]) -> ValueInfoProto {
    let dimension = |axis: &Axis<'_>| match *axis {
        Axis::Fixed(n) => Dimension::DimValue(as_i64(n)),
        Axis::Named(name) => Dimension::DimParam(name.into()),
    };
    let dim = axes.iter().map(|axis| DimensionProto { value: Some(dimension(axis)) }).collect();
    let tensor = TensorTypeProto { elem_type: element.proto().into(), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

/// Sizes of tensors that fit into memory fit into an i64.
pub fn as_i64(n: usize) -> i64 {
    i64::try_from(n).expect("a tensor's size fits into an i64")
}

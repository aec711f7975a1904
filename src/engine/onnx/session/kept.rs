//! What one graph leaves for another, where the graphs run.

use std::path::Path;

use ndarray::Array2;
use ort::memory::{Allocator, MemoryInfo};
use ort::session::IoBinding;
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor};

use super::bound::Memory;
use super::{Input, Options, Runtime, Session, Values, failed, matrix};
use crate::engine::EngineError;

/// Tensors by their names.
#[derive(Default)]
pub struct Kept(Vec<(String, DynValue)>);

/// A graph that takes tensors from another one, or leaves some.
pub struct Stage {
    session: Session,
    memory: Memory,
}

impl Stage {
    /// As [`Session::open`].
    pub fn open(runtime: &Runtime, graph: &Path, options: Options<'_>) -> Result<Self, EngineError> {
        let session = Session::open(runtime, graph, options)?;
        let memory = Memory::of(&session.session, options.settings).map_err(failed("finding the graph's memory"))?;
        Ok(Self { session, memory })
    }

    /// Runs the graph. Its first output, a matrix, is the answer; all others are kept where they were computed. Inputs
    /// that the graph does not have are left out.
    pub fn run(&mut self, inputs: &[Input<'_>], kept: &Kept) -> Result<(Array2<f32>, Kept), EngineError> {
        let takes = |name: &str| self.session.session.inputs().iter().any(|input| input.name() == name);
        let inputs: Vec<_> = inputs.iter().filter(|input| takes(input.name)).collect();
        let (answer, kept) = self.bind_and_run(&inputs, kept).map_err(failed("running the graph in ONNX Runtime"))?;
        self.session.count_copies(inputs, &answer);
        Ok((answer, kept))
    }

    fn bind_and_run(&mut self, inputs: &[&Input<'_>], kept: &Kept) -> ort::Result<(Array2<f32>, Kept)> {
        let Self { session: Session { session, meter, .. }, memory } = self;
        let mut binding = session.create_binding()?;
        for input in inputs {
            bind(&mut binding, input, &memory.staging)?;
        }
        for (name, value) in &kept.0 {
            binding.bind_input(name, value)?;
        }
        let names: Vec<_> = session.outputs().iter().map(|output| output.name().to_owned()).collect();
        let (host, device) = (MemoryInfo::default(), memory.device.memory_info());
        for (index, name) in names.iter().enumerate() {
            binding.bind_output_to_device(name, if index == 0 { &host } else { device })?;
        }
        let mut outputs = meter.timed(|| session.run_binding(&binding))?;
        let mut values = names.into_iter().filter_map(|name| outputs.remove(&name).map(|value| (name, value)));
        let (_, answer) = values.next().ok_or_else(|| ort::Error::new("the graph has no output"))?;
        let (shape, numbers) = answer.try_extract_tensor::<f32>()?;
        Ok((matrix(shape, numbers)?, Kept(values.collect())))
    }
}

fn bind(binding: &mut IoBinding, input: &Input<'_>, staging: &Allocator) -> ort::Result<()> {
    let Input { name, shape, values } = input;
    match values {
        Values::F32(values) => binding.bind_input(*name, &owned(shape, values, staging)?),
        Values::U8(values) => binding.bind_input(*name, &owned(shape, values, staging)?),
        Values::I64(values) => binding.bind_input(*name, &owned(shape, values, staging)?),
        Values::Table(table) => binding.bind_input(*name, table.tensor()),
    }
}

/// A copy that the binding may hold on to, in memory that a device copies from.
fn owned<T>(shape: &[usize], values: &[T], staging: &Allocator) -> ort::Result<Tensor<T>>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Copy + 'static,
{
    let mut tensor = Tensor::new(staging, shape)?;
    tensor.extract_tensor_mut().1.copy_from_slice(values);
    Ok(tensor)
}

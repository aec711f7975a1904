//! Inputs and outputs at addresses that stay: what captured graphs need, and what spares a device its allocations.

use std::collections::HashMap;
use std::sync::Arc;

use ndarray::Array2;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{PrimitiveTensorElementType, Tensor, TensorValueType};

use super::{Input, Values, matrix};
use crate::engine::device::{DeviceMeter, Held, Holding};
use crate::engine::onnx::{OnnxSettings, Provider};

/// Shapes that are kept; when there are more, all are made anew.
const SHAPES_MAX: usize = 64;

/// The memory that a session's tensors lie in.
pub struct Memory {
    /// Where the graph runs.
    pub device: Allocator,
    /// On the host, as fast to copy from as there is.
    pub staging: Allocator,
}

impl Memory {
    /// Where that session's tensors lie.
    pub fn of(session: &Session, settings: &OnnxSettings) -> ort::Result<Self> {
        if settings.provider == Provider::Cpu {
            return Ok(Self { device: Allocator::default(), staging: Allocator::default() });
        }
        let allocator = |device, memory| {
            let info = MemoryInfo::new(device, settings.device_id(), AllocatorType::Device, memory)?;
            Allocator::new(session, info)
        };
        Ok(Self {
            device: allocator(AllocationDevice::CUDA, MemoryType::Default)?,
            staging: allocator(AllocationDevice::CUDA_PINNED, MemoryType::CPUInput)?,
        })
    }
}

/// One set of tensors for each shape of inputs that occurred.
pub struct Bindings {
    by_shape: HashMap<Vec<Vec<usize>>, Bound>,
    made: usize,
    captures: bool,
    meter: Arc<DeviceMeter>,
}

struct Bound {
    binding: IoBinding,
    inputs: Vec<Tensors>,
    answer: Tensor<f32>,
    /// Names the captured graph of this shape.
    options: RunOptions,
    _held: Held,
}

/// One input, on the host and where the graph runs.
enum Tensors {
    F32(Pair<f32>),
    U8(Pair<u8>),
    I64(Pair<i64>),
    /// Resident already.
    Table,
}

struct Pair<T: PrimitiveTensorElementType + std::fmt::Debug> {
    host: Tensor<T>,
    device: Tensor<T>,
}

impl Bindings {
    /// None yet.
    pub fn new(settings: &OnnxSettings, meter: &Arc<DeviceMeter>) -> Self {
        let captures = settings.cuda_graphs && settings.provider != Provider::Cpu;
        Self { by_shape: HashMap::new(), made: 0, captures, meter: meter.clone() }
    }

    /// Runs with these inputs, the first of which has the rows of the answer.
    pub fn run(&mut self, session: &mut Session, memory: &Memory, inputs: &[Input<'_>]) -> ort::Result<Array2<f32>> {
        let shapes: Vec<_> = inputs.iter().map(|input| input.shape.clone()).collect();
        if !self.by_shape.contains_key(&shapes) {
            if self.by_shape.len() >= SHAPES_MAX {
                self.by_shape.clear();
            }
            self.made += 1;
            let bound = Bound::new(session, memory, inputs, self.made, &self.meter)?;
            self.by_shape.insert(shapes.clone(), bound);
        } else if self.captures {
            self.meter.replayed();
        }
        let bound = self.by_shape.get_mut(&shapes).expect("made above");
        bound.run(session, inputs, &self.meter)
    }
}

impl Bound {
    fn new(
        session: &Session,
        memory: &Memory,
        inputs: &[Input<'_>],
        number: usize,
        meter: &Arc<DeviceMeter>,
    ) -> ort::Result<Self> {
        let mut binding = session.create_binding()?;
        let mut tensors = Vec::new();
        for Input { name, shape, values } in inputs {
            tensors.push(match values {
                Values::F32(_) => Tensors::F32(Pair::bound(&mut binding, name, memory, shape)?),
                Values::U8(_) => Tensors::U8(Pair::bound(&mut binding, name, memory, shape)?),
                Values::I64(_) => Tensors::I64(Pair::bound(&mut binding, name, memory, shape)?),
                Values::Table(table) => {
                    binding.bind_input(*name, table.tensor())?;
                    Tensors::Table
                }
            });
        }
        let output = &session.outputs()[0];
        let columns = output.dtype().tensor_shape().and_then(|shape| shape.last().copied()).unwrap_or(0);
        let answer = [inputs[0].shape[0], usize::try_from(columns).unwrap_or(0)];
        binding.bind_output(output.name(), Tensor::<f32>::new(&memory.device, answer)?)?;
        let mut options = RunOptions::new()?;
        options.set("gpu_graph_id", number.to_string())?;
        let held = inputs.iter().map(|input| input.values.copied_bytes()).sum::<usize>();
        let held = meter.hold(Holding::Buffers, held + size_of::<f32>() * answer.iter().product::<usize>());
        let answer = Tensor::new(&memory.staging, answer)?;
        Ok(Self { binding, inputs: tensors, answer, options, _held: held })
    }

    fn run(&mut self, session: &mut Session, inputs: &[Input<'_>], meter: &DeviceMeter) -> ort::Result<Array2<f32>> {
        for (tensors, input) in self.inputs.iter_mut().zip(inputs) {
            match (tensors, input.values) {
                (Tensors::F32(pair), Values::F32(values)) => pair.fill(values)?,
                (Tensors::U8(pair), Values::U8(values)) => pair.fill(values)?,
                (Tensors::I64(pair), Values::I64(values)) => pair.fill(values)?,
                _ => {}
            }
        }
        let outputs = meter.timed(|| session.run_binding_with_options(&self.binding, &self.options))?;
        let device = outputs[0].view().downcast::<TensorValueType<f32>>()?;
        device.copy_into(&mut self.answer)?;
        let (shape, values) = self.answer.extract_tensor();
        matrix(shape, values)
    }
}

impl<T: PrimitiveTensorElementType + std::fmt::Debug + Copy + 'static> Pair<T> {
    fn bound(binding: &mut IoBinding, name: &str, memory: &Memory, shape: &[usize]) -> ort::Result<Self> {
        let pair = Self { host: Tensor::new(&memory.staging, shape)?, device: Tensor::new(&memory.device, shape)? };
        binding.bind_input(name, &pair.device)?;
        Ok(pair)
    }

    fn fill(&mut self, values: &[T]) -> ort::Result<()> {
        self.host.extract_tensor_mut().1.copy_from_slice(values);
        self.host.copy_into(&mut self.device)
    }
}

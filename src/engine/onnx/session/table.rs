#![allow(unsafe_code, reason = "one slot is a view into the table's memory; see `Table::write`")]

use std::ffi::c_void;
use std::sync::Arc;

use ort::value::{Tensor, TensorRefMut};

use super::bound::Memory;
use super::{Session, failed};
use crate::engine::EngineError;
use crate::engine::device::{DeviceMeter, Direction, Held, Holding};
use crate::engine::onnx::OnnxSettings;

/// Adapters `[slots, P]` of f32, allocated once where the graphs run: its address never changes.
pub struct Table {
    tensor: Tensor<f32>,
    /// On the host; what is copied from must be the runtime's own, or it is copied once more.
    staging: Tensor<f32>,
    slots: usize,
    values: usize,
    meter: Arc<DeviceMeter>,
    _held: Held,
}

impl Table {
    /// `slots` slots for adapters of `values` values each, where that session runs. What a slot holds before it is
    /// written is not defined.
    pub fn new(slots: usize, values: usize, session: &Session, settings: &OnnxSettings) -> Result<Self, EngineError> {
        let allocate = || {
            let memory = Memory::of(&session.session, settings)?;
            Ok((Tensor::new(&memory.device, [slots, values])?, Tensor::new(&memory.staging, [values])?))
        };
        let (tensor, staging) = allocate().map_err(failed("allocating the table of adapters"))?;
        let meter = session.meter.clone();
        let held = meter.hold(Holding::Adapters, size_of::<f32>() * slots * values);
        Ok(Self { tensor, staging, slots, values, meter, _held: held })
    }

    /// Copies an adapter into a slot.
    ///
    /// # Panics
    /// When there is no such slot, or the adapter has another length.
    pub fn write(&mut self, slot: usize, adapter: &[f32]) -> Result<(), EngineError> {
        assert!(slot < self.slots && adapter.len() == self.values, "slot {slot} of {}", self.slots);
        self.copy(slot, adapter).map_err(failed("copying an adapter into the table"))?;
        self.meter.copied(Direction::ToDevice, size_of_val(adapter));
        Ok(())
    }

    fn copy(&mut self, slot: usize, adapter: &[f32]) -> ort::Result<()> {
        self.staging.extract_tensor_mut().1.copy_from_slice(adapter);
        let place = self.tensor.data_ptr_mut().cast::<f32>().wrapping_add(slot * self.values).cast::<c_void>();
        let shape = self.staging.shape().clone();
        // SAFETY: the slot lies inside the table (asserted above), in memory that `memory_info` describes; `&mut self`
        // keeps every run away from it, and the view ends before this function does.
        let place = unsafe { TensorRefMut::<f32>::from_raw(self.tensor.memory_info().to_owned(), place, shape)? };
        self.staging.copy_into(place)
    }

    pub(super) fn tensor(&self) -> &Tensor<f32> {
        &self.tensor
    }
}

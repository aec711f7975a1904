//! What turns pixels and adapters into features: the seam between serving and computing.
//!
//! A [`Backend`] owns what is shared (weights, sessions) and is called from any thread; an [`Engine`] is the worker
//! that runs batches and lives on the engine's own thread. Heads are applied outside ([`head`]), in f32, so every
//! engine answers with features.

pub mod budget;
#[cfg(test)]
mod contract;
pub mod device;
pub mod head;
pub mod merge;
pub mod native;
pub mod onnx;
mod open;
pub mod patches;
mod precision;
pub mod reference;
#[cfg(test)]
pub(crate) mod testing;
pub mod training;

pub use open::{EngineKind, EngineSettings, UnknownEngine, open};
pub use precision::Precision;

use std::any::Any;
use std::sync::Arc;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::adapter::Adapter;
use crate::image::Pixels;
use device::DeviceMeter;
use training::{TrainSettings, Trainable};

/// How a version is served; decided when it is loaded, never by traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The adapter rescales the shared weights at request time.
    Rescaled,
    /// The adapter has weights of its own, merged when it was loaded.
    Merged,
    /// The adapter's rescaling is left out: the frozen backbone with the adapter's head. Benchmarks and tests only.
    Bare,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Rescaled, Self::Merged, Self::Bare];

    /// Its name on the command line, in tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rescaled => "rescaled",
            Self::Merged => "merged",
            Self::Bare => "bare",
        }
    }
}

/// An adapter made ready for one engine. Carried by every job; cloning is cheap.
#[derive(Clone)]
pub struct Lens {
    /// The parameters.
    pub adapter: Arc<Adapter>,
    /// How it is served.
    pub form: Form,
    /// What the backend's `prepare` made, for its own engine to downcast (merged weights, a session, a device slot).
    pub prepared: Option<Arc<dyn Any + Send + Sync>>,
    /// Bytes that `prepared` keeps resident.
    pub prepared_bytes: usize,
}

/// The rows of a batch that share an adapter; all pictures of one size.
pub struct Group<'a> {
    /// Shared adapter.
    pub lens: &'a Lens,
    /// At least one picture.
    pub rows: Vec<&'a Pixels>,
}

/// Why an engine could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// What the engine needs is not there (a library, a device, a folder).
    #[error("{0}")]
    Unavailable(String),
    /// The runtime refused or failed; the message is its own.
    #[error("{what}: {why}")]
    Runtime {
        /// The step that failed.
        what: &'static str,
        /// The runtime's words.
        why: String,
    },
    /// Not enough room for merged weights.
    #[error("merging needs {needed} bytes, --merge-bytes-max leaves {left}")]
    MergeBudget {
        /// Bytes asked for.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
}

/// What an engine is, for /metrics, logs and bench tables.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// `native`, `onnx` or `reference`.
    pub engine: String,
    /// `f32`, `bf16` …
    pub precision: String,
    /// Kernel or library with its version.
    pub kernel: String,
    /// Probe tolerance: 1e-3 for f32, 5e-2 for bf16 and fp16.
    pub tolerance: f32,
}

/// Floating-point operations per second, a multiplication and an addition being two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// What all threads together do on registers: the limit.
    pub peak_gflops: f64,
    /// What they do in the linear layers of the backbone, rescaling included.
    pub linear_gflops: f64,
}

/// The shared half of an engine. Dropping it frees the weights.
pub trait Backend: Send + Sync {
    /// Name, precision, kernel.
    fn describe(&self) -> Description;
    /// Makes an adapter ready, off the engine's thread. May take long for [`Form::Merged`].
    fn prepare(&self, adapter: Arc<Adapter>, form: Form) -> Result<Lens, EngineError>;
    /// How fast the machine multiplies, and the linear layers of a batch of that many pictures with it, for an engine
    /// that can tell. Takes about a second.
    fn rates(&self, _pictures: usize) -> Option<Rates> {
        None
    }
    /// What happens on the device that it runs on, for an engine that has one.
    fn device(&self) -> Option<Arc<DeviceMeter>> {
        None
    }
    /// A fresh worker; called at start, and once more when a worker died.
    fn start(&self) -> Result<Box<dyn Engine>, EngineError>;
    /// A worker that trains, for an engine that can.
    fn trainable(&self, _settings: &TrainSettings) -> Result<Box<dyn Trainable>, EngineError> {
        let engine = self.describe().engine;
        Err(EngineError::Unavailable(format!("engine {engine} does not train; use another --engine")))
    }
}

/// The worker half: owned by one thread.
pub trait Engine: Send {
    /// Features `[rows, 2 * width]` (CLS, then mean of patch tokens) of each group, in order. A row's values depend
    /// on its pixels and its lens only: never on the other rows, the order, or the load.
    fn run(&mut self, batch: &[Group<'_>]) -> Result<Vec<Array2<f32>>, EngineError>;
}

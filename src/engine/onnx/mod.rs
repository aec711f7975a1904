//! The network in ONNX Runtime: our operations write a graph without weights, which the runtime executes.
//!
//! One copy of the weights is in memory: a canonical file in the cache folder that the runtime maps. A graph takes
//! adapters in one of three ways: one flat vector for all rows, from which the rescaled weights are computed inside;
//! a table of adapters and each row's place in it; or merged into weights of a session's own. It trains as well
//! (`train`).
#![deny(unsafe_code)]

mod adapted;
mod cache;
pub mod export;
mod gather;
pub mod graph;
mod library;
mod measure;
mod model;
mod ops;
mod plan;
mod proto;
mod run;
mod session;
mod settings;
mod slots;
#[cfg(test)]
mod tests;
mod threads;
mod train;
mod worker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ndarray::Array2;

pub use ops::Dialect;
pub use settings::{BatchForm, OnnxSettings, Provider, ProviderOptions};

use super::budget::{Budget, Reservation};
use super::device::DeviceMeter;
use super::training::{TrainSettings, Trainable};
use super::{Backend, Description, Engine, EngineError, EngineSettings, Form, Lens, Precision, merge};
use crate::adapter::{Adapter, Layout};
use crate::backbone::{Backbone, PositionTables, Shape, Weights};
use crate::image::Pixels;
use cache::{Cache, WeightsFile};
use gather::Gathered;
use graph::Element;
use model::{Adaptation, Answer, Given, Kind};
use plan::Limits;
use run::{AdaptedBy, Call};
use session::{Options, Packing, Runtime, Session};
use train::Trainer;
use worker::Worker;

/// Rows of the largest run that is filled up.
const PADDED_ROWS_MAX: usize = 128;

/// The shared half: files, tables and the loaded library.
pub struct Onnx {
    shared: Arc<Shared>,
}

struct Shared {
    backbone: Arc<Backbone>,
    layout: Layout,
    positions: PositionTables,
    runtime: Runtime,
    cache: Cache,
    /// As they are.
    weights: WeightsFile,
    /// As graphs read them.
    operands: WeightsFile,
    precision: Precision,
    budget: Arc<Budget>,
    meter: Arc<DeviceMeter>,
    settings: OnnxSettings,
}

fn usable_threads(asked: usize, shape: &Shape) -> usize {
    let most = threads::threads_max(shape);
    if asked > most {
        tracing::warn!(asked, using = most, "more threads would make a row's answer depend on the rows beside it");
    }
    asked.min(most)
}

/// What matrices are made of. The runtime's kernels for processors have no bf16, and compute f16 in f32 between
/// roundings.
fn precision(settings: &EngineSettings) -> Result<Precision, EngineError> {
    match (settings.precision, settings.onnx.provider) {
        (Some(Precision::Bf16), Provider::Cpu) => Err(EngineError::Unavailable(
            "ONNX Runtime's CPU provider has no bf16 products; use --precision f32, --engine native, or --provider cuda"
                .into(),
        )),
        (asked, _) => Ok(asked.unwrap_or(Precision::F32)),
    }
}

fn element(precision: Precision) -> Element {
    match precision {
        Precision::F32 => Element::F32,
        Precision::Bf16 => Element::Bf16,
        Precision::F16 => Element::F16,
    }
}

/// What a merged or bare lens carries: a session with constant weights.
struct Own {
    session: Mutex<Session>,
    _reserved: Option<Reservation>,
}

/// What a rescaled lens carries: what it is known by in a table of adapters.
struct Resident {
    key: slots::Key,
}

impl Onnx {
    /// Loads the library, writes the weights to the cache unless they are there, and drops them.
    pub fn new(backbone: Arc<Backbone>, weights: Weights, settings: &EngineSettings) -> Result<Self, EngineError> {
        let library = library::find(settings.onnxruntime_lib.as_deref(), &settings.cache_dir)?;
        let runtime = Runtime::load(&library, usable_threads(settings.threads, &backbone.shape))?;
        settings.onnx.check(runtime.library())?;
        let precision = precision(settings)?;
        let cache = Cache::open(&settings.cache_dir, &backbone.fingerprint)?;
        let stored = cache.weights(&weights, Element::F32)?;
        let operands = match element(precision) {
            // Comparing the file once more would double a start.
            Element::F32 => stored.clone(),
            narrow => cache.weights(&weights, narrow)?,
        };
        let shared = Shared {
            weights: stored,
            operands,
            precision,
            layout: Layout::of(&backbone.shape),
            positions: PositionTables::new(&backbone),
            budget: Budget::new(settings.merge_bytes_max),
            meter: DeviceMeter::new(settings.onnx.device_name()),
            settings: settings.onnx.clone(),
            runtime,
            cache,
            backbone,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Every token `[prefix_tokens + grid_h * grid_w, width]` of one picture after the final norm, without an adapter.
    pub fn tokens(&self, lens: &Lens, picture: &Pixels) -> Result<Array2<f32>, EngineError> {
        let shared = &self.shared;
        let kind = Kind { answer: Answer::Tokens, ..shared.kind(Adaptation::Constants, Given::Values) };
        let mut session = shared.open(kind)?;
        let mut call = Call::new(lens.adapter.position_rule, Given::Values, AdaptedBy::Nothing);
        call.add(lens, &[picture], 0);
        run::answer(shared, &mut session, &mut Gathered::default(), None, &call)
    }
}

impl Backend for Onnx {
    fn describe(&self) -> Description {
        Description {
            engine: "onnx".into(),
            precision: self.shared.precision.name().into(),
            kernel: self.shared.kernel(),
            tolerance: self.shared.precision.tolerance(),
        }
    }

    fn prepare(&self, adapter: Arc<Adapter>, form: Form) -> Result<Lens, EngineError> {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        let (own, prepared_bytes) = match form {
            Form::Rescaled => {
                let resident = Arc::new(Resident { key: KEYS.fetch_add(1, Ordering::Relaxed) });
                return Ok(Lens { adapter, form, prepared: Some(resident), prepared_bytes: 0 });
            }
            Form::Bare => (self.shared.bare()?, 0),
            Form::Merged => self.shared.merged(&adapter)?,
        };
        Ok(Lens { adapter, form, prepared: Some(Arc::new(own)), prepared_bytes })
    }

    fn device(&self) -> Option<Arc<DeviceMeter>> {
        Some(self.shared.meter.clone())
    }

    fn start(&self) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(Worker::start(self.shared.clone())?))
    }

    fn trainable(&self, settings: &TrainSettings) -> Result<Box<dyn Trainable>, EngineError> {
        Ok(Box::new(Trainer::new(self.shared.clone(), *settings)?))
    }
}

impl Shared {
    /// Library, and provider where it is not the processor.
    fn kernel(&self) -> String {
        let version = self.runtime.version();
        match self.settings.provider {
            Provider::Cpu => format!("onnxruntime {version}"),
            provider => format!("onnxruntime {version} {}", provider.name()),
        }
    }

    fn kind(&self, adaptation: Adaptation, given: Given) -> Kind {
        let (element, dialect) = (element(self.precision), self.dialect());
        Kind { adaptation, given, answer: Answer::Features, element, dialect }
    }

    fn dialect(&self) -> Dialect {
        match self.settings.provider {
            Provider::Cpu | Provider::Cuda => Dialect::Fused,
            // It compiles standard operators, and would leave others to the next provider.
            Provider::Tensorrt => Dialect::Plain,
        }
    }

    /// How pictures of bytes are given to the graphs that all tasks share. A processor that runs group after group has
    /// nothing to gain from bytes: the host normalises them as fast.
    fn given(&self) -> Given {
        let is_default = self.settings.provider == Provider::Cpu && self.settings.form() == BatchForm::Group;
        if is_default { Given::Values } else { Given::Bytes }
    }

    fn limits(&self) -> Limits {
        let pads = self.settings.pads_batches();
        let rows_max = if pads { PADDED_ROWS_MAX } else { usize::MAX };
        Limits { rows_max, tasks_max: self.settings.adapter_slots.max(1), pads }
    }

    /// A session over the shared weights.
    fn open(&self, kind: Kind) -> Result<Session, EngineError> {
        let graph = model::serving(&self.backbone.shape, &self.layout, &self.operands, kind);
        let path = self.cache.graph(&kind.file(), &graph)?;
        Session::open(&self.runtime, &path, self.options(Packing::AsStored, self.operands.bytes()))
    }

    fn options(&self, packing: Packing, weights_bytes: usize) -> Options<'_> {
        Options { packing, weights_bytes, precision: self.precision, settings: &self.settings, meter: &self.meter }
    }

    /// The same mapped weights, not rescaled.
    fn bare(&self) -> Result<Own, EngineError> {
        let session = self.open(self.kind(Adaptation::Constants, Given::Values))?;
        Ok(Own { session: Mutex::new(session), _reserved: None })
    }

    /// Weights of its own. Their files are removed as soon as the session is open.
    fn merged(&self, adapter: &Adapter) -> Result<(Own, usize), EngineError> {
        let bytes = self.operands.bytes();
        let reserved = self.budget.reserve(bytes)?;
        let merge = |name: &str, tensor: &mut _| merge::merge(name, tensor, &self.layout, &adapter.rescale);
        let (weights, _file) = self.cache.changed_weights(&self.weights, element(self.precision), merge)?;
        let kind = self.kind(Adaptation::Constants, Given::Values);
        let graph = model::serving(&self.backbone.shape, &self.layout, &weights, kind);
        let (path, _graph) = self.cache.temporary_graph(&graph)?;
        let session = Session::open(&self.runtime, &path, self.options(Packing::Prepacked, bytes))?;
        Ok((Own { session: Mutex::new(session), _reserved: Some(reserved) }, bytes))
    }
}

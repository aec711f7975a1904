//! The network in ONNX Runtime: our operations write a graph without weights, which the runtime executes.
//!
//! One copy of the weights is in memory: a canonical file in the cache folder that the runtime maps. The rescaled
//! weights are computed inside the graph, one group per run, from the adapter's flat vector. A merged adapter has a
//! session with weights of its own.
#![forbid(unsafe_code)]

mod cache;
pub mod export;
pub mod graph;
mod library;
mod model;
mod ops;
mod proto;
mod session;
#[cfg(test)]
mod tests;
mod threads;

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array2, Axis};

pub use ops::Dialect;

use super::budget::{Budget, Reservation};
use super::{Backend, Description, Engine, EngineError, EngineSettings, Form, Group, Lens, merge, patches};
use crate::adapter::{Adapter, Layout};
use crate::backbone::{Backbone, PositionTables, Shape, Weights};
use crate::image::Pixels;
use cache::{Cache, WeightsFile};
use model::{Adaptation, Answer};
use session::{Input, Packing, Runtime, Session};

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
    weights: WeightsFile,
    budget: Arc<Budget>,
}

fn usable_threads(asked: usize, shape: &Shape) -> usize {
    let most = threads::threads_max(shape);
    if asked > most {
        tracing::warn!(asked, using = most, "more threads would make a row's answer depend on the rows beside it");
    }
    asked.min(most)
}

/// What a merged or bare lens carries: a session with constant weights.
struct Own {
    session: Mutex<Session>,
    _reserved: Option<Reservation>,
}

struct Worker {
    shared: Arc<Shared>,
    rescaled: Session,
    patches: Vec<f32>,
}

impl Onnx {
    /// Loads the library, writes the weights to the cache unless they are there, and drops them.
    pub fn new(backbone: Arc<Backbone>, weights: Weights, settings: &EngineSettings) -> Result<Self, EngineError> {
        let library = library::find(settings.onnxruntime_lib.as_deref(), &settings.cache_dir)?;
        let runtime = Runtime::load(&library, usable_threads(settings.threads, &backbone.shape))?;
        let cache = Cache::open(&settings.cache_dir, &backbone.fingerprint)?;
        let shared = Shared {
            weights: cache.weights(&weights)?,
            layout: Layout::of(&backbone.shape),
            positions: PositionTables::new(&backbone),
            budget: Budget::new(settings.merge_bytes_max),
            runtime,
            cache,
            backbone,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Every token `[prefix_tokens + grid_h * grid_w, width]` of one picture after the final norm, without an adapter.
    pub fn tokens(&self, lens: &Lens, picture: &Pixels) -> Result<Array2<f32>, EngineError> {
        let shared = &self.shared;
        let graph = shared.graph(&shared.weights, Adaptation::Constants, Answer::Tokens);
        let path = shared.cache.graph("tokens.onnx", &graph)?;
        let mut session = Session::open(&shared.runtime, &path, Packing::AsStored)?;
        shared.run(&mut session, lens, &[picture], &mut Vec::new())
    }
}

impl Backend for Onnx {
    fn describe(&self) -> Description {
        Description {
            engine: "onnx".into(),
            precision: "f32".into(),
            kernel: format!("onnxruntime {}", self.shared.runtime.version()),
            tolerance: 1e-3,
        }
    }

    fn prepare(&self, adapter: Arc<Adapter>, form: Form) -> Result<Lens, EngineError> {
        let (prepared, prepared_bytes) = match form {
            Form::Rescaled => return Ok(Lens { adapter, form, prepared: None, prepared_bytes: 0 }),
            Form::Bare => (self.shared.bare()?, 0),
            Form::Merged => self.shared.merged(&adapter)?,
        };
        Ok(Lens { adapter, form, prepared: Some(Arc::new(prepared)), prepared_bytes })
    }

    fn start(&self) -> Result<Box<dyn Engine>, EngineError> {
        let shared = self.shared.clone();
        let graph = shared.graph(&shared.weights, Adaptation::Input, Answer::Features);
        let path = shared.cache.graph("rescaled.onnx", &graph)?;
        let rescaled = Session::open(&shared.runtime, &path, Packing::AsStored)?;
        Ok(Box::new(Worker { shared, rescaled, patches: Vec::new() }))
    }
}

impl Shared {
    fn graph(&self, weights: &WeightsFile, adaptation: Adaptation, answer: Answer) -> Vec<u8> {
        model::serving(&self.backbone.shape, &self.layout, weights, adaptation, answer)
    }

    /// The same mapped weights, not rescaled.
    fn bare(&self) -> Result<Own, EngineError> {
        let graph = self.graph(&self.weights, Adaptation::Constants, Answer::Features);
        let path = self.cache.graph("bare.onnx", &graph)?;
        let session = Session::open(&self.runtime, &path, Packing::AsStored)?;
        Ok(Own { session: Mutex::new(session), _reserved: None })
    }

    /// Weights of its own. Their files are removed as soon as the session is open.
    fn merged(&self, adapter: &Adapter) -> Result<(Own, usize), EngineError> {
        let bytes = self.weights.bytes();
        let reserved = self.budget.reserve(bytes)?;
        let merge = |name: &str, tensor: &mut _| merge::merge(name, tensor, &self.layout, &adapter.rescale);
        let (weights, _file) = self.cache.changed_weights(&self.weights, merge)?;
        let graph = self.graph(&weights, Adaptation::Constants, Answer::Features);
        let (path, _graph) = self.cache.temporary_graph(&graph)?;
        let session = Session::open(&self.runtime, &path, Packing::Prepacked)?;
        Ok((Own { session: Mutex::new(session), _reserved: Some(reserved) }, bytes))
    }

    /// One run of one group.
    fn run(
        &self,
        session: &mut Session,
        lens: &Lens,
        rows: &[&Pixels],
        patches: &mut Vec<f32>,
    ) -> Result<Array2<f32>, EngineError> {
        let shape = &self.backbone.shape;
        let (gh, gw) = patches::grid(rows[0], shape.patch);
        let positions = self.positions.get(lens.adapter.position_rule, (gh, gw));
        let per_row = gh * gw * shape.patch_values();
        // The runtime sums a product of one row in an order of its own, so a lone patch gets an empty picture beside it.
        let count = if gh * gw == 1 { rows.len().max(2) } else { rows.len() };
        patches.clear();
        patches.resize(count * per_row, 0.0);
        for (pixels, out) in rows.iter().zip(patches.chunks_exact_mut(per_row)) {
            patches::write(pixels, &lens.adapter.preprocess, shape.patch, out);
        }
        let mut inputs = vec![
            Input { name: "patches", shape: vec![count, gh * gw, shape.patch_values()], values: patches },
            Input { name: "positions", shape: vec![gh * gw, shape.width], values: &positions },
        ];
        if lens.form == Form::Rescaled {
            let values = &lens.adapter.rescale;
            inputs.push(Input { name: "adapter", shape: vec![values.len()], values });
        }
        let mut features = session.run(&inputs)?;
        features.slice_axis_inplace(Axis(0), (..rows.len()).into());
        Ok(features)
    }
}

impl Engine for Worker {
    fn run(&mut self, batch: &[Group<'_>]) -> Result<Vec<Array2<f32>>, EngineError> {
        batch.iter().map(|group| self.run_group(group)).collect()
    }
}

impl Worker {
    fn run_group(&mut self, group: &Group<'_>) -> Result<Array2<f32>, EngineError> {
        let Self { shared, rescaled, patches } = self;
        match group.lens.prepared.as_ref().and_then(|prepared| prepared.downcast_ref::<Own>()) {
            None => shared.run(rescaled, group.lens, &group.rows, patches),
            Some(own) => {
                // A session has no state between runs, so one that a panic left behind is as good as new.
                let mut session = own.session.lock().unwrap_or_else(PoisonError::into_inner);
                shared.run(&mut session, group.lens, &group.rows, patches)
            }
        }
    }
}

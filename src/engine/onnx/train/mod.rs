//! The engine's training half: the network and its derivatives as graphs.
//!
//! One graph is written and cut where the loss comes in between: the first half answers with features and leaves what
//! the second half needs where it was computed; the second half answers with the gradient. All is f32.

mod attention;
mod gradients;
mod perturb;
#[cfg(test)]
mod tests;
mod write;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use ndarray::Array2;

use super::gather::{Gathered, Row};
use super::model::Given;
use super::ops::Dialect;
use super::session::{Input, Kept, Options, Packing, Stage, Values};
use super::{OnnxSettings, Shared};
use crate::engine::training::{Pass, TrainSettings, Trainable};
use crate::engine::{EngineError, Precision, patches};
use perturb::Perturbation;
use write::Kind;

/// Trains; owned by one thread.
pub struct Trainer {
    shared: Arc<Shared>,
    settings: TrainSettings,
    dialect: Dialect,
    /// Blocks whose insides are kept, as many as the largest pass so far allows: few graphs do for passes of any size.
    kept: usize,
    features: HashMap<Kind, Stage>,
    halves: HashMap<Kind, [Stage; 2]>,
    gathered: Gathered,
}

impl Trainer {
    /// Opens no session yet: which ones are needed, passes tell.
    pub fn new(shared: Arc<Shared>, settings: TrainSettings) -> Result<Self, EngineError> {
        if shared.precision != Precision::F32 {
            let name = shared.precision.name();
            return Err(EngineError::Unavailable(format!(
                "the onnx engine trains in f32, not {name}; leave --precision out (on a device --onnx-tf32 true is faster)"
            )));
        }
        let (dialect, kept) = (shared.dialect(), shared.backbone.shape.depth);
        let (features, halves) = (HashMap::new(), HashMap::new());
        Ok(Self { shared, settings, dialect, kept, features, halves, gathered: Gathered::default() })
    }
}

impl Trainable for Trainer {
    fn features(&mut self, pass: &Pass<'_>) -> Result<Array2<f32>, EngineError> {
        let Self { shared, features, gathered, .. } = self;
        let kind = Kind::of(pass.perturb, 0, self.dialect);
        let session = match features.entry(kind) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let graph = write::features(&shared.backbone.shape, &shared.layout, &shared.operands, kind);
                entry.insert(shared.open_training(&kind.file("features"), &graph)?)
            }
        };
        let perturbation = Perturbation::of(pass, &shared.backbone.shape, shared.runtime.threads());
        let positions = positions(shared, pass);
        let inputs = inputs(shared, gathered, pass, &positions, &perturbation);
        session.run(&inputs, &Kept::default()).map(|(features, _)| features)
    }

    fn gradient(
        &mut self,
        pass: &Pass<'_>,
        loss: &mut dyn FnMut(&Array2<f32>) -> Array2<f32>,
    ) -> Result<Vec<f32>, EngineError> {
        let kept = self.settings.blocks_kept(pass, &self.shared.backbone.shape, size_of::<f32>());
        if kept < self.kept {
            self.kept = kept;
            self.halves.clear();
        }
        let kind = Kind::of(pass.perturb, self.kept, self.dialect);
        let Self { shared, halves, gathered, .. } = self;
        let shape = &shared.backbone.shape;
        let [first, second] = match halves.entry(kind) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let [first, second] = write::halves(shape, &shared.layout, &shared.operands, kind);
                let first = shared.open_training(&kind.file("forward"), &first)?;
                entry.insert([first, shared.open_training(&kind.file("backward"), &second)?])
            }
        };
        let perturbation = Perturbation::of(pass, shape, shared.runtime.threads());
        let positions = positions(shared, pass);
        let mut inputs = inputs(shared, gathered, pass, &positions, &perturbation);
        let (features, kept) = first.run(&inputs, &Kept::default())?;
        let d_features = loss(&features);
        let d_features = d_features.as_standard_layout();
        let values = Values::F32(d_features.as_slice().expect("in standard layout"));
        inputs.push(Input { name: "d_features", shape: d_features.shape().to_vec(), values });
        let (gradient, _) = second.run(&inputs, &kept)?;
        Ok(gradient.into_raw_vec_and_offset().0)
    }
}

impl Shared {
    /// A session of a graph whose runs come in few shapes, each once a step: nothing is padded or captured.
    fn open_training(&self, file: &str, graph: &[u8]) -> Result<Stage, EngineError> {
        let settings = OnnxSettings { pads_batches: Some(false), cuda_graphs: false, ..self.settings.clone() };
        let path = self.cache.graph(file, graph)?;
        let options = Options { settings: &settings, ..self.options(Packing::AsStored, self.operands.bytes()) };
        Stage::open(&self.runtime, &path, options)
    }
}

fn positions(shared: &Shared, pass: &Pass<'_>) -> Arc<[f32]> {
    shared.positions.get(pass.position_rule, patches::grid(pass.pictures[0], shared.backbone.shape.patch))
}

/// What the pass gives to graphs.
fn inputs<'a>(
    shared: &Shared,
    gathered: &'a mut Gathered,
    pass: &Pass<'a>,
    positions: &'a [f32],
    perturbation: &'a Perturbation,
) -> Vec<Input<'a>> {
    let shape = &shared.backbone.shape;
    let rows = pass.pictures.iter().map(|&pixels| Row { pixels, preprocess: pass.preprocess, slot: 0 });
    let rows: Vec<_> = rows.collect();
    gathered.fill(&rows, rows.len(), Given::Values, shape);
    let mut inputs = gathered.pictures(shape);
    let positions_shape = vec![positions.len() / shape.width, shape.width];
    inputs.push(Input { name: "positions", shape: positions_shape, values: Values::F32(positions) });
    inputs.push(Input { name: "adapter", shape: vec![pass.vector.len()], values: Values::F32(pass.vector) });
    inputs.extend(perturbation.inputs());
    inputs
}

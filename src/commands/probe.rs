use std::sync::Arc;

use crate::adapter::import::probe_pictures;
use crate::adapter::{Adapter, Probe};
use crate::backbone::{Backbone, Weights};
use crate::engine::reference::Reference;
use crate::engine::{Backend as _, EngineError, Form, Group, head};
use crate::image::Pixels;

/// Few, because each makes the file larger: one smooth picture and one with more noise.
const PICTURES: usize = 2;

/// Why an adapter has no known answers.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The reference engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Finite parameters that give no finite answer.
    #[error(
        "the adapter's logits are not finite on the probe's pictures: it cannot have been trained on this backbone"
    )]
    NotFinite,
}

/// The adapter's answers to synthetic pictures, by the reference engine: in f64, so that they are the same on every
/// machine when they are rounded to f32.
pub fn fill(adapter: &Adapter, backbone: Arc<Backbone>, weights: Weights) -> Result<Probe, ProbeError> {
    let side = adapter.preprocess.final_size();
    let pixels = probe_pictures(PICTURES, side);
    let pictures: Vec<_> = pixels.chunks_exact(side * side * 3).map(|data| picture(side, data)).collect();
    let backend = Reference::<f64>::new(backbone, weights, 0);
    let lens = backend.prepare(Arc::new(adapter.clone()), Form::Rescaled)?;
    let group = Group { lens: &lens, rows: pictures.iter().collect() };
    let features = backend.start()?.run(&[group])?;
    let rows = features.iter().flat_map(|features| features.rows());
    let logits: Vec<f32> = rows.flat_map(|row| head::logits(adapter, &row.to_vec())).collect();
    if logits.iter().any(|logit| !logit.is_finite()) {
        return Err(ProbeError::NotFinite);
    }
    Ok(Probe { count: PICTURES, pixels, size: (side, side), logits })
}

fn picture(side: usize, data: &[u8]) -> Pixels {
    Pixels::U8 { height: side, width: side, data: data.into() }
}

//! The oracle: the network in plain ndarray, in f32 or f64. Obvious and slow; every other engine is measured by it.

mod backward;
mod ops;
mod real;
mod trainer;

use std::marker::PhantomData;
use std::sync::Arc;

use ndarray::{Array1, Array2};

pub use real::Real;

use super::budget::{Budget, Reservation};
use super::training::{Perturb, TrainSettings, Trainable};
use super::{Backend, Description, Engine, EngineError, Form, Group, Lens, merge, patches};
use crate::adapter::{Adapter, Layout};
use crate::backbone::{Backbone, PositionRule, PositionTables, Weights};
use crate::image::{Pixels, Preprocess};
use crate::vit;
use ops::{Network, Pictures};
use trainer::Trainer;

/// The reference engine, computing in `T`.
pub struct Reference<T> {
    shared: Arc<Shared>,
    precision: PhantomData<T>,
}

struct Shared {
    backbone: Arc<Backbone>,
    weights: Weights,
    layout: Layout,
    positions: PositionTables,
    budget: Arc<Budget>,
}

/// What a merged lens carries.
struct Merged {
    weights: Weights,
    _reserved: Reservation,
}

struct Worker<T> {
    shared: Arc<Shared>,
    precision: PhantomData<T>,
}

impl<T: Real> Reference<T> {
    /// Takes the weights over. Merged adapters may keep `merge_bytes_max` bytes in all.
    pub fn new(backbone: Arc<Backbone>, weights: Weights, merge_bytes_max: usize) -> Self {
        let shared = Shared {
            layout: Layout::of(&backbone.shape),
            positions: PositionTables::new(&backbone),
            budget: Budget::new(merge_bytes_max),
            weights,
            backbone,
        };
        Self { shared: Arc::new(shared), precision: PhantomData }
    }

    /// Every token `[prefix_tokens + grid_h * grid_w, width]` of one picture after the final norm.
    pub fn tokens(&self, lens: &Lens, picture: &Pixels) -> Array2<T> {
        let (mut network, pictures) = self.shared.bind::<T>(lens, &[picture]);
        let mut tokens = vit::forward_tokens(&mut network, self.shared.backbone.shape.depth, &pictures);
        tokens.remove(0)
    }
}

impl<T: Real> Backend for Reference<T> {
    fn describe(&self) -> Description {
        Description {
            engine: "reference".into(),
            precision: T::PRECISION.into(),
            kernel: "ndarray".into(),
            tolerance: 1e-3,
        }
    }

    fn prepare(&self, adapter: Arc<Adapter>, form: Form) -> Result<Lens, EngineError> {
        if form != Form::Merged {
            return Ok(Lens { adapter, form, prepared: None, prepared_bytes: 0 });
        }
        let shared = &self.shared;
        let bytes = shared.weights.parameters() * size_of::<f32>();
        let reserved = shared.budget.reserve(bytes)?;
        let weights = merge::merged(&shared.weights, &shared.layout, &adapter.rescale);
        let prepared = Arc::new(Merged { weights, _reserved: reserved });
        Ok(Lens { adapter, form, prepared: Some(prepared), prepared_bytes: bytes })
    }

    fn start(&self) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(Worker::<T> { shared: self.shared.clone(), precision: PhantomData }))
    }

    fn trainable(&self, settings: &TrainSettings) -> Result<Box<dyn Trainable>, EngineError> {
        Ok(Box::new(Trainer::<T>::new(self.shared.clone(), *settings)))
    }
}

impl<T: Real> Engine for Worker<T> {
    fn run(&mut self, batch: &[Group<'_>]) -> Result<Vec<Array2<f32>>, EngineError> {
        let features = |group: &Group<'_>| {
            let (mut network, pictures) = self.shared.bind::<T>(group.lens, &group.rows);
            vit::forward(&mut network, self.shared.backbone.shape.depth, &pictures).mapv(Real::f32)
        };
        Ok(batch.iter().map(features).collect())
    }
}

impl Shared {
    /// The network of one group and its pictures.
    fn bind<'a, T: Real>(&'a self, lens: &'a Lens, rows: &[&Pixels]) -> (Network<'a, T>, Pictures<T>) {
        static CALM: Perturb = Perturb { seed: 0, dropout: Vec::new(), noise: Vec::new() };
        let merged = lens.prepared.as_ref().and_then(|p| p.downcast_ref::<Merged>());
        let network = Network {
            shape: &self.backbone.shape,
            weights: merged.map_or(&self.weights, |m| &m.weights),
            layout: &self.layout,
            rescale: (lens.form == Form::Rescaled).then(|| widened(&lens.adapter.rescale)),
            perturb: &CALM,
            gradient: Array1::zeros(0),
        };
        (network, self.pictures(&lens.adapter.preprocess, lens.adapter.position_rule, rows))
    }

    fn pictures<T: Real>(&self, preprocess: &Preprocess, rule: PositionRule, rows: &[&Pixels]) -> Pictures<T> {
        let shape = &self.backbone.shape;
        let (gh, gw) = patches::grid(rows[0], shape.patch);
        let widen = |values: &[f32], columns: usize| {
            let rows = widened(values).into_shape_with_order((gh * gw, columns));
            rows.expect("both tables have one row per patch")
        };
        let patches = rows.iter().map(|pixels| {
            let mut values = vec![0.0; gh * gw * shape.patch_values()];
            patches::write(pixels, preprocess, shape.patch, &mut values);
            widen(&values, shape.patch_values())
        });
        let positions = self.positions.get(rule, (gh, gw));
        Pictures { patches: patches.collect(), positions: widen(&positions, shape.width) }
    }
}

fn widened<T: Real>(values: &[f32]) -> Array1<T> {
    values.iter().map(|&v| T::of(f64::from(v))).collect()
}

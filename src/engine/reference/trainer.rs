use std::marker::PhantomData;
use std::sync::Arc;

use ndarray::{Array1, Array2};

use super::ops::{Network, Pictures};
use super::{Real, Shared, widened};
use crate::engine::EngineError;
use crate::engine::training::{Pass, TrainSettings, Trainable};
use crate::vit;

/// The reference engine's training half.
pub(super) struct Trainer<T> {
    shared: Arc<Shared>,
    settings: TrainSettings,
    precision: PhantomData<T>,
}

impl<T: Real> Trainer<T> {
    pub(super) fn new(shared: Arc<Shared>, settings: TrainSettings) -> Self {
        Self { shared, settings, precision: PhantomData }
    }

    fn bind<'a>(&'a self, pass: &Pass<'a>) -> (Network<'a, T>, Pictures<T>) {
        let shared = &*self.shared;
        let network = Network {
            shape: &shared.backbone.shape,
            weights: &shared.weights,
            layout: &shared.layout,
            rescale: Some(widened(pass.vector)),
            perturb: pass.perturb,
            gradient: Array1::zeros(shared.layout.len()),
        };
        (network, shared.pictures(pass.preprocess, pass.position_rule, pass.pictures))
    }
}

impl<T: Real> Trainable for Trainer<T> {
    fn features(&mut self, pass: &Pass<'_>) -> Result<Array2<f32>, EngineError> {
        let (mut network, pictures) = self.bind(pass);
        Ok(vit::forward(&mut network, self.shared.backbone.shape.depth, &pictures).mapv(Real::f32))
    }

    fn gradient(
        &mut self,
        pass: &Pass<'_>,
        loss: &mut dyn FnMut(&Array2<f32>) -> Array2<f32>,
    ) -> Result<Vec<f32>, EngineError> {
        let (mut network, pictures) = self.bind(pass);
        let shape = &self.shared.backbone.shape;
        let kept = self.settings.blocks_kept(pass, shape, size_of::<T>());
        let loss = |features: &Array2<T>| loss(&features.mapv(Real::f32)).mapv(|d| T::of(f64::from(d)));
        vit::gradient(&mut network, shape.depth, kept, &pictures, loss);
        Ok(network.gradient.iter().map(|&g| g.f32()).collect())
    }
}

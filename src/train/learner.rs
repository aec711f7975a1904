use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use ndarray::{Array2, ArrayView1, Axis};

use super::consistency::Mode;
use super::data::Example;
use super::head::Head;
use super::job::Job;
use super::objective::Objective;
use super::optimizer::clip;
use super::prepared::{PrepareError, Prepared};
use super::recipe::Method;
use super::sampler::Draw;
use super::score::Scores;
use super::state::State;
use crate::engine::EngineError;
use crate::engine::training::{Pass, Perturb, Trainable};
use crate::image::Pixels;
use crate::random::{Random, key};

/// Pictures of one pass when nothing is trained; between two of them it can be stopped.
const EVALUATION_PICTURES: usize = 32;
/// Bytes of features that are kept when the backbone does not change.
const FEATURES_BYTES_MAX: usize = 1 << 30;
/// Tell the uses of one seed apart.
const AUGMENT: u64 = 3;
const PERTURB: u64 = 4;

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// A picture has no pixels.
    #[error(transparent)]
    Picture(#[from] PrepareError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Training diverged.
    #[error(
        "the loss or its gradient is no finite number any more (epoch {epoch}, step {step}, learning rate {rate:e}): lower --lr, or limit the \
         gradient with --clip-norm, and begin anew by --force; the last checkpoint is older than that"
    )]
    NotFinite {
        /// Counted from 1.
        epoch: usize,
        /// Counted from 1.
        step: usize,
        /// Of this epoch.
        rate: f64,
    },
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The mean loss of its pictures.
    pub loss: f64,
    /// Pictures that it saw.
    pub pictures: usize,
}

/// A job's pictures and the engine that has gradients for them.
pub struct Learner<'a> {
    job: &'a Job,
    engine: &'a mut dyn Trainable,
    train: Prepared,
    served: Prepared,
    /// By file, where neither the backbone nor the pixels change.
    features: HashMap<PathBuf, Box<[f32]>>,
}

impl<'a> Learner<'a> {
    /// With an engine of the job's backbone.
    pub fn new(job: &'a Job, engine: &'a mut dyn Trainable) -> Self {
        let train = Prepared::new(job.augment.preprocess().clone(), job.pixels_bytes_max);
        let served = Prepared::new(job.task.preprocess.clone(), job.pixels_bytes_max);
        Self { job, engine, train, served, features: HashMap::new() }
    }

    /// One update with these training examples. `state.at` says where in the run it is; it is not moved on.
    pub fn step(&mut self, state: &mut State, draws: &[Draw]) -> Result<Step, LearnError> {
        let job = self.job;
        let rate = job.recipe.schedule.rate(state.at.epoch, job.recipe.learning_rate);
        let weight: f64 = draws.iter().map(|draw| job.loss.weight(&job.train[draw.example].targets)).sum();
        // Pictures of classes without weight have no loss: any divisor will do.
        let total = if weight > 0.0 { weight } else { 1.0 };
        let mut gradient = vec![0.0; state.parameters.len()];
        let mut loss = 0.0;
        for (pass, rows) in draws.chunks(draws.len().div_ceil(job.recipe.passes)).enumerate() {
            let examples: Vec<usize> = rows.iter().map(|draw| draw.example).collect();
            let mut previous = state.previous(&examples);
            let objective = Objective {
                loss: &job.loss,
                consistency: job.recipe.consistency.as_ref(),
                targets: examples.iter().map(|&i| &job.train[i].targets[..]).collect(),
                total,
                pictures: draws.len(),
            };
            let mut judge = |logits: &Array2<f32>| {
                let (part, d_logits) = objective.backward(logits, &mut previous);
                loss += part;
                d_logits
            };
            self.pass(state, rows, pass, &mut judge, &mut gradient)?;
            state.set_previous(&examples, &previous);
        }
        if !loss.is_finite() || gradient.iter().any(|g| !g.is_finite()) {
            return Err(LearnError::NotFinite { epoch: state.at.epoch + 1, step: state.at.step + 1, rate });
        }
        if let Some(norm_max) = job.recipe.clip_norm {
            clip(&mut gradient, &job.spans, norm_max);
        }
        state.optimizer.update(&mut state.parameters, &gradient, &job.spans, rate, job.recipe.weight_decay);
        Ok(Step { loss, pictures: draws.len() })
    }

    /// Adds the gradient of some of a step's pictures.
    fn pass(
        &mut self,
        state: &State,
        rows: &[Draw],
        pass: usize,
        judge: &mut dyn FnMut(&Array2<f32>) -> Array2<f32>,
        gradient: &mut [f32],
    ) -> Result<(), LearnError> {
        let job = self.job;
        let (d_vector, d_head) = gradient.split_at_mut(job.places.weight.start);
        let head = Head::new(&state.parameters, &job.places, job.task.pooling);
        let mut loss = |features: &Array2<f32>| head.backward(features, &judge(&head.logits(features)), d_head);
        if job.recipe.method == Method::Linear {
            loss(&self.bare(state, rows)?);
            return Ok(());
        }
        let pixels = self.augmented(state, rows)?;
        let mut pictures: Vec<&Pixels> = pixels.iter().collect();
        if job.recipe.consistency.as_ref().is_some_and(|consistency| consistency.mode == Mode::Full) {
            pictures.extend_from_within(..);
        }
        let perturb = perturb(job, state, pass);
        let d = self.engine.gradient(&job.pass(&state.parameters, &pictures, &perturb), &mut loss)?;
        d_vector.iter_mut().zip(&d).for_each(|(sum, d)| *sum += d);
        Ok(())
    }

    /// Pixels of training examples as this epoch sees them.
    fn augmented(&mut self, state: &State, rows: &[Draw]) -> Result<Vec<Pixels>, LearnError> {
        let job = self.job;
        let mut each = |&Draw { example, meeting }: &Draw| {
            let pixels = self.train.pixels(&job.pictures, &job.train[example].path)?;
            let mut random = Random::seeded(key(&[job.recipe.seed, AUGMENT, state.at.epoch as u64, meeting as u64]));
            Ok(job.augment.apply(&pixels, &mut random))
        };
        rows.iter().map(&mut each).collect()
    }

    /// Features of training examples by a backbone that is not trained.
    fn bare(&mut self, state: &State, rows: &[Draw]) -> Result<Array2<f32>, LearnError> {
        let job = self.job;
        if job.augment.is_constant() {
            let examples: Vec<&Example> = rows.iter().map(|draw| &job.train[draw.example]).collect();
            return self.features(&state.parameters, &examples);
        }
        let pixels = self.augmented(state, rows)?;
        let pictures: Vec<_> = pixels.iter().collect();
        Ok(self.engine.features(&job.pass(&state.parameters, &pictures, &Perturb::none()))?)
    }

    /// Scores of these parameters on the validation split, none without one; breaks off when it is to stop.
    pub fn validate(
        &mut self,
        parameters: &[f32],
        stop: &dyn Fn() -> bool,
    ) -> Result<ControlFlow<(), Option<Scores>>, LearnError> {
        let job = self.job;
        if job.validation.is_empty() {
            return Ok(ControlFlow::Continue(None));
        }
        let ControlFlow::Continue(logits) = self.logits(parameters, &job.validation, stop)? else {
            return Ok(ControlFlow::Break(()));
        };
        let targets: Vec<_> = job.validation.iter().map(|example| &example.targets[..]).collect();
        let total: f64 = targets.iter().map(|targets| job.loss.weight(targets)).sum();
        let (loss, _) = job.loss.backward(&logits, &targets, if total > 0.0 { total } else { 1.0 });
        Ok(ControlFlow::Continue(Some(Scores::of(&logits, &targets, job.task.problem, loss))))
    }

    /// Logits `[examples, classes]` of pictures as they will be served; breaks off when it is to stop.
    pub fn logits(
        &mut self,
        parameters: &[f32],
        examples: &[Example],
        stop: &dyn Fn() -> bool,
    ) -> Result<ControlFlow<(), Array2<f32>>, LearnError> {
        let job = self.job;
        let head = Head::new(parameters, &job.places, job.task.pooling);
        let mut logits = Array2::zeros((examples.len(), job.task.labels.len()));
        let parts = logits.axis_chunks_iter_mut(Axis(0), EVALUATION_PICTURES);
        for (examples, mut logits) in examples.chunks(EVALUATION_PICTURES).zip(parts) {
            if stop() {
                return Ok(ControlFlow::Break(()));
            }
            let examples: Vec<&Example> = examples.iter().collect();
            logits.assign(&head.logits(&self.features(parameters, &examples)?));
        }
        Ok(ControlFlow::Continue(logits))
    }

    /// Features of pictures as they will be served; looked up where the backbone is not trained.
    fn features(&mut self, parameters: &[f32], examples: &[&Example]) -> Result<Array2<f32>, LearnError> {
        let job = self.job;
        let missing: Vec<_> =
            examples.iter().enumerate().filter(|(_, example)| !self.features.contains_key(&example.path)).collect();
        let mut features = Array2::zeros((examples.len(), 2 * job.backbone.shape.width));
        for (row, example) in examples.iter().enumerate() {
            if let Some(known) = self.features.get(&example.path) {
                features.row_mut(row).assign(&ArrayView1::from(known));
            }
        }
        if missing.is_empty() {
            return Ok(features);
        }
        let prepare = |(_, example): &(usize, &&Example)| self.served.pixels(&job.pictures, &example.path);
        let pixels = missing.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        let pictures: Vec<_> = pixels.iter().collect();
        let found = self.engine.features(&job.pass(parameters, &pictures, &Perturb::none()))?;
        for ((row, example), found) in missing.into_iter().zip(found.rows()) {
            features.row_mut(row).assign(&found);
            let bytes = (self.features.len() + 1) * found.len() * size_of::<f32>();
            if job.recipe.method == Method::Linear && bytes <= FEATURES_BYTES_MAX {
                self.features.insert(example.path.clone(), found.to_vec().into());
            }
        }
        Ok(features)
    }
}

impl Job {
    fn pass<'a>(&'a self, parameters: &'a [f32], pictures: &'a [&'a Pixels], perturb: &'a Perturb) -> Pass<'a> {
        Pass {
            pictures,
            preprocess: &self.task.preprocess,
            position_rule: self.task.position_rule,
            vector: &parameters[self.places.vector.clone()],
            perturb,
        }
    }
}

/// Dropout and noise of one pass: other ones in every pass of a run.
fn perturb(job: &Job, state: &State, pass: usize) -> Perturb {
    let depth = job.backbone.shape.depth;
    let consistency = job.recipe.consistency.as_ref();
    Perturb {
        seed: key(&[job.recipe.seed, PERTURB, state.at.epoch as u64, state.at.step as u64, pass as u64]),
        dropout: job.recipe.dropout_by_block(depth),
        noise: consistency.map_or(Vec::new(), |consistency| consistency.noise_by_block(depth)),
    }
}

use serde::{Deserialize, Serialize};

use ndarray::{Array2, Axis};

use super::consistency::Mode;
use super::job::Job;
use super::objective::NO_LOGITS;
use super::optimizer::AdamW;
use super::score::Scores;

/// All that changes while a run trains: with it and the job, training goes on as if it had not stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Where the run is.
    pub at: Position,
    /// Adapter and head.
    pub parameters: Vec<f32>,
    /// The optimizer's memory.
    pub optimizer: AdamW,
    /// Logits `[examples, classes]` that each training example had when it was met last, for [`Mode::Fast`]; else empty.
    pub previous: Array2<f32>,
    /// The parameters of the best epoch so far; empty before there is one.
    pub best: Vec<f32>,
}

/// Where a run is, and what it has found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Epochs that are complete.
    pub epoch: usize,
    /// Steps that are complete of the epoch that is not.
    pub step: usize,
    /// Sum of the losses of these steps, each times its pictures.
    pub loss_sum: f64,
    /// Pictures of these steps.
    pub pictures: usize,
    /// The complete epochs.
    pub history: Vec<EpochRecord>,
    /// The best of them by the recipe's measure, counted from 0.
    pub best_epoch: Option<usize>,
}

/// What is known about an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Mean over its pictures, each as the parameters were when it was met.
    pub train_loss: f64,
    /// On the validation split after the epoch; none without one.
    pub validation: Option<Scores>,
}

impl State {
    /// Before the first step.
    pub fn initial(job: &Job) -> Self {
        let parameters = job.places.initial(&job.layout, job.recipe.method, job.recipe.seed);
        let keeps = job.recipe.consistency.as_ref().is_some_and(|consistency| consistency.mode == Mode::Fast);
        let kept = if keeps { (job.train.len(), job.task.labels.len()) } else { (0, 0) };
        Self {
            at: Position::default(),
            optimizer: AdamW::new(parameters.len()),
            previous: Array2::from_elem(kept, NO_LOGITS),
            best: Vec::new(),
            parameters,
        }
    }

    /// The previous logits of these training examples, where any are kept.
    pub(super) fn previous(&self, examples: &[usize]) -> Array2<f32> {
        if self.previous.is_empty() { Array2::zeros((0, 0)) } else { self.previous.select(Axis(0), examples) }
    }

    /// Keeps them for the next time.
    pub(super) fn set_previous(&mut self, examples: &[usize], logits: &Array2<f32>) {
        if !self.previous.is_empty() {
            let rows = examples.iter().zip(logits.rows());
            rows.for_each(|(&example, logits)| self.previous.row_mut(example).assign(&logits));
        }
    }

    /// The parameters of the best epoch, else the last ones.
    pub fn chosen(&self) -> &[f32] {
        if self.best.is_empty() { &self.parameters } else { &self.best }
    }

    /// The record of the chosen parameters.
    pub fn chosen_record(&self) -> Option<&EpochRecord> {
        self.at.best_epoch.map_or(self.at.history.last(), |epoch| self.at.history.get(epoch))
    }
}

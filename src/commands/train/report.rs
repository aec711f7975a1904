use std::ops::ControlFlow;
use std::path::PathBuf;

use serde_json::Value;

use super::{Error, Outcome};
use crate::adapter::Adapter;
use crate::backbone::Weights;
use crate::engine::training::Trainable;
use crate::evaluate::{Answers, Known, Report};
use crate::train::report::{Epoch, Mistake, Run, html, mistakes, moved};
use crate::train::{EpochRecord, Job, Learner, Method, SelectBy, State};

/// Thumbnails of mistakes.
const MISTAKES: usize = 24;
/// Classes that top-k looks at.
const TOP_K: usize = 5;

/// A complete run.
pub struct Trained<'a> {
    /// The page's title.
    pub title: &'a str,
    /// What the run was made of.
    pub settings: &'a Value,
    pub job: &'a Job,
    /// Which epoch was chosen.
    pub outcome: &'a Outcome,
    pub state: &'a State,
    pub weights: &'a Weights,
}

impl Trained<'_> {
    /// The run's `report.html`.
    pub fn html(&self, engine: &mut dyn Trainable) -> Result<String, Error> {
        let Self { title, settings, job, outcome, state, weights } = self;
        let adapter = job.adapter(state.chosen(), Value::Null);
        let (figures, mistakes) = self.figures(&adapter, engine)?.unzip();
        let moves = job.recipe.method != Method::Linear;
        let moved = moves.then(|| moved(weights, &job.backbone.shape, &job.layout, &adapter.rescale));
        Ok(html(&Run {
            title,
            settings,
            epochs: state.at.history.iter().map(|record| epoch(record, outcome.measure)).collect(),
            measure: outcome.measure.words(),
            chosen: (outcome.chosen_epoch, outcome.chosen_by),
            figures,
            mistakes: mistakes.unwrap_or_default(),
            moved: moved.unwrap_or_default(),
        }))
    }

    /// What the chosen adapter does on the validation split, if there is one.
    fn figures(&self, adapter: &Adapter, engine: &mut dyn Trainable) -> Result<Option<(Report, Vec<Mistake>)>, Error> {
        let examples = &self.job.validation;
        if examples.is_empty() {
            return Ok(None);
        }
        let logits = Learner::new(self.job, engine).logits(self.state.chosen(), examples, &|| false)?;
        let ControlFlow::Continue(logits) = logits else { return Ok(None) };
        let (targets, paths): (Vec<_>, Vec<PathBuf>) =
            examples.iter().map(|example| (example.targets.clone(), example.path.clone())).unzip();
        let known = Known::new(&logits, &targets, adapter.problem)?;
        let answers = Answers::new(known, adapter.temperature, &adapter.decision);
        let report = Report::new(&answers, &adapter.labels, TOP_K);
        Ok(Some((report, mistakes(&answers, &paths, &adapter.labels, MISTAKES))))
    }
}

fn epoch(record: &EpochRecord, measure: SelectBy) -> Epoch {
    Epoch {
        learning_rate: record.learning_rate,
        train_loss: record.train_loss,
        validation: record.validation.map(|scores| (scores.loss, scores.selected(measure))),
    }
}

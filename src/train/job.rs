use std::sync::Arc;

use serde::Serialize;

use super::augment::Augment;
use super::data::{Dataset, Example, PictureCache};
use super::loss::Loss;
use super::optimizer::Span;
use super::parameters::Places;
use super::recipe::{FitOn, Recipe};
use crate::adapter::{Layout, Pooling, Problem};
use crate::backbone::{Backbone, PositionRule};
use crate::image::Preprocess;

/// What an adapter is for: what its file will say about the task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Task {
    /// Class names, in head order.
    pub labels: Vec<String>,
    /// Softmax or sigmoid.
    pub problem: Problem,
    /// Picture to pixels.
    pub preprocess: Preprocess,
    /// What the head reads.
    pub pooling: Pooling,
    /// How the position table is resampled.
    pub position_rule: PositionRule,
}

/// A training run's inputs, checked: nothing in it changes while it runs.
pub struct Job {
    /// The frozen network.
    pub backbone: Arc<Backbone>,
    /// The backbone's layout.
    pub layout: Layout,
    /// What the adapter is for.
    pub task: Task,
    /// How it is trained.
    pub recipe: Recipe,
    /// What is fitted on.
    pub train: Vec<Example>,
    /// What the best epoch is chosen on; empty when there is nothing to choose on.
    pub validation: Vec<Example>,
    /// Decoded pictures.
    pub pictures: PictureCache,
    /// Bytes of resized pictures that are kept, of the training split and of the others each.
    pub pixels_bytes_max: usize,
    pub(super) places: Places,
    pub(super) spans: Vec<Span>,
    pub(super) loss: Loss,
    pub(super) augment: Augment,
}

/// Why nothing can be trained, every reason at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct JobError(pub Vec<String>);

impl Job {
    /// Checks recipe, task and data against each other and the backbone.
    pub fn new(
        backbone: Arc<Backbone>,
        task: Task,
        recipe: Recipe,
        data: Dataset,
        pictures: PictureCache,
        pixels_bytes_max: usize,
    ) -> Result<Self, JobError> {
        let mut faults = recipe.faults();
        faults.extend(data_faults(&data, &task));
        faults.extend(fit_faults(&backbone, &task, &recipe));
        if !faults.is_empty() {
            return Err(JobError(faults));
        }
        let (mut train, mut validation) = (data.train, data.validation);
        if recipe.fit_on == FitOn::All {
            train.append(&mut validation);
        }
        let layout = Layout::of(&backbone.shape);
        let classes = task.labels.len();
        let places = Places::new(&layout, classes, task.pooling.features(backbone.shape.width));
        Ok(Self {
            spans: places.spans(&layout, recipe.method),
            loss: Loss::new(task.problem, recipe.label_smoothing, &recipe.class_weight, &train, classes),
            augment: Augment::new(&task.preprocess, recipe.flip, recipe.random_crop),
            backbone,
            layout,
            task,
            recipe,
            train,
            validation,
            pictures,
            pixels_bytes_max,
            places,
        })
    }

    /// Classes without a picture to train on, by name: the adapter will hardly ever answer with them.
    pub fn empty_classes(&self) -> Vec<&str> {
        let mut there = vec![false; self.task.labels.len()];
        self.train.iter().flat_map(|example| &example.targets).for_each(|&class| there[class] = true);
        self.task.labels.iter().zip(there).filter(|(_, there)| !there).map(|(label, _)| label.as_str()).collect()
    }
}

fn data_faults(data: &Dataset, task: &Task) -> Vec<String> {
    let classes = task.labels.len();
    let mut faults = Vec::new();
    if data.train.is_empty() {
        faults.push("there is no picture to train on: look at --data".to_owned());
    }
    for example in data.train.iter().chain(&data.validation) {
        let path = example.path.display();
        if let Some(class) = example.targets.iter().find(|&&class| class >= classes) {
            faults.push(format!("{path} has class {class}, and there are {classes} classes, counted from 0"));
        }
        if task.problem == Problem::SingleLabel && example.targets.len() != 1 {
            faults.push(format!("{path} has {} classes instead of one", example.targets.len()));
        }
    }
    let one = data.train.first().and_then(|example| example.targets.first());
    if let Some(&one) = one.filter(|_| faults.is_empty() && task.problem == Problem::SingleLabel)
        && data.train.iter().all(|example| example.targets == [one])
    {
        let label = &task.labels[one];
        faults.push(format!("every picture to train on is of class {label:?}: give pictures of at least two classes"));
    }
    faults.truncate(FAULTS_MAX);
    faults
}

/// One report lists no more of the same kind.
const FAULTS_MAX: usize = 20;

fn fit_faults(backbone: &Backbone, task: &Task, recipe: &Recipe) -> Vec<String> {
    let mut faults = Vec::new();
    let (patch, size) = (backbone.shape.patch, task.preprocess.final_size());
    if size == 0 || !size.is_multiple_of(patch) {
        faults.push(format!("pictures of {size} pixels cannot be cut into patches of {patch}; give --image-size"));
    }
    if task.pooling != Pooling::Mean && backbone.shape.prefix_tokens == 0 {
        faults.push("the backbone has no CLS token; use --pooling mean".to_owned());
    }
    if let super::recipe::ClassWeight::Given(weights) = &recipe.class_weight {
        let classes = task.labels.len();
        if weights.len() != classes {
            faults.push(format!("--class-weight has {} numbers for {classes} classes", weights.len()));
        }
        if !weights.iter().all(|&weight| weight >= 0.0 && weight.is_finite()) {
            faults.push("--class-weight must be 0 or more for every class".to_owned());
        }
    }
    faults
}

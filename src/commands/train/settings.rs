use serde::Serialize;
use serde_json::Value;

use crate::backbone::Fingerprint;
use crate::engine::Description;
use crate::hash::Hasher;
use crate::train::data::Example;
use crate::train::{EpochRecord, Job, Recipe, State, Task};

/// All that decides what comes out of a run; in its folder and, with what came out, in the adapter's lineage.
#[derive(Serialize)]
pub struct Settings<'a> {
    /// Program and version.
    tool: &'static str,
    backbone: &'a Fingerprint,
    engine: &'a Description,
    threads: usize,
    data: Data,
    task: &'a Task,
    recipe: &'a Recipe,
}

/// The pictures.
#[derive(Serialize)]
struct Data {
    /// Of every picture's path below the data folder and its classes, split by split.
    hash: String,
    train: usize,
    validation: usize,
}

impl<'a> Settings<'a> {
    /// Of a job whose pictures lie below `root`.
    pub fn new(job: &'a Job, root: &std::path::Path, engine: &'a Description, threads: usize) -> Self {
        let mut hasher = Hasher::default();
        for (split, examples) in [("train", &job.train), ("validation", &job.validation)] {
            hasher.update(split.as_bytes());
            examples.iter().for_each(|example| hash(&mut hasher, root, example));
        }
        let (train, validation) = (job.train.len(), job.validation.len());
        Self {
            tool: concat!("manylens ", env!("CARGO_PKG_VERSION")),
            backbone: &job.backbone.fingerprint,
            engine,
            threads,
            data: Data { hash: hasher.finish(), train, validation },
            task: &job.task,
            recipe: &job.recipe,
        }
    }

    /// As it is stored.
    pub fn value(&self) -> Value {
        serde_json::to_value(self).expect("names and finite numbers")
    }
}

fn hash(hasher: &mut Hasher, root: &std::path::Path, example: &Example) {
    let path = example.path.strip_prefix(root).unwrap_or(&example.path);
    hasher.update(b"\0");
    hasher.update(path.as_os_str().as_encoded_bytes());
    example.targets.iter().for_each(|target| hasher.update(format!("\0{target}").as_bytes()));
}

/// What came out of a run.
#[derive(Clone, Serialize)]
pub struct Outcome {
    /// The epoch whose parameters the adapter has, counted from 1.
    pub chosen_epoch: usize,
    /// Why this one.
    pub chosen_by: &'static str,
    /// Scores on the validation split, if there is one, of the last epoch …
    pub last: Option<EpochRecord>,
    /// … and of the best one.
    pub best: Option<EpochRecord>,
}

impl Outcome {
    /// Of a complete run.
    pub fn new(job: &Job, state: &State) -> Self {
        let best = state.at.best_epoch;
        Self {
            chosen_epoch: best.map_or(state.at.history.len(), |best| best + 1),
            chosen_by: best.map_or("last epoch", |_| job.recipe.select_by.name()),
            last: state.at.history.last().cloned(),
            best: best.and_then(|best| state.at.history.get(best)).cloned(),
        }
    }
}

/// The settings with what came out of them: what an adapter says about where it comes from.
pub fn lineage(settings: &Value, outcome: &Outcome) -> Value {
    let mut lineage = settings.clone();
    // The file says these itself.
    if let Some(object) = lineage.as_object_mut() {
        object.shift_remove("task");
        object.shift_remove("backbone");
    }
    lineage["outcome"] = serde_json::to_value(outcome).expect("names and finite numbers");
    lineage
}

use serde::Serialize;
use serde_json::{Value, json};

use crate::backbone::Fingerprint;
use crate::engine::Description;
use crate::hash::content_hash;
use crate::train::{ClassWeight, EpochRecord, Job, Recipe, SelectBy, State, Task};

/// All that decides what comes out of a run; in its folder and, with what came out, in the adapter's lineage.
#[derive(Serialize)]
pub struct Settings<'a> {
    /// Program and version.
    tool: &'static str,
    backbone: &'a Fingerprint,
    engine: &'a Description,
    /// Where results depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<usize>,
    data: Data,
    task: &'a Task,
    recipe: &'a Recipe,
}

/// The pictures.
#[derive(Serialize)]
struct Data {
    /// Of every picture's path below the data folder, its bytes and its classes, split by split.
    hash: String,
    train: usize,
    validation: usize,
}

impl<'a> Settings<'a> {
    /// Of a job whose pictures have that hash.
    pub fn new(job: &'a Job, hash: String, engine: &'a Description, threads: Option<usize>) -> Self {
        let (train, validation) = (job.train.len(), job.validation.len());
        Self {
            tool: concat!("manylens ", env!("CARGO_PKG_VERSION")),
            backbone: &job.backbone.fingerprint,
            engine,
            threads,
            data: Data { hash, train, validation },
            task: &job.task,
            recipe: &job.recipe,
        }
    }

    /// As it is stored.
    pub fn value(&self) -> Value {
        serde_json::to_value(self).expect("names and finite numbers")
    }
}

/// What came out of a run.
#[derive(Clone, Serialize)]
pub struct Outcome {
    /// The epoch whose parameters the adapter has, counted from 1.
    pub chosen_epoch: usize,
    /// Why this one.
    pub chosen_by: &'static str,
    /// What epochs are compared by.
    #[serde(skip)]
    pub measure: SelectBy,
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
            chosen_by: best.map_or("last epoch", |_| job.measure.name()),
            measure: job.measure,
            last: state.at.history.last().cloned(),
            best: best.and_then(|best| state.at.history.get(best)).cloned(),
        }
    }
}

/// Class weights that a lineage lists; of more it has the hash, for its bytes have a limit.
const WEIGHTS_LISTED_MAX: usize = 256;

/// The settings with what came out of them: what an adapter says about where it comes from.
pub fn lineage(settings: &Value, weight: &ClassWeight, outcome: &Outcome) -> Value {
    let mut lineage = settings.clone();
    // The file says these itself.
    if let Some(object) = lineage.as_object_mut() {
        object.shift_remove("task");
        object.shift_remove("backbone");
    }
    if let ClassWeight::Given(weights) = weight
        && weights.len() > WEIGHTS_LISTED_MAX
    {
        let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        let hashed = json!({"given_hash": content_hash(&bytes), "classes": weights.len()});
        lineage["recipe"]["class_weight"] = hashed;
    }
    lineage["outcome"] = serde_json::to_value(outcome).expect("names and finite numbers");
    lineage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::format::Limits;

    #[test]
    fn the_weights_of_many_classes_are_hashed_and_the_lineage_stays_small() {
        let outcome =
            Outcome { chosen_epoch: 1, chosen_by: "last epoch", measure: SelectBy::Accuracy, last: None, best: None };
        let lineage = |classes: usize| {
            let weight = ClassWeight::Given(vec![0.123_456_79; classes]);
            lineage(&json!({"recipe": {"class_weight": weight}}), &weight, &outcome)
        };
        let (few, many) = (lineage(3), lineage(Limits::default().classes_max));
        assert_eq!(few["recipe"]["class_weight"]["given"].as_array().map(Vec::len), Some(3));
        let weight = &many["recipe"]["class_weight"];
        assert_eq!(weight["classes"], Limits::default().classes_max);
        assert!(weight["given_hash"].as_str().is_some_and(|hash| hash.starts_with("sha256:")), "{weight}");
        assert!(many.to_string().len() < 1000);
    }
}

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::{ApiError, Detail, ErrorType};
use crate::registry::Version;
use crate::serving::respond::Prediction;

/// The answers of a call that may have several.
#[derive(Debug, Serialize, ToSchema)]
pub struct Answers {
    /// Picture by picture in input order, and in the order of the tasks within one.
    pub results: Vec<Item>,
}

/// What one version says of one picture.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Item {
    /// Index of the picture in the request.
    pub item: usize,
    /// The task that answers.
    pub task: String,
    /// Its version.
    pub version: u64,
    /// The version's content hash.
    pub hash: String,
    /// The answer, or why there is none.
    #[serde(flatten)]
    pub outcome: ItemOutcome,
}

/// An answer, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ItemOutcome {
    /// The picture was classified.
    Answer {
        /// Most probable first; at most `top_k`, none below `threshold`.
        predictions: Vec<Label>,
        /// What the adapter's own rule decides; no query parameter changes it.
        decision: Decision,
        /// In class order, before the temperature; with `logits=true`.
        #[serde(skip_serializing_if = "Option::is_none")]
        logits: Option<Vec<f32>>,
    },
    /// It was not.
    Failed(ItemError),
}

/// A class and its calibrated probability.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Label {
    /// Its name.
    pub label: String,
    /// Its place in the head.
    pub index: usize,
    /// In [0, 1].
    pub probability: f32,
}

/// What the adapter's rule decides.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Decision {
    /// Chosen classes, most probable first.
    pub labels: Vec<String>,
    /// The most probable class was below the adapter's limit, so nothing was chosen.
    pub abstained: bool,
}

/// Why a picture has no answer: the fields of the error object.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ItemError {
    /// A sentence that says what to do.
    pub error: String,
    /// Which error.
    pub error_type: ErrorType,
    /// The status of a call with this item only.
    pub code: u16,
    /// Every fault, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
}

impl Item {
    /// What this version says of that picture.
    pub fn new(item: usize, version: &Version, outcome: ItemOutcome) -> Self {
        let (task, hash) = (version.task.to_string(), version.hash.clone());
        Self { item, task, version: version.number, hash, outcome }
    }
}

impl ItemOutcome {
    /// An answer, with logits if they were asked for.
    pub fn answer(prediction: Prediction, logits: Option<Vec<f32>>) -> Self {
        let label = |class: crate::serving::respond::Class| Label {
            label: class.label,
            index: class.index,
            probability: class.probability,
        };
        Self::Answer {
            predictions: prediction.classes.into_iter().map(label).collect(),
            decision: Decision { labels: prediction.decided.labels, abstained: prediction.decided.abstained },
            logits,
        }
    }
}

impl From<ApiError> for ItemOutcome {
    fn from(error: ApiError) -> Self {
        let code = error.kind.status().as_u16();
        Self::Failed(ItemError { error: error.message, error_type: error.kind, code, details: error.details })
    }
}

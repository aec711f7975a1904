//! A task adapter: one flat rescaling vector, a head, labels, and how its pictures are prepared.
#![forbid(unsafe_code)]

pub mod format;
pub mod import;
mod layout;
mod probe;
mod random;
#[cfg(test)]
pub(crate) mod testing;

pub use layout::{Layout, LinearRange, Segment, SsfRange};
pub use probe::{Probe, ProbeReport};
pub use random::random;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::backbone::{Fingerprint, PositionRule};
use crate::image::Preprocess;

/// How the adapter's parameters came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Low-rank rescaling of every linear, SSF on norms and patch embedding.
    Rlrr,
    /// Head only; the rescaling vector is neutral.
    Linear,
}

/// Whether labels exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// Softmax over classes.
    SingleLabel,
    /// A sigmoid per class.
    MultiLabel,
}

/// Which features the head reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The CLS token.
    Cls,
    /// The mean of the patch tokens after the final norm, without CLS and registers.
    Mean,
    /// Both, CLS first.
    ClsMean,
}

impl Pooling {
    /// Features per row for a backbone of this width.
    pub fn features(self, width: usize) -> usize {
        match self {
            Self::Cls | Self::Mean => width,
            Self::ClsMean => 2 * width,
        }
    }

    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cls => "cls",
            Self::Mean => "mean",
            Self::ClsMean => "cls_mean",
        }
    }
}

/// How calibrated probabilities become an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The most probable class.
    Argmax,
    /// Every class at or above its threshold.
    Threshold,
}

/// The adapter's decision, applied to calibrated probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// How classes are chosen.
    pub rule: Rule,
    /// One per class for `threshold`; empty for `argmax`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<f32>,
    /// Abstain when the highest probability is below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstain_below: Option<f32>,
}

/// The task's linear classifier on the pooled feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// `[classes, features]`, row-major.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
}

impl Head {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.bias.len()
    }

    /// Length of the pooled feature.
    pub fn features(&self) -> usize {
        self.weight.len() / self.bias.len()
    }
}

/// One version of one task's parameters, checked: every length fits the backbone and every value is finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// How it was made.
    pub method: Method,
    /// The backbone that it rescales.
    pub backbone: Fingerprint,
    /// The flat vector in [`Layout`] order. Head-only adapters share the layout's neutral one.
    pub rescale: Arc<[f32]>,
    /// The classifier.
    pub head: Head,
    /// Class names, in head order.
    pub labels: Vec<String>,
    /// Softmax or sigmoid.
    pub problem: Problem,
    /// Probabilities to answer.
    pub decision: Decision,
    /// How the position table is resampled.
    pub position_rule: PositionRule,
    /// What the head reads.
    pub pooling: Pooling,
    /// Picture to pixels.
    pub preprocess: Preprocess,
    /// Logits are divided by it before softmax or sigmoid; finite and positive.
    pub temperature: f32,
    /// Recipe, data hash, metrics, tool version; free-form JSON.
    pub lineage: serde_json::Value,
}

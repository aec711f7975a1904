use serde::Serialize;
use serde_json::Value;

use super::metadata::{self, Metadata};
use super::problem::{Problem, Problems};
use super::{AdapterError, Limits, Target, container, read, rules};
use crate::adapter::{Decision, Layout, Method, Pooling, Problem as Exclusion};
use crate::backbone::{Fingerprint, PositionRule};
use crate::hash::content_hash;
use crate::image::Preprocess;
use crate::tensors::{TensorFile, to_f32};

/// Everything that can be said about a file without running an engine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValidationReport {
    /// Whether the reader takes it.
    pub valid: bool,
    /// Size of the file.
    pub bytes: usize,
    /// `sha256:` + hex of the file.
    pub hash: String,
    /// The metadata, as far as it is understood; none when the file is no adapter at all.
    pub summary: Option<Summary>,
    /// Which of the backbone's tensors are there; none without a backbone.
    pub coverage: Option<Coverage>,
    /// Values of each kind of tensor.
    pub ranges: Vec<Range>,
    /// Every fault; empty when valid.
    pub problems: Vec<Problem>,
}

/// The metadata; what is missing or faulty is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How it was made.
    pub method: Option<Method>,
    /// The backbone that it was made for.
    pub backbone: Option<Fingerprint>,
    /// Whether that is the backbone at hand; none without one.
    pub backbone_matches: Option<bool>,
    /// Class names in head order.
    pub labels: Option<Vec<String>>,
    /// Whether labels exclude each other.
    pub problem: Option<Exclusion>,
    /// Probabilities to answer.
    pub decision: Option<Decision>,
    /// How the position table is resampled.
    pub position_rule: Option<PositionRule>,
    /// What the head reads.
    pub pooling: Option<Pooling>,
    /// Picture to pixels.
    pub preprocess: Option<Preprocess>,
    /// Divides the logits.
    pub temperature: Option<f32>,
    /// Where it came from.
    pub lineage: Option<Value>,
    /// Pictures of the probe; 0 without one.
    pub probe_pictures: usize,
    /// Metadata keys that this version keeps but does not know.
    pub extra_keys: Vec<String>,
}

/// Which rescale tensors of the backbone's layout the file has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Tensors of the layout.
    pub expected: usize,
    /// Of these, in the file.
    pub present: usize,
    /// Values of the layout.
    pub values: usize,
}

/// What the values of one kind of tensor are like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Range {
    /// The tensor's name without its block: `attn.q.scale_in`, `norm1.scale`, `head.weight` …
    pub kind: String,
    /// Tensors of this kind.
    pub tensors: usize,
    /// Their values.
    pub values: usize,
    /// Smallest finite value.
    pub min: Option<f32>,
    /// Largest finite value.
    pub max: Option<f32>,
    /// Mean of the finite values.
    pub mean: Option<f64>,
    /// NaN and infinite values.
    pub non_finite: usize,
}

/// Describes a file: against a backbone when there is one, else as far as it speaks for itself.
pub fn report(bytes: &[u8], target: Option<&Target<'_>>, limits: &Limits) -> ValidationReport {
    let mut report = ValidationReport {
        valid: false,
        bytes: bytes.len(),
        hash: content_hash(bytes),
        summary: None,
        coverage: None,
        ranges: Vec::new(),
        problems: Vec::new(),
    };
    if let Err(error) = describe(bytes, target, limits, &mut report) {
        report.problems = error.problems();
    } else if let Some(Err(error)) = target.map(|target| read(bytes, target)) {
        report.problems = error.problems();
    }
    report.valid = report.problems.is_empty();
    report
}

fn describe(
    bytes: &[u8],
    target: Option<&Target<'_>>,
    limits: &Limits,
    report: &mut ValidationReport,
) -> Result<(), AdapterError> {
    let file = container::open(bytes, limits)?;
    let mut problems = Problems::new(limits.problems_max);
    let metadata = metadata::read(file.metadata(), limits, &mut problems)?;
    rules::check(&metadata, limits, &mut problems);
    report.summary = Some(summary(metadata, &file, target.map(|t| t.fingerprint)));
    report.coverage = target.map(|target| coverage(&file, target.layout));
    report.ranges = ranges(&file);
    report.problems = problems.into_vec();
    Ok(())
}

fn summary(metadata: Metadata, file: &TensorFile<'_>, fingerprint: Option<&Fingerprint>) -> Summary {
    Summary {
        backbone_matches: metadata.backbone.as_ref().zip(fingerprint).map(|(found, expected)| found == expected),
        method: metadata.method,
        backbone: metadata.backbone,
        labels: metadata.labels,
        problem: metadata.problem,
        decision: metadata.decision,
        position_rule: metadata.position_rule,
        pooling: metadata.pooling,
        preprocess: metadata.preprocess,
        temperature: metadata.temperature,
        lineage: metadata.lineage,
        probe_pictures: file.with("probe.pixels", |v| v.shape.first().copied()).flatten().unwrap_or(0),
        extra_keys: metadata.extra.into_keys().collect(),
    }
}

fn coverage(file: &TensorFile<'_>, layout: &Layout) -> Coverage {
    let segments = layout.segments();
    let present = segments.iter().filter(|segment| file.with(&segment.name, |_| ()).is_some()).count();
    Coverage { expected: segments.len(), present, values: layout.len() }
}

/// One entry per kind, sorted by name.
fn ranges(file: &TensorFile<'_>) -> Vec<Range> {
    let mut ranges = std::collections::BTreeMap::<String, Range>::new();
    for name in file.names() {
        let Some(Ok(values)) = file.with(&name, |view| to_f32(&name, view)) else { continue };
        let kind = kind(&name).to_owned();
        ranges.entry(kind.clone()).or_insert_with(|| Range::empty(kind)).add(&values);
    }
    ranges.into_values().collect()
}

/// The name without `blocks.N.`.
fn kind(name: &str) -> &str {
    name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')).map_or(name, |(_, kind)| kind)
}

impl Range {
    fn empty(kind: String) -> Self {
        Self { kind, tensors: 0, values: 0, min: None, max: None, mean: None, non_finite: 0 }
    }

    fn add(&mut self, values: &[f32]) {
        #[expect(clippy::cast_precision_loss, reason = "counts of values are far below 2^52")]
        let count = |n: usize| n as f64;
        let finite = || values.iter().copied().filter(|v| v.is_finite());
        let (old, new) = (self.values - self.non_finite, finite().count());
        let sum = self.mean.unwrap_or(0.0) * count(old) + finite().map(f64::from).sum::<f64>();
        self.mean = (old + new > 0).then(|| sum / count(old + new));
        self.min = self.min.into_iter().chain(finite()).reduce(f32::min);
        self.max = self.max.into_iter().chain(finite()).reduce(f32::max);
        self.tensors += 1;
        self.values += values.len();
        self.non_finite += values.len() - new;
    }
}

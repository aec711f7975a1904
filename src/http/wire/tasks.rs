use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::adapter::format::{self, Coverage, Range, Summary};
use crate::adapter::{Method, ProbeReport, Problem};
use crate::backbone::Fingerprint;
use crate::engine::Form;
use crate::http::error::Detail;
use crate::metrics::TaskCounts;
use crate::registry::{Probed, Status, TaskView, Uploaded, ValidationReport, VersionView};

/// A page of tasks in name order.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskList {
    /// At most `limit`.
    pub tasks: Vec<TaskBody>,
    /// The `after` of the next page; null on the last.
    pub next: Option<String>,
}

/// A task.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskBody {
    /// Its name.
    pub task: String,
    /// `active`, `staged`, `incompatible`, `damaged` or `unavailable`.
    #[schema(value_type = String)]
    pub status: Status,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The active version.
    pub version: Option<u64>,
    /// Its content hash.
    pub hash: Option<String>,
    /// `rescaled` or `merged`; null when it is not loaded.
    #[schema(value_type = Option<String>)]
    pub form: Option<Form>,
    /// Its labels in class order; null when it is not loaded.
    pub labels: Option<Vec<String>>,
    /// `single_label` or `multi_label`; null when it is not loaded.
    #[schema(value_type = Option<String>)]
    pub problem: Option<Problem>,
    /// Since the server started.
    pub counters: Counters,
    /// Stored versions, oldest first.
    pub versions: Vec<VersionBody>,
}

/// What became of a task's calls and rows since the server started, by outcome.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counters {
    /// Classify calls.
    pub requests: BTreeMap<String, u64>,
    /// Pictures.
    pub rows: BTreeMap<String, u64>,
}

/// A stored version.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionBody {
    /// The task.
    pub task: String,
    /// Its number; never used again.
    pub version: u64,
    /// The content hash of its file.
    pub hash: String,
    /// Whether it answers for the task.
    pub active: bool,
    /// `rescaled` or `merged`.
    #[schema(value_type = String)]
    pub form: Form,
    /// Bytes of its file.
    pub bytes: u64,
    /// Classes of its head.
    pub classes: usize,
    /// `rlrr` or `linear`.
    #[schema(value_type = String)]
    pub method: Method,
    /// `single_label` or `multi_label`.
    #[schema(value_type = String)]
    pub problem: Problem,
    /// Fingerprint of the backbone that it was made for.
    #[schema(value_type = String)]
    pub backbone: Fingerprint,
    /// Unix time of its upload.
    pub created_unix_s: u64,
    /// What is wrong with its file, if something was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// What became of an upload.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadedBody {
    /// The task.
    pub task: String,
    /// The version that has these bytes.
    pub version: u64,
    /// Its content hash.
    pub hash: String,
    /// Whether it answers for the task now.
    pub active: bool,
    /// What the probe said.
    pub probe: ProbeBody,
}

/// What the probe said.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ProbeBody {
    /// `absent`, `not_run`, `passed` or `failed`.
    pub outcome: &'static str,
    /// Pictures compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pictures: Option<usize>,
    /// Largest difference of a logit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_difference: Option<f32>,
    /// What it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<f32>,
    /// Pictures whose first class differs although its margin is above that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flips: Option<usize>,
}

/// Which version to make the active one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivateBody {
    /// Its number.
    pub version: u64,
}

/// The active version after a change.
#[derive(Debug, Serialize, ToSchema)]
pub struct Activated {
    /// The task.
    pub task: String,
    /// The version that answers now.
    pub version: u64,
    /// Its content hash.
    pub hash: String,
    /// True.
    pub active: bool,
    /// `rescaled` or `merged`.
    #[schema(value_type = String)]
    pub form: Form,
}

/// What an upload of these bytes would find.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValidationBody {
    /// Whether it would be taken.
    pub valid: bool,
    /// Content hash of the bytes.
    pub hash: String,
    /// Their number.
    pub bytes: usize,
    /// The metadata, as far as it is understood; null when the file is no adapter at all.
    #[schema(value_type = Option<Object>)]
    pub summary: Option<Summary>,
    /// How many of the backbone's tensors are there.
    #[schema(value_type = Option<Object>)]
    pub coverage: Option<Coverage>,
    /// Values of each kind of tensor: smallest, largest, mean, and how many are not finite.
    #[schema(value_type = Vec<Object>)]
    pub ranges: Vec<Range>,
    /// Every fault.
    pub problems: Vec<Detail>,
    /// What the probe said.
    pub probe: ProbeBody,
}

/// Whether the server is well.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthBody {
    /// `ok`.
    pub status: &'static str,
}

impl TaskBody {
    /// From the store's view and the metrics' counters.
    pub fn new(view: TaskView, counts: TaskCounts) -> Self {
        let hash = view.versions.iter().find(|version| version.active).map(|version| version.hash.clone());
        let task = view.task.to_string();
        Self {
            status: view.status,
            reason: view.reason,
            version: view.active,
            hash,
            form: view.form,
            labels: view.labels,
            problem: view.problem,
            counters: Counters { requests: named(counts.requests), rows: named(counts.rows) },
            versions: view.versions.into_iter().map(|version| VersionBody::new(&task, version)).collect(),
            task,
        }
    }
}

fn named(counts: Vec<(crate::metrics::Outcome, u64)>) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(outcome, count)| (outcome.as_str().to_owned(), count)).collect()
}

impl VersionBody {
    /// From the store's view.
    pub fn new(task: &str, view: VersionView) -> Self {
        let VersionView { version, hash, active, form, bytes, classes, method, problem, backbone, .. } = view;
        let VersionView { created_unix_s, damaged, .. } = view;
        let task = task.to_owned();
        Self { task, version, hash, active, form, bytes, classes, method, problem, backbone, created_unix_s, damaged }
    }
}

impl UploadedBody {
    /// From the store's report.
    pub fn new(task: &str, uploaded: Uploaded) -> Self {
        let Uploaded { version, hash, active, probe, .. } = uploaded;
        Self { task: task.to_owned(), version, hash, active, probe: probe.into() }
    }
}

impl From<Probed> for ProbeBody {
    fn from(probed: Probed) -> Self {
        let compared = |outcome, report: ProbeReport| Self {
            outcome,
            pictures: Some(report.pictures),
            max_difference: report.max_difference,
            allowed: Some(report.allowed),
            flips: Some(report.flips),
        };
        match probed {
            Probed::Absent => Self { outcome: "absent", ..Self::default() },
            Probed::NotRun => Self { outcome: "not_run", ..Self::default() },
            Probed::Passed(report) => compared("passed", report),
            Probed::Failed(report) => compared("failed", report),
        }
    }
}

impl Activated {
    /// From the store's view.
    pub fn new(task: &str, view: VersionView) -> Self {
        Self { task: task.to_owned(), version: view.version, hash: view.hash, active: view.active, form: view.form }
    }
}

impl From<ValidationReport> for ValidationBody {
    fn from(report: ValidationReport) -> Self {
        let ValidationReport { file, probe } = report;
        let format::ValidationReport { valid, bytes, hash, summary, coverage, ranges, problems } = file;
        let problems = problems.into_iter().map(Detail::from).collect();
        Self { valid, hash, bytes, summary, coverage, ranges, problems, probe: probe.into() }
    }
}

//! What the rooms below call their faults, in the words of HTTP.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::HeaderValue;

use super::error::{ApiError, Detail, ErrorType};
use crate::adapter::format::{AdapterError, Problem};
use crate::image::ImageError;
use crate::registry::{LabelsDiff, LookupError, ManageError, ProbeFailure, StoreLimit, TaskNameError};
use crate::serving::{Overloaded, RowError};

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> Self {
        let kind = match &error {
            LookupError::UnknownTask { .. } => ErrorType::UnknownTask,
            LookupError::UnknownVersion { .. } | LookupError::NoActiveVersion { .. } => ErrorType::UnknownVersion,
            LookupError::Incompatible { .. } => ErrorType::IncompatibleTask,
            LookupError::Damaged { .. } | LookupError::Unavailable { .. } => ErrorType::TaskUnavailable,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ManageError> for ApiError {
    fn from(error: ManageError) -> Self {
        let message = error.to_string();
        let with = |kind| Self::new(kind, message.clone());
        match error {
            ManageError::ReadOnly | ManageError::Ending => with(ErrorType::ReadOnly),
            ManageError::Lookup(error) => error.into(),
            ManageError::Adapter(error) => error.into(),
            ManageError::ProbeMismatch(_) => with(ErrorType::ProbeFailed),
            ManageError::Probe(failure) => failure.into(),
            ManageError::LabelsChanged { diff, .. } => {
                with(ErrorType::LabelsChanged).with_details(labels_changed(&diff))
            }
            ManageError::PreconditionFailed { .. } => with(ErrorType::PreconditionFailed),
            ManageError::Conflict(_) => with(ErrorType::Conflict),
            ManageError::Limit { which, limit, found } => {
                let detail = Detail {
                    expected: Some(limit.to_string()),
                    found: Some(found.to_string()),
                    ..Detail::new(limit_name(which), "is reached")
                };
                with(ErrorType::StoreLimit).with_details(vec![detail])
            }
            ManageError::DiskFull(_) => with(ErrorType::StoreLimit).with_details(vec![Detail::new("disk", "is full")]),
            ManageError::Engine(_) => with(ErrorType::EngineFailed),
            ManageError::Store(error) => {
                tracing::error!(%error, "the data folder failed");
                with(ErrorType::Internal)
            }
        }
    }
}

/// One line per way in which labels differ.
fn labels_changed(diff: &LabelsDiff) -> Vec<Detail> {
    let list = |labels: &[String], problem: &str| {
        (!labels.is_empty()).then(|| Detail { found: Some(labels.join(", ")), ..Detail::new("labels", problem) })
    };
    let problem = diff.problem.map(|(active, upload)| Detail {
        expected: Some(format!("{active:?}")),
        found: Some(format!("{upload:?}")),
        ..Detail::new("problem", "differs from the active version's")
    });
    let added = list(&diff.added, "only the upload has these");
    let removed = list(&diff.removed, "only the active version has these");
    let moved = list(&diff.moved, "these have another index");
    [added, removed, moved, problem].into_iter().flatten().collect()
}

/// A limit by the flag that sets it.
fn limit_name(which: StoreLimit) -> &'static str {
    match which {
        StoreLimit::Tasks => "--tasks-max",
        StoreLimit::AdapterBytes => "--adapter-bytes-max",
        StoreLimit::FreeDisk => "--free-disk-bytes-min",
        StoreLimit::MergeBytes => "--merge-bytes-max",
    }
}

impl From<AdapterError> for ApiError {
    fn from(error: AdapterError) -> Self {
        let kind = match &error {
            AdapterError::OtherBackbone { .. } => ErrorType::OtherBackbone,
            AdapterError::NotAnAdapter(_) | AdapterError::Invalid(_) => ErrorType::BadAdapter,
        };
        let details = error.problems().into_iter().map(Detail::from).collect();
        Self::new(kind, error.to_string()).with_details(details)
    }
}

impl From<ProbeFailure> for ApiError {
    fn from(failure: ProbeFailure) -> Self {
        let message = failure.to_string();
        match failure {
            ProbeFailure::Overloaded { retry_after_ms } => {
                Self { retry_after_ms: Some(retry_after_ms), ..Self::new(ErrorType::Overloaded, message) }
            }
            ProbeFailure::Engine(_) => Self::new(ErrorType::EngineFailed, message),
        }
    }
}

impl From<Problem> for Detail {
    fn from(problem: Problem) -> Self {
        let Problem { place, problem, expected, found } = problem;
        Self { place, problem, expected, found }
    }
}

impl From<Overloaded> for ApiError {
    fn from(error: Overloaded) -> Self {
        let retry_after_ms = Some(error.retry_after_ms);
        Self { retry_after_ms, ..Self::new(ErrorType::Overloaded, error.to_string()) }
    }
}

impl From<RowError> for ApiError {
    fn from(error: RowError) -> Self {
        let kind = match &error {
            RowError::Picture(error) => return error.clone().into(),
            RowError::DecoderFailed => ErrorType::Internal,
            RowError::Deadline => ErrorType::DeadlineExceeded,
            RowError::NonFinite => ErrorType::NonFiniteOutput,
            RowError::EngineFailed(_) => ErrorType::EngineFailed,
            RowError::ShuttingDown => ErrorType::NotReady,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ImageError> for ApiError {
    fn from(error: ImageError) -> Self {
        let kind = match &error {
            ImageError::Empty | ImageError::NotAPicture { .. } => ErrorType::NotAPicture,
            _ => ErrorType::BadPicture,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<TaskNameError> for ApiError {
    fn from(error: TaskNameError) -> Self {
        Self::malformed(error.to_string())
    }
}

/// Says what is wrong with a query, and with which value.
pub fn bad_query(query: &str, error: &QueryRejection) -> ApiError {
    let text = error.body_text();
    let why = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
    let key = why.split(": ").next().unwrap_or_default();
    let is_pair = |pair: &&str| pair.split_once('=').is_some_and(|(name, _)| name == key);
    // The parser names what it does not know.
    let pair = query.split('&').find(is_pair).filter(|_| !why.contains("unknown "));
    let given = pair.map_or(String::new(), |pair| format!(" ({} was given)", quoted(pair)));
    ApiError::malformed(format!("the query cannot be read: {}{given}", plain(why)))
}

/// Characters of a client's own value that a sentence repeats.
const QUOTE_CHARS_MAX: usize = 80;

/// A client's own value as a sentence repeats it: cut when it is long, and with nothing in it that steers a terminal.
pub fn quoted(value: &str) -> String {
    let escape = |c: char| if matches!(c, '"' | '\'') { c.to_string() } else { c.escape_debug().to_string() };
    let shown: String = value.chars().take(QUOTE_CHARS_MAX).map(escape).collect();
    let more = if value.chars().nth(QUOTE_CHARS_MAX).is_some() { "…" } else { "" };
    format!("`{shown}{more}`")
}

/// The same for a header's bytes.
pub fn quoted_header(value: &HeaderValue) -> String {
    quoted(&String::from_utf8_lossy(value.as_bytes()))
}

/// A parser's words as a person would say them.
fn plain(why: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        ("invalid digit found in string", "give a whole number, in digits"),
        ("cannot parse integer from empty string", "it is empty; give a whole number, in digits"),
        ("number too large to fit in target type", "the number is too large"),
        ("invalid float literal", "give a number"),
        ("cannot parse float from empty string", "it is empty; give a number"),
        ("provided string was not `true` or `false`", "give `true` or `false`"),
        ("missing field", "there is no"),
    ];
    WORDS.iter().fold(why.to_owned(), |why, (words, plain)| why.replace(words, plain))
}

impl From<PathRejection> for ApiError {
    fn from(error: PathRejection) -> Self {
        Self::malformed(error.body_text())
    }
}

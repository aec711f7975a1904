//! Paths and queries: typed, checked, and refused by name when they mean nothing here.

use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::error::{ApiError, ErrorType};
use super::faults::{bad_query, quoted, quoted_header};
use super::trace::Trace;
use crate::engine::Form;
use crate::registry::TaskName;
use crate::serving::respond::Answer;

/// The header that `timeout_ms` can be sent as.
const TIMEOUT: &str = "x-request-timeout-ms";

/// `?top_k=&threshold=&version=&logits=&timeout_ms=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClassifyQuery {
    /// Classes listed at most; 5 unless said
    pub top_k: Option<usize>,
    /// Classes less probable are not listed; never changes the decision
    pub threshold: Option<f32>,
    /// A version's number instead of the active one
    pub version: Option<String>,
    /// Adds `logits`, in class order, before the temperature
    pub logits: Option<bool>,
    /// Answer within so many milliseconds, or not at all
    pub timeout_ms: Option<u64>,
}

/// `?tasks=&top_k=&threshold=&logits=&timeout_ms=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClassifyManyQuery {
    /// `a,b,c@3`: tasks, or versions of them; `all` for every task that answers
    pub tasks: String,
    /// Classes listed at most; 5 unless said
    pub top_k: Option<usize>,
    /// Classes less probable are not listed; never changes the decision
    pub threshold: Option<f32>,
    /// Adds `logits`, in class order, before the temperature
    pub logits: Option<bool>,
    /// Answer within so many milliseconds, or not at all
    pub timeout_ms: Option<u64>,
}

/// `?activate=&allow=&form=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UploadQuery {
    /// `false` stages the version; `true` makes it live even if its bytes are there already
    pub activate: Option<bool>,
    /// `labels_changed`: labels or problem may differ from the active version's
    pub allow: Option<Allow>,
    /// How the version is served
    #[param(value_type = Option<String>)]
    pub form: Option<ServedForm>,
}

/// `?form=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ActivateQuery {
    /// How the version is served from now on
    #[param(value_type = Option<String>)]
    pub form: Option<ServedForm>,
}

/// `?limit=&after=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Tasks on this page, 1 to 1000; 100 unless said
    pub limit: Option<usize>,
    /// The former page's `next`
    pub after: Option<String>,
}

/// What an upload may do that it may not by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Allow {
    /// Answer with other labels than the active version.
    LabelsChanged,
}

/// The forms that an operator can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServedForm {
    /// The shared weights, rescaled at request time.
    Rescaled,
    /// Weights of its own.
    Merged,
}

impl From<ServedForm> for Form {
    fn from(form: ServedForm) -> Self {
        match form {
            ServedForm::Rescaled => Self::Rescaled,
            ServedForm::Merged => Self::Merged,
        }
    }
}

/// A query, or the sentence that says what is wrong with it.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned + 'static, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        Ok(Self(query.map_err(|why| bad_query(parts.uri.query().unwrap_or_default(), &why))?.0))
    }
}

/// The `{task}` of a path that must name a task: a name that cannot be one names none.
pub struct Named(pub TaskName);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await?;
        task(&text).map(Self)
    }
}

/// The `{task}` and `{version}` of a path.
pub struct NamedVersion(pub TaskName, pub u64);

impl<S: Send + Sync> FromRequestParts<S> for NamedVersion {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((name, number)) = Path::<(String, String)>::from_request_parts(parts, state).await?;
        Ok(Self(task(&name)?, version(&number)?))
    }
}

/// A task by its name.
pub fn task(text: &str) -> Result<TaskName, ApiError> {
    TaskName::parse(text).map_err(|why| ApiError::new(ErrorType::UnknownTask, format!("there is no such task: {why}")))
}

/// A version by its number.
pub fn version(text: &str) -> Result<u64, ApiError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| ApiError::malformed(format!("{} is no version: use its number, in digits", quoted(text))))
}

/// One entry of `?tasks=`: a task, perhaps with `@` and a version.
pub fn task_at_version(text: &str) -> Result<(TaskName, Option<u64>), ApiError> {
    match text.split_once('@') {
        None => Ok((task(text)?, None)),
        Some((name, number)) => Ok((task(name)?, Some(version(number)?))),
    }
}

/// What the client asked to see.
pub fn answer(top_k: Option<usize>, threshold: Option<f32>) -> Result<Answer, ApiError> {
    let top_k = top_k.unwrap_or(5);
    if top_k == 0 {
        return Err(ApiError::malformed("top_k is 0: ask for at least one class"));
    }
    if let Some(threshold) = threshold.filter(|threshold| !(0.0..=1.0).contains(threshold)) {
        let message = format!("threshold is {threshold:?}, and a probability: use a number from 0 to 1");
        return Err(ApiError::malformed(message));
    }
    Ok(Answer { top_k, threshold })
}

/// When the answer is too late, from the query or the header, under the cap.
pub fn deadline(
    query: Option<u64>,
    headers: &HeaderMap,
    trace: &Trace,
    cap: Duration,
) -> Result<Option<Instant>, ApiError> {
    let asked = match (query, headers.get(TIMEOUT)) {
        (Some(ms), _) => ms,
        (None, None) => return Ok(None),
        (None, Some(value)) => value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| ApiError::malformed(not_milliseconds(value)))?,
    };
    if asked == 0 {
        return Err(ApiError::malformed("a timeout of 0 ms answers nothing: allow at least 1"));
    }
    Ok(Some(trace.started() + Duration::from_millis(asked).min(cap)))
}

fn not_milliseconds(value: &HeaderValue) -> String {
    format!("{TIMEOUT} is {}, no number of milliseconds: give a whole number, in digits", quoted_header(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_may_name_versions() {
        let parse = |text| task_at_version(text).map(|(t, v)| (t.to_string(), v)).map_err(|e| e.kind);
        assert_eq!(parse("a"), Ok(("a".into(), None)));
        assert_eq!(parse("a@3"), Ok(("a".into(), Some(3))));
        assert_eq!(parse("a@stable"), Err(ErrorType::MalformedRequest));
        assert_eq!(parse("a@-1"), Err(ErrorType::MalformedRequest));
        assert_eq!(parse("a@99999999999999999999"), Err(ErrorType::MalformedRequest));
        assert_eq!(parse("A"), Err(ErrorType::UnknownTask));
        assert_eq!(parse(""), Err(ErrorType::UnknownTask));
    }

    #[test]
    fn a_threshold_is_a_probability() {
        assert!(answer(None, Some(1.0)).is_ok());
        assert!(answer(None, Some(f32::NAN)).is_err());
        assert!(answer(None, Some(-0.1)).is_err());
        assert!(answer(Some(0), None).is_err());
    }

    #[test]
    fn a_refusal_repeats_the_value_but_not_all_of_a_long_one() {
        let message = |text: &str| version(text).expect_err("no version").message;
        assert_eq!(message("two"), "`two` is no version: use its number, in digits");
        assert!(message("\u{1b}[2J").starts_with("`\\u{1b}[2J` is"), "{}", message("\u{1b}[2J"));
        assert!(message(&"x".repeat(9000)).len() < 200);
        assert!(answer(None, Some(1.5)).expect_err("none").message.starts_with("threshold is 1.5, and a probability"));
        let read = |query: &str| {
            let uri = format!("/?{query}").parse().expect("an address");
            let error = Query::<ClassifyQuery>::try_from_uri(&uri).expect_err("no query");
            bad_query(query, &error).message
        };
        assert_eq!(
            read("logits=true&top_k=five"),
            "the query cannot be read: top_k: give a whole number, in digits (`top_k=five` was given)"
        );
        assert!(read("topk=5").contains("unknown field `topk`"), "{}", read("topk=5"));
    }

    #[test]
    fn a_deadline_is_capped() {
        let headers =
            |ms: &str| [(TIMEOUT.parse().expect("a name"), ms.parse().expect("a value"))].into_iter().collect();
        let none = HeaderMap::new();
        let trace = Trace::begin(&none);
        let cap = Duration::from_secs(1);
        let after = |query, headers: &HeaderMap| {
            deadline(query, headers, &trace, cap).map(|d| d.map(|d| d - trace.started())).map_err(|e| e.kind)
        };
        assert_eq!(after(None, &none), Ok(None));
        assert_eq!(after(Some(20), &headers("30")), Ok(Some(Duration::from_millis(20))));
        assert_eq!(after(None, &headers("30")), Ok(Some(Duration::from_millis(30))));
        assert_eq!(after(Some(u64::MAX), &none), Ok(Some(cap)));
        assert_eq!(after(None, &headers("soon")), Err(ErrorType::MalformedRequest));
        assert_eq!(after(Some(0), &none), Err(ErrorType::MalformedRequest));
    }
}

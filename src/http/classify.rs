//! Pictures to answers.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::counted::Counted;
use super::error::{ApiError, ErrorBody, ErrorType};
use super::faults::quoted;
use super::json::Json;
use super::lanes::InactivePermit;
use super::params::{self, ClassifyManyQuery, ClassifyQuery, Named, Params};
use super::pictures::{Pictures, split};
use super::receive::receive;
use super::trace::Trace;
use super::wire::{Answers, Item, ItemOutcome};
use super::{App, off_runtime};
use crate::registry::{TaskName, Version};
use crate::serving::respond::{Answer, predict};
use crate::serving::{Request, Row, Timings};

/// Logits that are ranked on the runtime's own threads: about a millisecond.
const RANKED_INLINE_MAX: usize = 16_384;

/// Classify pictures of one task
///
/// Send one picture as the body, several as form fields `image`, or JSON. The form of the request decides the form of
/// the answer: a body or `{"image"}` gives one object, a form or `{"images"}` gives `{"results"}`, even for one.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/classify", tag = "classify",
    params(
        ("task" = String, Path, description = "A task"),
        ("x-request-timeout-ms" = Option<u64>, Header, description = "The same as `timeout_ms`"),
        ClassifyQuery,
    ),
    request_body(content(
        (Vec<u8> = "application/octet-stream"), (Vec<u8> = "multipart/form-data"), (String = "application/json"),
    ), description = "A picture, a form with fields `image`, or JSON with base64 in `image` or `images`"),
    responses(
        (status = 200, description = "The answer, or {\"results\": […]}", body = Item),
        (status = "default", description = "Why there is none", body = ErrorBody),
    ),
)]
pub async fn one(
    State(app): State<App>,
    Extension(trace): Extension<Trace>,
    Named(task): Named,
    Params(query): Params<ClassifyQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let number = query.version.as_deref().map(params::version).transpose()?;
    let (versions, inactive) = find_each(&app, vec![(task, number)]).await?;
    let call = Call {
        versions,
        _inactive: inactive,
        answer: params::answer(query.top_k, query.threshold)?,
        logits: query.logits.unwrap_or(false),
        deadline: params::deadline(query.timeout_ms, &headers, &trace, app.requests.timeout_max)?,
        many: false,
    };
    call.run(&app, &trace, &headers, body).await
}

/// Classify pictures of many tasks
///
/// Every picture is decoded once and goes through every task (or version). The answer is always
/// `{"results"}`, picture by picture, and in the order of the tasks within one.
#[utoipa::path(
    post, path = "/v1/classify", tag = "classify",
    params(
        ("x-request-timeout-ms" = Option<u64>, Header, description = "The same as `timeout_ms`"),
        ClassifyManyQuery,
    ),
    request_body(content(
        (Vec<u8> = "application/octet-stream"), (Vec<u8> = "multipart/form-data"), (String = "application/json"),
    ), description = "A picture, a form with fields `image`, or JSON with base64 in `image` or `images`"),
    responses(
        (status = 200, description = "One item per picture and task", body = Answers),
        (status = "default", description = "Why there is none", body = ErrorBody),
    ),
)]
pub async fn many(
    State(app): State<App>,
    Extension(trace): Extension<Trace>,
    Params(query): Params<ClassifyManyQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (versions, inactive) = find_all(&app, &query.tasks).await?;
    let call = Call {
        versions,
        _inactive: inactive,
        answer: params::answer(query.top_k, query.threshold)?,
        logits: query.logits.unwrap_or(false),
        deadline: params::deadline(query.timeout_ms, &headers, &trace, app.requests.timeout_max)?,
        many: true,
    };
    call.run(&app, &trace, &headers, body).await
}

type Found = (Vec<Arc<Version>>, InactivePermit);

/// Active versions, or those of these numbers. Active ones are in memory anyway; a place is taken for each other one
/// before it is read, so that what all calls hold is bounded however slowly their bodies come.
async fn find_each(app: &App, asked: Vec<(TaskName, Option<u64>)>) -> Result<Found, ApiError> {
    let active = |task: &TaskName, number: Option<u64>| match app.registry().active(task) {
        Ok(version) if number.is_none_or(|number| number == version.number) => Ok(Some(version)),
        Err(error) if number.is_none() => Err(error),
        _ => Ok(None),
    };
    let found = asked.iter().map(|(task, number)| active(task, *number)).collect::<Result<Vec<_>, _>>()?;
    let inactive = found.iter().filter(|version| version.is_none()).count();
    let permit = app.lanes.hold_inactive(inactive).ok_or_else(too_many_inactive)?;
    let mut versions = Vec::with_capacity(asked.len());
    for ((task, number), found) in asked.into_iter().zip(found) {
        versions.push(match (found, number) {
            (Some(version), _) => version,
            (None, number) => app.load(task, number.unwrap_or_default()).await?,
        });
    }
    Ok((versions, permit))
}

fn too_many_inactive() -> ApiError {
    let message = "too many versions that are not active are in use at once: try again, or activate them";
    ApiError { retry_after_ms: Some(1000), ..ApiError::new(ErrorType::Overloaded, message) }
}

async fn find_all(app: &App, tasks: &str) -> Result<Found, ApiError> {
    if tasks == "all" {
        let all = app.registry().all();
        let known = all.len();
        let all: Vec<_> = all.into_iter().filter_map(|(_, version)| version.ok()).collect();
        return if all.is_empty() { Err(none_answers(known)) } else { Ok((all, InactivePermit::none())) };
    }
    let mut asked = Vec::new();
    for text in tasks.split(',') {
        let one = params::task_at_version(text.trim())?;
        if asked.contains(&one) {
            return Err(ApiError::malformed(format!("{} is asked for twice", quoted(text))));
        }
        if asked.len() == app.requests.rows_max {
            return Err(too_many_rows(asked.len() + 1, app.requests.rows_max));
        }
        asked.push(one);
    }
    find_each(app, asked).await
}

fn none_answers(known: usize) -> ApiError {
    let message = match known {
        0 => "no task answers here: upload an adapter first".to_owned(),
        _ => format!("none of the {known} tasks here answers: GET /v1/tasks lists each with its reason"),
    };
    ApiError::new(ErrorType::UnknownTask, message)
}

/// A call whose query is understood and whose versions are found.
struct Call {
    versions: Vec<Arc<Version>>,
    _inactive: InactivePermit,
    answer: Answer,
    logits: bool,
    deadline: Option<Instant>,
    /// The route asks for a list, whatever the body's form.
    many: bool,
}

impl Call {
    async fn run(self, app: &App, trace: &Trace, headers: &HeaderMap, body: Body) -> Result<Response, ApiError> {
        trace.note(|facts| {
            facts.tasks = self.versions.iter().map(|version| version.task.to_string()).collect();
            facts.versions = self.versions.iter().map(|version| (version.number, version.hash.clone())).collect();
        });
        let mut counted = Counted::begin(app, trace, &self.versions);
        let result = self.answers(app, trace, headers, body).await;
        match &result {
            Ok((items, ..)) => counted.answered(items),
            Err(error) => counted.refused(error),
        }
        let (items, many, batch_rows) = result?;
        let mut response = respond(items, many)?;
        self.describe(trace, batch_rows, response.headers_mut());
        Ok(response)
    }

    /// Items in order, whether they make a list, and the rows of the largest batch that one ran in.
    async fn answers(
        &self,
        app: &App,
        trace: &Trace,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Vec<Item>, bool, usize), ApiError> {
        let rows_max = app.requests.rows_max;
        if self.versions.len() > rows_max {
            return Err(too_many_rows(self.versions.len(), rows_max));
        }
        let received = receive(app, trace, headers, body, app.requests.body_bytes_max).await?;
        let Pictures { many, files } = split(headers, received.bytes, rows_max).await?;
        let rows = files.len().saturating_mul(self.versions.len());
        if rows > rows_max {
            return Err(too_many_rows(rows, rows_max));
        }
        trace.note(|facts| facts.rows = rows);
        let permits = app.serving.admit_rows(files.len(), &self.versions)?;
        let request = Request {
            pictures: files,
            versions: self.versions.clone(),
            deadline: self.deadline,
            permits,
            bytes_permit: received.permit,
        };
        let rows = app.serving.classify(request).await;
        let batch_rows = rows.iter().map(|row| row.batch_rows).max().unwrap_or(0);
        note_times(trace, rows.iter().map(|row| row.timings));
        let (versions, answer, logits) = (self.versions.clone(), self.answer, self.logits);
        let values: usize = rows.iter().filter_map(|row| row.result.as_ref().ok()).map(Vec::len).sum();
        let items = move || rows.into_iter().map(|row| item(row, &versions, &answer, logits)).collect();
        let items = if values > RANKED_INLINE_MAX { off_runtime(items).await? } else { items() };
        Ok((items, many || self.many, batch_rows))
    }

    /// What is true of this call and not of its answer: equal requests give equal bodies.
    fn describe(&self, trace: &Trace, batch_rows: usize, headers: &mut HeaderMap) {
        let facts = trace.facts();
        let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
        let timing = format!(
            "decode;dur={:.3}, queue;dur={:.3}, inference;dur={:.3}",
            ms(facts.decode),
            ms(facts.queue),
            ms(facts.inference)
        );
        let numbers: Vec<_> = self.versions.iter().map(|version| version.number.to_string()).collect();
        let pairs = [
            (HeaderName::from_static("server-timing"), timing),
            (HeaderName::from_static("x-task-version"), numbers.join(",")),
            (HeaderName::from_static("x-batch-size"), batch_rows.to_string()),
        ];
        headers.extend(pairs.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?))));
    }
}

fn item(row: Row, versions: &[Arc<Version>], answer: &Answer, with_logits: bool) -> Item {
    let version = &versions[row.version];
    let outcome = match row.result {
        Ok(logits) => {
            let prediction = predict(&version.lens.adapter, &logits, answer);
            ItemOutcome::answer(prediction, with_logits.then_some(logits))
        }
        Err(error) => ApiError::from(error).into(),
    };
    Item::new(row.picture, version, outcome)
}

fn too_many_rows(rows: usize, rows_max: usize) -> ApiError {
    let message =
        format!("{rows} rows (pictures × tasks) are asked for, one call may have {rows_max}: send several calls");
    ApiError::new(ErrorType::TooManyRows, message)
}

/// The longest of each stage: what the call waited for.
fn note_times(trace: &Trace, times: impl Iterator<Item = Timings>) {
    let longest = times.fold(Timings::default(), |a, b| Timings {
        decode: a.decode.max(b.decode),
        queue: a.queue.max(b.queue),
        inference: a.inference.max(b.inference),
    });
    trace.note(|facts| {
        (facts.decode, facts.queue, facts.inference) = (longest.decode, longest.queue, longest.inference);
    });
}

/// 200 when any item has an answer, else the first item's error.
fn respond(mut items: Vec<Item>, many: bool) -> Result<Response, ApiError> {
    let answered = items.iter().any(|item| matches!(item.outcome, ItemOutcome::Answer { .. }));
    match items.first() {
        None => Err(ApiError::new(ErrorType::Internal, "no row came back")),
        Some(Item { outcome: ItemOutcome::Failed(first), .. }) if !answered => {
            let error = ApiError::new(first.error_type, first.error.clone()).with_details(first.details.clone());
            Err(if many { ApiError { results: items, ..error } } else { error })
        }
        _ if many => Ok(Json(Answers { results: items }).into_response()),
        _ => Ok(Json(items.remove(0)).into_response()),
    }
}

//! Tasks and their versions: look, upload, activate, delete.

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tracing::info;

use super::App;
use super::error::{ApiError, ErrorBody, uploaded};
use super::faults::quoted_header;
use super::json::Json;
use super::params::{ActivateQuery, ListQuery, Named, NamedVersion, Params, UploadQuery};
use super::receive::receive;
use super::trace::Trace;
use super::wire::{ActivateBody, Activated, TaskBody, TaskList, UploadedBody, ValidationBody, VersionBody};
use crate::registry::{Manager, TaskName, TaskView, UploadOptions};

/// Tasks on a page unless the client says.
const PAGE: usize = 100;
/// Tasks on a page at most.
const PAGE_MAX: usize = 1000;
/// Bytes of `{"version": n}` at most.
const ACTIVATE_BYTES_MAX: usize = 4096;

/// List tasks
#[utoipa::path(
    get, path = "/v1/tasks", tag = "tasks", params(ListQuery),
    responses(
        (status = 200, description = "A page of tasks in name order", body = TaskList),
        (status = "default", description = "Why there is none", body = ErrorBody),
    ),
)]
pub async fn list(State(app): State<App>, Params(query): Params<ListQuery>) -> Result<Json<TaskList>, ApiError> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(ApiError::malformed(format!("limit is {limit}: ask for 1 to {PAGE_MAX} tasks")));
    }
    let page = app.run(move |manager| manager.list(query.after.as_deref(), limit)).await?;
    let tasks = page.tasks.into_iter().map(|view| body(&app, view)).collect();
    Ok(Json(TaskList { tasks, next: page.next.map(|name| name.to_string()) }))
}

/// Describe a task
#[utoipa::path(
    get, path = "/v1/tasks/{task}", tag = "tasks", params(("task" = String, Path, description = "A task")),
    responses(
        (status = 200, description = "State, versions, labels, counters; ETag is the active version", body = TaskBody),
        (status = "default", description = "Why there is none", body = ErrorBody),
    ),
)]
pub async fn describe(State(app): State<App>, Named(task): Named) -> Result<Response, ApiError> {
    let view = app.blocking(move |manager| manager.describe(&task)).await?;
    let etag = view.etag();
    Ok((headers([(ETAG, etag)]), Json(body(&app, view))).into_response())
}

/// Upload an adapter
///
/// The file is checked, probed on the serving engine, stored and then live as a new version; a failed one leaves
/// nothing. Bytes equal to an existing version's change nothing and are answered with that version (200), unless
/// `activate=true`.
#[utoipa::path(
    put, path = "/v1/tasks/{task}", tag = "management",
    params(
        ("task" = String, Path, description = "A new or existing task"),
        ("if-match" = Option<String>, Header, description = "The ETag of the task that must be active"),
        UploadQuery,
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "An adapter file"),
    responses(
        (status = 201, description = "A new version", body = UploadedBody),
        (status = 200, description = "A version that was there already", body = UploadedBody),
        (status = "default", description = "Why there is none", body = ErrorBody),
    ),
)]
pub async fn upload(
    State(app): State<App>,
    Extension(trace): Extension<Trace>,
    Path(name): Path<String>,
    Params(query): Params<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let task = TaskName::parse(&name)?;
    let options = UploadOptions {
        activate: query.activate,
        allow_labels_changed: query.allow.is_some(),
        form: query.form.map(Into::into),
        if_match: if_match(&headers)?,
    };
    let file = receive(&app, &trace, &headers, body, app.adapter_bytes_max).await?;
    let name = task.clone();
    let result = app.blocking(move |manager| manager.upload(&task, &file.bytes, &options)).await?;
    note(&trace, &name, result.version, &result.hash);
    let change = if result.created { "uploaded" } else { "uploaded what was there already" };
    log(&trace, change, &name, Some(result.version), Some(&result.hash));
    Ok((uploaded(result.created), Json(UploadedBody::new(name.as_str(), result))).into_response())
}

/// Check an adapter without storing it
///
/// The full report: every fault of the file, and what its probe says.
#[utoipa::path(
    post, path = "/v1/adapters/validate", tag = "management",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "An adapter file"),
    responses(
        (status = 200, description = "The report, of a good file or a bad one", body = ValidationBody),
        (status = "default", description = "Why there is none", body = ErrorBody),
    ),
)]
pub async fn validate(
    State(app): State<App>,
    Extension(trace): Extension<Trace>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ValidationBody>, ApiError> {
    let file = receive(&app, &trace, &headers, body, app.adapter_bytes_max).await?;
    Ok(Json(app.blocking(move |manager| manager.validate(&file.bytes)).await?.into()))
}

/// Switch or roll back
///
/// No request is lost: each ends on the version that it began with.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/activate", tag = "management",
    params(
        ("task" = String, Path, description = "A task"),
        ("if-match" = Option<String>, Header, description = "The ETag of the task that must be active"),
        ActivateQuery,
    ),
    request_body = ActivateBody,
    responses(
        (status = 200, description = "The active version", body = Activated),
        (status = "default", description = "Why it is another", body = ErrorBody),
    ),
)]
pub async fn activate(
    State(app): State<App>,
    Extension(trace): Extension<Trace>,
    Named(task): Named,
    Params(query): Params<ActivateQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Activated>, ApiError> {
    let received = receive(&app, &trace, &headers, body, ACTIVATE_BYTES_MAX).await?;
    let ActivateBody { version } = read_activate(&received.bytes)?;
    let (name, form, if_match) = (task.clone(), query.form.map(Into::into), if_match(&headers)?);
    let view = app.blocking(move |manager| manager.activate(&task, version, form, if_match.as_deref())).await?;
    note(&trace, &name, view.version, &view.hash);
    log(&trace, "activated", &name, Some(view.version), Some(&view.hash));
    Ok(Json(Activated::new(name.as_str(), view)))
}

fn read_activate(bytes: &Bytes) -> Result<ActivateBody, ApiError> {
    // Serde would take `[n]` for the object.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(ApiError::malformed(r#"the JSON is a list: send {"version": n}"#));
    }
    serde_json::from_slice(bytes)
        .map_err(|why| ApiError::malformed(format!(r#"the JSON cannot be read: {why}; send {{"version": n}}"#)))
}

/// Describe a version
#[utoipa::path(
    get, path = "/v1/tasks/{task}/versions/{version}", tag = "tasks",
    params(("task" = String, Path, description = "A task"), ("version" = u64, Path, description = "A version's number")),
    responses(
        (status = 200, description = "The version", body = VersionBody),
        (status = "default", description = "Why there is none", body = ErrorBody),
    ),
)]
pub async fn describe_version(
    State(app): State<App>,
    NamedVersion(task, number): NamedVersion,
) -> Result<Json<VersionBody>, ApiError> {
    let name = task.clone();
    let view = app.blocking(move |manager| manager.describe_version(&task, number)).await?;
    Ok(Json(VersionBody::new(name.as_str(), view)))
}

/// Download a version's file
#[utoipa::path(
    get, path = "/v1/tasks/{task}/versions/{version}/adapter", tag = "management",
    params(("task" = String, Path, description = "A task"), ("version" = u64, Path, description = "A version's number")),
    responses(
        (status = 200, description = "The file as it was uploaded; ETag is its content hash", body = Vec<u8>,
         content_type = "application/octet-stream"),
        (status = "default", description = "Why there is none", body = ErrorBody),
    ),
)]
pub async fn adapter_bytes(
    State(app): State<App>,
    NamedVersion(task, number): NamedVersion,
) -> Result<Response, ApiError> {
    let file = format!("attachment; filename=\"{task}-{number}.safetensors\"");
    let stored = move |manager: &Manager| {
        let hash = manager.describe_version(&task, number)?.hash;
        manager.adapter_bytes(&task, number).map(|bytes| (hash, bytes))
    };
    let (hash, bytes) = app.blocking(stored).await?;
    let kind = Some("application/octet-stream".to_owned());
    let etag = Some(format!("\"{hash}\""));
    Ok((headers([(ETAG, etag), (CONTENT_TYPE, kind), (CONTENT_DISPOSITION, Some(file))]), bytes).into_response())
}

/// Delete a version
///
/// Not the active one. Its number is not used again.
#[utoipa::path(
    delete, path = "/v1/tasks/{task}/versions/{version}", tag = "management",
    params(
        ("task" = String, Path, description = "A task"), ("version" = u64, Path, description = "A version's number"),
        ("if-match" = Option<String>, Header, description = "The ETag of the task that must be active"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = "default", description = "Why it is not", body = ErrorBody),
    ),
)]
pub async fn delete_version(
    State(app): State<App>,
    Extension(trace): Extension<Trace>,
    NamedVersion(task, number): NamedVersion,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let (name, if_match) = (task.clone(), if_match(&headers)?);
    let delete = move |manager: &Manager| {
        let hash = manager.describe_version(&task, number).ok().map(|view| view.hash);
        manager.delete_version(&task, number, if_match.as_deref()).map(|()| hash)
    };
    let hash = app.blocking(delete).await?;
    log(&trace, "deleted", &name, Some(number), hash.as_deref());
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a task
///
/// With all its versions; their numbers are not used again.
#[utoipa::path(
    delete, path = "/v1/tasks/{task}", tag = "management",
    params(
        ("task" = String, Path, description = "A task"),
        ("if-match" = Option<String>, Header, description = "The ETag of the task that must be active"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = "default", description = "Why it is not", body = ErrorBody),
    ),
)]
pub async fn delete_task(
    State(app): State<App>,
    Extension(trace): Extension<Trace>,
    Named(task): Named,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let (name, if_match) = (task.clone(), if_match(&headers)?);
    app.blocking(move |manager| manager.delete_task(&task, if_match.as_deref())).await?;
    log(&trace, "deleted", &name, None, None);
    Ok(StatusCode::NO_CONTENT)
}

fn body(app: &App, view: TaskView) -> TaskBody {
    let counts = app.metrics.counts(view.task.as_str());
    TaskBody::new(view, counts)
}

fn note(trace: &Trace, task: &TaskName, version: u64, hash: &str) {
    trace.note(|facts| {
        facts.tasks = vec![task.to_string()];
        facts.versions = vec![(version, hash.to_owned())];
    });
}

/// The line that tells the operator of a change, whatever the access log leaves out.
fn log(trace: &Trace, change: &str, task: &TaskName, version: Option<u64>, hash: Option<&str>) {
    info!(request_id = trace.request_id(), %task, version, hash, "{change}");
}

fn if_match(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text =
        value.to_str().map_err(|_| ApiError::malformed(format!("If-Match is {}, no ETag", quoted_header(value))))?;
    Ok(Some(text.to_owned()))
}

fn headers<const N: usize>(pairs: [(HeaderName, Option<String>); N]) -> HeaderMap {
    pairs.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text?).ok()?))).collect()
}

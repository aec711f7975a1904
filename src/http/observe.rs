//! The outermost layer: a request's id, its error body, its metrics, its line in the access log.
//!
//! A line is written for every request, also for one whose client left. Its fields: `ts`, `level`, `request_id`,
//! `trace_id`, `method`, `route`, `task`, `version`, `hash` (comma-separated when there are several), `status`, `error_type`,
//! `rows`, `bytes_in`, `decode_ms`, `queue_ms`, `inference_ms`, `total_ms`. Never pictures, never keys.

use std::panic::AssertUnwindSafe;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::{info, warn};

use super::App;
use super::error::{ApiError, CLIENT_LEFT, ErrorType};
use super::trace::{REQUEST_ID, Trace};
use crate::config::AccessLog;

/// What the metrics call a path that no route knows.
const UNMATCHED: &str = "unmatched";

/// Runs the request and tells what became of it.
pub async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let trace = Trace::begin(request.headers());
    let route = request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str).to_owned();
    request.extensions_mut().insert(trace.clone());
    let method = request.method().clone();
    let mut line = Line { app, trace: trace.clone(), method, route, status: CLIENT_LEFT };
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = answered.unwrap_or_else(|_| {
        ApiError::new(ErrorType::Internal, "the server failed; please report it with the request's id").into_response()
    });
    let mut response = finish(response, &trace);
    if line.app.is_draining() {
        // Whoever keeps connections open moves to another server.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    line.status = response.status().as_u16();
    response
}

/// Gives the response its id, and an error its body.
fn finish(mut response: Response, trace: &Trace) -> Response {
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let error = response.extensions_mut().remove::<ApiError>().unwrap_or_else(|| by_the_framework(status));
        trace.note(|facts| facts.error_type = Some(error.kind));
        response = with_body(response, &error, trace.request_id());
    }
    // Ids are visible ASCII: the client's own was checked, ours are hex.
    if let Ok(id) = HeaderValue::from_str(trace.request_id()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn by_the_framework(status: StatusCode) -> ApiError {
    let reason = status.canonical_reason().unwrap_or("the request was refused").to_lowercase();
    ApiError::new(ErrorType::of_status(status), format!("{reason}; see /docs for what is offered"))
}

/// The error's body and headers; headers that are there already (`Allow`) stay.
fn with_body(response: Response, error: &ApiError, request_id: &str) -> Response {
    let (mut parts, _) = response.into_parts();
    let body = serde_json::to_vec(&error.body(request_id)).unwrap_or_default();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(ms) = error.retry_after_ms {
        parts.headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000).max(1)));
    }
    if error.kind == ErrorType::Unauthorized {
        parts.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    Response::from_parts(parts, body.into())
}

/// Written when it drops, so that a request whose client left has its line too.
struct Line {
    app: App,
    trace: Trace,
    method: Method,
    route: String,
    status: u16,
}

impl Drop for Line {
    fn drop(&mut self) {
        let seconds = self.trace.started().elapsed().as_secs_f64();
        self.app.metrics.request_duration_seconds.with_label_values(&[&self.route]).observe(seconds);
        let wanted = match self.app.access_log {
            AccessLog::All => true,
            AccessLog::Errors => self.status >= 400,
            AccessLog::Off => false,
        };
        if wanted {
            self.write(seconds);
        }
    }
}

impl Line {
    fn write(&self, seconds: f64) {
        let facts = self.trace.facts();
        let joined = |parts: Vec<String>| (!parts.is_empty()).then(|| parts.join(","));
        let versions = || facts.versions.iter();
        let ms = |duration: std::time::Duration| rounded(duration.as_secs_f64());
        let error_type = facts.error_type.and_then(|kind| serde_json::to_value(kind).ok());
        macro_rules! line {
            ($log:ident) => {
                $log!(
                    request_id = self.trace.request_id(),
                    trace_id = self.trace.trace_id(),
                    method = self.method.as_str(),
                    route = %self.route,
                    task = joined(facts.tasks.clone()),
                    version = joined(versions().map(|(number, _)| number.to_string()).collect()),
                    hash = joined(versions().map(|(_, hash)| hash.clone()).collect()),
                    status = self.status,
                    error_type = error_type.as_ref().and_then(|kind| kind.as_str()),
                    rows = facts.rows,
                    bytes_in = facts.bytes_in,
                    decode_ms = ms(facts.decode),
                    queue_ms = ms(facts.queue),
                    inference_ms = ms(facts.inference),
                    total_ms = rounded(seconds),
                    "request"
                )
            };
        }
        if self.status >= 500 { line!(warn) } else { line!(info) }
    }
}

/// Milliseconds with three digits.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e3
}

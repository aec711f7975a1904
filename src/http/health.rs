//! Whether the server is well, and its metrics. Always open, on every listener that has them.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::App;
use super::error::{ApiError, ErrorBody, ErrorType};
use super::json::Json;
use super::wire::HealthBody;

/// Whether the process should go on
///
/// 200 under any load; 503 when the engine is dead or stuck.
#[utoipa::path(
    get, path = "/healthz", tag = "operation",
    responses(
        (status = 200, description = "It should", body = HealthBody),
        (status = 503, description = "It should be started again", body = ErrorBody),
    ),
)]
pub async fn healthz(State(app): State<App>) -> Result<Json<HealthBody>, ApiError> {
    let health = app.serving.health();
    check(health.alive, ErrorType::EngineFailed, health.reason)
}

/// Whether requests should be sent here
///
/// 200 with no tasks, and under any load; 503 from SIGTERM on, and when the engine is dead or stuck.
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, description = "They should", body = HealthBody),
        (status = 503, description = "They should go elsewhere", body = ErrorBody),
    ),
)]
pub async fn readyz(State(app): State<App>) -> Result<Json<HealthBody>, ApiError> {
    if app.is_draining() {
        return check(false, ErrorType::NotReady, Some("the server is shutting down".to_owned()));
    }
    let health = app.serving.health();
    check(health.ready, ErrorType::NotReady, health.reason)
}

fn check(well: bool, kind: ErrorType, reason: Option<String>) -> Result<Json<HealthBody>, ApiError> {
    if well { Ok(Json(HealthBody { status: "ok" })) } else { Err(ApiError::new(kind, reason.unwrap_or_default())) }
}

/// Metrics in Prometheus' text form
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "See docs/metrics.md", body = String, content_type = "text/plain")),
)]
pub async fn metrics(State(app): State<App>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render()).into_response()
}

//! The description of the API: OpenAPI from the handlers, and a page that shows it and needs no other host.

use axum::Json;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse, Response};
use utoipa::OpenApi;

use super::{classify, health, tasks};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "manylens",
        description = "One frozen Vision Transformer, many tasks. Every error is one object; docs/errors.md lists them.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        classify::one, classify::many,
        tasks::list, tasks::describe, tasks::describe_version,
        tasks::upload, tasks::activate, tasks::validate, tasks::adapter_bytes, tasks::delete_version, tasks::delete_task,
        health::healthz, health::readyz, health::metrics, openapi, docs,
    ),
    tags(
        (name = "classify", description = "Pictures to answers"),
        (name = "tasks", description = "What there is"),
        (name = "management", description = "Changes; they need an admin key, or a caller on the server's own machine"),
        (name = "operation", description = "For probes, dashboards and people"),
    ),
)]
pub struct Api;

/// This description
#[utoipa::path(get, path = "/openapi.json", tag = "operation", responses((status = 200, description = "OpenAPI")))]
pub async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}

/// A page for people
#[utoipa::path(
    get, path = "/docs", tag = "operation",
    responses((status = 200, description = "HTML", body = String, content_type = "text/html")),
)]
pub async fn docs() -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                  img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [(CONTENT_SECURITY_POLICY, policy), (CACHE_CONTROL, "no-cache")];
    (headers, Html(include_str!("docs.html"))).into_response()
}

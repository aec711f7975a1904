//! The description of the API: OpenAPI from the handlers, and a page that shows it and needs no other host.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::json::Json;
use super::{classify, health, tasks};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "manylens",
        description = "One frozen Vision Transformer, many tasks. Every error is one object; /docs/errors lists them.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        classify::one, classify::many,
        tasks::list, tasks::describe, tasks::describe_version,
        tasks::upload, tasks::activate, tasks::validate, tasks::adapter_bytes, tasks::delete_version, tasks::delete_task,
        health::healthz, health::readyz, health::metrics, openapi, docs, errors,
    ),
    modifiers(&Keys),
    tags(
        (name = "classify", description = "Pictures to answers"),
        (name = "tasks", description = "What there is"),
        (name = "management", description = "Changes; they need an admin key, or a caller on the server's own machine"),
        (name = "operation", description = "For probes, dashboards and people"),
    ),
)]
pub struct Api;

/// Which key a call takes, by its tag: the router's table has the same grouping.
struct Keys;

const ADMIN: &str = "admin_key";
const INFERENCE: &str = "inference_key";

impl Modify for Keys {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        for (name, what) in [(ADMIN, "A line of --admin-key-file"), (INFERENCE, "A line of --inference-key-file")] {
            let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(what)).build();
            components.add_security_scheme(name, SecurityScheme::Http(bearer));
        }
        let operations =
            api.paths.paths.values_mut().flat_map(|path| {
                [&mut path.get, &mut path.put, &mut path.post, &mut path.delete].into_iter().flatten()
            });
        for operation in operations {
            operation.security = keys_of(operation.tags.iter().flatten().map(String::as_str));
        }
    }
}

/// A server without keys asks for none, so each is one of two ways.
fn keys_of<'t>(mut tags: impl Iterator<Item = &'t str>) -> Option<Vec<SecurityRequirement>> {
    let key = |name: &str| SecurityRequirement::new(name, [""; 0]);
    tags.find_map(|tag| match tag {
        "management" => Some(vec![key(ADMIN), SecurityRequirement::default()]),
        "classify" | "tasks" => Some(vec![key(INFERENCE), key(ADMIN), SecurityRequirement::default()]),
        _ => None,
    })
}

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

/// Every error and what to do about it
#[utoipa::path(
    get, path = "/docs/errors", tag = "operation",
    responses((status = 200, description = "Markdown", body = String, content_type = "text/plain")),
)]
pub async fn errors() -> &'static str {
    include_str!("../../docs/errors.md")
}

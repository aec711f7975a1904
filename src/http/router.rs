//! The whole table of URLs on one page.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::access::{Access, guard};
use super::error::{ApiError, ErrorType};
use super::{App, classify, docs, drain, health, observe, tasks};

/// A route of the API.
struct Route {
    /// Method and path, its parameters in braces as in OpenAPI.
    at: &'static str,
    access: Access,
    face: Face,
    handler: MethodRouter<App>,
}

/// Which listener has a route when management has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// The API's.
    Api,
    /// Management's.
    Management,
    /// Both.
    Both,
}

/// Every route.
fn routes() -> Vec<Route> {
    use Access::{Admin, Inference, Open};
    use Face::{Api, Both, Management};
    vec![
        route("POST /v1/tasks/{task}/classify", Inference, Api, classify::one),
        route("POST /v1/classify", Inference, Api, classify::many),
        route("GET /v1/tasks", Inference, Both, tasks::list),
        route("GET /v1/tasks/{task}", Inference, Both, tasks::describe),
        route("GET /v1/tasks/{task}/versions/{version}", Inference, Both, tasks::describe_version),
        route("PUT /v1/tasks/{task}", Admin, Management, tasks::upload),
        route("DELETE /v1/tasks/{task}", Admin, Management, tasks::delete_task),
        route("POST /v1/tasks/{task}/activate", Admin, Management, tasks::activate),
        route("DELETE /v1/tasks/{task}/versions/{version}", Admin, Management, tasks::delete_version),
        route("GET /v1/tasks/{task}/versions/{version}/adapter", Admin, Management, tasks::adapter_bytes),
        route("POST /v1/adapters/validate", Admin, Management, tasks::validate),
        route("GET /healthz", Open, Both, health::healthz),
        route("GET /readyz", Open, Both, health::readyz),
        route("GET /metrics", Open, Management, health::metrics),
        route("GET /openapi.json", Open, Both, docs::openapi),
        route("GET /docs", Open, Both, docs::docs),
        route("GET /docs/errors", Open, Both, docs::errors),
    ]
}

/// The routes of a listener: all of them, or only those of one face.
pub fn router(app: &App, face: Face) -> Router {
    let shown = |route: &Route| face == Face::Both || route.face == Face::Both || route.face == face;
    let table = routes().into_iter().filter(shown).fold(Router::new(), |router, route| {
        let guarded = route.handler.route_layer(from_fn_with_state((app.clone(), route.access), guard));
        router.route(split(route.at).1, guarded)
    });
    table
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(app.clone(), drain::drain))
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app.clone())
}

async fn unknown_route() -> ApiError {
    ApiError::new(ErrorType::UnknownRoute, "there is nothing at this path; /docs shows what there is")
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(ErrorType::MethodNotAllowed, "this path knows other methods: see the Allow header, or /docs")
}

fn route<H: Handler<T, App>, T: 'static>(at: &'static str, access: Access, face: Face, handler: H) -> Route {
    Route { at, access, face, handler: on(split(at).0, handler) }
}

/// Method and path of an entry of the table.
fn split(at: &'static str) -> (MethodFilter, &'static str) {
    let (method, path) = at.split_once(' ').expect("an entry is a method, a blank and a path");
    let method = Method::from_bytes(method.as_bytes()).ok().and_then(|method| MethodFilter::try_from(method).ok());
    (method.expect("the method is one that axum knows"), path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use utoipa::OpenApi;

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let api = serde_json::to_value(docs::Api::openapi()).expect("JSON");
        let paths = api["paths"].as_object().expect("paths");
        let described: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().expect("methods");
                methods.keys().map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        let served: BTreeSet<_> = routes().into_iter().map(|route| route.at.to_owned()).collect();
        assert_eq!(described, served);
    }
}

//! JSON answers.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::{ApiError, ErrorType};

/// A JSON body that ends its line, as people's terminals want it.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let Ok(mut body) = serde_json::to_vec(&self.0) else {
            return ApiError::new(ErrorType::Internal, "the answer could not be written").into_response();
        };
        body.push(b'\n');
        ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
    }
}

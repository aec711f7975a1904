//! Every error that a client can see. This is the only file that knows status codes.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::wire::Item;

/// The closed list of `error_type`, documented in docs/errors.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The request cannot be understood.
    MalformedRequest,
    /// A key is missing or wrong.
    Unauthorized,
    /// The key is good, for something else.
    Forbidden,
    /// Management is not offered to this caller.
    ManagementDisabled,
    /// No such path.
    UnknownRoute,
    /// No such task.
    UnknownTask,
    /// No such version, or none that is active.
    UnknownVersion,
    /// The path knows other methods.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The change does not fit what is there.
    Conflict,
    /// The upload answers with other labels than the active version.
    LabelsChanged,
    /// Another process manages the data folder.
    ReadOnly,
    /// `If-Match` names another version than the active one.
    PreconditionFailed,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The bytes are no picture.
    NotAPicture,
    /// The picture is damaged, too large, or not what the task takes.
    BadPicture,
    /// More pictures × tasks than one call may ask for.
    TooManyRows,
    /// The adapter file has faults; `details` lists all of them.
    BadAdapter,
    /// The adapter was made for another backbone.
    OtherBackbone,
    /// The engine's answers differ from the adapter's probe.
    ProbeFailed,
    /// The server is full.
    Overloaded,
    /// The adapter gives values that are not finite for this picture.
    NonFiniteOutput,
    /// A fault of the server.
    Internal,
    /// The server cannot answer yet, or not any more.
    NotReady,
    /// The engine failed.
    EngineFailed,
    /// The task's adapter belongs to another backbone.
    IncompatibleTask,
    /// The task's files are damaged or could not be made ready.
    TaskUnavailable,
    /// The deadline passed.
    DeadlineExceeded,
    /// A limit of the store.
    StoreLimit,
}

impl ErrorType {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 29] = [
        Self::MalformedRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::ManagementDisabled,
        Self::UnknownRoute,
        Self::UnknownTask,
        Self::UnknownVersion,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::LabelsChanged,
        Self::ReadOnly,
        Self::PreconditionFailed,
        Self::BodyTooLarge,
        Self::NotAPicture,
        Self::BadPicture,
        Self::TooManyRows,
        Self::BadAdapter,
        Self::OtherBackbone,
        Self::ProbeFailed,
        Self::Overloaded,
        Self::NonFiniteOutput,
        Self::Internal,
        Self::NotReady,
        Self::EngineFailed,
        Self::IncompatibleTask,
        Self::TaskUnavailable,
        Self::DeadlineExceeded,
        Self::StoreLimit,
    ];

    /// Its status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::MalformedRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::ManagementDisabled => StatusCode::FORBIDDEN,
            Self::UnknownRoute | Self::UnknownTask | Self::UnknownVersion => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict | Self::LabelsChanged | Self::ReadOnly => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAPicture => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadPicture | Self::TooManyRows | Self::BadAdapter | Self::OtherBackbone | Self::ProbeFailed => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::NonFiniteOutput | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotReady | Self::EngineFailed | Self::IncompatibleTask | Self::TaskUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Self::StoreLimit => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    /// The type of an error that the framework answered by itself.
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::UnknownRoute,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::RequestTimeout,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            status if status.is_client_error() => Self::MalformedRequest,
            _ => Self::Internal,
        }
    }
}

/// What the access log says of a client that left before its answer; never sent.
pub const CLIENT_LEFT: u16 = 499;

/// The status of an upload.
pub fn uploaded(created: bool) -> StatusCode {
    if created { StatusCode::CREATED } else { StatusCode::OK }
}

/// One fault of many.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Detail {
    /// Tensor, metadata key, field, limit or task.
    #[serde(rename = "where")]
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl Detail {
    /// A fault without expectation.
    pub fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into(), expected: None, found: None }
    }
}

/// An error on its way to the client. The outermost layer adds the request's id and writes the body.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// Decides the status.
    pub kind: ErrorType,
    /// A sentence that says what to do.
    pub message: String,
    /// Every fault, when there are several.
    pub details: Vec<Detail>,
    /// When to try again.
    pub retry_after_ms: Option<u64>,
    /// The items of a call all of whose items failed.
    pub results: Vec<Item>,
}

impl ApiError {
    /// An error without details.
    pub fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), details: vec![], retry_after_ms: None, results: vec![] }
    }

    /// A request that cannot be understood.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorType::MalformedRequest, message)
    }

    /// With every fault.
    pub fn with_details(mut self, details: Vec<Detail>) -> Self {
        self.details = details;
        self
    }

    /// The body, for the request of that id.
    pub fn body(&self, request_id: &str) -> ErrorBody {
        ErrorBody {
            error: self.message.clone(),
            error_type: self.kind,
            code: self.kind.status().as_u16(),
            request_id: request_id.to_owned(),
            details: self.details.clone(),
            retry_after_ms: self.retry_after_ms,
            results: self.results.clone(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The one error object.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ErrorBody {
    /// A sentence that says what to do.
    pub error: String,
    /// Which error.
    pub error_type: ErrorType,
    /// The status.
    pub code: u16,
    /// The request's id, as in the header.
    pub request_id: String,
    /// Every fault, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
    /// When to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The items of a call all of whose items failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<Item>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(error_type, status)` of each row of the table in docs/errors.md.
    fn documented() -> Vec<(String, u16)> {
        let text = include_str!("../../docs/errors.md");
        let row = |line: &str| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?.to_owned();
            Some((name, cells.next()?.parse().ok()?))
        };
        text.lines().filter_map(row).collect()
    }

    #[test]
    fn the_documentation_lists_every_error_with_its_status() {
        let name = |kind: ErrorType| serde_json::to_value(kind).expect("JSON").as_str().expect("a word").to_owned();
        let known: Vec<_> = ErrorType::ALL.iter().map(|&kind| (name(kind), kind.status().as_u16())).collect();
        assert_eq!(documented(), known);
    }
}

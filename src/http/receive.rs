//! Takes a request's body in: bytes are reserved before any is read.

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::BytesMut;
use futures_util::StreamExt;
use tokio::time::timeout;

use super::App;
use super::error::{ApiError, ErrorType};
use super::faults::quoted_header;
use super::trace::Trace;
use crate::serving::BytesPermit;

/// A body and its place in memory.
pub struct Received {
    /// All of it.
    pub bytes: Bytes,
    /// Held for as long as the bytes are.
    pub permit: BytesPermit,
}

/// Reserves what the head announces (the limit when it announces nothing), then reads the body.
pub async fn receive(
    app: &App,
    trace: &Trace,
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Received, ApiError> {
    let announced = announced(headers)?;
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    let reserved = announced.map_or(bytes_max, |bytes| bytes as usize);
    let mut permit = app.serving.reserve_bytes(reserved)?;
    let read = timeout(app.network.body_timeout, read(body, announced.unwrap_or(0) as usize, bytes_max));
    let bytes = read.await.unwrap_or_else(|_| {
        let within = app.network.body_timeout.as_millis();
        let message = format!("the body did not arrive within {within} ms: send it faster, or less of it");
        Err(ApiError::new(ErrorType::RequestTimeout, message))
    })?;
    permit.shrink_to(bytes.len());
    trace.note(|facts| facts.bytes_in = bytes.len());
    app.metrics.stage("receive", trace.started().elapsed().as_secs_f64());
    Ok(Received { bytes, permit })
}

fn announced(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length
        .map(Some)
        .ok_or_else(|| ApiError::malformed(format!("Content-Length is {}, no number", quoted_header(value))))
}

async fn read(body: Body, announced: usize, bytes_max: usize) -> Result<Bytes, ApiError> {
    let mut frames = body.into_data_stream();
    let mut whole = BytesMut::with_capacity(announced);
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| ApiError::malformed("the body broke off: send it again"))?;
        if whole.len() + frame.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        whole.extend_from_slice(&frame);
    }
    Ok(whole.freeze())
}

fn too_large(bytes_max: usize) -> ApiError {
    let message = format!("the body is larger than {bytes_max} bytes, the limit here: send less, or in several calls");
    ApiError::new(ErrorType::BodyTooLarge, message)
}

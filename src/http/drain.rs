//! Reads what is left of the body of a refused request. A server that answers and closes with unread bytes makes the
//! kernel reset the connection, and the client then often loses the answer that says why.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{Request, State};
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{Stream, StreamExt};

use super::App;

/// A client that is slower than this loses the answer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Lends the body to the handler and, when that refuses the request, throws away what it left.
pub async fn drain(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    // Such a client sends its body only when it is asked for.
    let waits = parts.headers.contains_key(EXPECT);
    let mut body = Lent(Arc::new(Mutex::new(body.into_data_stream())));
    let response = next.run(Request::from_parts(parts, Body::from_stream(body.clone()))).await;
    if !response.status().is_success() && !waits {
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, body.discard(app.requests.body_bytes_max)).await;
    }
    response
}

/// A body that the handler reads and this layer still holds.
#[derive(Clone)]
struct Lent(Arc<Mutex<BodyDataStream>>);

impl Lent {
    /// Reads to the end, or a little more than `bytes_max`.
    async fn discard(&mut self, bytes_max: usize) {
        let mut read = 0usize;
        while let Some(Ok(bytes)) = self.next().await {
            read = read.saturating_add(bytes.len());
            if read > bytes_max {
                return;
            }
        }
    }
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // The handler and the layer never poll at the same time, so nobody waits for the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(cx)
    }
}

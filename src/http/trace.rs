//! What is told of a request: its id, and the facts that its line in the access log has.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;

use super::error::ErrorType;
use crate::hash::content_hash;

/// The header with a request's id.
pub const REQUEST_ID: &str = "x-request-id";

/// A request's id, start, and what handlers found out about it. Cloning is cheap.
#[derive(Clone)]
pub struct Trace(Arc<Inner>);

struct Inner {
    request_id: String,
    trace_id: Option<String>,
    started: Instant,
    facts: Mutex<Facts>,
}

/// The fields of an access line that only the handler knows.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Tasks asked for.
    pub tasks: Vec<String>,
    /// Their versions.
    pub versions: Vec<(u64, String)>,
    /// Rows admitted.
    pub rows: usize,
    /// Bytes of the body that was read.
    pub bytes_in: usize,
    /// Longest decode.
    pub decode: Duration,
    /// Longest wait for the engine.
    pub queue: Duration,
    /// Longest run of the engine.
    pub inference: Duration,
    /// What went wrong.
    pub error_type: Option<ErrorType>,
}

impl Trace {
    /// Takes the client's own id and `traceparent`, or makes an id.
    pub fn begin(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let own = text(REQUEST_ID).filter(|id| is_request_id(id));
        Self(Arc::new(Inner {
            request_id: own.map_or_else(new_id, str::to_owned),
            trace_id: text("traceparent").and_then(trace_id).map(str::to_owned),
            started: Instant::now(),
            facts: Mutex::default(),
        }))
    }

    /// 1 to 128 of `[A-Za-z0-9._-]`.
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// The trace that a client says this belongs to.
    pub fn trace_id(&self) -> Option<&str> {
        self.0.trace_id.as_deref()
    }

    /// When the request's head was read.
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// Adds to the facts.
    pub fn note(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.0.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The facts so far.
    pub fn facts(&self) -> Facts {
        self.0.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn is_request_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The second part of `00-<32 hex>-<16 hex>-<2 hex>`, which is not all zeros.
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, id) = (parts.next()?, parts.next()?);
    let hex = |text: &str, len| text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let parent = parts.next()?;
    let good = hex(version, 2) && hex(id, 32) && hex(parent, 16) && id.bytes().any(|b| b != b'0');
    good.then_some(id)
}

/// Unique among processes: time, process and count, hashed so that it tells nothing.
fn new_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let seed = format!("{now} {} {}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    content_hash(seed.as_bytes()).chars().skip("sha256:".len()).take(24).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_own_id_is_kept_when_it_is_one() {
        let id = |text: &str| {
            let headers = [(REQUEST_ID.parse().expect("a name"), text.parse().expect("a value"))].into_iter().collect();
            Trace::begin(&headers).request_id().to_owned()
        };
        assert_eq!(id("Order_7.a-1"), "Order_7.a-1");
        assert_eq!(id(&"a".repeat(128)), "a".repeat(128));
        for bad in ["", "a b", "ä", &"a".repeat(129)] {
            assert_eq!(id(bad).len(), 24, "{bad}");
        }
        assert_ne!(id(""), id(""));
    }

    #[test]
    fn the_trace_is_that_of_the_header() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{id}-00f067aa0ba902b7-01")), Some(id));
        assert_eq!(trace_id(&format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32))), None);
        assert_eq!(trace_id("00-xyz-00f067aa0ba902b7-01"), None);
        assert_eq!(trace_id(id), None);
    }
}

//! Who may be in flight: rows and body bytes, each with one limit. A permit gives its place back when it drops, and it
//! moves into the job, so that what is counted is what really occupies the server even when callers leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::throughput::Throughput;
use crate::metrics::Metrics;

/// No place: nothing was taken. Come back when what is in flight now should be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server is full; try again in {retry_after_ms} ms")]
pub struct Overloaded {
    /// Rows in flight ÷ measured throughput, in milliseconds.
    pub retry_after_ms: u64,
}

/// The two limits and what is taken of them.
pub(super) struct Admission {
    rows: Limit,
    bytes: Limit,
    throughput: Arc<Throughput>,
    metrics: Arc<Metrics>,
    emptied: Notify,
}

struct Limit {
    max: usize,
    used: AtomicUsize,
}

impl Limit {
    fn new(max: usize) -> Self {
        Self { max, used: AtomicUsize::new(0) }
    }

    fn take(&self, n: usize) -> bool {
        let sum = |used: usize| used.checked_add(n).filter(|&sum| sum <= self.max);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, sum).is_ok()
    }

    /// What is still taken afterwards.
    fn give_back(&self, n: usize) -> usize {
        self.used.fetch_sub(n, Ordering::AcqRel) - n
    }

    fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }
}

impl Admission {
    pub fn new(rows_max: usize, bytes_max: usize, throughput: Arc<Throughput>, metrics: Arc<Metrics>) -> Arc<Self> {
        let (rows, bytes) = (Limit::new(rows_max), Limit::new(bytes_max));
        Arc::new(Self { rows, bytes, throughput, metrics, emptied: Notify::new() })
    }

    /// All `n` bytes or none.
    pub fn reserve_bytes(self: &Arc<Self>, n: usize) -> Result<BytesPermit, Overloaded> {
        if !self.bytes.take(n) {
            return Err(self.overloaded());
        }
        self.metrics.in_flight_bytes.add(n as i64);
        Ok(BytesPermit { admission: self.clone(), bytes: n })
    }

    /// All `n` rows of a call or none.
    pub fn admit_rows(self: &Arc<Self>, n: usize) -> Result<RowPermits, Overloaded> {
        if !self.rows.take(n) {
            return Err(self.overloaded());
        }
        self.metrics.in_flight_requests.inc();
        Ok(RowPermits { call: Arc::new(Call { admission: self.clone() }), rows: n })
    }

    /// Returns once no row is in flight.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.rows.used() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn overloaded(&self) -> Overloaded {
        Overloaded { retry_after_ms: self.throughput.millis_for(self.rows.used()) }
    }
}

/// Body bytes taken from the limit, given back when dropped.
pub struct BytesPermit {
    admission: Arc<Admission>,
    bytes: usize,
}

impl BytesPermit {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back what a body turned out not to need.
    pub fn shrink_to(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        self.bytes -= excess;
        self.admission.bytes.give_back(excess);
        self.admission.metrics.in_flight_bytes.sub(excess as i64);
    }
}

impl Drop for BytesPermit {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// Places for the rows of one call, given back when dropped.
pub struct RowPermits {
    call: Arc<Call>,
    rows: usize,
}

/// A call in flight, for as long as any of its rows is.
struct Call {
    admission: Arc<Admission>,
}

impl RowPermits {
    /// Rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Moves one place (or none, when there is none left) into a permit of its own.
    pub(super) fn split_one(&mut self) -> Self {
        let rows = self.rows.min(1);
        self.rows -= rows;
        Self { call: self.call.clone(), rows }
    }
}

impl Drop for RowPermits {
    fn drop(&mut self) {
        let admission = &self.call.admission;
        if self.rows > 0 && admission.rows.give_back(self.rows) == 0 {
            admission.emptied.notify_waiters();
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.admission.metrics.in_flight_requests.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn admission(rows_max: usize, bytes_max: usize) -> Arc<Admission> {
        Admission::new(rows_max, bytes_max, Arc::new(Throughput::default()), Arc::new(Metrics::new(vec![])))
    }

    #[test]
    fn a_call_is_admitted_whole_or_refused_whole() {
        let admission = admission(10, 0);
        let mut seven = admission.admit_rows(7).expect("fits");
        assert!(admission.admit_rows(4).is_err());
        assert_eq!(admission.rows.used(), 7, "a refused call takes nothing");
        let three = admission.admit_rows(3).expect("fits exactly");
        let one = seven.split_one();
        drop(seven);
        assert_eq!(admission.rows.used(), 4);
        assert_eq!(admission.metrics.in_flight_requests.get(), 2, "a call is in flight until its last row is done");
        drop((one, three));
        assert_eq!((admission.rows.used(), admission.metrics.in_flight_requests.get()), (0, 0));
        assert!(admission.admit_rows(usize::MAX).is_err());
    }

    #[test]
    fn permits_are_never_made_by_splitting() {
        let admission = admission(1, 0);
        let mut one = admission.admit_rows(1).expect("fits");
        let (a, b) = (one.split_one(), one.split_one());
        assert_eq!((a.rows(), b.rows(), one.rows()), (1, 0, 0));
    }

    #[test]
    fn bytes_come_back_in_parts() {
        let admission = admission(0, 100);
        let mut permit = admission.reserve_bytes(100).expect("fits");
        assert!(admission.reserve_bytes(1).is_err());
        permit.shrink_to(30);
        permit.shrink_to(50);
        assert_eq!(permit.bytes(), 30, "a permit never grows");
        let rest = admission.reserve_bytes(70).expect("fits");
        drop((permit, rest));
        assert_eq!(admission.metrics.in_flight_bytes.get(), 0);
    }

    #[test]
    fn retry_after_is_what_is_in_flight_over_the_measured_throughput() {
        let admission = admission(20, 0);
        let _twenty = admission.admit_rows(20).expect("fits");
        admission.throughput.record(8, Duration::from_secs(2));
        assert_eq!(admission.admit_rows(1).err(), Some(Overloaded { retry_after_ms: 5000 }));
    }
}

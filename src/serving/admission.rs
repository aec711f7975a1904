//! Who may be in flight: rows and body bytes, each with one limit. A permit gives its place back when it drops, and it
//! moves into the job, so that what is counted is what really occupies the server even when callers leave.
//!
//! Rows are shared out by dynamic thresholds (Choudhury and Hahne, IEEE/ACM Transactions on Networking 1998): a task
//! may hold at most [`SHARE`] times the rows that are still free. A loud task thus never fills the server: a quiet one
//! finds a place, and the rows of k loud tasks, which the queue serves in turn, wait no longer than in a queue without
//! turns.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::throughput::Throughput;
use crate::metrics::Metrics;
use crate::registry::TaskName;

/// One loud task gets four fifths of all places, eight get 4/33 each.
const SHARE: usize = 4;

/// No place: nothing was taken. Come back when what is in flight now should be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server is full; try again in {retry_after_ms} ms")]
pub struct Overloaded {
    /// Rows in flight ÷ measured throughput, in milliseconds.
    pub retry_after_ms: u64,
}

/// The two limits and what is taken of them.
pub(super) struct Admission {
    rows_max: usize,
    rows: Mutex<Rows>,
    bytes_max: usize,
    bytes: AtomicUsize,
    throughput: Arc<Throughput>,
    metrics: Arc<Metrics>,
    emptied: Notify,
}

/// Rows in flight.
#[derive(Default)]
struct Rows {
    all: usize,
    /// Only tasks that have any.
    by_task: HashMap<TaskName, usize>,
}

/// How many rows of which task, each task once.
type Shares = HashMap<TaskName, usize>;

impl Rows {
    /// All of these or none.
    fn take(&mut self, asked: &Shares, max: usize) -> bool {
        let sum = asked.values().try_fold(self.all, |sum, &rows| sum.checked_add(rows));
        let Some(free) = sum.and_then(|sum| max.checked_sub(sum)) else { return false };
        let fits = |(task, &rows): (&TaskName, &usize)| {
            let held = self.by_task.get(task).copied().unwrap_or(0);
            held == 0 || held + rows <= free.saturating_mul(SHARE)
        };
        if !asked.iter().all(fits) {
            return false;
        }
        self.all = max - free;
        for (task, rows) in asked {
            *self.by_task.entry(task.clone()).or_default() += rows;
        }
        true
    }

    fn give_back(&mut self, task: &TaskName, rows: usize) {
        self.all -= rows;
        if let Some(held) = self.by_task.get_mut(task) {
            *held -= rows;
            if *held == 0 {
                self.by_task.remove(task);
            }
        }
    }
}

impl Admission {
    pub fn new(rows_max: usize, bytes_max: usize, throughput: Arc<Throughput>, metrics: Arc<Metrics>) -> Arc<Self> {
        let (rows, bytes, emptied) = (Mutex::default(), AtomicUsize::new(0), Notify::new());
        Arc::new(Self { rows_max, rows, bytes_max, bytes, throughput, metrics, emptied })
    }

    /// All `n` bytes or none.
    pub fn reserve_bytes(self: &Arc<Self>, n: usize) -> Result<BytesPermit, Overloaded> {
        let sum = |used: usize| used.checked_add(n).filter(|&sum| sum <= self.bytes_max);
        if self.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, sum).is_err() {
            return Err(self.overloaded());
        }
        self.metrics.in_flight_bytes.add(n as i64);
        Ok(BytesPermit { admission: self.clone(), bytes: n })
    }

    /// Places for a call with this many rows of each of these tasks, all or none. A task may be named repeatedly.
    pub fn admit_rows<'t>(
        self: &Arc<Self>,
        rows: usize,
        tasks: impl Iterator<Item = &'t TaskName>,
    ) -> Result<RowPermits, Overloaded> {
        let mut shares = Shares::new();
        for task in tasks.filter(|_| rows > 0) {
            let share = shares.entry(task.clone()).or_default();
            *share = share.saturating_add(rows);
        }
        if !self.rows().take(&shares, self.rows_max) {
            return Err(self.overloaded());
        }
        self.metrics.in_flight_requests.inc();
        Ok(RowPermits { call: Arc::new(Call { admission: self.clone() }), shares })
    }

    /// Returns once no row is in flight.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.rows().all == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn overloaded(&self) -> Overloaded {
        Overloaded { retry_after_ms: self.throughput.millis_for(self.rows().all) }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.admission.bytes.fetch_sub(excess, Ordering::AcqRel);
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
    shares: Shares,
}

/// A call in flight, for as long as any of its rows is.
struct Call {
    admission: Arc<Admission>,
}

impl RowPermits {
    /// Rows held.
    pub fn rows(&self) -> usize {
        self.shares.values().sum()
    }

    /// Moves one of the task's places (or none, when there is none left) into a permit of its own.
    pub(super) fn split_one(&mut self, task: &TaskName) -> Self {
        let left = self.shares.get_mut(task).filter(|left| **left > 0);
        let one = left.map(|left| {
            *left -= 1;
            (task.clone(), 1)
        });
        Self { call: self.call.clone(), shares: one.into_iter().collect() }
    }
}

impl Drop for RowPermits {
    fn drop(&mut self) {
        let admission = &self.call.admission;
        let mut rows = admission.rows();
        self.shares.iter().for_each(|(task, &n)| rows.give_back(task, n));
        if rows.all == 0 {
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

    fn task(name: &str) -> TaskName {
        TaskName::parse(name).unwrap()
    }

    fn admit(admission: &Arc<Admission>, rows: usize, name: &str) -> Result<RowPermits, Overloaded> {
        admission.admit_rows(rows, [&task(name)].into_iter())
    }

    #[test]
    fn a_call_is_admitted_whole_or_refused_whole() {
        let admission = admission(10, 0);
        let mut six = admission.admit_rows(3, [&task("a"), &task("b")].into_iter()).expect("fits");
        assert!(
            admission.admit_rows(1, [&task("a"), &task("c"), &task("d"), &task("e"), &task("f")].into_iter()).is_err()
        );
        assert_eq!(admission.rows().all, 6, "a refused call takes nothing");
        let four = admit(&admission, 4, "c").expect("fits exactly");
        let one = six.split_one(&task("b"));
        drop(six);
        assert_eq!(admission.rows().all, 5);
        assert_eq!(admission.metrics.in_flight_requests.get(), 2, "a call is in flight until its last row is done");
        drop((one, four));
        assert_eq!((admission.rows().all, admission.metrics.in_flight_requests.get()), (0, 0));
        assert!(admission.rows().by_task.is_empty(), "a task that is idle costs nothing");
        assert!(admit(&admission, usize::MAX, "a").is_err());
        assert!(admission.admit_rows(usize::MAX, [&task("a"), &task("a")].into_iter()).is_err());
        assert!(admit(&admission, 10, "a").is_ok(), "alone, one call may have every place");
    }

    #[test]
    fn permits_are_never_made_by_splitting() {
        let admission = admission(1, 0);
        let mut one = admit(&admission, 1, "a").expect("fits");
        let (other, a, b) = (one.split_one(&task("b")), one.split_one(&task("a")), one.split_one(&task("a")));
        assert_eq!((other.rows(), a.rows(), b.rows(), one.rows()), (0, 1, 0, 0));
    }

    #[test]
    fn a_loud_task_leaves_places_for_a_quiet_one() {
        let admission = admission(100, 0);
        let loud: Vec<RowPermits> = std::iter::from_fn(|| admit(&admission, 1, "loud").ok()).collect();
        assert_eq!(loud.len(), 80);
        let quiet: Vec<RowPermits> = std::iter::from_fn(|| admit(&admission, 1, "quiet").ok()).collect();
        assert!(quiet.len() >= 15, "{}", quiet.len());
        assert!(admit(&admission, 1, "loud").is_err());
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
        let _twenty = admit(&admission, 20, "a").expect("fits");
        admission.throughput.record(8, Duration::from_secs(2));
        assert_eq!(admit(&admission, 1, "b").err(), Some(Overloaded { retry_after_ms: 5000 }));
    }
}

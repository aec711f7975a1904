//! The part of a row that is answered: who waits, which place it holds, what is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{RowError, RowPermits, Timings};
use crate::metrics::{Metrics, Outcome};
use crate::registry::TaskName;

/// What a caller receives for one row.
pub(super) struct Reply {
    /// The row's number within its call.
    pub row: usize,
    pub result: Result<Vec<f32>, RowError>,
    pub timings: Timings,
    pub batch_rows: usize,
}

/// Whose row it is; a probe has no task and no limit of its own.
pub(super) struct Holder {
    pub task: TaskName,
    /// Given back with the rest.
    pub _permit: RowPermits,
}

/// Travels with its row through every thread. Answering consumes it; dropping it unanswered means that nobody waits.
/// Either way the row is counted once and its place is given back.
pub(super) struct Ticket {
    row: usize,
    replies: mpsc::UnboundedSender<Reply>,
    deadline: Option<Instant>,
    holder: Option<Holder>,
    metrics: Arc<Metrics>,
    waiting_since: Instant,
    timings: Timings,
}

impl Ticket {
    /// Rows of a call or a probe, to be answered through `replies`, each at most once.
    pub fn new(
        row: usize,
        replies: mpsc::UnboundedSender<Reply>,
        deadline: Option<Instant>,
        holder: Option<Holder>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (waiting_since, timings) = (Instant::now(), Timings::default());
        Self { row, replies, deadline, holder, metrics, waiting_since, timings }
    }

    #[cfg(test)]
    pub fn row(&self) -> usize {
        self.row
    }

    pub fn task(&self) -> Option<&TaskName> {
        self.holder.as_ref().map(|holder| &holder.task)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub fn is_abandoned(&self) -> bool {
        self.replies.is_closed()
    }

    /// It waited until `now` and is being decoded or run.
    pub fn waited_until(&mut self, now: Instant) {
        self.timings.queue += now.saturating_duration_since(self.waiting_since);
    }

    /// Its picture took this long, and it waits again.
    pub fn decoded(&mut self, took: Duration, now: Instant) {
        self.timings.decode = took;
        self.waiting_since = now;
    }

    /// Its batch ran this long.
    pub fn ran(&mut self, took: Duration) {
        self.timings.inference = took;
        self.metrics.stage("queue", self.timings.queue.as_secs_f64());
        self.metrics.stage("inference", took.as_secs_f64());
    }

    /// The row's end. Its place is free before the caller can know, so that a caller of one row at a time is never
    /// refused because of its own last row.
    pub fn answer(mut self, result: Result<Vec<f32>, RowError>, batch_rows: usize) {
        self.count(result.as_ref().err().map_or(Outcome::Ok, RowError::outcome));
        let reply = Reply { row: self.row, result, timings: self.timings, batch_rows };
        // A row that ran although its caller has left meanwhile counts as what became of it.
        let _ = self.replies.send(reply);
    }

    fn count(&mut self, outcome: Outcome) {
        if let Some(holder) = self.holder.take() {
            self.metrics.row(holder.task.as_str(), outcome);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.count(Outcome::Cancelled);
    }
}

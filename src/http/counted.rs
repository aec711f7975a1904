//! Counts a classify call once for every task that it asks for, also when its client leaves before the answer.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::App;
use super::error::{ApiError, ErrorType};
use super::trace::Trace;
use super::wire::{Item, ItemOutcome};
use crate::metrics::Outcome;
use crate::registry::{TaskName, Version};

/// A call that is being answered; counted when it drops.
pub struct Counted {
    app: App,
    trace: Trace,
    outcomes: Vec<(TaskName, Outcome)>,
}

impl Counted {
    /// Cancelled until something else becomes of it.
    pub fn begin(app: &App, trace: &Trace, versions: &[Arc<Version>]) -> Self {
        let mut tasks: Vec<_> = versions.iter().map(|version| version.task.clone()).collect();
        tasks.sort();
        tasks.dedup();
        let outcomes = tasks.into_iter().map(|task| (task, Outcome::Cancelled)).collect();
        Self { app: app.clone(), trace: trace.clone(), outcomes }
    }

    /// Each task with its own items: ok if any is.
    pub fn answered(&mut self, items: &[Item]) {
        for (task, outcome) in &mut self.outcomes {
            let mut own = items.iter().filter(|item| item.task == task.as_str()).map(|item| match &item.outcome {
                ItemOutcome::Answer { .. } => Outcome::Ok,
                ItemOutcome::Failed(error) => outcome_of(error.error_type),
            });
            let first = own.next().unwrap_or(Outcome::Error);
            *outcome = if own.any(|other| other == Outcome::Ok) { Outcome::Ok } else { first };
        }
    }

    /// All tasks alike. Rows that found no place are counted here, because nobody below knows their tasks.
    pub fn refused(&mut self, error: &ApiError) {
        let all = outcome_of(error.kind);
        self.outcomes.iter_mut().for_each(|(_, outcome)| *outcome = all);
        if all == Outcome::Overloaded {
            let pictures = (self.trace.facts().rows / self.outcomes.len().max(1)).max(1);
            for (task, _) in &self.outcomes {
                (0..pictures).for_each(|_| self.app.metrics.row(task.as_str(), Outcome::Overloaded));
            }
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let seconds = self.trace.started().elapsed().as_secs_f64();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        for (task, outcome) in &self.outcomes {
            self.app.metrics.request(task.as_str(), *outcome, seconds, now);
        }
    }
}

fn outcome_of(kind: ErrorType) -> Outcome {
    match kind {
        ErrorType::Overloaded => Outcome::Overloaded,
        ErrorType::DeadlineExceeded => Outcome::Deadline,
        kind if kind.status().is_client_error() => Outcome::Invalid,
        _ => Outcome::Error,
    }
}

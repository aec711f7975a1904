//! Rows to groups: which rows run together, and how their time is shared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::RowError;
use super::queue::Entry;
use super::ticket::Ticket;
use super::waiting::Waiter;
use crate::engine::{Group, Lens};
use crate::image::Pixels;
use crate::metrics::Metrics;

/// A decoded row that waits for the engine. It carries its version's lens, so that nothing that is activated
/// meanwhile can change its answer.
pub(super) struct Job {
    pub lens: Lens,
    pub pixels: Pixels,
    pub ticket: Ticket,
}

impl Entry for Job {
    fn deadline(&self) -> Option<Instant> {
        self.ticket.deadline()
    }

    fn is_abandoned(&self) -> bool {
        self.ticket.is_abandoned()
    }
}

impl Waiter for Job {
    fn fail(self, why: &RowError) {
        self.ticket.answer(Err(why.clone()), 0);
    }
}

/// What the engine needs of a batch, apart from the tickets, which stay where the watchdog can reach them.
#[derive(Default)]
pub(super) struct Batch {
    groups: Vec<SameLens>,
}

/// Rows of one lens and one picture size.
struct SameLens {
    lens: Lens,
    rows: Vec<Pixels>,
}

impl SameLens {
    fn takes(&self, lens: &Lens, pixels: &Pixels) -> bool {
        Arc::ptr_eq(&self.lens.adapter, &lens.adapter)
            && self.lens.form == lens.form
            && self.rows[0].size() == pixels.size()
    }
}

impl Batch {
    /// Splits jobs into groups; the tickets come in the order of the groups' rows.
    pub fn of(jobs: Vec<Job>) -> (Self, Vec<Ticket>) {
        let mut groups: Vec<SameLens> = vec![];
        let mut tickets: Vec<Vec<Ticket>> = vec![];
        for Job { lens, pixels, ticket } in jobs {
            if let Some(at) = groups.iter().position(|group| group.takes(&lens, &pixels)) {
                groups[at].rows.push(pixels);
                tickets[at].push(ticket);
            } else {
                groups.push(SameLens { lens, rows: vec![pixels] });
                tickets.push(vec![ticket]);
            }
        }
        (Self { groups }, tickets.into_iter().flatten().collect())
    }

    pub fn groups(&self) -> Vec<Group<'_>> {
        self.groups.iter().map(|group| Group { lens: &group.lens, rows: group.rows.iter().collect() }).collect()
    }

    /// Each row's share of the batch's time, by its number of pixels, which is what its number of tokens follows.
    pub fn shares(&self) -> Vec<f64> {
        let pixels = self.groups.iter().flat_map(|group| &group.rows).map(|row| {
            let (height, width) = row.size();
            (height * width) as f64
        });
        let pixels: Vec<f64> = pixels.collect();
        let sum: f64 = pixels.iter().sum();
        pixels.into_iter().map(|n| n / sum).collect()
    }

    /// Rows of all groups.
    pub fn rows(&self) -> usize {
        self.groups.iter().map(|group| group.rows.len()).sum()
    }

    /// Counts a batch that came back from the engine after this long, whatever came of it.
    pub fn count(&self, tickets: &[Ticket], took: Duration, metrics: &Metrics) {
        metrics.batch_rows.observe(tickets.len() as f64);
        metrics.batch_groups.observe(self.groups.len() as f64);
        for (ticket, share) in tickets.iter().zip(self.shares()) {
            metrics.engine_time(ticket.task().map(|task| task.as_str()), share * took.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving::tests::fake::{picture, version};

    fn job(lens: &Lens, row: usize, side: usize) -> Job {
        let (replies, _) = tokio::sync::mpsc::unbounded_channel();
        let ticket = Ticket::new(row, replies, None, None, Arc::new(Metrics::new(vec![])));
        Job { lens: lens.clone(), pixels: picture(row as u8, side), ticket }
    }

    #[test]
    fn groups_are_of_one_adapter_one_form_and_one_size() {
        let (a, b) = (version("a", 1.0, 2).lens.clone(), version("b", 2.0, 2).lens.clone());
        let merged = Lens { form: crate::engine::Form::Merged, ..a.clone() };
        let jobs = vec![job(&a, 0, 2), job(&b, 1, 2), job(&a, 2, 4), job(&merged, 3, 2), job(&a, 4, 2)];
        let (batch, tickets) = Batch::of(jobs);
        let rows: Vec<usize> = batch.groups().iter().map(|group| group.rows.len()).collect();
        assert_eq!(rows, [2, 1, 1, 1]);
        let order: Vec<usize> = tickets.iter().map(Ticket::row).collect();
        assert_eq!(order, [0, 4, 1, 2, 3], "tickets follow their rows");
        assert_eq!(batch.shares(), [0.125, 0.125, 0.125, 0.5, 0.125], "four times the pixels, four times the share");
    }
}

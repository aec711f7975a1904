//! The caller's side of a call: sends its pictures, collects its rows, and cleans up when the caller leaves.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::decode::Picture;
use super::ticket::{Holder, Reply, Ticket};
use super::{Request, Row, RowError, Serving, Timings};

/// A call whose rows are on their way. Dropping it with rows missing means that the caller has left.
pub(super) struct Call<'a> {
    serving: &'a Serving,
    replies: mpsc::UnboundedReceiver<Reply>,
    deadline: Option<Instant>,
    versions: usize,
    rows: Vec<Option<Row>>,
    missing: usize,
}

impl<'a> Call<'a> {
    /// Sends every picture to be decoded.
    pub fn begin(serving: &'a Serving, request: Request) -> Self {
        let Request { pictures, versions, deadline, mut permits, bytes_permit } = request;
        let (sender, replies) = mpsc::unbounded_channel();
        let bytes_permit = Arc::new(bytes_permit);
        let missing = pictures.len() * versions.len();
        let call = Self { serving, replies, deadline, versions: versions.len(), rows: vec![None; missing], missing };
        if versions.is_empty() {
            return call;
        }
        for (picture, bytes) in pictures.into_iter().enumerate() {
            let rows = versions.iter().enumerate().map(|(at, version)| {
                let holder = Holder { task: version.task.clone(), _permit: permits.split_one(&version.task) };
                let (row, metrics) = (picture * versions.len() + at, serving.room.metrics.clone());
                (version.clone(), Ticket::new(row, sender.clone(), deadline, Some(holder), metrics))
            });
            let picture = Picture { bytes, bytes_permit: bytes_permit.clone(), rows: rows.collect() };
            serving.pictures.push(picture.lane(), picture);
        }
        call
    }

    /// Waits for the rows. At the deadline those that do not run yet are told; those that run are waited for, so that
    /// a row is never called late although it ran.
    pub async fn finish(mut self) -> Vec<Row> {
        if let Some(deadline) = self.deadline
            && tokio::time::timeout_at(deadline.into(), self.receive()).await.is_err()
        {
            self.serving.sweep();
        }
        self.receive().await;
        let versions = self.versions;
        let rows = std::mem::take(&mut self.rows).into_iter().enumerate();
        rows.map(|(at, row)| row.unwrap_or_else(|| lost(at, versions))).collect()
    }

    async fn receive(&mut self) {
        while self.missing > 0 {
            let Some(reply) = self.replies.recv().await else { return };
            self.keep(reply);
        }
    }

    fn keep(&mut self, reply: Reply) {
        let Reply { row: at, result, timings, batch_rows } = reply;
        let row = Row { result, timings, batch_rows, ..lost(at, self.versions) };
        self.rows[at] = Some(row);
        self.missing -= 1;
    }
}

/// A row that no thread answered, which is a mistake of ours.
fn lost(at: usize, versions: usize) -> Row {
    let result = Err(RowError::EngineFailed("the row was lost".into()));
    Row { picture: at / versions, version: at % versions, result, timings: Timings::default(), batch_rows: 0 }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.missing > 0 {
            self.replies.close();
            self.serving.sweep();
        }
    }
}

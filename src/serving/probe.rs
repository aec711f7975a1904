//! Probes run through the queue like any row, so that uploads and requests take turns.

use tokio::sync::mpsc;

use super::batch::Job;
use super::ticket::Ticket;
use super::waiting::Lane;
use super::{RowError, Serving};
use crate::engine::Lens;
use crate::image::Pixels;
use crate::registry::{ProbeFailure, Prober};

impl Prober for Serving {
    /// Blocks: never called on a thread of the async runtime. A row that is not finite comes back as NaN in every
    /// class, which no probe accepts.
    fn logits(&self, lens: &Lens, pictures: &[Pixels]) -> Result<Vec<Vec<f32>>, ProbeFailure> {
        let side = lens.adapter.preprocess.final_size();
        if let Some((height, width)) = pictures.iter().map(Pixels::size).find(|&size| size != (side, side)) {
            return Err(ProbeFailure::Engine(format!(
                "its pictures are {height} x {width} and `preprocess` makes {side} x {side}; write the probe again"
            )));
        }
        let (sender, mut replies) = mpsc::unbounded_channel();
        for (row, pixels) in pictures.iter().enumerate() {
            let ticket = Ticket::new(row, sender.clone(), None, None, self.room.metrics.clone());
            self.room.queue.push(Lane::Probe, Job { lens: lens.clone(), pixels: pixels.clone(), ticket });
        }
        drop(sender);
        let mut logits = vec![vec![]; pictures.len()];
        for _ in pictures {
            let lost = || ProbeFailure::Engine("the row was lost".into());
            let reply = replies.blocking_recv().ok_or_else(lost)?;
            logits[reply.row] = match reply.result {
                Ok(logits) => logits,
                Err(RowError::NonFinite) => vec![f32::NAN; lens.adapter.labels.len()],
                Err(error) => return Err(ProbeFailure::Engine(error.to_string())),
            };
        }
        Ok(logits)
    }
}

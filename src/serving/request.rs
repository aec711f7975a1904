use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{BytesPermit, RowPermits};
use crate::image::ImageError;
use crate::metrics::Outcome;
use crate::registry::Version;

/// An admitted call: every picture goes through every version.
pub struct Request {
    /// Picture files as they arrived.
    pub pictures: Vec<Bytes>,
    /// Versions that answer; each row carries its own to the end, whatever is activated meanwhile.
    pub versions: Vec<Arc<Version>>,
    /// Rows that have not begun to run by then are answered with [`RowError::Deadline`] and never run.
    pub deadline: Option<Instant>,
    /// One per row: `pictures.len() * versions.len()`.
    pub permits: RowPermits,
    /// The bodies' bytes; given back when the pictures are decoded.
    pub bytes_permit: BytesPermit,
}

/// What became of one picture under one version.
#[derive(Clone, Debug)]
pub struct Row {
    /// Index in [`Request::pictures`].
    pub picture: usize,
    /// Index in [`Request::versions`].
    pub version: usize,
    /// Logits `[classes]`, before the temperature; all finite.
    pub result: Result<Vec<f32>, RowError>,
    /// Where the time went.
    pub timings: Timings,
    /// Rows of the batch that it ran in; 0 when it never ran.
    pub batch_rows: usize,
}

/// Times of one row; zero for what it never reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Decoding and preprocessing of the row's picture.
    pub decode: Duration,
    /// Waiting for a decode thread and for the engine.
    pub queue: Duration,
    /// The engine's run of the row's batch.
    pub inference: Duration,
}

/// Why a row has no logits.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RowError {
    /// The bytes are no picture, or one that is refused.
    #[error(transparent)]
    Picture(#[from] ImageError),
    /// The decoder failed in a way that it should not have.
    #[error("the picture could not be decoded: the decoder failed; please report it with the picture")]
    DecoderFailed,
    /// Too late: the row never ran.
    #[error("the deadline passed before the picture's turn; allow more time or send fewer requests at once")]
    Deadline,
    /// The adapter's weights are finite and its logits are not.
    #[error("the task's adapter gives values that are not finite for this picture; upload a corrected version")]
    NonFinite,
    /// The engine failed, is stuck, or is gone.
    #[error("the engine failed: {0}; try again, and see the server's log")]
    EngineFailed(Arc<str>),
    /// The server ends.
    #[error("the server is shutting down; send the request again to another one")]
    ShuttingDown,
}

impl RowError {
    /// How such a row is counted.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Picture(_) => Outcome::Invalid,
            Self::Deadline => Outcome::Deadline,
            Self::DecoderFailed | Self::NonFinite | Self::EngineFailed(_) | Self::ShuttingDown => Outcome::Error,
        }
    }
}

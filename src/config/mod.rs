//! Checked settings of the server, by concern, units in their names.
//!
//! Flags and variables come in as [`Given`] values, typed but possibly bad; [`Faults`] gathers every bad one, so that
//! all are reported at once, before anything is opened. Nothing here reads the environment: the command line does.
#![forbid(unsafe_code)]

mod given;
mod keys;
mod print;

pub use given::{ConfigError, Fault, Faults, Given};
pub use keys::{KeyFileError, Secret, read_keys};
pub use print::{Setting, Source, listing};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::engine::{EngineKind, EngineSettings};
use crate::registry::Limits;
use crate::serving;
use crate::word::word;

/// Everything `manylens serve` needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The backbone and what computes it.
    pub model: Model,
    /// Versions on disk.
    pub store: Store,
    /// Listeners, connections and their timeouts.
    pub network: Network,
    /// Who may call.
    pub keys: Keys,
    /// What one request may ask for.
    pub requests: Requests,
    /// Queue, batches and decoding.
    pub serving: serving::Settings,
    /// Logs and metrics.
    pub telemetry: Telemetry,
    /// The end.
    pub shutdown: Shutdown,
}

/// The backbone and what computes it.
#[derive(Clone, Debug)]
pub struct Model {
    /// Folder of the checkpoint.
    pub backbone: PathBuf,
    /// Attention heads, where the folder does not say.
    pub heads: Option<usize>,
    /// LayerNorm epsilon instead of the folder's.
    pub layer_norm_eps: Option<f64>,
    /// Which engine.
    pub engine: EngineKind,
    /// What it needs to know.
    pub engine_settings: EngineSettings,
    /// Tokens of the largest picture that an adapter may ask for.
    pub tokens_max: usize,
}

/// Versions on disk.
#[derive(Clone, Debug)]
pub struct Store {
    /// Where they lie.
    pub data_dir: PathBuf,
    /// Adapter files `<task>.safetensors` that become tasks at start unless the store has them.
    pub adapters: Option<PathBuf>,
    /// What the folder may hold.
    pub limits: Limits,
}

/// Listeners, connections and their timeouts.
#[derive(Clone, Debug)]
pub struct Network {
    /// Address of the API.
    pub listen: SocketAddr,
    /// Address of management and `/metrics`, when they have a listener of their own.
    pub admin_listen: Option<SocketAddr>,
    /// Open connections per listener; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// For a connection that says nothing between requests.
    pub idle_timeout: Duration,
    /// From the first byte of a request's head to its last.
    pub header_timeout: Duration,
    /// For a whole request body.
    pub body_timeout: Duration,
    /// For a client that takes nothing of a response that is ready.
    pub write_timeout: Duration,
}

/// Who may call. Management needs an admin key, or a loopback caller when there is none.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// One key a line.
    pub admin_file: Option<PathBuf>,
    /// From the environment.
    pub admin: Option<Secret>,
    /// One key a line.
    pub inference_file: Option<PathBuf>,
    /// From the environment.
    pub inference: Option<Secret>,
}

/// What one request may ask for.
#[derive(Clone, Debug)]
pub struct Requests {
    /// Bytes of a classify body.
    pub body_bytes_max: usize,
    /// Pictures × tasks of one call.
    pub rows_max: usize,
    /// Cap of `timeout_ms`.
    pub timeout_max: Duration,
}

/// Logs and metrics.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// The form of a log line.
    pub log_format: LogFormat,
    /// The least level that is logged.
    pub log_level: LogLevel,
    /// Which requests get a line.
    pub access_log: AccessLog,
    /// Tasks that get a latency histogram of their own.
    pub task_histograms: Vec<String>,
}

/// The end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// From SIGTERM to the closed listener; `/readyz` answers 503 meanwhile.
    pub delay: Duration,
    /// From the closed listener to the end of the last request.
    pub timeout: Duration,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// The least level that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures of the server.
    Error,
    /// And what an operator should look at.
    Warn,
    /// And what happens.
    #[default]
    Info,
    /// And how.
    Debug,
}

/// Which requests get a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// Every one.
    #[default]
    All,
    /// Those answered with 400 or above.
    Errors,
    /// None.
    Off,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        word(text, &[("text", Self::Text), ("json", Self::Json)])
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        word(text, &[("error", Self::Error), ("warn", Self::Warn), ("info", Self::Info), ("debug", Self::Debug)])
    }
}

impl FromStr for AccessLog {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        word(text, &[("all", Self::All), ("errors", Self::Errors), ("off", Self::Off)])
    }
}

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::{AccessLog, Given, LogFormat, LogLevel};
use crate::engine::EngineKind;
use crate::engine::Precision;
use crate::engine::onnx::{BatchForm, Provider, ProviderOptions};
use crate::serving::BatchPlan;

/// Serve classifiers over HTTP.
///
/// Keys come from files or from MANYLENS_ADMIN_KEY and MANYLENS_INFERENCE_KEY, never from a flag.
#[derive(Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
    #[command(flatten)]
    pub keys: KeyArgs,
    #[command(flatten)]
    pub requests: RequestArgs,
    #[command(flatten)]
    pub serving: ServingArgs,
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    #[command(flatten)]
    pub shutdown: ShutdownArgs,
    /// Print value and source of every setting, secrets masked, and stop
    #[arg(long, help_heading = "Options")]
    pub print_config: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Backbone and engine")]
pub struct ModelArgs {
    /// Folder with the frozen ViT: config.json and model.safetensors, or a Google .npz
    #[arg(long, value_name = "DIR")]
    pub backbone: Option<Given<PathBuf>>,
    /// Attention heads, where the folder does not say
    #[arg(long, value_name = "N")]
    pub heads: Option<Given<usize>>,
    /// LayerNorm epsilon instead of the folder's: another epsilon is another backbone
    #[arg(long, value_name = "X")]
    pub layer_norm_eps: Option<Given<f64>>,
    /// native (our own CPU kernels), onnx (ONNX Runtime), or reference (slow, for tests)
    #[arg(long, value_name = "ENGINE", default_value = "native")]
    pub engine: Given<EngineKind>,
    /// Of matrices: f32, bf16, or f16 (onnx only) [default: native the fastest kernel's own, onnx f32]
    #[arg(long, value_name = "PRECISION")]
    pub precision: Option<Given<Precision>>,
    /// Of the native engine, by its name [default: the fastest that this machine has]
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<Given<String>>,
    /// Threads of the engine [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<Given<usize>>,
    /// libonnxruntime, the file or its folder [default: the newest beside the program or in cache/onnxruntime]
    #[arg(long, value_name = "PATH")]
    pub onnxruntime_lib: Option<Given<PathBuf>>,
    /// Folder for files that can be made again: the engine's graphs and weights, downloaded libraries
    #[arg(long, value_name = "DIR", default_value = "cache")]
    pub cache_dir: Given<PathBuf>,
    #[command(flatten)]
    pub onnx: OnnxArgs,
    /// Bytes that merged adapters may keep in all; 0 refuses merging
    #[arg(long, value_name = "BYTES", default_value = "4294967296")]
    pub merge_bytes_max: Given<usize>,
    /// Tokens of the largest picture that an adapter may ask for
    #[arg(long, value_name = "N", default_value = "2048")]
    pub max_tokens: Given<usize>,
}

#[derive(Args)]
pub struct OnnxArgs {
    /// Who executes the onnx engine's graphs: cpu, cuda or tensorrt
    #[arg(long, value_name = "PROVIDER", default_value = "cpu")]
    pub provider: Given<Provider>,
    /// Which of several devices, from 0
    #[arg(long, value_name = "N", default_value = "0")]
    pub device: Given<u32>,
    /// How the onnx engine runs a batch of many tasks: group (one run for each), mixed (one run, twice the products), or
    /// auto (measured at the start) [default: group on the processor, else auto]
    #[arg(long, value_name = "FORM")]
    pub onnx_form: Option<Given<BatchForm>>,
    /// Adapters that the onnx engine keeps resident for mixed runs
    #[arg(long, value_name = "N", default_value = "256")]
    pub onnx_adapter_slots: Given<usize>,
    /// Whether the onnx engine fills runs up to 1, 2, 4 … 128 pictures [default: not on the processor]
    #[arg(long, value_name = "BOOL")]
    pub onnx_pad_batches: Option<Given<bool>>,
    /// Whether products of f32 on a device may round their factors to 10 bits of fraction (TF32)
    #[arg(long, value_name = "BOOL", default_value = "false")]
    pub onnx_tf32: Given<bool>,
    /// Whether a device captures runs of one shape once and replays them (CUDA graphs)
    #[arg(long, value_name = "BOOL", default_value = "false")]
    pub onnx_cuda_graphs: Given<bool>,
    /// Options of ONNX Runtime's own for the provider, by its names, as KEY=VALUE;KEY=VALUE
    #[arg(long, value_name = "OPTIONS")]
    pub onnx_provider_options: Option<Given<ProviderOptions>>,
}

#[derive(Args)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// Folder of tasks and versions; made when it is not there
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<Given<PathBuf>>,
    /// Folder of adapter files <task>.safetensors that become tasks at start, unless the store has them
    #[arg(long, value_name = "DIR")]
    pub adapters: Option<Given<PathBuf>>,
    /// Tasks in all
    #[arg(long, value_name = "N", default_value = "4096")]
    pub tasks_max: Given<usize>,
    /// Bytes of one adapter file
    #[arg(long, value_name = "BYTES", default_value = "67108864")]
    pub adapter_bytes_max: Given<u64>,
    /// Versions kept per task; the oldest go, never the active one
    #[arg(long, value_name = "N", default_value = "20")]
    pub versions_per_task_max: Given<usize>,
    /// Bytes that an upload must leave free on the disk
    #[arg(long, value_name = "BYTES", default_value = "268435456")]
    pub free_disk_bytes_min: Given<u64>,
    /// Bytes of versions kept in memory that are not active
    #[arg(long, value_name = "BYTES", default_value = "268435456")]
    pub cached_bytes_max: Given<usize>,
}

#[derive(Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Address of the API
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: Given<SocketAddr>,
    /// Moves management and /metrics to a listener of their own
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<Given<SocketAddr>>,
    /// Open connections per listener; more wait in the kernel's backlog
    #[arg(long, value_name = "N", default_value = "1024")]
    pub connections_max: Given<usize>,
    /// For a connection that says nothing between requests; longer than any load balancer's own
    #[arg(long, value_name = "MS", default_value = "75000")]
    pub idle_timeout_ms: Given<u64>,
    /// From the first byte of a request's head to its last
    #[arg(long, value_name = "MS", default_value = "15000")]
    pub header_timeout_ms: Given<u64>,
    /// For a whole request body
    #[arg(long, value_name = "MS", default_value = "30000")]
    pub body_timeout_ms: Given<u64>,
    /// For a client that takes nothing of a response that is ready
    #[arg(long, value_name = "MS", default_value = "30000")]
    pub write_timeout_ms: Given<u64>,
}

#[derive(Args)]
#[command(next_help_heading = "Keys")]
pub struct KeyArgs {
    /// Keys for management, one a line, read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub admin_key_file: Option<Given<PathBuf>>,
    /// Keys for classification, one a line, read again on SIGHUP; without one everybody may classify
    #[arg(long, value_name = "FILE")]
    pub inference_key_file: Option<Given<PathBuf>>,
}

#[derive(Args)]
#[command(next_help_heading = "Limits of one request")]
pub struct RequestArgs {
    /// Bytes of a classify body
    #[arg(long, value_name = "BYTES", default_value = "20971520")]
    pub body_bytes_max: Given<usize>,
    /// Pictures x tasks of one call
    #[arg(long, value_name = "N", default_value = "64")]
    pub max_rows_per_request: Given<usize>,
    /// Longer side of a picture in pixels, before resizing
    #[arg(long, value_name = "N", default_value = "16384")]
    pub picture_side_max: Given<usize>,
    /// Width times height of a picture, before resizing
    #[arg(long, value_name = "N", default_value = "50000000")]
    pub picture_pixels_max: Given<usize>,
    /// Memory while a picture is decoded
    #[arg(long, value_name = "BYTES", default_value = "268435456")]
    pub decoded_bytes_max: Given<usize>,
    /// Scans of a progressive JPEG
    #[arg(long, value_name = "N", default_value = "100")]
    pub jpeg_scans_max: Given<usize>,
    /// Cap of what a client may ask for with timeout_ms
    #[arg(long, value_name = "MS", default_value = "60000")]
    pub timeout_ms_max: Given<u64>,
}

#[derive(Args)]
#[command(next_help_heading = "Queue and batches")]
pub struct ServingArgs {
    /// Rows admitted and not yet answered; more is 429
    #[arg(long, value_name = "N", default_value = "256")]
    pub queue_rows_max: Given<usize>,
    /// Body bytes of all requests in flight; more is 429
    #[arg(long, value_name = "BYTES", default_value = "268435456")]
    pub in_flight_bytes_max: Given<usize>,
    /// Rows of one batch
    #[arg(long, value_name = "N", default_value = "8")]
    pub batch_rows_max: Given<usize>,
    /// Rows of a batch: full (all that wait), or measured (one if that loses no time, else all)
    #[arg(long, value_name = "PLAN", default_value = "measured")]
    pub batch_plan: Given<BatchPlan>,
    /// How long a free engine waits for more rows; with it batches are full
    #[arg(long, value_name = "US", default_value = "0")]
    pub max_batch_delay_us: Given<u64>,
    /// Threads that decode and resize [default: all cores]
    #[arg(long, value_name = "N")]
    pub decode_threads: Option<Given<usize>>,
    /// Rows wait and no batch ends for this long: the engine is stuck
    #[arg(long, value_name = "MS", default_value = "30000")]
    pub engine_stall_timeout_ms: Given<u64>,
    /// Batches in a row that may fail before the engine counts as broken
    #[arg(long, value_name = "N", default_value = "8")]
    pub engine_failures_max: Given<u32>,
}

#[derive(Args)]
#[command(next_help_heading = "Logs and metrics")]
pub struct TelemetryArgs {
    /// text or json
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub log_format: Given<LogFormat>,
    /// error, warn, info or debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: Given<LogLevel>,
    /// all, errors or off
    #[arg(long, value_name = "WHICH", default_value = "all")]
    pub access_log: Given<AccessLog>,
    /// Tasks that get a latency histogram of their own
    #[arg(long, value_name = "TASK,…", value_delimiter = ',')]
    pub metrics_task_histograms: Vec<String>,
}

#[derive(Args)]
#[command(next_help_heading = "Shutdown")]
pub struct ShutdownArgs {
    /// From SIGTERM to the closed listener; /readyz answers 503 meanwhile
    #[arg(long, value_name = "MS", default_value = "5000")]
    pub shutdown_delay_ms: Given<u64>,
    /// From the closed listener to the end of the last request
    #[arg(long, value_name = "MS", default_value = "20000")]
    pub shutdown_timeout_ms: Given<u64>,
}

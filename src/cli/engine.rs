use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::engine::native::Precision;
use crate::engine::{EngineKind, EngineSettings};

/// What computes, and with how much.
#[derive(Args, Clone, Debug)]
pub struct EngineArgs {
    /// What computes
    #[arg(long, default_value = EngineKind::ALL[0].name(), value_parser = kinds())]
    pub engine: EngineKind,

    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// With how much an engine computes.
#[derive(Args, Clone, Debug)]
pub struct ComputeArgs {
    /// Precision of the native engine's matrix products [default: the fastest kernel's]
    #[arg(long, value_parser = precisions())]
    pub precision: Option<Precision>,

    /// A kernel of the native engine by its name [default: the fastest]
    #[arg(long)]
    pub kernel: Option<String>,

    /// Threads that compute [default: all cores]
    #[arg(long)]
    pub threads: Option<usize>,

    /// Folder for files that can be made again: the engine's graphs and weights, downloaded libraries
    #[arg(long, default_value = "cache")]
    pub cache_dir: PathBuf,

    /// ONNX Runtime's library, a file or its folder [default: the newest beside the program or in cache/onnxruntime]
    #[arg(long)]
    pub onnxruntime_lib: Option<PathBuf>,

    /// Bytes that merged adapters may keep in memory, all together
    #[arg(long, default_value_t = 4 << 30)]
    pub merge_bytes_max: usize,
}

impl ComputeArgs {
    /// The engine's own view of them.
    pub fn settings(&self) -> EngineSettings {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        EngineSettings {
            onnxruntime_lib: self.onnxruntime_lib.clone(),
            cache_dir: self.cache_dir.clone(),
            precision: self.precision,
            kernel: self.kernel.clone(),
            threads: self.threads.unwrap_or_else(cores).max(1),
            merge_bytes_max: self.merge_bytes_max,
        }
    }
}

fn kinds() -> impl TypedValueParser<Value = EngineKind> {
    PossibleValuesParser::new(EngineKind::ALL.map(EngineKind::name)).try_map(|name| name.parse::<EngineKind>())
}

fn precisions() -> impl TypedValueParser<Value = Precision> {
    let names = [Precision::F32, Precision::Bf16].map(Precision::as_str);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Precision>())
}

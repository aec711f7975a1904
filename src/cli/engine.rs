use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args};

use crate::engine::onnx::{BatchForm, OnnxSettings, Provider, ProviderOptions};
use crate::engine::{EngineKind, EngineSettings, Precision};

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
    /// Precision of matrix products: f16 is the onnx engine's only [default: native the fastest kernel's, onnx f32]
    #[arg(long, value_parser = precisions())]
    pub precision: Option<Precision>,

    /// A kernel of the native engine by its name [default: the fastest]
    #[arg(long)]
    pub kernel: Option<String>,

    /// Threads that compute [default: all cores]
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,

    /// Folder for files that can be made again: the engine's graphs and weights, downloaded libraries
    #[arg(long, default_value = "cache")]
    pub cache_dir: PathBuf,

    /// ONNX Runtime's library, a file or its folder [default: the newest beside the program or in cache/onnxruntime]
    #[arg(long)]
    pub onnxruntime_lib: Option<PathBuf>,

    #[command(flatten)]
    pub onnx: OnnxArgs,

    /// Bytes that merged adapters may keep in memory, all together
    #[arg(long, default_value_t = 4 << 30)]
    pub merge_bytes_max: usize,
}

/// How the onnx engine runs.
#[derive(Args, Clone, Debug)]
pub struct OnnxArgs {
    /// Who executes the onnx engine's graphs
    #[arg(long, default_value = Provider::Cpu.name(), value_parser = providers())]
    pub provider: Provider,

    /// Which of several devices, from 0
    #[arg(long, default_value_t = 0)]
    pub device: u32,

    /// How the onnx engine runs a batch of many tasks: group (one run for each task), mixed (one run, twice the
    /// products), or auto (what costs least, by measurements at the start) [default: group on the processor, else auto]
    #[arg(long, value_parser = forms())]
    pub onnx_form: Option<BatchForm>,

    /// Adapters that the onnx engine keeps resident for mixed runs
    #[arg(long, default_value_t = OnnxSettings::default().adapter_slots)]
    pub onnx_adapter_slots: usize,

    /// Whether the onnx engine fills runs up to 1, 2, 4 … 128 pictures [default: not on the processor]
    #[arg(long)]
    pub onnx_pad_batches: Option<bool>,

    /// Whether products of f32 on a device may round their factors to 10 bits of fraction (TF32)
    #[arg(long, default_value_t = false, action = ArgAction::Set)]
    pub onnx_tf32: bool,

    /// Whether a device captures runs of one shape once and replays them (CUDA graphs)
    #[arg(long, default_value_t = false, action = ArgAction::Set)]
    pub onnx_cuda_graphs: bool,

    /// Options of ONNX Runtime's own for the provider, by its names, as KEY=VALUE;KEY=VALUE
    #[arg(long, value_name = "OPTIONS", default_value = "", hide_default_value = true)]
    pub onnx_provider_options: ProviderOptions,
}

impl OnnxArgs {
    fn settings(&self) -> OnnxSettings {
        OnnxSettings {
            provider: self.provider,
            device: self.device,
            form: self.onnx_form,
            adapter_slots: self.onnx_adapter_slots.max(1),
            pads_batches: self.onnx_pad_batches,
            tf32: self.onnx_tf32,
            cuda_graphs: self.onnx_cuda_graphs,
            provider_options: self.onnx_provider_options.clone(),
        }
    }
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
            onnx: self.onnx.settings(),
            threads: self.threads.map_or_else(cores, usize::from),
            merge_bytes_max: self.merge_bytes_max,
        }
    }
}

fn kinds() -> impl TypedValueParser<Value = EngineKind> {
    PossibleValuesParser::new(EngineKind::ALL.map(EngineKind::name)).try_map(|name| name.parse::<EngineKind>())
}

fn precisions() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::ALL.map(Precision::name)).try_map(|name| name.parse::<Precision>())
}

fn forms() -> impl TypedValueParser<Value = BatchForm> {
    PossibleValuesParser::new(BatchForm::ALL.map(BatchForm::name)).try_map(|name| name.parse::<BatchForm>())
}

fn providers() -> impl TypedValueParser<Value = Provider> {
    PossibleValuesParser::new(Provider::ALL.map(Provider::name)).try_map(|name| name.parse::<Provider>())
}

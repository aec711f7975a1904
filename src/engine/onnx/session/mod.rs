//! ONNX Runtime itself; the only room that names `ort`.

mod bound;
mod kept;
mod provider;
mod table;

pub use kept::{Kept, Stage};
pub use table::Table;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::Array2;
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::logging::LogLevel;
use ort::session::SessionInputValue;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};
use ort::value::{Shape, TensorRef};

use crate::engine::device::{DeviceMeter, Direction, Held, Holding};
use crate::engine::onnx::{OnnxSettings, Provider};
use crate::engine::{EngineError, Precision};
use bound::{Bindings, Memory};

/// The loaded library. A process has one: the first that loads it decides library and threads.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
    version: String,
    threads: usize,
}

static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads the library, or answers with the one that is loaded. All sessions share one pool of `threads`.
    pub fn load(library: &Path, threads: usize) -> Result<Self, EngineError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return runtime.clone().same_as(library, threads);
        }
        let unavailable = |why: String| EngineError::Unavailable(format!("ONNX Runtime: {why}"));
        let builder = ort::init_from(library).map_err(|e| unavailable(e.to_string()))?;
        let environment = pool(threads)
            .and_then(|pool| {
                let builder = builder.with_name("manylens").with_telemetry(false).with_logger(Arc::new(log));
                builder.with_global_thread_pool(pool).build()
            })
            .map_err(|e| unavailable(e.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        let runtime = Self { environment, library: library.to_owned(), version: version(library), threads };
        Ok(loaded.insert(runtime).clone())
    }

    fn same_as(self, library: &Path, threads: usize) -> Result<Self, EngineError> {
        if self.library == library && self.threads == threads {
            return Ok(self);
        }
        Err(EngineError::Unavailable(format!(
            "this process runs ONNX Runtime from {} with {} threads and cannot run {} with {threads} too",
            self.library.display(),
            self.threads,
            library.display()
        )))
    }

    /// The library's file.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Of the pool that all sessions share.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The library's release, e.g. `1.32.0`.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// Threads that sleep when there is nothing to do: an idle server must not spin.
fn pool(threads: usize) -> ort::Result<GlobalThreadPoolOptions> {
    GlobalThreadPoolOptions::default().with_intra_threads(threads)?.with_inter_threads(1)?.with_spin_control(false)
}

/// Releases name their file `libonnxruntime.so.1.32.0`; other builds are known by their commit.
fn version(library: &Path) -> String {
    let name = library.file_name().unwrap_or_default().to_string_lossy();
    let numbers = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    if !numbers.is_empty() {
        return numbers.trim_end_matches(|c: char| !c.is_ascii_digit()).to_owned();
    }
    let commit = ort::info().split_once("git-commit-id=").map_or("unknown", |(_, rest)| rest);
    commit.split(',').next().unwrap_or(commit).to_owned()
}

fn log(level: LogLevel, _category: &str, _id: &str, place: &str, message: &str) {
    match level {
        LogLevel::Error | LogLevel::Fatal => tracing::warn!(place, "onnxruntime: {message}"),
        _ => tracing::debug!(place, "onnxruntime: {message}"),
    }
}

/// What a session does with constant weights when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Copies them into the order that the matrix kernels read: fastest.
    Prepacked,
    /// Leaves them mapped, to be read as computed weights are: the same arithmetic, bit for bit.
    AsStored,
}

/// How a session is opened.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// What happens to constant weights.
    pub packing: Packing,
    /// Their size in files.
    pub weights_bytes: usize,
    /// What the graph's products are made of.
    pub precision: Precision,
    /// Where it runs, and whether its tensors stay at their addresses: one set for each shape of inputs that is padded.
    pub settings: &'a OnnxSettings,
    /// Where its work is counted.
    pub meter: &'a Arc<DeviceMeter>,
}

/// A graph that is ready to run.
pub struct Session {
    session: ort::session::Session,
    bindings: Option<(Bindings, Memory)>,
    meter: Arc<DeviceMeter>,
    copies: bool,
    _weights: Held,
}

/// A named tensor.
pub struct Input<'a> {
    /// The graph's name for it.
    pub name: &'static str,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// `shape.iter().product()` values.
    pub values: Values<'a>,
}

/// What a tensor holds.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    /// Floats.
    F32(&'a [f32]),
    /// Bytes.
    U8(&'a [u8]),
    /// Integers.
    I64(&'a [i64]),
    /// Adapters that are resident; their shape is the table's own.
    Table(&'a Table),
}

impl Options<'_> {
    /// A processor reads constants where they are mapped, unless it packs them.
    fn held_bytes(&self) -> usize {
        let is_mapped = self.settings.provider == Provider::Cpu && self.packing == Packing::AsStored;
        if is_mapped { 0 } else { self.weights_bytes }
    }
}

impl Values<'_> {
    /// Bytes that go to the device for one run.
    fn copied_bytes(&self) -> usize {
        match self {
            Self::F32(values) => size_of_val(*values),
            Self::U8(values) => values.len(),
            Self::I64(values) => size_of_val(*values),
            Self::Table(_) => 0,
        }
    }
}

impl<'a> Input<'a> {
    fn tensor(&self) -> ort::Result<(&'static str, SessionInputValue<'a>)> {
        let shape = self.shape.clone();
        let value = match self.values {
            Values::F32(values) => TensorRef::from_array_view((shape, values))?.into(),
            Values::U8(values) => TensorRef::from_array_view((shape, values))?.into(),
            Values::I64(values) => TensorRef::from_array_view((shape, values))?.into(),
            Values::Table(table) => table.tensor().into(),
        };
        Ok((self.name, value))
    }
}

impl Session {
    /// Opens a graph by path, so that the runtime maps the files of its external data itself.
    pub fn open(runtime: &Runtime, graph: &Path, options: Options<'_>) -> Result<Self, EngineError> {
        let open = || {
            let mut builder = built(SessionBuilder::new(&runtime.environment)?, options, graph)?;
            let session = builder.commit_from_file(graph)?;
            let settings = options.settings;
            let bindings = settings.pads_batches().then(|| Memory::of(&session, settings)).transpose()?;
            Ok(Self {
                session,
                copies: bindings.is_some() || settings.provider != Provider::Cpu,
                bindings: bindings.map(|memory| (Bindings::new(settings, options.meter), memory)),
                meter: options.meter.clone(),
                _weights: options.meter.hold(Holding::Weights, options.held_bytes()),
            })
        };
        open().map_err(failed("opening the graph in ONNX Runtime"))
    }

    /// Runs the graph; answers with its only output, whose last axis is the matrix's columns.
    pub fn run(&mut self, inputs: &[Input<'_>]) -> Result<Array2<f32>, EngineError> {
        let Self { session, bindings, meter, .. } = self;
        let answer = match bindings {
            None => run_once(session, inputs, meter),
            Some((bindings, memory)) => bindings.run(session, memory, inputs),
        };
        let answer = answer.map_err(failed("running the graph in ONNX Runtime"))?;
        self.count_copies(inputs, &answer);
        Ok(answer)
    }

    /// Counts what a run moved to the device and back.
    fn count_copies<'a>(&self, inputs: impl IntoIterator<Item = &'a Input<'a>>, answer: &Array2<f32>) {
        if self.copies {
            let bytes = inputs.into_iter().map(|input| input.values.copied_bytes()).sum();
            self.meter.copied(Direction::ToDevice, bytes);
            self.meter.copied(Direction::ToHost, size_of::<f32>() * answer.len());
        }
    }
}

fn run_once(
    session: &mut ort::session::Session,
    inputs: &[Input<'_>],
    meter: &DeviceMeter,
) -> ort::Result<Array2<f32>> {
    let inputs = inputs.iter().map(Input::tensor).collect::<ort::Result<Vec<_>>>()?;
    let outputs = meter.timed(|| session.run(inputs))?;
    let (shape, values) = outputs[0].try_extract_tensor::<f32>()?;
    matrix(shape, values)
}

/// The last axis is the columns, all others are rows.
fn matrix(shape: &Shape, values: &[f32]) -> ort::Result<Array2<f32>> {
    let columns = shape.last().and_then(|&n| usize::try_from(n).ok()).unwrap_or(0);
    let rows = values.len().checked_div(columns).unwrap_or(0);
    Array2::from_shape_vec((rows, columns), values.to_vec()).map_err(|e| ort::Error::new(e.to_string()))
}

fn built(builder: SessionBuilder, options: Options<'_>, graph: &Path) -> ort::Result<SessionBuilder> {
    let builder = builder
        .with_log_level(LogLevel::Warning)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        // Batch and picture sizes vary; a pattern per shape would keep a block of memory for each.
        .with_memory_pattern(false)?
        .with_prepacking(options.packing == Packing::Prepacked)?;
    let providers = options.settings.providers(graph, options.precision);
    if providers.is_empty() {
        return Ok(builder.with_auto_device(AutoDevicePolicy::PreferCPU)?);
    }
    Ok(builder.with_execution_providers(providers)?)
}

fn failed(what: &'static str) -> impl Fn(ort::Error) -> EngineError {
    move |error| EngineError::Runtime { what, why: error.to_string() }
}

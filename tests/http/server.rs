//! A tiny world to serve, and servers that run in it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use manylens::adapter::format::{AdapterFile, write};
use manylens::adapter::{Adapter, Decision, Head, Layout, Method, Pooling, Probe, Problem, Rule};
use manylens::app::{AppError, Server, Stop};
use manylens::backbone::{Backbone, PositionRule, Shape, Weights, random};
use manylens::config::{
    AccessLog, Keys, LogFormat, LogLevel, Model, Network, Requests, Settings, Shutdown, Store, Telemetry,
};
use manylens::engine::onnx::OnnxSettings;
use manylens::engine::reference::Reference;
use manylens::engine::{Backend, EngineKind, EngineSettings, Form, Group, head};
use manylens::image::{DecodeLimits, Pixels, Preset};
use manylens::registry::Limits;
use manylens::serving;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::gate::{Gate, Gated};

/// Side of the pictures that the tasks take.
pub const SIDE: usize = 16;
const LABELS: [&str; 3] = ["ant", "bee", "cat"];

/// A backbone of random weights, and a data folder.
pub struct World {
    pub backbone: Backbone,
    pub weights: Weights,
    pub folder: TempDir,
}

impl World {
    pub fn new() -> Self {
        Self::of_seed(7)
    }

    /// Another seed is another backbone.
    pub fn of_seed(seed: u64) -> Self {
        let shape = Shape { width: 16, depth: 2, heads: 2, mlp: 32, patch: 8, ..Shape::vit_b16() };
        let (backbone, weights) = random(shape, SIDE, seed);
        Self { backbone, weights, folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// An adapter whose values follow from `seed`, with three labels.
    pub fn adapter(&self, seed: u32) -> AdapterFile {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut next = |spread: f32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 * spread - spread
        };
        let neutral = Layout::of(&self.backbone.shape).neutral();
        let width = self.backbone.shape.width;
        let adapter = Adapter {
            method: Method::Rlrr,
            backbone: self.backbone.fingerprint.clone(),
            rescale: neutral.iter().map(|value| value + next(0.1)).collect(),
            head: Head {
                weight: (0..LABELS.len() * width).map(|_| next(1.0)).collect(),
                bias: (0..LABELS.len()).map(|_| next(0.1)).collect(),
            },
            labels: LABELS.map(str::to_owned).to_vec(),
            problem: Problem::SingleLabel,
            decision: Decision { rule: Rule::Argmax, thresholds: vec![], abstain_below: None },
            position_rule: PositionRule::BicubicSize,
            pooling: Pooling::Cls,
            preprocess: Preset::Vtab.at(SIDE),
            temperature: 1.0,
            lineage: serde_json::json!({ "seed": seed }),
        };
        AdapterFile { adapter, probe: None, extra: BTreeMap::new() }
    }

    pub fn bytes(&self, file: &AdapterFile) -> Vec<u8> {
        write(file, &Layout::of(&self.backbone.shape))
    }

    /// The adapter of that seed, as a file.
    pub fn file(&self, seed: u32) -> Vec<u8> {
        self.bytes(&self.adapter(seed))
    }

    /// The same with a probe that the reference engine passes.
    pub fn probed(&self, seed: u32) -> AdapterFile {
        let mut file = self.adapter(seed);
        let pixels: Vec<u8> = pixels(seed);
        let logits = self.logits(&file.adapter, &pixels);
        file.probe = Some(Probe { count: 1, pixels, size: (SIDE, SIDE), logits });
        file
    }

    pub fn reference(&self) -> Arc<dyn Backend> {
        Arc::new(Reference::<f32>::new(Arc::new(self.backbone.clone()), self.weights.clone(), 1 << 30))
    }

    /// What the reference engine says of these pixels.
    pub fn logits(&self, adapter: &Adapter, pixels: &[u8]) -> Vec<f32> {
        let backend = self.reference();
        let lens = backend.prepare(Arc::new(adapter.clone()), Form::Rescaled).expect("prepared");
        let pixels = Pixels::U8 { height: SIDE, width: SIDE, data: pixels.into() };
        let group = Group { lens: &lens, rows: vec![&pixels] };
        let features = backend.start().expect("started").run(&[group]).expect("run").remove(0);
        head::logits(&lens.adapter, features.row(0).as_slice().expect("one row"))
    }

    pub fn settings(&self) -> Settings {
        settings(&self.data_dir())
    }

    /// A server of this world.
    pub fn serve(&self) -> Running {
        self.serve_with(|_| ())
    }

    pub fn serve_with(&self, change: impl FnOnce(&mut Settings)) -> Running {
        let mut settings = self.settings();
        change(&mut settings);
        Running::start(settings, self.backbone.clone(), self.reference())
    }

    /// A server whose engine waits when the gate is closed.
    pub fn serve_gated(&self, change: impl FnOnce(&mut Settings)) -> (Running, Gate) {
        let gate = Gate::default();
        let backend = Gated { gate: gate.clone(), inner: self.reference() };
        let mut settings = self.settings();
        change(&mut settings);
        (Running::start(settings, self.backbone.clone(), Arc::new(backend)), gate)
    }
}

/// Bytes `[SIDE, SIDE, 3]` that follow from `seed`.
pub fn pixels(seed: u32) -> Vec<u8> {
    (0..(SIDE * SIDE * 3) as u32).map(|at| (at.wrapping_mul(31).wrapping_add(seed * 97) % 251) as u8).collect()
}

/// The same as a BMP file.
pub fn picture(seed: u32) -> Vec<u8> {
    bmp(SIDE, SIDE, &pixels(seed))
}

/// RGB rows, top first, as an uncompressed BMP.
pub fn bmp(width: usize, height: usize, rgb: &[u8]) -> Vec<u8> {
    let row = (width * 3).next_multiple_of(4);
    let size = 54 + row * height;
    let mut out = b"BM".to_vec();
    for number in [size as u32, 0, 54, 40, width as u32, height as u32, 1 | (24 << 16), 0, (row * height) as u32] {
        out.extend(number.to_le_bytes());
    }
    out.extend([0; 16]);
    for line in rgb.chunks_exact(width * 3).rev() {
        out.extend(line.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0]]));
        out.resize(out.len() + row - width * 3, 0);
    }
    out.resize(size, 0);
    out
}

/// Small limits, no waiting.
pub fn settings(data_dir: &Path) -> Settings {
    Settings {
        model: Model {
            backbone: PathBuf::new(),
            heads: None,
            layer_norm_eps: None,
            engine: EngineKind::Reference,
            engine_settings: EngineSettings {
                onnxruntime_lib: None,
                cache_dir: data_dir.join("cache"),
                precision: None,
                kernel: None,
                onnx: OnnxSettings::default(),
                threads: 1,
                merge_bytes_max: 1 << 30,
            },
            tokens_max: 2048,
        },
        store: Store {
            data_dir: data_dir.into(),
            adapters: None,
            limits: Limits { free_disk_bytes_min: 0, ..Limits::default() },
        },
        network: Network {
            listen: ([127, 0, 0, 1], 0).into(),
            admin_listen: None,
            connections_max: 64,
            idle_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
        },
        keys: Keys::default(),
        requests: Requests { body_bytes_max: 1 << 20, rows_max: 8, timeout_max: Duration::from_secs(60) },
        serving: serving::Settings {
            rows_max: 64,
            bytes_max: 16 << 20,
            decode_threads: 1,
            decode_limits: DecodeLimits::default(),
            batch_rows_max: 8,
            ..serving::Settings::default()
        },
        telemetry: Telemetry {
            log_format: LogFormat::Text,
            log_level: LogLevel::Error,
            access_log: AccessLog::Off,
            task_histograms: vec![],
        },
        shutdown: Shutdown { delay: Duration::ZERO, timeout: Duration::from_secs(30) },
    }
}

/// A server on a thread of its own.
pub struct Running {
    pub address: SocketAddr,
    pub management: Option<SocketAddr>,
    /// What SIGHUP does.
    pub reload_keys: Box<dyn Fn() + Send>,
    stop: Option<oneshot::Sender<Stop>>,
    thread: Option<JoinHandle<Result<(), AppError>>>,
}

impl Running {
    fn start(settings: Settings, backbone: Backbone, backend: Arc<dyn Backend>) -> Self {
        let (started, ready) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let server = Server::open_on(settings, backbone, backend)?;
            let addresses = (server.address(), server.management_address(), server.key_reloader());
            runtime.expect("a runtime").block_on(async {
                // Listening begins when the server is first polled, and connections wait for it from then on.
                let run = server.run(async move { stopped.await.unwrap_or(Stop::AtOnce) }, move || {
                    started.send(addresses).expect("the test waits");
                });
                run.await
            })
        });
        match ready.recv() {
            Ok((address, management, reload)) => {
                let reload_keys = Box::new(reload);
                Self { address, management, reload_keys, stop: Some(stop), thread: Some(thread) }
            }
            Err(_) => panic!("the server did not start: {:?}", thread.join()),
        }
    }

    /// Tells the server to end, as SIGTERM does.
    pub fn terminate(&mut self) {
        let stop = self.stop.take().expect("told once");
        stop.send(Stop::AfterDelay).expect("the server runs");
    }

    /// How the server ended.
    pub fn join(mut self) -> Result<(), AppError> {
        self.thread.take().expect("joined once").join().expect("no panic")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

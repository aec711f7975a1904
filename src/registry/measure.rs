//! What a thousand adapters of a ViT-B/16 cost in memory and time. Run by hand on an idle machine:
//! `cargo test --release --lib registry::measure -- --ignored --nocapture`

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::testing::{Fixture, task};
use super::{Limits, Manager, Parts, ProbeFailure, Prober, UploadOptions};
use crate::adapter::format::{AdapterFile, write};
use crate::adapter::{Adapter, Head, Layout, Pooling, Probe};
use crate::backbone::{Backbone, Shape};
use crate::engine::{Backend, Description, Engine, EngineError, Form, Lens};
use crate::image::Pixels;
use crate::metrics::Metrics;

const TASKS: usize = 1000;
const CLASSES: usize = 10;
const SIDE_PX: usize = 224;

/// An engine that takes no time: what is measured is everything else.
struct Instantaneous;

impl Backend for Instantaneous {
    fn describe(&self) -> Description {
        let text = || "none".to_owned();
        Description { engine: text(), precision: text(), kernel: text(), tolerance: 1e-3 }
    }

    fn prepare(&self, adapter: Arc<Adapter>, form: Form) -> Result<Lens, EngineError> {
        Ok(Lens { adapter, form, prepared: None, prepared_bytes: 0 })
    }

    fn start(&self) -> Result<Box<dyn Engine>, EngineError> {
        Err(EngineError::Unavailable("nothing runs here".to_owned()))
    }
}

impl Prober for Instantaneous {
    fn logits(&self, _: &Lens, pictures: &[Pixels]) -> Result<Vec<Vec<f32>>, ProbeFailure> {
        Ok(vec![vec![0.0; CLASSES]; pictures.len()])
    }
}

fn parts(backbone: &Arc<Backbone>) -> Parts {
    Parts {
        backbone: backbone.clone(),
        backend: Arc::new(Instantaneous),
        prober: Arc::new(Instantaneous),
        metrics: Arc::new(Metrics::new(Vec::new())),
        tokens_max: 2048,
        limits: Limits::default(),
    }
}

/// A ViT-B/16 adapter whose values depend on the seed.
fn adapter(backbone: &Backbone, layout: &Layout, seed: usize, probe: Option<Probe>) -> Vec<u8> {
    let value = |i: usize| ((i * 31 + seed * 17) % 1000) as f32 * 1e-5;
    let mut file = Fixture::new().tiny.file();
    file.adapter.backbone = backbone.fingerprint.clone();
    file.adapter.rescale = (0..layout.len()).map(value).collect();
    file.adapter.head = Head { weight: (0..CLASSES * 768).map(value).collect(), bias: vec![0.0; CLASSES] };
    file.adapter.labels = (0..CLASSES).map(|class| class.to_string()).collect();
    file.adapter.pooling = Pooling::Cls;
    file.adapter.preprocess.size = SIDE_PX;
    write(&AdapterFile { probe, ..file }, layout)
}

fn vit_b16() -> (Arc<Backbone>, Layout) {
    let shape = Shape::vit_b16();
    let backbone = Backbone { shape, ..Backbone::clone(&Fixture::new().backbone) };
    (Arc::new(backbone), Layout::of(&shape))
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("documented");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

#[test]
#[ignore = "a measurement: 2.4 GB of memory, 1.2 GB of disk"]
fn memory_of_a_thousand_adapters() {
    let (backbone, layout) = vit_b16();
    let folder = tempfile::tempdir().expect("a folder");
    let file_bytes = adapter(&backbone, &layout, 0, None).len();
    let per_file = |before: usize| (resident_bytes() - before) as f64 / (TASKS * file_bytes) as f64;

    let manager = Manager::open(folder.path(), parts(&backbone)).expect("opens");
    let before = resident_bytes();
    for seed in 0..TASKS {
        let bytes = adapter(&backbone, &layout, seed, None);
        manager.upload(&task(&format!("t{seed}")), &bytes, &UploadOptions::default()).expect("good");
    }
    println!("uploaded: {:.3} x the {file_bytes} bytes of a file", per_file(before));
    assert!(per_file(before) <= 1.2);

    let (before, started) = (resident_bytes(), Instant::now());
    let second = Manager::open(folder.path(), parts(&backbone)).expect("opens");
    println!("loaded at a start: {:.3} x, in {:?}", per_file(before), started.elapsed());
    assert_eq!(second.registry().all().len(), TASKS);
    assert!(per_file(before) <= 1.2);
}

#[test]
#[ignore = "a measurement"]
fn time_from_upload_to_live() {
    let (backbone, layout) = vit_b16();
    let folder = tempfile::tempdir().expect("a folder");
    let manager = Manager::open(folder.path(), parts(&backbone)).expect("opens");
    let upload = |seed: usize| {
        let size = (SIDE_PX, SIDE_PX);
        let probe =
            Probe { count: 8, pixels: vec![7; 8 * SIDE_PX * SIDE_PX * 3], size, logits: vec![0.0; 8 * CLASSES] };
        let bytes = adapter(&backbone, &layout, seed, Some(probe));
        let started = Instant::now();
        manager.upload(&task(&format!("t{}", seed % 100)), &bytes, &UploadOptions::default()).expect("good");
        started.elapsed()
    };
    let mut times: Vec<Duration> = (0..400).map(upload).collect();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("upload to live without the engine: p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0));
    assert!(at(0.99) <= Duration::from_millis(200));
}

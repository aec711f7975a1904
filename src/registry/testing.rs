//! A small server below HTTP for tests: a random backbone, the reference engine, a data folder of its own.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::{Limits, Manager, Parts, ProbeFailure, Prober, StoreError, TaskName};
use crate::adapter::format::{AdapterFile, write};
use crate::adapter::testing::Tiny;
use crate::backbone::{Backbone, random};
use crate::engine::reference::Reference;
use crate::engine::{Backend, Form, Group, Lens, head};
use crate::image::Pixels;
use crate::metrics::Metrics;

pub struct Fixture {
    pub folder: TempDir,
    pub tiny: Tiny,
    pub backbone: Arc<Backbone>,
    pub backend: Arc<dyn Backend>,
    pub metrics: Arc<Metrics>,
    pub limits: Limits,
}

/// Runs probes on an engine of its own.
pub struct Direct(pub Arc<dyn Backend>);

impl Prober for Direct {
    fn logits(&self, lens: &Lens, pictures: &[Pixels]) -> Result<Vec<Vec<f32>>, ProbeFailure> {
        let failed = |error: crate::engine::EngineError| ProbeFailure::Engine(error.to_string());
        let group = Group { lens, rows: pictures.iter().collect() };
        let features = self.0.start().map_err(failed)?.run(&[group]).map_err(failed)?;
        let rows = features[0].rows().into_iter();
        Ok(rows.map(|row| head::logits(&lens.adapter, &row.to_vec())).collect())
    }
}

impl Fixture {
    pub fn new() -> Self {
        Self::seeded(1)
    }

    /// Another seed is another backbone.
    pub fn seeded(seed: u64) -> Self {
        let mut tiny = Tiny::new();
        let (backbone, weights) = random(tiny.shape, 8, seed);
        tiny.fingerprint = backbone.fingerprint.clone();
        let backbone = Arc::new(backbone);
        let one_merged_copy = weights.parameters() * size_of::<f32>();
        let backend = Arc::new(Reference::<f32>::new(backbone.clone(), weights, one_merged_copy));
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            tiny,
            backbone,
            backend,
            metrics: Arc::new(Metrics::new(Vec::new())),
            limits: Limits { free_disk_bytes_min: 0, ..Limits::default() },
        }
    }

    pub fn parts(&self) -> Parts {
        Parts {
            backbone: self.backbone.clone(),
            backend: self.backend.clone(),
            prober: Arc::new(Direct(self.backend.clone())),
            metrics: self.metrics.clone(),
            tokens_max: 2048,
            limits: self.limits.clone(),
        }
    }

    /// A manager of this fixture's folder; of two at once the second is read-only.
    pub fn manager(&self) -> Manager {
        self.manager_of(self.folder.path()).expect("the folder can be opened")
    }

    pub fn manager_of(&self, folder: &Path) -> Result<Manager, StoreError> {
        Manager::open(folder, self.parts())
    }

    /// An adapter file with a true probe. Files of different seeds differ.
    pub fn adapter(&self, seed: u64) -> Vec<u8> {
        self.adapter_with(seed, |_| {})
    }

    /// An adapter file that was changed before its probe was made.
    pub fn adapter_with(&self, seed: u64, change: impl FnOnce(&mut AdapterFile)) -> Vec<u8> {
        let mut file = self.tiny.file();
        file.adapter.lineage = serde_json::json!({ "seed": seed });
        change(&mut file);
        self.fill_probe(&mut file);
        self.write(&file)
    }

    pub fn write(&self, file: &AdapterFile) -> Vec<u8> {
        write(file, &self.tiny.layout)
    }

    fn fill_probe(&self, file: &mut AdapterFile) {
        let Some(probe) = &mut file.probe else { return };
        let lens = self.backend.prepare(Arc::new(file.adapter.clone()), Form::Rescaled).expect("always ready");
        let (height, width) = probe.size;
        let pictures = probe.pictures().map(|data| Pixels::U8 { height, width, data: data.into() }).collect::<Vec<_>>();
        probe.logits = Direct(self.backend.clone()).logits(&lens, &pictures).expect("runs").concat();
    }
}

pub fn task(name: &str) -> TaskName {
    TaskName::parse(name).expect("a task name")
}

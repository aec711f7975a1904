//! What the engines' tests share.

pub mod golden;
pub mod onnxruntime;
pub mod random;

use std::sync::{Arc, LazyLock};

use crate::adapter::Adapter;
use crate::engine::onnx::OnnxSettings;
use crate::engine::{Backend, Engine, EngineSettings, Form, Group, Lens};
use crate::image::Pixels;

/// Two threads unless the test runs in a child with more, room for any merge, files in a folder of the process's own.
pub fn settings() -> EngineSettings {
    static CACHE: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));
    EngineSettings {
        onnxruntime_lib: None,
        cache_dir: CACHE.path().to_owned(),
        precision: None,
        kernel: None,
        onnx: OnnxSettings::default(),
        threads: onnxruntime::threads(),
        merge_bytes_max: usize::MAX,
    }
}

/// An engine that is ready to run.
pub struct Running {
    pub backend: Arc<dyn Backend>,
    engine: Box<dyn Engine>,
}

impl Running {
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self { engine: backend.start().expect("the engine starts"), backend }
    }

    pub fn lens(&self, adapter: &Arc<Adapter>, form: Form) -> Lens {
        self.backend.prepare(adapter.clone(), form).expect("the adapter can be prepared")
    }

    /// Features of every row, group after group.
    pub fn rows(&mut self, batch: &[(&Lens, &[&Pixels])]) -> Vec<Vec<f32>> {
        let groups: Vec<_> = batch.iter().map(|(lens, rows)| Group { lens, rows: rows.to_vec() }).collect();
        let features = self.engine.run(&groups).expect("the batch runs");
        assert_eq!(features.len(), batch.len());
        let rows = features.iter().zip(batch).flat_map(|(features, (_, rows))| {
            assert_eq!(features.nrows(), rows.len());
            features.rows().into_iter().map(|row| row.to_vec())
        });
        rows.collect()
    }

    /// Features of one picture alone.
    pub fn row(&mut self, lens: &Lens, picture: &Pixels) -> Vec<f32> {
        self.rows(&[(lens, &[picture])]).remove(0)
    }
}

/// Largest difference, NaN when there is one.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |max, d| if d > max || d.is_nan() { d } else { max })
}

/// Whether all bits are equal.
pub fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

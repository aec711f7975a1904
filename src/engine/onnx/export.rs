//! An adapter's whole classifier as an ONNX file of its own: merged weights, positions and head are constants.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::cache::le_bytes;
use super::graph::{Element, External, Graph, Value};
use super::model;
use super::ops::{Constants, Dialect};
use crate::adapter::{Adapter, Layout};
use crate::backbone::{Backbone, PositionTables, Tensor, Weights};
use crate::engine::merge;

/// Protobuf readers refuse messages of 2 GiB; above this the weights lie in a file beside the graph.
pub const INLINE_BYTES_MAX: usize = 2_000_000_000;
/// Readers that map the file beside the graph want tensors to begin on a page.
const PAGE: usize = 4096;

/// The classifier of one adapter.
pub struct Classifier<'a> {
    backbone: &'a Backbone,
    adapter: &'a Adapter,
    dialect: Dialect,
    weights: Weights,
}

impl<'a> Classifier<'a> {
    /// Merges the adapter into the weights.
    pub fn new(backbone: &'a Backbone, weights: Weights, adapter: &'a Adapter, dialect: Dialect) -> Self {
        let layout = Layout::of(&backbone.shape);
        let mut weights = weights;
        for (name, tensor) in &mut weights.0 {
            merge::merge(name, tensor, &layout, &adapter.rescale);
        }
        weights.0.remove("pos_embed");
        Self { backbone, adapter, dialect, weights }
    }

    /// Writes `<path>` and, when the weights are more than `inline_bytes_max`, `<path>.data` beside it; answers with
    /// what was written. `notes` go into the model's metadata.
    pub fn write(&self, path: &Path, inline_bytes_max: usize, notes: &[(&str, String)]) -> io::Result<Vec<PathBuf>> {
        if self.weights.parameters() * size_of::<f32>() <= inline_bytes_max {
            write_whole(path, |file| file.write_all(&self.graph(&Inline(&self.weights), notes)))?;
            return Ok(vec![path.to_owned()]);
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(".data");
        let beside = PathBuf::from(beside);
        let places = Beside::of(&self.weights, &beside);
        write_whole(&beside, |file| places.write(&self.weights, file))?;
        write_whole(path, |file| file.write_all(&self.graph(&places, notes)))?;
        Ok(vec![path.to_owned(), beside])
    }

    fn graph<C: Constants>(&self, constants: &C, notes: &[(&str, String)]) -> Vec<u8> {
        let side = self.adapter.preprocess.final_size();
        let grid = side / self.backbone.shape.patch;
        let positions = PositionTables::new(self.backbone).get(self.adapter.position_rule, (grid, grid));
        model::classifier(&self.backbone.shape, constants, self.dialect, self.adapter, &positions, notes)
    }
}

/// Values inside the graph.
struct Inline<'a>(&'a Weights);

impl Constants for Inline<'_> {
    fn constant(&self, graph: &mut Graph, name: &str) -> Value {
        let tensor = self.0.tensor(name);
        graph.floats(name, &tensor.shape, &tensor.data)
    }
}

/// Values in a file beside the graph, each from the first byte of a page.
struct Beside<'a> {
    file: String,
    shapes: HashMap<&'a str, (&'a [usize], usize)>,
}

impl<'a> Beside<'a> {
    fn of(weights: &'a Weights, path: &Path) -> Self {
        let mut offset = 0;
        let place = |(name, tensor): (&'a String, &'a Tensor)| {
            let at = offset;
            offset += size_of_val(&*tensor.data).next_multiple_of(PAGE);
            (&**name, (&*tensor.shape, at))
        };
        let shapes = weights.0.iter().map(place).collect();
        Self { file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), shapes }
    }

    fn write(&self, weights: &Weights, file: &mut dyn Write) -> io::Result<()> {
        for tensor in weights.0.values() {
            let mut bytes = le_bytes(&tensor.data);
            bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
            file.write_all(&bytes)?;
        }
        Ok(())
    }
}

impl Constants for Beside<'_> {
    fn constant(&self, graph: &mut Graph, name: &str) -> Value {
        let (shape, offset) = self.shapes[name];
        graph.external(name, Element::F32, shape, External { file: &self.file, offset })
    }
}

/// The file appears whole or not at all.
fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".part");
    let written = File::create(&temporary).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.into_inner()?.sync_all()
    });
    let moved = written.and_then(|()| fs::rename(&temporary, path));
    moved.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Precision;
    use crate::engine::device::DeviceMeter;
    use crate::engine::onnx::OnnxSettings;
    use crate::engine::onnx::session::{Input, Options, Packing, Runtime, Session, Values};
    use crate::engine::testing::{distance, golden, onnxruntime};
    use crate::image::Pixels;

    /// The golden logits of a written file.
    fn logits(path: &Path) -> Option<Vec<f32>> {
        let library = crate::engine::onnx::library::find(Some(&onnxruntime::newest()?), Path::new("")).expect("found");
        let runtime = Runtime::load(&library, onnxruntime::threads()).expect("loads");
        let (settings, meter) = (OnnxSettings::default(), DeviceMeter::new("cpu".into()));
        let options = Options {
            packing: Packing::Prepacked,
            weights_bytes: 0,
            precision: Precision::F32,
            settings: &settings,
            meter: &meter,
        };
        let mut session = Session::open(&runtime, path, options).expect("ONNX Runtime opens it");
        let (pictures, _) = golden::forward();
        let values: Vec<f32> = pictures
            .iter()
            .flat_map(|picture| match picture {
                Pixels::F32 { data, .. } => data.to_vec(),
                Pixels::U8 { .. } => unreachable!("the golden pictures are normalised"),
            })
            .collect();
        let input =
            Input { name: "pixel_values", shape: vec![pictures.len(), 3, 32, 32], values: Values::F32(&values) };
        Some(session.run(&[input]).expect("runs").into_raw_vec_and_offset().0)
    }

    #[test]
    fn an_exported_file_gives_the_adapters_logits() {
        let (backbone, weights) = golden::backbone();
        let adapter = golden::adapters(&backbone).remove(0);
        let folder = tempfile::tempdir().expect("a temporary folder");
        for dialect in Dialect::ALL {
            for (inline_bytes_max, files) in [(INLINE_BYTES_MAX, 1), (1000, 2)] {
                let path = folder.path().join(format!("{}-{files}.onnx", dialect.name()));
                let classifier = Classifier::new(&backbone, weights.clone(), &adapter, dialect);
                let written = classifier.write(&path, inline_bytes_max, &[("labels", "[]".into())]).expect("written");
                assert_eq!(written.len(), files);
                let Some(logits) = logits(&path) else { return };
                let distance = distance(&logits, &golden::forward().1);
                assert!(distance <= 1e-5, "{dialect:?} {files}: {distance}");
            }
        }
    }

    #[test]
    fn a_plain_file_names_no_operator_of_a_runtime() {
        let (backbone, weights) = golden::backbone();
        let adapter = golden::adapters(&backbone).remove(0);
        let graph = |dialect| {
            let classifier = Classifier::new(&backbone, weights.clone(), &adapter, dialect);
            String::from_utf8_lossy(&classifier.graph(&Inline(&classifier.weights), &[])).into_owned()
        };
        assert!(!graph(Dialect::Plain).contains("com.microsoft"));
        assert!(graph(Dialect::Fused).contains("com.microsoft"));
    }
}

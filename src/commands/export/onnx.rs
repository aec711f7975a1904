use std::path::Path;

use serde::Serialize;

use super::{ExportError, io};
use crate::adapter::Adapter;
use crate::backbone::{Backbone, Weights};
use crate::engine::onnx::Dialect;
use crate::engine::onnx::export::{Classifier, INLINE_BYTES_MAX};
use crate::hash::content_hash;

/// Writes the classifier and says how it is called.
pub fn write(
    file: &Path,
    dialect: Dialect,
    backbone: &Backbone,
    weights: Weights,
    adapter: &Adapter,
    adapter_bytes: &[u8],
) -> Result<(), ExportError> {
    let classifier = Classifier::new(backbone, weights, adapter, dialect);
    let notes = notes(adapter, adapter_bytes);
    for path in classifier.write(file, INLINE_BYTES_MAX, &notes).map_err(io(file))? {
        let bytes = path.metadata().map_err(io(&path))?.len();
        println!("{} ({bytes} bytes)", path.display());
    }
    let (side, channels) = (adapter.preprocess.final_size(), backbone.shape.channels);
    println!(
        "run: onnxruntime.InferenceSession(\"{}\").run([\"logits\"], {{\"pixel_values\": x}}), x normalised f32 \
         [n, {channels}, {side}, {side}]",
        file.display()
    );
    Ok(())
}

/// What a program needs besides the graph, by the names of the adapter file's metadata.
fn notes(adapter: &Adapter, adapter_bytes: &[u8]) -> Vec<(&'static str, String)> {
    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).expect("an adapter's parts are plain data")
    }
    fn word(value: &impl Serialize) -> String {
        json(value).trim_matches('"').to_owned()
    }
    vec![
        ("labels", json(&adapter.labels)),
        ("problem", word(&adapter.problem)),
        ("decision", json(&adapter.decision)),
        ("temperature", adapter.temperature.to_string()),
        ("preprocess", json(&adapter.preprocess)),
        ("pooling", word(&adapter.pooling)),
        ("position_rule", word(&adapter.position_rule)),
        ("backbone", adapter.backbone.to_string()),
        ("adapter", content_hash(adapter_bytes)),
    ]
}

use std::collections::BTreeMap;

use serde::Serialize;

use super::{AdapterFile, FORMAT, FORMAT_VERSION};
use crate::adapter::{Adapter, Layout, Method, Probe};
use crate::tensors::{Named, serialize};

/// The file's bytes: tensors in the layout's order, then head and probe; metadata sorted by key. Equal inputs give
/// equal bytes. A head-only adapter's neutral rescaling is left out.
///
/// # Panics
/// When the adapter's vector is not of this layout: adapters are checked when they are made.
pub fn write(file: &AdapterFile, layout: &Layout) -> Vec<u8> {
    let adapter = &file.adapter;
    assert_eq!(adapter.rescale.len(), layout.len(), "an adapter is written with its own layout");
    let mut tensors = Vec::new();
    if adapter.method == Method::Rlrr {
        let segments = layout.segments().iter();
        tensors.extend(segments.map(|segment| {
            Named::f32(&*segment.name, vec![segment.range.len()], &adapter.rescale[segment.range.clone()])
        }));
    }
    let (classes, features) = (adapter.head.classes(), adapter.head.features());
    tensors.push(Named::f32("head.weight", vec![classes, features], &adapter.head.weight));
    tensors.push(Named::f32("head.bias", vec![classes], &adapter.head.bias));
    if let Some(Probe { count, pixels, size: (height, width), logits }) = &file.probe {
        // Bytes last, so that every float is aligned for readers that map the file.
        tensors.push(Named::f32("probe.logits", vec![*count, classes], logits));
        tensors.push(Named::u8("probe.pixels", vec![*count, *height, *width, 3], pixels));
    }
    serialize(&tensors, &metadata(adapter, &file.extra))
}

/// The metadata of the file; the adapter's values are not looked at.
pub fn metadata(adapter: &Adapter, extra: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut lineage = adapter.lineage.clone();
    lineage.sort_all_objects();
    let known = [
        ("format", FORMAT.to_owned()),
        ("format_version", FORMAT_VERSION.to_string()),
        ("method", word(&adapter.method)),
        ("backbone", adapter.backbone.to_string()),
        ("labels", json(&adapter.labels)),
        ("problem", word(&adapter.problem)),
        ("decision", json(&adapter.decision)),
        ("position_rule", word(&adapter.position_rule)),
        ("pooling", word(&adapter.pooling)),
        ("preprocess", json(&adapter.preprocess)),
        ("temperature", json(&adapter.temperature)),
        ("lineage", lineage.to_string()),
    ];
    let mut metadata = extra.clone();
    metadata.extend(known.map(|(key, value)| (key.to_owned(), value)));
    metadata
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our own types have string keys only")
}

/// A unit variant's own word, without JSON's quotes.
fn word(value: &impl Serialize) -> String {
    json(value).trim_matches('"').to_owned()
}
